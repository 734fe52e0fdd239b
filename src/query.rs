//! `taffrail query '…'`: one value, or one for each set of labels.

use std::process::ExitCode;

use serde_json::Value;

use crate::client::Server;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The query, such as 'rate error_count service=api by host'
    query: String,
    /// The window that the function looks back over
    #[arg(long, short, default_value = "5m")]
    duration: String,
    #[command(flatten)]
    server: Server,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let parameters = [("query", args.query), ("duration", args.duration)];
    let answer = args.server.get(&reqwest::Client::new(), "metrics/query", &parameters).await?;
    print(&answer);
    Ok(ExitCode::SUCCESS)
}

#[allow(clippy::print_stdout)] // What was asked for.
fn print(answer: &Value) {
    let number = |value: &Value| value.as_f64().map_or_else(|| "no data".to_owned(), |value| value.to_string());
    let Some(series) = answer["series"].as_array() else {
        println!("{}", number(&answer["value"]));
        return;
    };
    for one in series {
        let labels = one["labels"].as_object().into_iter().flatten();
        let labels: Vec<String> =
            labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
        println!("{}\t{}", labels.join(" "), number(&one["value"]));
    }
    if series.is_empty() {
        println!("no data");
    }
}
