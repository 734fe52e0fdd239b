//! The two servers, one test at a time.

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use reqwest::{Certificate, Client, Identity, Url};
use serde_json::{Value, json};
use taffrail_logstore::Record;
use taffrail_logstore::elasticsearch::{Auth, ElasticsearchOptions, ElasticsearchStore};
use tokio::sync::{Mutex, MutexGuard};

/// 2024-08-16T12:00:00Z.
pub const NOON: i64 = 1_723_809_600_000;
pub const DAY: i64 = 86_400_000;

static ONE_BY_ONE: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Elasticsearch,
    OpenSearch,
}

/// A server, and the beginning of the names of a test's indices there.
pub struct Server {
    pub kind: Kind,
    pub index: String,
    client: Client,
    _alone: MutexGuard<'static, ()>,
}

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need real servers; run them by `cargo xtask test`, or start some by `cargo xtask servers`")
    })
}

pub fn basic(user: &str, password: &str) -> Auth {
    Auth::Basic { user: user.into(), password: password.into() }
}

impl Server {
    pub async fn new(kind: Kind, name: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let alone = ONE_BY_ONE.lock().await;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let index = format!("t{time}-{}-{}-{name}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut client = Client::builder();
        if kind == Kind::OpenSearch {
            client = client.add_root_certificate(Certificate::from_pem(&ca()).unwrap());
            client = client.identity(Identity::from_pem(&client_certificate()).unwrap());
        }
        Self { kind, index, client: client.build().unwrap(), _alone: alone }
    }

    fn url(&self) -> Url {
        Url::parse(&variable(match self.kind {
            Kind::Elasticsearch => "TAFFRAIL_TEST_ELASTICSEARCH",
            Kind::OpenSearch => "TAFFRAIL_TEST_OPENSEARCH",
        }))
        .unwrap()
    }

    /// Options of somebody who may do everything.
    pub fn options(&self) -> ElasticsearchOptions {
        let options = ElasticsearchOptions::new(vec![self.url()], &self.index);
        match self.kind {
            Kind::Elasticsearch => options,
            Kind::OpenSearch => ElasticsearchOptions {
                auth: basic("admin", "changeme"),
                ca: Some(ca()),
                certificate: Some(client_certificate()),
                ..options
            },
        }
    }

    pub fn store(&self) -> ElasticsearchStore {
        ElasticsearchStore::new(self.options()).unwrap()
    }

    pub async fn request(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let mut request = self.client.request(method.parse().unwrap(), self.url().join(path).unwrap());
        if self.kind == Kind::OpenSearch {
            request = request.basic_auth("admin", Some("changeme"));
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Sends a request about the test's indices, which must succeed.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.request(method, &format!("{}{path}", self.index), body).await;
        assert!(status < 300, "{status}: {answer}");
        answer
    }

    /// Changes a setting of the cluster.
    pub async fn set(&self, name: &str, value: Value) {
        let (status, answer) = self.request("PUT", "_cluster/settings", json!({"persistent": {name: value}})).await;
        assert_eq!(status, 200, "{answer}");
    }
}

/// The certificate of the authority that signs OpenSearch's.
fn ca() -> Vec<u8> {
    std::fs::read(variable("TAFFRAIL_TEST_OPENSEARCH_CA")).unwrap()
}

/// A certificate that OpenSearch takes from its clients, and its key.
fn client_certificate() -> Vec<u8> {
    let beside = |name: &str| Path::new(&variable("TAFFRAIL_TEST_OPENSEARCH_CA")).with_file_name(name);
    ["client.pem", "client.key"].iter().flat_map(|name| std::fs::read(beside(name)).unwrap()).collect()
}

/// A log at a time.
pub fn log(id: &str, time: i64, mut log: Value) -> Record {
    log["timestamp"] = jiff::Timestamp::from_millisecond(time).unwrap().to_string().into();
    Record { id: id.to_owned(), timestamp: time, source: Bytes::from(log.to_string()) }
}

/// A plain log.
pub fn plain(id: &str, time: i64) -> Record {
    log(id, time, json!({"level": "info", "message": "hello", "service": "api", "host": "h", "tags": {}, "fields": {}}))
}
