//! `taffrail`: one program for every job, one file for each of its commands.

mod check;
mod client;
mod convert;
mod crds;
mod dashboard;
mod dead_letters;
mod ingestion;
mod logs;
mod metrics;
mod objects;
mod operator;
mod pipelines;
mod query;
mod redrive;
mod rules;
mod standalone;
mod stores;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Logs from Kafka to Elasticsearch, metrics from logs, alerts on metrics, and a page to see it all.
#[derive(Parser)]
#[command(name = "taffrail", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Do the whole job in one process: take logs, keep them, measure them, watch the rules, show the page
    Standalone(standalone::Args),
    /// Run the controllers, on the cluster that KUBECONFIG or the pod's account names
    Operator(operator::Args),
    /// Run the worker of one pipeline
    Ingestion(ingestion::Args),
    /// Run the time series store
    Metrics(metrics::Args),
    /// Run the worker that evaluates rules
    Rules(rules::Args),
    /// Run the REST API and the page
    Dashboard(dashboard::Args),
    /// Print the custom resource definitions
    Crds(crds::Args),
    /// Find what is wrong in object files, all of it at once
    Check(check::Args),
    /// Turn classic configuration and Prometheus rules into objects
    Convert(convert::Args),
    /// Ask a running Taffrail for a value
    Query(query::Args),
    /// Search in the logs of a running Taffrail
    Logs(logs::Args),
    /// Look at what a pipeline could not read or store, and send it again
    DeadLetters(dead_letters::Args),
}

fn main() -> ExitCode {
    // Two parts of the tree would otherwise have to agree on one at their first connection.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        complain("another TLS provider was installed before");
        return ExitCode::FAILURE;
    }
    let result = match Cli::parse().command {
        Command::Standalone(args) => standalone::run(args),
        Command::Operator(args) => operator::run(args),
        Command::Ingestion(args) => ingestion::run(args),
        Command::Metrics(args) => metrics::run(args),
        Command::Rules(args) => rules::run(args),
        Command::Dashboard(args) => dashboard::run(args),
        Command::Crds(args) => crds::run(args),
        Command::Check(args) => check::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Query(args) => query::run(args),
        Command::Logs(args) => logs::run(args),
        Command::DeadLetters(args) => dead_letters::run(args),
    };
    result.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

#[allow(clippy::print_stderr)] // The last word of a command that failed.
fn complain(message: &str) {
    eprintln!("taffrail: {message}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
