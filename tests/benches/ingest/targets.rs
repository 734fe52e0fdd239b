//! What Taffrail is to reach, beside what it has reached.

use std::fmt::Write as _;

use anyhow::Result;

use crate::contenders::Contender;
use crate::entries::Size;
use crate::measure::{Kind, Measured};
use crate::report::{Table, thousands};

const TIMES_FLOOR: f64 = 2.0;
const OF_BEST_PEER: f64 = 0.3;
const RATE: f64 = 500_000.0;
const MEMORY: f64 = 128.0;
const DERIVED: f64 = 1.4;
const SHARE: f64 = 0.1;

/// A row: the target, the figure as a text, and whether it is met; none where something was not measured.
type Target = (String, Option<(String, bool)>);

fn rate(run: &Measured) -> f64 {
    run.rate
}

fn cpu(run: &Measured) -> f64 {
    run.own.cpu
}

fn memory(run: &Measured) -> f64 {
    run.own.memory
}

/// The figures of all peers.
fn peers(table: &Table, figure: impl Fn(&Measured) -> f64 + Copy) -> Vec<f64> {
    let rows = table.rows.iter().filter(|row| row.contender.is_peer());
    rows.filter_map(|row| table.figure(row.contender, figure)).collect()
}

fn least(figures: Vec<f64>) -> Option<f64> {
    figures.into_iter().min_by(f64::total_cmp)
}

/// The targets with a table's figures.
fn of(table: &Table) -> Vec<Target> {
    let ours = |figure: fn(&Measured) -> f64| table.figure(Contender::Taffrail, figure);
    if table.kind == Kind::Elasticsearch {
        let fastest = peers(table, rate).into_iter().max_by(f64::total_cmp);
        let share = |run: &Measured| run.own.cpu / (run.own.cpu + run.elasticsearch.unwrap_or(f64::NAN));
        return vec![
            (
                "with real Elasticsearch no peer is faster: rate of the fastest peer's".to_owned(),
                ours(rate).zip(fastest).map(|(ours, peer)| (format!("{:.2}", ours / peer), ours >= peer)),
            ),
            (
                format!("ingestion's share of its own and Elasticsearch's CPU, under {:.0}%", SHARE * 100.0),
                table.figure(Contender::Taffrail, share).map(|share| (format!("{:.1}%", share * 100.0), share < SHARE)),
            ),
        ];
    }
    vec![
        (
            format!("CPU per event of the floor's, at most {TIMES_FLOOR:.1}"),
            ours(cpu)
                .zip(table.figure(Contender::Floor, cpu))
                .map(|(ours, floor)| (format!("{:.2}", ours / floor), ours <= TIMES_FLOOR * floor)),
        ),
        (
            format!("CPU per event of the best peer's, at most {OF_BEST_PEER:.1}"),
            ours(cpu)
                .zip(least(peers(table, cpu)))
                .map(|(ours, peer)| (format!("{:.2}", ours / peer), ours <= OF_BEST_PEER * peer)),
        ),
        (
            format!("events a second, at least {}", thousands(RATE)),
            ours(rate).map(|rate| (thousands(rate), rate >= RATE)),
        ),
        (
            format!("peak RSS, under {MEMORY:.0} MiB and below every peer's"),
            ours(memory).zip(least(peers(table, memory))).map(|(ours, peer)| {
                (format!("{ours:.0} MiB, the least of a peer {peer:.0} MiB"), ours < MEMORY && ours < peer)
            }),
        ),
        (
            format!("CPU with derived metrics of that without, under {DERIVED:.1}"),
            ours(cpu)
                .zip(table.figure(Contender::Derived, cpu))
                .map(|(without, with)| (format!("{:.2}", with / without), with < DERIVED * without)),
        ),
    ]
}

/// All targets, in Markdown. They are about entries of 300 bytes.
pub fn text(tables: &[Table]) -> Result<String> {
    let mut text =
        String::from("### Targets, with entries of 300 bytes\n\n| target | figure | |\n| --- | ---: | --- |\n");
    for (target, reached) in tables.iter().filter(|table| table.size == Size::Small).flat_map(of) {
        match reached {
            Some((figure, is_met)) => {
                writeln!(text, "| {target} | {figure} | {} |", if is_met { "met" } else { "missed" })?;
            }
            None => writeln!(text, "| {target} | not measured | |")?,
        }
    }
    text.push('\n');
    Ok(text)
}
