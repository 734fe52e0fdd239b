//! The tables: printed, and written into the documentation.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use taffrail_tests::checkout;

use crate::contenders::Contender;
use crate::entries::Size;
use crate::measure::{Kind, Measured};

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
    /// The middle one of all runs, or what is between the two in the middle.
    pub fn median(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.runs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let middle = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        f64::midpoint(middle(figures.len().saturating_sub(1) / 2), middle(figures.len() / 2))
    }
}

/// What was measured with one topic and one sink.
#[derive(Debug)]
pub struct Table {
    pub size: Size,
    pub kind: Kind,
    pub title: String,
    pub rows: Vec<Row>,
}

impl Table {
    /// The runs of a contender that has any.
    pub fn row(&self, contender: Contender) -> Option<&Row> {
        self.rows.iter().find(|row| row.contender == contender && !row.runs.is_empty())
    }

    /// The figure of a contender.
    pub fn figure(&self, contender: Contender, figure: impl Fn(&Measured) -> f64) -> Option<f64> {
        self.row(contender).map(|row| row.median(figure))
    }

    /// In Markdown.
    pub fn text(&self) -> Result<String> {
        let mut text = format!("### {}\n\n", self.title);
        text.push_str("| | events/s | of Taffrail's | CPU s per million | of Taffrail's | peak RSS MiB | doubled |\n");
        text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
        let [rate, cpu] = [|run: &Measured| run.rate, |run: &Measured| run.own.cpu];
        let [our_rate, our_cpu] = [rate, cpu].map(|figure| self.figure(Contender::Taffrail, figure));
        for row in &self.rows {
            let name = row.contender.name();
            if row.runs.is_empty() {
                writeln!(text, "| {name} | not measured | | | | | |")?;
                continue;
            }
            let (rate, cpu) = (row.median(rate), row.median(cpu));
            writeln!(
                text,
                "| {name} | {} | {} | {cpu:.2} | {} | {:.0} | {} |",
                thousands(rate),
                ratio(rate, our_rate),
                ratio(cpu, our_cpu),
                row.median(|run| run.own.memory),
                thousands(row.median(|run| run.doubled as f64)),
            )?;
            if row.runs.iter().all(|run| run.metrics.is_some()) {
                let cpu = row.median(|run| run.metrics.map_or(f64::NAN, |usage| usage.cpu));
                let memory = row.median(|run| run.metrics.map_or(f64::NAN, |usage| usage.memory));
                writeln!(
                    text,
                    "| … and its metrics worker | | | {cpu:.2} | {} | {memory:.0} | |",
                    ratio(cpu, our_cpu)
                )?;
            }
        }
        if let Some(taken) = self.figure(Contender::Taffrail, |run| run.elasticsearch.unwrap_or(f64::NAN))
            && self.kind == Kind::Elasticsearch
        {
            writeln!(
                text,
                "\nElasticsearch itself took {taken:.1} s of processor time per million entries of Taffrail's."
            )?;
        }
        text.push('\n');
        Ok(text)
    }
}

fn ratio(figure: f64, ours: Option<f64>) -> String {
    ours.map_or_else(|| "–".to_owned(), |ours| format!("{:.2}", figure / ours))
}

/// With commas.
pub fn thousands(figure: f64) -> String {
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
