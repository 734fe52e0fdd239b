//! `taffrail dead-letters list|show|redrive PIPELINE`: what a pipeline could not read or store, and sending it again.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::client::Server;

/// Letters that are asked for at once.
const PAGE: u64 = 1_000;

/// Of a reason, so much is shown in a list.
const REASON_WIDTH: usize = 100;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List dead letters, newest first, and count them by reason
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many letters; 0 for the counts alone
        #[arg(long, short = 'n', default_value_t = 20)]
        limit: u64,
        /// Print the letters as JSON, one per line
        #[arg(long)]
        json: bool,
    },
    /// Show one dead letter, and its record as it came
    Show {
        #[command(flatten)]
        pipeline: Pipeline,
        /// The letter's id, as `list` has it
        id: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Send dead letters through the pipeline again, as it is now. None is doubled, and what is refused again stays
    Redrive {
        #[command(flatten)]
        which: Which,
        /// This letter alone
        #[arg(long, conflicts_with_all = ["reason", "status", "from", "to"])]
        id: Option<String>,
        /// Only say which would be sent
        #[arg(long)]
        dry_run: bool,
        /// Print the outcome as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Whose dead letters, and where to ask.
#[derive(clap::Args)]
struct Pipeline {
    /// The pipeline, as NAME or NAMESPACE/NAME
    pipeline: String,
    #[command(flatten)]
    server: Server,
}

/// Which dead letters.
#[derive(clap::Args)]
struct Which {
    #[command(flatten)]
    of: Pipeline,
    /// Those whose reason contains this; what differs from record to record (numbers, quoted texts) does not matter
    #[arg(long)]
    reason: Option<String>,
    /// Those with this status of the store; 0 for records that could not be read
    #[arg(long)]
    status: Option<u16>,
    /// Those taken from the source not before this time: Unix seconds or RFC 3339
    #[arg(long)]
    from: Option<String>,
    /// Those taken from the source before this time
    #[arg(long)]
    to: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = reqwest::Client::new();
    match args.command {
        Command::List { which, limit, json } => list(&client, &which, limit, json).await?,
        Command::Show { pipeline, id, json } => show(&client, &pipeline, id, json).await?,
        Command::Redrive { which, id, dry_run, json } => return redrive(&client, &which, id, dry_run, json).await,
    }
    Ok(ExitCode::SUCCESS)
}

impl Pipeline {
    fn path(&self) -> anyhow::Result<String> {
        let (namespace, name) = match self.pipeline.split_once('/') {
            Some((namespace, name)) => (namespace, name),
            None => (taffrail_crds::DEFAULT_NAMESPACE, self.pipeline.as_str()),
        };
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        };
        if !is_name(namespace) || !is_name(name) {
            bail!("`{}` is no pipeline; write NAME or NAMESPACE/NAME", self.pipeline);
        }
        Ok(format!("pipelines/{namespace}/{name}/dead-letters"))
    }
}

impl Which {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let texts = [("reason", &self.reason), ("from", &self.from), ("to", &self.to)];
        let mut parameters: Vec<_> = texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))).collect();
        parameters.extend(self.status.map(|status| ("status", status.to_string())));
        parameters
    }
}

async fn list(client: &reqwest::Client, which: &Which, limit: u64, json: bool) -> anyhow::Result<()> {
    let path = which.of.path()?;
    let parameters = which.parameters();
    let mut left = limit;
    let mut first = None;
    let mut cursor = None;
    let mut out = std::io::stdout().lock();
    loop {
        let mut page = parameters.clone();
        page.push(("limit", left.clamp(1, PAGE).to_string()));
        page.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let answer = which.of.server.get(client, &path, &page).await?;
        let letters = answer["letters"].as_array().map(Vec::as_slice).unwrap_or_default();
        for letter in &letters[..letters.len().min(usize::try_from(left).unwrap_or(usize::MAX))] {
            if json {
                writeln!(out, "{letter}")?
            } else {
                writeln!(out, "{}", line(letter))?
            }
            left -= 1;
        }
        cursor = answer["cursor"].as_str().map(str::to_owned).filter(|_| left > 0);
        first.get_or_insert(answer);
        if cursor.is_none() {
            break;
        }
    }
    let answer = first.unwrap_or_default();
    if !json {
        let total = answer["total"].as_u64().unwrap_or(0);
        if limit > 0 && total > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{total} dead letters")?;
        write_reasons(&mut out, &answer["reasons"])?;
    }
    Ok(())
}

/// A letter in a list.
fn line(letter: &Value) -> String {
    let text = |name: &str| letter[name].as_str().unwrap_or_default().to_owned();
    let reason = text("reason").replace(['\n', '\r', '\t'], " ");
    let reason = match reason.char_indices().nth(REASON_WIDTH) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason,
    };
    format!(
        "{}  {} {}/{}  status {}  {reason}\n  {}",
        text("timestamp"),
        text("topic"),
        letter["partition"],
        letter["offset"],
        letter["status"],
        text("id"),
    )
}

fn write_reasons(out: &mut impl std::io::Write, reasons: &Value) -> std::io::Result<()> {
    for reason in reasons.as_array().into_iter().flatten() {
        let text = reason["reason"].as_str().unwrap_or_default();
        writeln!(out, "{:>8}  status {:<3}  {text}", reason["count"].as_u64().unwrap_or(0), reason["status"])?;
    }
    Ok(())
}

async fn show(client: &reqwest::Client, pipeline: &Pipeline, id: String, json: bool) -> anyhow::Result<()> {
    let answer = pipeline.server.get(client, &pipeline.path()?, &[("id", id)]).await?;
    let letter = &answer["letters"][0];
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{letter}")?;
        return Ok(());
    }
    for name in
        ["id", "reason", "status", "topic", "partition", "offset", "timestamp", "pipeline", "generation", "size"]
    {
        let value = &letter[name];
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "{name:<12}{text}")?;
    }
    writeln!(out)?;
    match letter["originalBase64"].as_str() {
        Some(encoded) => out.write_all(&BASE64.decode(encoded).context("the record can't be decoded")?)?,
        None => out.write_all(letter["original"].as_str().unwrap_or_default().as_bytes())?,
    }
    writeln!(out)?;
    Ok(())
}

/// What became of letters, in all answers.
#[derive(Default)]
struct Sum {
    counts: BTreeMap<&'static str, u64>,
    refusals: BTreeMap<(String, u64), u64>,
}

const OUTCOMES: [&str; 5] = ["indexed", "duplicate", "filtered", "refused", "unsettled"];

impl Sum {
    fn add(&mut self, answer: &Value) {
        for name in OUTCOMES {
            *self.counts.entry(name).or_default() += answer[name].as_u64().unwrap_or(0);
        }
        for refusal in answer["refusals"].as_array().into_iter().flatten() {
            let reason = refusal["reason"].as_str().unwrap_or_default().to_owned();
            *self.refusals.entry((reason, refusal["status"].as_u64().unwrap_or(0))).or_default() +=
                refusal["count"].as_u64().unwrap_or(0);
        }
    }

    fn refusals(&self) -> Value {
        let mut refusals: Vec<_> = self.refusals.iter().collect();
        refusals.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let refusal = |((reason, status), count): (&(String, u64), &u64)| json!({"reason": reason, "status": status, "count": count});
        refusals.into_iter().map(refusal).collect()
    }
}

async fn redrive(
    client: &reqwest::Client,
    which: &Which,
    id: Option<String>,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let path = format!("{}/redrive", which.of.path()?);
    let mut body = json!({
        "reason": which.reason, "status": which.status, "from": which.from, "to": which.to, "id": id, "dryRun": dry_run,
    });
    let mut sum = Sum::default();
    let mut out = std::io::stdout().lock();
    loop {
        let answer = which.of.server.post(client, &path, &body).await;
        let answer = answer.with_context(|| format!("could not go on; so far: {}", text(&sum)))?;
        if dry_run {
            if json {
                writeln!(out, "{answer}")?;
            } else {
                writeln!(out, "{} dead letters would be sent again", answer["matched"])?;
                write_reasons(&mut out, &answer["reasons"])?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        sum.add(&answer);
        if answer["cursor"].is_null() {
            break;
        }
        body["cursor"] = answer["cursor"].clone();
    }
    if json {
        let mut answer = json!({"refusals": sum.refusals()});
        sum.counts.iter().for_each(|(name, count)| answer[*name] = (*count).into());
        writeln!(out, "{answer}")?;
    } else {
        writeln!(out, "{}", text(&sum))?;
        write_reasons(&mut out, &sum.refusals())?;
    }
    let count = |name| sum.counts.get(name).copied().unwrap_or(0);
    Ok(if count("refused") + count("unsettled") == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(sum: &Sum) -> String {
    let count = |name| sum.counts.get(name).copied().unwrap_or(0);
    let mut text = format!(
        "indexed {}, duplicate {}, refused again {}, filtered {}",
        count("indexed"),
        count("duplicate"),
        count("refused"),
        count("filtered")
    );
    if count("unsettled") > 0 {
        text.push_str(&format!(", not settled {} (send them once more)", count("unsettled")));
    }
    text
}
