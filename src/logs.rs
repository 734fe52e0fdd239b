//! `taffrail logs '…'`: logs that match, oldest first, and with `-f` those that come.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::client::Server;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Logs become searchable within two seconds, so a follower looks back a little further.
const LOOK_BACK_SECONDS: i64 = 10;

/// Lines that a follower takes at once.
const FOLLOW_LIMIT: u32 = 5_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to look for, such as 'level:error AND timeout'
    #[arg(default_value = "")]
    query: String,
    /// At most so many lines
    #[arg(long, short = 'n', default_value_t = 100)]
    limit: u32,
    /// Not before this time: Unix seconds or RFC 3339
    #[arg(long)]
    from: Option<String>,
    /// Go on with the lines that come
    #[arg(long, short)]
    follow: bool,
    /// Print the whole entries as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = reqwest::Client::new();
    let mut printed: HashSet<String> = HashSet::new();
    let mut from = args.from.clone();
    let mut limit = args.limit;
    loop {
        let mut parameters = vec![("q", args.query.clone()), ("limit", limit.to_string())];
        parameters.extend(from.map(|from| ("from", from)));
        let answer = args.server.get(&client, "logs/search", &parameters).await?;
        // Looks overlap: what the last one found need not be printed again.
        let mut found = HashSet::new();
        for log in answer["logs"].as_array().into_iter().flatten().rev() {
            let text = log.to_string();
            if !printed.contains(&text) {
                print(log, args.json);
            }
            found.insert(text);
        }
        printed = found;
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(LOOK_EVERY).await;
        from = Some((Timestamp::now().as_second() - LOOK_BACK_SECONDS).to_string());
        limit = FOLLOW_LIMIT;
    }
}

#[allow(clippy::print_stdout)] // What was asked for.
fn print(log: &Value, json: bool) {
    if json {
        println!("{log}");
        return;
    }
    let text = |name: &str| log[name].as_str().unwrap_or_default().to_owned();
    println!("{} {:<5} {} {}", text("timestamp"), text("level").to_uppercase(), text("service"), text("message"));
}
