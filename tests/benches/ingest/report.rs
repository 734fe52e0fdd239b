//! The tables: printed, and written into the documentation.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use taffrail_tests::checkout;

use crate::contenders::Contender;
use crate::measure::Measured;

const PAGE: &str = "docs/benchmarks.md";
/// Between these the page is ours.
const MARKERS: [&str; 2] = ["<!-- ingest: written by the benchmark -->\n", "<!-- ingest: end -->"];

/// The runs of one contender.
#[derive(Debug)]
pub struct Row {
    pub contender: Contender,
    pub runs: Vec<Measured>,
}

impl Row {
    /// The middle one of all runs.
    pub fn median(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.runs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// What was measured with one topic and one sink.
#[derive(Debug)]
pub struct Table {
    pub title: String,
    pub rows: Vec<Row>,
}

impl Table {
    pub fn row(&self, contender: Contender) -> Option<&Row> {
        self.rows.iter().find(|row| row.contender == contender)
    }

    /// In Markdown.
    pub fn text(&self) -> Result<String> {
        let mut text = format!("### {}\n\n", self.title);
        text.push_str(
            "| | events/s | CPU s per million | peak RSS MiB | rate to Taffrail's | CPU to Taffrail's | doubled |\n",
        );
        text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
        let ours = self.row(Contender::Taffrail);
        for row in &self.rows {
            let (rate, cpu) = (row.median(|run| run.rate), row.median(|run| run.cpu));
            let ratio = |figure: f64, ours: Option<f64>| match ours {
                Some(ours) => format!("{:.2}", figure / ours),
                None => "–".to_owned(),
            };
            writeln!(
                text,
                "| {} | {} | {cpu:.2} | {:.0} | {} | {} | {} |",
                row.contender.name(),
                thousands(rate),
                row.median(|run| run.memory),
                ratio(rate, ours.map(|ours| ours.median(|run| run.rate))),
                ratio(cpu, ours.map(|ours| ours.median(|run| run.cpu))),
                row.median(|run| run.doubled as f64),
            )?;
        }
        text.push('\n');
        Ok(text)
    }
}

fn thousands(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Replaces what stands between the markers.
pub fn write(text: &str) -> Result<()> {
    let file = checkout(PAGE);
    let page = fs::read_to_string(&file).with_context(|| format!("can't read {PAGE}"))?;
    let (before, rest) = page.split_once(MARKERS[0]).with_context(|| format!("{PAGE} has no {}", MARKERS[0]))?;
    let (_, after) = rest.split_once(MARKERS[1]).with_context(|| format!("{PAGE} has no {}", MARKERS[1]))?;
    fs::write(&file, [before, MARKERS[0], "\n", text, MARKERS[1], after].concat())
        .with_context(|| format!("can't write {PAGE}"))
}
