//! What tests ask Elasticsearch.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::eventually;

/// The node's address.
#[must_use]
pub fn address() -> String {
    crate::variable("TAFFRAIL_TEST_ELASTICSEARCH")
}

/// Documents on a page of [`documents`].
const PAGE: usize = 10_000;

/// Sends a request, and gives the answer whatever its status is.
///
/// # Errors
/// When there is no answer.
pub async fn request(method: Method, path: &str, body: &Value) -> Result<(u16, Value)> {
    let mut request = Client::new().request(method, format!("{}/{path}", address()));
    if !body.is_null() {
        request = request.json(body);
    }
    let response = request.send().await.with_context(|| format!("no answer to {path}"))?;
    Ok((response.status().as_u16(), response.json().await.unwrap_or_default()))
}

/// How many documents there are in an index, or in all whose names fit a pattern; none where there is no index.
///
/// # Errors
/// When Elasticsearch does not say.
pub async fn count(index: &str) -> Result<u64> {
    request(Method::POST, &format!("{index}/_refresh?ignore_unavailable=true"), &Value::Null).await?;
    let (_, answer) = request(Method::GET, &format!("{index}/_count?ignore_unavailable=true"), &Value::Null).await?;
    Ok(answer["count"].as_u64().unwrap_or(0))
}

/// How long documents may take to arrive on a busy machine.
const ARRIVE_WITHIN: Duration = Duration::from_secs(120);

/// Waits until the indices whose names fit a pattern have so many documents, and gives how many.
pub async fn at_least(pattern: &str, documents: u64) -> u64 {
    eventually(ARRIVE_WITHIN, || async {
        let count = count(pattern).await.map_err(|error| format!("{error:#}"))?;
        if count >= documents { Ok(count) } else { Err(format!("only {count} of {documents} documents")) }
    })
    .await
}

/// Every document of the indices whose names fit a pattern, with its index: `{_index, _id, _source}`.
///
/// # Errors
/// When Elasticsearch does not give them.
pub async fn documents(index: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    each_document(index, |document| found.push(document)).await?;
    Ok(found)
}

/// The same, one by one.
///
/// # Errors
/// When Elasticsearch does not give them.
pub async fn each_document(index: &str, mut take: impl FnMut(Value)) -> Result<()> {
    request(Method::POST, &format!("{index}/_refresh"), &Value::Null).await?;
    let (_, opened) = request(Method::POST, &format!("{index}/_pit?keep_alive=1m"), &Value::Null).await?;
    let mut id = opened["id"].clone();
    let mut after = Value::Null;
    loop {
        let mut body = json!({
            "size": PAGE, "pit": {"id": id, "keep_alive": "1m"}, "sort": [{"_shard_doc": "asc"}], "track_total_hits": false,
        });
        if !after.is_null() {
            body["search_after"] = after;
        }
        let (status, mut answer) = request(Method::POST, "_search", &body).await?;
        anyhow::ensure!(status == 200, "a search was answered by {status}: {answer}");
        id = answer["pit_id"].take();
        let Some(Value::Array(hits)) = answer.pointer_mut("/hits/hits").map(Value::take) else {
            anyhow::bail!("no hits in {answer}");
        };
        after = hits.last().map(|hit| hit["sort"].clone()).unwrap_or_default();
        let is_last = hits.len() < PAGE;
        hits.into_iter().for_each(&mut take);
        if is_last {
            break;
        }
    }
    request(Method::DELETE, "_pit", &json!({"id": id})).await?;
    Ok(())
}

/// Indices whose names begin with a prefix; they go when this does.
pub struct Indices(pub String);

impl Drop for Indices {
    fn drop(&mut self) {
        let prefix = self.0.clone();
        // A destructor can't wait for the runtime that it is called in.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                // Elasticsearch deletes indices by their full names only.
                let path = format!("{prefix}-*/_settings?expand_wildcards=all");
                let (_, found) = request(Method::GET, &path, &Value::Null).await?;
                let names: Vec<_> = found.as_object().into_iter().flat_map(|found| found.keys().cloned()).collect();
                if !names.is_empty() {
                    request(Method::DELETE, &names.join(","), &Value::Null).await?;
                }
                request(Method::DELETE, &format!("_index_template/taffrail-{prefix}*"), &Value::Null).await?;
                anyhow::Ok(())
            })
        });
        // What stays behind goes with the server.
        let _ = cleaning.join();
    }
}
