//! The other sink: a real Elasticsearch.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use taffrail_tests::elasticsearch;

use crate::contenders::Contender;
use crate::entries::{DAY, Topic, write};

/// Documents that are looked at.
const SAMPLE: usize = 1_000;

/// Host and port.
pub fn address() -> String {
    elasticsearch::address().trim_start_matches("http://").to_owned()
}

fn index() -> String {
    format!("bench-{DAY}")
}

async fn ask(method: Method, path: &str, body: &Value) -> Result<Value> {
    let (status, answer) = elasticsearch::request(method, path, body).await?;
    ensure!(status < 300 || status == 404, "Elasticsearch answered {path} with {status}: {answer}");
    Ok(answer)
}

/// Removes what was written. The template stays.
pub async fn clear() -> Result<()> {
    ask(Method::DELETE, &index(), &Value::Null).await.map(drop)
}

/// How many documents have been written.
pub async fn written() -> Result<u64> {
    let path = format!("{}/_stats/indexing?filter_path=_all.primaries.indexing.index_total", index());
    let answer = ask(Method::GET, &path, &Value::Null).await?;
    Ok(answer["_all"]["primaries"]["indexing"]["index_total"].as_u64().unwrap_or(0))
}

/// Its processor time so far.
pub async fn processor_time() -> Result<Duration> {
    let path = "_nodes/stats/process?filter_path=nodes.*.process.cpu.total_in_millis";
    let answer = ask(Method::GET, path, &Value::Null).await?;
    let node = answer["nodes"].as_object().and_then(|nodes| nodes.values().next()).context("there is no node")?;
    let millis = node["process"]["cpu"]["total_in_millis"].as_u64().context("it does not say its processor time")?;
    Ok(Duration::from_millis(millis))
}

/// Makes sure that every entry is there as it must be, and gives how many documents are too many.
pub async fn verify(contender: Contender, topic: &Topic) -> Result<u64> {
    let count = elasticsearch::count(&index()).await?;
    ensure!(count >= topic.entries, "there are only {count} documents");
    let answer = ask(Method::POST, &format!("{}/_search", index()), &json!({"size": SAMPLE})).await?;
    let hits = answer["hits"]["hits"].as_array().map_or(&[][..], Vec::as_slice);
    ensure!(!hits.is_empty(), "there is no document to look at");
    let mut text = String::new();
    for document in hits.iter().map(|hit| &hit["_source"]) {
        let number = document.pointer("/fields/seq").or_else(|| document.pointer("/log/fields_seq"));
        let number = number.and_then(Value::as_f64).with_context(|| format!("{document} is no entry"))?;
        text.clear();
        write(topic.size, number as u64, &mut text)?;
        let entry: Value = serde_json::from_str(&text)?;
        ensure!(contender.is_result(entry, document), "{document} is not what {text} must become");
    }
    Ok(count - topic.entries)
}
