//! What the tests share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::Url;
use serde_json::Value;
use taffrail_logstore::elasticsearch::{ElasticsearchOptions, ElasticsearchStore};

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need a real Elasticsearch; run them by `cargo xtask test`, or start one by `cargo xtask servers`")
    })
}

/// The node's address.
pub fn address() -> Url {
    Url::parse(&variable("TAFFRAIL_TEST_ELASTICSEARCH")).unwrap()
}

/// A name that no other test has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("t{time}-{}-{}-{name}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A store on indices of its own, which go with it.
pub struct Scratch {
    pub index: String,
    pub store: ElasticsearchStore,
}

impl Scratch {
    pub fn new(name: &str) -> Self {
        let index = unique(name);
        let store = ElasticsearchStore::new(ElasticsearchOptions::new(vec![address()], &index)).unwrap();
        Self { index, store }
    }

    /// Waits until what is written is found.
    pub async fn settle(&self) {
        self.send("POST", "-*/_refresh", Value::Null).await;
    }

    /// Sends a request about the indices whose names begin with ours.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> Value {
        request(method, &format!("{}{path}", self.index), body).await.1
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let index = self.index.clone();
        // A destructor can't wait for the runtime that it is called in.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                // Elasticsearch deletes indices by their full names only.
                let (_, found) =
                    request("GET", &format!("{index}-*/_settings?expand_wildcards=all"), Value::Null).await;
                let names: Vec<_> = found.as_object().into_iter().flat_map(|found| found.keys().cloned()).collect();
                for names in names.chunks(50) {
                    request("DELETE", &names.join(","), Value::Null).await;
                }
                request("DELETE", &format!("_index_template/taffrail-{index}*"), Value::Null).await;
            });
        });
        let _ = cleaning.join();
    }
}

/// Sends a request to the node.
pub async fn request(method: &str, path: &str, body: Value) -> (u16, Value) {
    let client = reqwest::Client::new();
    let mut request = client.request(method.parse().unwrap(), address().join(path).unwrap());
    if !body.is_null() {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}
