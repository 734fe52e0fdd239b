//! Whether everything is where it must be, once.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use reqwest::Method;
use serde_json::Value;

use super::load::{DAYS, Kind, Load};
use super::stage::METRICS_PORT;
use super::truth::{Expected, SHARES, Truth};
use crate::elasticsearch;

/// Problems that are told one by one.
const TOLD: usize = 30;

/// Whether entries of every day have arrived.
pub(super) async fn has_begun(load: &Load) -> Result<()> {
    let path = format!("_cat/indices/{}-2*?format=json&expand_wildcards=all", load.name);
    let (_, answer) = elasticsearch::request(Method::GET, &path, &Value::Null).await?;
    let indices = answer.as_array().map_or(0, Vec::len) as u64;
    // With that of the day of which nothing is taken.
    ensure!(indices == DAYS + 1, "there are {indices} indices");
    Ok(())
}

/// What all workers say of themselves: an error while it is not what it must be. Gives how many records came again.
pub(super) fn account(statuses: &[(String, Value)], truth: &Truth, expected: &Expected) -> Result<u64> {
    let (mut owners, mut sums): (BTreeMap<u64, String>, [u64; 5]) = (BTreeMap::new(), [0; 5]);
    for (name, status) in statuses {
        for partition in status["partitions"].as_array().into_iter().flatten() {
            let number = partition["partition"].as_u64().context("a partition without a number")?;
            if let Some(other) = owners.insert(number, name.clone()) {
                bail!("partition {number} is of {other} and of {name}");
            }
            let parts = ["indexed", "deduplicated", "deadLettered", "filtered", "lost"];
            let counts = parts.map(|part| partition[part].as_u64().unwrap_or(0));
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            let consumed: u64 = counts[..4].iter().sum();
            let due = truth.share(number).with_context(|| format!("there is no partition {number}"))?;
            ensure!(
                consumed == due && partition["lag"] == 0,
                "partition {number} has accounted for {consumed} of {due} records, {name} says: {partition}, {}",
                status["conditions"][0]
            );
        }
        let parts = ["indexed", "deduplicated", "deadLettered", "filtered"];
        let sum: u64 = parts.iter().map(|part| status[*part].as_u64().unwrap_or(0)).sum();
        ensure!(status["consumed"] == sum, "{name} has consumed {}, and accounts for {sum}", status["consumed"]);
        ensure!(status["conditions"][0]["status"] == "True", "{name} is not ready: {}", status["conditions"][0]);
    }
    ensure!(owners.len() == SHARES, "partitions are of nobody: {owners:?}");
    let [indexed, deduplicated, letters, filtered, lost] = sums;
    let account = [indexed + deduplicated, letters, filtered, lost];
    let due = [expected.entries, expected.letters, expected.dropped, 0];
    ensure!(account == due, "[stored, dead letters, filtered, lost] is {account:?}, and must be {due:?}");
    Ok(deduplicated)
}

/// How many documents there are, of entries and of dead letters.
pub(super) async fn counts(load: &Load, expected: &Expected) -> Result<()> {
    let name = &load.name;
    let entries = elasticsearch::count(&format!("{name}-2*")).await?;
    let letters = elasticsearch::count(&format!("{name}-dead-letter")).await?;
    let (have, due) = ([entries, letters], [expected.entries, expected.letters]);
    ensure!(have == due, "[entries, dead letters] in Elasticsearch are {have:?}, and must be {due:?}");
    Ok(())
}

/// What was derived: an error while it is not what it must be.
pub(super) async fn counted(expected: &Expected) -> Result<()> {
    let query = "sum%20log_count%20by%20level&window=10d";
    let address = format!("http://127.0.0.1:{METRICS_PORT}/api/v1/query?query={query}");
    let answer: Value = reqwest::get(address).await?.json().await?;
    let series = answer["data"]["result"].as_array().with_context(|| format!("no result in {answer}"))?;
    for (level, due) in &expected.levels {
        let found = series.iter().find(|series| series["metric"]["level"] == *level);
        let value = found.and_then(|series| series["value"][1].as_str()).and_then(|text| text.parse::<f64>().ok());
        ensure!(value == Some(*due as f64), "derived of level {level}: {value:?}, and must be {due}");
    }
    ensure!(series.len() == expected.levels.len(), "derived of other levels: {series:?}");
    Ok(())
}

struct Findings<'a> {
    load: &'a Load,
    truth: &'a Truth,
    /// How often each record was found, by its number.
    found: Vec<u8>,
    letters: HashMap<Vec<u8>, u64>,
    problems: Vec<String>,
    count: usize,
}

impl<'a> Findings<'a> {
    fn new(load: &'a Load, truth: &'a Truth) -> Self {
        let is_letter = |n: &u64| matches!(load.kind(*n), Kind::Refused | Kind::Rubbish);
        let letters = (0..truth.produced()).filter(is_letter).map(|n| (load.record(n), n)).collect();
        let found = (0..truth.produced()).map(|_| 0).collect();
        Self { load, truth, found, letters, problems: Vec::new(), count: 0 }
    }

    /// Looks at a document.
    fn take(&mut self, document: &Value) {
        let (index, id) = (document["_index"].as_str().unwrap_or_default(), document["_id"].as_str());
        let at = format!("{index}/{}", id.unwrap_or_default());
        if index.strip_prefix(&self.load.name) == Some("-dead-letter") {
            self.letter(&at, &document["_source"]);
        } else {
            self.entry(&at, index, &document["_source"]);
        }
    }

    /// Fails with everything that was found, after the last document.
    fn end(mut self) -> Result<()> {
        for (n, found) in (0..).zip(std::mem::take(&mut self.found)) {
            let (kind, due) = (self.load.kind(n), self.truth.copies(n));
            if kind != Kind::Dropped && found < due {
                let (missing, places) = (due - found, self.truth.places(n));
                self.problem(format!("record {n} ({kind:?}, {places}) is missing {missing} times"));
            }
        }
        ensure!(self.count == 0, "{} problems:\n{}", self.count, self.problems.join("\n"));
        Ok(())
    }

    fn problem(&mut self, text: String) {
        self.count += 1;
        if self.problems.len() < TOLD {
            self.problems.push(text);
        }
    }

    fn note(&mut self, n: u64, at: &str) -> bool {
        let Some(found) = usize::try_from(n).ok().and_then(|n| self.found.get_mut(n)) else {
            self.problem(format!("{at}: record {n} was never produced"));
            return false;
        };
        *found = found.saturating_add(1);
        let found = *found;
        if found > self.truth.copies(n) {
            let places = self.truth.places(n);
            self.problem(format!("{at}: record {n} ({places}) is there {found} times"));
        }
        true
    }

    fn entry(&mut self, at: &str, index: &str, source: &Value) {
        let Some(n) = source["fields"]["n"].as_u64() else {
            return self.problem(format!("{at}: no entry of ours: {source}"));
        };
        if !self.note(n, at) {
            return;
        }
        let kind = self.load.kind(n);
        if !matches!(kind, Kind::Canonical | Kind::Mapped) {
            self.problem(format!("{at}: record {n} is {kind:?}, and not to be there"));
        } else if index != self.load.index(n) {
            self.problem(format!("{at}: record {n} belongs into {}", self.load.index(n)));
        } else if kind == Kind::Canonical {
            if serde_json::from_slice::<Value>(&self.load.record(n)).ok().as_ref() != Some(source) {
                self.problem(format!("{at}: record {n} has changed: {source}"));
            }
        } else if source["message"] != self.load.message(n) || source["level"] != Load::level(n) {
            self.problem(format!("{at}: record {n} has changed: {source}"));
        }
    }

    fn letter(&mut self, at: &str, source: &Value) {
        let original = match (source["original"].as_str(), source["original_base64"].as_str()) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(text)) => base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default(),
            _ => Vec::new(),
        };
        let Some(n) = self.letters.get(&original).copied() else {
            return self.problem(format!("{at}: no dead letter of ours: {source}"));
        };
        self.note(n, at);
        let from = (source["partition"].as_u64(), source["offset"].as_u64());
        let is_there = from.0.zip(from.1).and_then(|(partition, offset)| self.truth.at(partition, offset)) == Some(n);
        if !is_there || source["topic"] != self.load.name.as_str() {
            self.problem(format!("{at}: record {n} was at {}, and not where the letter says", self.truth.places(n)));
        }
    }
}

/// Looks at every document there is, and gives how many.
pub(super) async fn documents(load: &Load, truth: &Truth) -> Result<u64> {
    let mut findings = Findings::new(load, truth);
    let mut documents = 0;
    elasticsearch::each_document(&format!("{}-*", load.name), |document| {
        documents += 1;
        findings.take(&document);
    })
    .await?;
    findings.end()?;
    Ok(documents)
}

#[cfg(test)]
mod tests;
