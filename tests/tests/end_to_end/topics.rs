//! Topics that are deleted and made anew: offsets begin from 0 again, and nothing is lost or taken for known.

use std::collections::BTreeSet;
use std::path::Path;

use taffrail_tests::taffrail::{Options, Taffrail};
use taffrail_tests::{elasticsearch, kafka, unique};

use crate::support::{consumed, day_before, entry, pipeline};

struct Stage {
    folder: tempfile::TempDir,
    name: String,
    _indices: elasticsearch::Indices,
}

impl Stage {
    async fn new(name: &str) -> Self {
        let (folder, name) = (tempfile::tempdir().unwrap(), unique(name));
        kafka::create_topic(&name, 1).await.unwrap();
        let objects = folder.path().join("objects.json");
        std::fs::write(objects, pipeline("topic", &name, &name).to_string()).unwrap();
        Self { folder, _indices: elasticsearch::Indices(name.clone()), name }
    }

    async fn start(&self) -> Taffrail {
        let path = |name: &str| Path::new(self.folder.path()).join(name);
        Taffrail::start(Options::new(&path("data"), [&path("objects.json")])).await.unwrap()
    }

    fn produce(&self, numbers: std::ops::Range<usize>) {
        let mut producer = kafka::Producer::new(&self.name, 1).unwrap();
        for n in numbers {
            producer.send(entry(n, day_before(1) + i64::try_from(n).unwrap()).as_bytes()).unwrap();
        }
        producer.flush().unwrap();
    }

    async fn make_anew(&self) {
        kafka::delete_topic(&self.name).await.unwrap();
        kafka::create_topic(&self.name, 1).await.unwrap();
    }

    /// Everything up to `end` is there once.
    async fn complete(&self, end: usize) {
        let documents = elasticsearch::documents(&format!("{}-2*", self.name)).await.unwrap();
        let numbers: BTreeSet<u64> =
            documents.iter().map(|log| log["_source"]["fields"]["n"].as_u64().unwrap()).collect();
        assert_eq!((documents.len(), numbers.len(), numbers.last()), (end, end, Some(&(end as u64 - 1))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_while_running_loses_nothing() {
    // Shorter than before, and longer.
    for (before, after) in [(1_000, 1_400), (1_000, 3_000)] {
        let stage = Stage::new("anew").await;
        stage.produce(0..before);
        let taffrail = stage.start().await;
        consumed(&taffrail, "topic", before as u64).await;
        stage.make_anew().await;
        stage.produce(before..after);
        let status = consumed(&taffrail, "topic", after as u64).await;
        assert_eq!(status["deduplicated"], 0, "{status}");
        stage.complete(after).await;
        let answer = taffrail.ask("metrics/query?metric=log_count&function=sum&duration=10d").await.unwrap();
        assert_eq!(answer["value"], after as f64, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_while_stopped_loses_nothing() {
    for (before, after) in [(1_000, 1_400), (1_000, 3_000)] {
        let stage = Stage::new("anew-stopped").await;
        stage.produce(0..before);
        let taffrail = stage.start().await;
        consumed(&taffrail, "topic", before as u64).await;
        taffrail.stop("TERM").await.unwrap();
        stage.make_anew().await;
        stage.produce(before..after);
        let taffrail = stage.start().await;
        let answered = elasticsearch::at_least(&format!("{}-2*", stage.name), after as u64).await;
        assert_eq!(answered, after as u64);
        stage.complete(after).await;
        taffrail.stop("TERM").await.unwrap();
    }
}
