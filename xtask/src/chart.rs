//! The chart, the manifests and the Tiltfile: held against what their readers (Helm, Kubernetes, Tilt) take.

mod manifests;
mod schemas;
mod tiltfile;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::build;
use crate::place::{self, Scratch};
use crate::{process, versions};

/// The chart, in the checkout.
const CHART: &str = "charts/taffrail";
/// What it renders is kept there.
const SNAPSHOTS: &str = "charts/taffrail/ci/snapshots";
/// What a cluster with the Prometheus Operator knows.
const MONITORING: &str = "monitoring.coreos.com/v1";

/// Values that the chart is rendered with.
struct Case {
    /// Its snapshot's name.
    name: &'static str,
    /// Its file of values, if not the defaults.
    values: Option<&'static str>,
    /// Whether the Prometheus Operator is there.
    monitoring: bool,
    /// Whether it installs the custom resource definitions.
    definitions: bool,
}

const CASES: &[Case] = &[
    Case { name: "default", values: None, monitoring: false, definitions: true },
    Case { name: "monitoring", values: None, monitoring: true, definitions: true },
    Case { name: "everything", values: Some("everything"), monitoring: true, definitions: false },
    Case { name: "namespaces", values: Some("namespaces"), monitoring: true, definitions: true },
];

/// Values that must be refused, and what is said of them.
const REFUSED: &[(&str, &str)] = &[
    (r#"{"imagee": {"tag": "1"}}"#, "'imagee' not allowed"),
    (r#"{"image": {"tga": "1"}}"#, "at '/image': additional properties 'tga' not allowed"),
    (r#"{"image": {"tag": 1}}"#, "at '/image/tag'"),
    (r#"{"image": {"repository": ""}}"#, "at '/image/repository'"),
    (r#"{"image": {"pullPolicy": "Sometimes"}}"#, "at '/image/pullPolicy'"),
    (r#"{"watchNamespaces": "shop"}"#, "at '/watchNamespaces'"),
    (r#"{"watchNamespaces": ["Shop"]}"#, "at '/watchNamespaces/0'"),
    (r#"{"watchNamespaces": ["shop", "shop"]}"#, "at '/watchNamespaces'"),
    (r#"{"crds": {"install": "no"}}"#, "at '/crds/install'"),
    (r#"{"crds": {"keep": false}}"#, "'keep' not allowed"),
    (r#"{"operator": {"replicas": -1}}"#, "at '/operator/replicas'"),
    (r#"{"operator": {"replicas": 1.5}}"#, "at '/operator/replicas'"),
    (r#"{"operator": {"image": "a"}}"#, "'image' not allowed"),
    (r#"{"metrics": {"volume": {"size": "10"}}}"#, "at '/metrics/volume/size'"),
    (r#"{"metrics": {"volume": {"class": "fast"}}}"#, "'class' not allowed"),
    (r#"{"receivers": {"slack": {}}}"#, "at '/receivers'"),
    (r#"{"serviceMonitor": {"enabled": "true"}}"#, "at '/serviceMonitor/enabled'"),
    (r#"{"serviceMonitor": {"labels": {"release": 1}}}"#, "at '/serviceMonitor/labels/release'"),
    (r#"{"webhook": {"enabled": 1}}"#, "at '/webhook/enabled'"),
    (r#"{"webhook": {"failurePolicy": "Fail"}}"#, "'failurePolicy' not allowed"),
];

/// Checks all of it.
pub fn check() -> Result<()> {
    let scratch = Scratch::new()?;
    for values in [None].into_iter().chain(CASES.iter().filter_map(|case| case.values).map(Some)) {
        let mut lint = helm("lint")?;
        lint.args(["--strict", CHART]);
        succeeds(with_values(&mut lint, values))?;
    }
    refuses(&scratch)?;
    let rendered = CASES.iter().map(render).collect::<Result<Vec<_>>>()?;
    for (case, text) in CASES.iter().zip(&rendered) {
        compare(case, text, &scratch).with_context(|| format!("case `{}` of the chart", case.name))?;
    }
    let development = tiltfile::check(&tiltfile::read()?)?;
    manifests::check(&[rendered, development].concat(), &scratch)
}

/// Writes the snapshots anew.
pub fn generate() -> Result<()> {
    for case in CASES {
        let (_, rest) = divide(&render(case)?);
        let file = snapshot(case);
        fs::write(&file, rest).with_context(|| format!("could not write {}", file.display()))?;
    }
    Ok(())
}

fn snapshot(case: &Case) -> PathBuf {
    place::root().join(SNAPSHOTS).join(format!("{}.yaml", case.name))
}

/// A Helm command that takes the cluster for ours.
fn helm(verb: &str) -> Result<Command> {
    let mut helm = Command::new(build::helm()?);
    helm.current_dir(place::root()).args([verb, "--kube-version", versions::KUBERNETES]);
    Ok(helm)
}

fn with_values<'a>(helm: &'a mut Command, values: Option<&str>) -> &'a mut Command {
    helm.args(values.into_iter().flat_map(|name| ["--values".to_owned(), format!("{CHART}/ci/{name}-values.yaml")]))
}

fn render(case: &Case) -> Result<String> {
    let mut template = helm("template")?;
    template.args(["taffrail", CHART, "--namespace", "taffrail-system"]);
    if case.monitoring {
        template.args(["--api-versions", MONITORING]);
    }
    Ok(succeeds(with_values(&mut template, case.values))?.stdout)
}

/// The custom resource definitions, which have tests of their own, and all the rest.
fn divide(rendered: &str) -> (Vec<&str>, String) {
    let documents = rendered.split("---\n").filter(|document| !document.trim().is_empty());
    let (definitions, rest): (Vec<_>, Vec<_>) =
        documents.partition(|document| document.contains("\nkind: CustomResourceDefinition\n"));
    (definitions, rest.iter().map(|document| format!("---\n{document}")).collect())
}

fn compare(case: &Case, rendered: &str, scratch: &Scratch) -> Result<()> {
    let (definitions, rest) = divide(rendered);
    let files = fs::read_dir(place::root().join(CHART).join("files/crds")).context("could not read the definitions")?;
    let expected = if case.definitions { files.count() } else { 0 };
    ensure!(definitions.len() == expected, "it has {} definitions, not {expected}", definitions.len());
    let kept = |definition: &&str| definition.contains("\n    helm.sh/resource-policy: keep\n");
    ensure!(definitions.iter().all(kept), "a definition would be removed with the chart");
    let fresh = scratch.path().join(format!("{}.yaml", case.name));
    fs::write(&fresh, rest).with_context(|| format!("could not write {}", fresh.display()))?;
    let difference = attempt(Command::new("diff").arg("--unified").arg(snapshot(case)).arg(fresh))?;
    difference.map(drop).or_else(|Printed { stdout, stderr }| {
        bail!("it is not what its snapshot says; `cargo xtask generate` writes it anew\n{stdout}{stderr}")
    })
}

fn refuses(scratch: &Scratch) -> Result<()> {
    let file = scratch.path().join("values.json");
    for (values, reason) in REFUSED {
        fs::write(&file, values).with_context(|| format!("could not write {}", file.display()))?;
        let mut template = helm("template")?;
        template.args(["taffrail", CHART, "--values"]).arg(&file);
        fails(&mut template, reason).with_context(|| format!("the chart with the values {values}"))?;
    }
    Ok(())
}

/// What a command printed.
struct Printed {
    stdout: String,
    stderr: String,
}

/// Runs a command to its end. What it printed, either way, is the result.
fn attempt(command: &mut Command) -> Result<Result<Printed, Printed>> {
    process::check_interrupted()?;
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("could not start `{program}`"))?;
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let printed = Printed { stdout, stderr };
    Ok(if output.status.success() { Ok(printed) } else { Err(printed) })
}

fn succeeds(command: &mut Command) -> Result<Printed> {
    attempt(command)?.or_else(|Printed { stdout, stderr }| bail!("{command:?} failed:\n{stdout}{stderr}"))
}

/// Fails unless the command does, and says why.
fn fails(command: &mut Command, reason: &str) -> Result<()> {
    let Err(Printed { stdout, stderr }) = attempt(command)? else {
        bail!("it is accepted, but should be refused: {reason}");
    };
    let said = stdout + &stderr;
    ensure!(said.contains(reason), "it is not refused for \"{reason}\", but with:\n{said}");
    Ok(())
}
