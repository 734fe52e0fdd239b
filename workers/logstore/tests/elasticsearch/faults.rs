//! A server that is unwell, or not there. The false one gives the answers that it is told to give.

use std::time::{Duration, Instant};

use reqwest::Url;
use serde_json::json;
use taffrail_logstore::elasticsearch::{ElasticsearchOptions, ElasticsearchStore};
use taffrail_logstore::q::Query;
use taffrail_logstore::{LogStore, Obstacle, Outcome, SearchError, SearchRequest, TimeSpan, WriteError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::conformance::support::{NOON, plain};
use crate::support::{Scratch, address, unique};

/// How the false server answers a bulk request; everything else it answers as if all were well.
#[derive(Clone)]
enum Bulk {
    Status(u16, String),
    /// Closes the connection without a word.
    Reset,
    /// Closes it in the middle of the answer.
    Half,
    /// Never answers.
    Silence,
}

async fn false_server(bulk: Bulk) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, bulk.clone()));
        }
    });
    url
}

async fn serve(mut stream: TcpStream, bulk: Bulk) -> Option<()> {
    let mut received = Vec::new();
    loop {
        let (head, length) = loop {
            if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0").parse().ok()?;
                received.drain(..end + 4);
                break (head, length);
            }
            if stream.read_buf(&mut received).await.ok()? == 0 {
                return None;
            }
        };
        while received.len() < length {
            stream.read_buf(&mut received).await.ok()?;
        }
        received.drain(..length);
        let (status, body) = if head.starts_with("post /_bulk") {
            match &bulk {
                Bulk::Status(status, body) => (*status, body.clone()),
                Bulk::Reset => return None,
                Bulk::Half => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"errors\":").await.ok()?;
                    return None;
                }
                Bulk::Silence => return std::future::pending().await,
            }
        } else if head.starts_with("get / ") {
            (200, json!({"version": {"number": "9.0.0"}}).to_string())
        } else {
            (200, json!({"index_templates": [{"index_template": {"version": 1_000}}]}).to_string())
        };
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(body.as_bytes()).await.ok()?;
    }
}

fn store(urls: Vec<Url>) -> ElasticsearchStore {
    let mut options = ElasticsearchOptions::new(urls, unique("false"));
    options.request_timeout = Duration::from_millis(500);
    ElasticsearchStore::new(options).unwrap()
}

async fn write(bulk: Bulk) -> Result<Vec<Outcome>, WriteError> {
    store(vec![false_server(bulk).await]).write(&[plain("a", NOON), plain("b", NOON)].into()).await
}

/// An address where nobody listens.
async fn nobody() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
}

#[tokio::test]
async fn a_rejected_item_is_to_be_written_again_and_the_other_is_not() {
    let body = json!({"errors": true, "items": [
        {"create": {"status": 201}},
        {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}}},
    ]});
    let outcomes = write(Bulk::Status(200, body.to_string())).await.unwrap();
    let reason = "es_rejected_execution_exception: queue is full".to_owned();
    assert_eq!(outcomes, [Outcome::Indexed, Outcome::Retry { status: 429, reason }]);
}

#[tokio::test]
async fn requests_that_fail_as_a_whole_say_why() {
    let fault = |kind: &str| json!({"error": {"type": kind, "reason": "because"}}).to_string();
    let too_large = write(Bulk::Status(413, String::new())).await;
    assert!(matches!(too_large, Err(WriteError::TooLarge(_))), "{too_large:?}");
    let busy = write(Bulk::Status(503, fault("process_cluster_event_timeout_exception"))).await;
    assert!(matches!(&busy, Err(WriteError::Unavailable(text)) if text.contains("because")), "{busy:?}");
    let rejected = write(Bulk::Status(429, fault("circuit_breaking_exception"))).await;
    assert!(matches!(rejected, Err(WriteError::Unavailable(_))), "{rejected:?}");
    let refused = write(Bulk::Status(400, fault("illegal_argument_exception"))).await;
    assert!(matches!(refused, Err(WriteError::Refused(_))), "{refused:?}");
    for (status, page) in [(200, "<html>sign in</html>"), (400, "<html>bad request</html>"), (404, ""), (405, "no")] {
        let other = write(Bulk::Status(status, page.to_owned())).await;
        let is_said = |text: &str| text.contains("URL");
        assert!(
            matches!(&other, Err(WriteError::Stalled(Obstacle::Misconfigured, text)) if is_said(text)),
            "{status}: {other:?}"
        );
    }
}

#[tokio::test]
async fn broken_connections_are_no_outcome() {
    for bulk in [Bulk::Reset, Bulk::Half] {
        let result = write(bulk).await;
        assert!(matches!(result, Err(WriteError::Unavailable(_))), "{result:?}");
    }
    let begun = Instant::now();
    let result = write(Bulk::Silence).await;
    assert!(matches!(&result, Err(WriteError::Unavailable(text)) if text.contains("within")), "{result:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_node_that_is_not_there_is_said_quickly() {
    let store = store(vec![nobody().await, nobody().await]);
    let begun = Instant::now();
    let error = store.write(&[plain("a", NOON)].into()).await.unwrap_err();
    assert!(matches!(&error, WriteError::Unavailable(text) if text.contains("refused")), "{error}");
    let request = SearchRequest { query: Query::All, span: TimeSpan::default(), limit: 1, cursor: None };
    assert!(matches!(store.search(&request).await, Err(SearchError::Unavailable(_))));
    assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn the_next_node_stands_in_for_one_that_is_down() {
    let scratch = Scratch::new("failover");
    let unwell = false_server(Bulk::Status(503, String::new())).await;
    let options = ElasticsearchOptions::new(vec![nobody().await, unwell, address()], &scratch.index);
    let store = ElasticsearchStore::new(options).unwrap();
    for id in ["a", "b", "c", "d"] {
        assert_eq!(store.write(&[plain(id, NOON)].into()).await.unwrap(), [Outcome::Indexed]);
    }
    scratch.settle().await;
    assert_eq!(scratch.find("*").await, ["d", "c", "b", "a"]);
}

/// A way to the real server that can be cut: it takes connections on a port of its own.
struct Way {
    url: Url,
    task: tokio::task::JoinHandle<()>,
}

impl Way {
    async fn open(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                connections.spawn(async move {
                    let server = address();
                    let mut far =
                        TcpStream::connect((server.host_str().unwrap(), server.port().unwrap())).await.unwrap();
                    // An end of either side is the end of both.
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { url, task }
    }

    /// Cuts all connections in the midst of whatever they carry.
    async fn cut(self) -> u16 {
        self.task.abort();
        let _ = self.task.await;
        self.url.port().unwrap()
    }
}

#[tokio::test]
async fn a_node_may_go_and_come_back_while_logs_are_written() {
    let scratch = Scratch::new("nodes");
    let (first, second) = (Way::open(0).await, Way::open(0).await);
    let urls = vec![first.url.clone(), second.url.clone()];
    let store = ElasticsearchStore::new(ElasticsearchOptions::new(urls, &scratch.index)).unwrap();
    let write = async |from: u32| {
        for id in from..from + 20 {
            let outcomes = store.write(&[plain(&format!("l{id}"), NOON)].into()).await.unwrap();
            assert!(matches!(outcomes[..], [Outcome::Indexed | Outcome::Duplicate]), "{outcomes:?}");
        }
    };
    write(0).await;
    let port = first.cut().await;
    write(20).await;
    let first = Way::open(port).await;
    second.cut().await;
    write(40).await;
    drop(first);
    scratch.settle().await;
    assert_eq!(scratch.find("*").await.len(), 60);
}
