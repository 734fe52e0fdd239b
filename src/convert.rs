//! `taffrail convert PATH`: classic configuration and rules, and Prometheus' rules, as Taffrail's objects on standard
//! output. What could not be converted is named on standard error.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use taffrail_crds::classic::{self, Config, Converted};
use taffrail_crds::convert::{Form, recognise};
use taffrail_crds::manifest::Problem;
use taffrail_crds::{Duration, prometheus};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A classic config.yaml (its rules file is converted with it) or alert_rules.json, or a file of Prometheus rules or
    /// of PrometheusRule objects
    path: PathBuf,
}

/// Exit code 0: all was converted, or has no counterpart; 1: something is wrong in the file.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let path = &args.path;
    let text = read(path)?;
    let (converted, rules_path) = match recognise(&text) {
        Some(Form::ClassicConfig) => classic(path, &text)?,
        // Every 30 seconds is what the classic services did unless they were told otherwise.
        Some(Form::ClassicRules) => (classic::rules(&text, Duration::from_secs(30)), path.clone()),
        Some(Form::Prometheus) => (prometheus::convert(&text), path.clone()),
        Some(Form::Taffrail) => bail!("{} holds Taffrail's objects already", path.display()),
        None => bail!(
            "{} is neither a classic config.yaml or alert_rules.json nor a file of Prometheus rules",
            path.display()
        ),
    };
    let mut output = String::new();
    for object in &converted.objects {
        let text = taffrail_crds::object_to_yaml(object).with_context(|| format!("can't write {}", object.key()))?;
        output.push_str("---\n");
        output.push_str(&text);
    }
    std::io::stdout().write_all(output.as_bytes()).context("can't print the objects")?;
    tell(&rules_path, &converted.notes);
    tell(&rules_path, &converted.problems);
    Ok(if converted.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A configuration with its rules, and the file that what is wrong is in.
fn classic(path: &Path, text: &str) -> anyhow::Result<(Converted, PathBuf)> {
    let config = match Config::parse(text) {
        Ok(config) => config,
        Err(problems) => return Ok((Converted { problems, ..Converted::default() }, path.to_owned())),
    };
    let rules = &config.alerting.rules_path;
    if rules.is_empty() {
        return Ok((classic::objects(&config, None), path.to_owned()));
    }
    // The classic services looked in their working directory; that is where the configuration lies.
    let rules_path = path.parent().unwrap_or(Path::new("")).join(rules);
    let text = read(&rules_path).with_context(|| format!("alerting.rules_path of {}", path.display()))?;
    Ok((classic::objects(&config, Some(&text)), rules_path))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

#[allow(clippy::print_stderr)] // Standard output holds the objects.
fn tell(path: &Path, problems: &[Problem]) {
    for problem in problems {
        eprintln!("# {}", crate::check::line(path, problem));
    }
}
