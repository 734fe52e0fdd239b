//! What a pipeline says of itself.

use std::sync::Arc;
use std::time::Duration;

use taffrail_crds::{LogPipelineStatus, PartitionStatus};
use tokio_util::sync::CancellationToken;

use crate::Report;
use crate::decode::timestamp;
use crate::deliver::Counters;
use crate::engine::Derived;
use crate::health::{Health, Problem};
use crate::lane::{Book, Books, Ledger};

/// How often status is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Everything that is known of a running pipeline.
#[derive(Debug)]
pub(crate) struct State {
    /// `namespace/name`.
    pub(crate) pipeline: String,
    pub(crate) generation: Option<i64>,
    pub(crate) books: Arc<Books>,
    /// Whether the books are of partitions, and go on with other workers.
    pub(crate) is_partitioned: bool,
    pub(crate) health: Arc<Health>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) derived: Arc<Derived>,
}

/// What `Ready` says while nothing is wrong.
const RUNNING: &str = "Running";

/// Reports status now, and whenever it has changed, at most once a second.
pub(crate) struct Reporter {
    state: Arc<State>,
    report: Report,
    /// Readiness as it was told last, and since when it is so.
    told: Option<(bool, &'static str, String)>,
    /// Since when there is something to warn of.
    warned: Option<String>,
    last: Option<LogPipelineStatus>,
}

impl Reporter {
    pub(crate) fn new(state: Arc<State>, report: Report) -> Self {
        Self { state, report, told: None, warned: None, last: None }
    }

    /// Reports until it is told to stop, and once more then.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_over = tokio::select! {
                () = stop.cancelled() => true,
                _ = ticks.tick() => false,
            };
            self.look();
            if is_over {
                return;
            }
        }
    }

    /// Reports if something has changed.
    fn look(&mut self) {
        let status = self.status();
        if self.last.as_ref() != Some(&status) {
            (self.report)(status.clone());
            self.last = Some(status);
        }
    }

    fn status(&mut self) -> LogPipelineStatus {
        let state = &self.state;
        let (ledger, books) = state.books.snapshot();
        let problem = state.health.problem();
        let (is_ready, Problem { reason, message }) = match problem {
            Some(problem) => (false, problem),
            None => (true, Problem { reason: RUNNING, message: running(ledger) }),
        };
        let now = || timestamp::format_millis(jiff::Timestamp::now().as_millisecond());
        let since = match &self.told {
            Some((was_ready, _, since)) if *was_ready == is_ready => since.clone(),
            _ => now(),
        };
        let mut conditions = taffrail_runtime::ready(is_ready, reason, &message, state.generation, &since);
        let warning = state.health.warning();
        self.warned = warning.is_some().then(|| self.warned.take().unwrap_or_else(now));
        if let (Some(Problem { reason, message }), Some(since), Some(all)) =
            (&warning, &self.warned, conditions.as_array_mut())
        {
            all.push(taffrail_runtime::degraded(reason, message, state.generation, since));
        }
        self.told = Some((is_ready, reason, since));
        LogPipelineStatus {
            // The runtime's conditions are Kubernetes' conditions.
            conditions: serde_json::from_value(conditions).unwrap_or_default(),
            observed_generation: state.generation,
            replicas: Some(1),
            lag: state.books.lag(),
            consumed: ledger.consumed(),
            counts: ledger.into(),
            watermark: state.books.watermark().map(timestamp::format_millis),
            partitions: if state.is_partitioned { partitions(&books) } else { Vec::new() },
        }
    }
}

/// What is said while nothing is wrong. What was lost stays to be told.
fn running(ledger: Ledger) -> String {
    match ledger.lost {
        0 => "logs are taken and delivered".to_owned(),
        lost => format!(
            "logs are taken and delivered; {lost} records were removed by Kafka's retention before they were read"
        ),
    }
}

/// What is said of the partitions that this worker owns, in order.
fn partitions(books: &[(Arc<Book>, Ledger)]) -> Vec<PartitionStatus> {
    let mut partitions: Vec<_> = books
        .iter()
        .map(|(book, ledger)| PartitionStatus {
            topic: book.topic.clone(),
            partition: Some(book.partition),
            counts: (*ledger).into(),
            lag: book.lag(),
        })
        .collect();
    partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    partitions
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use taffrail_crds::RecordCounts;

    use super::*;

    fn reporter(is_partitioned: bool) -> (Arc<Books>, Reporter) {
        let books = Arc::new(Books::default());
        let state = Arc::new(State {
            pipeline: "default/shop".to_owned(),
            generation: Some(3),
            books: books.clone(),
            is_partitioned,
            health: Arc::new(Health::new("default/shop".to_owned(), true)),
            counters: Arc::default(),
            derived: Arc::default(),
        });
        (books, Reporter::new(state, Arc::new(|_| {})))
    }

    fn book(partition: i32, indexed: u64) -> Arc<Book> {
        Book::new("logs", partition, Ledger { indexed, filtered: 1, ..Ledger::default() }, None)
    }

    #[test]
    fn a_worker_tells_what_each_of_its_partitions_has_counted() {
        let (books, mut reporter) = reporter(true);
        assert_eq!(reporter.status().partitions, []);
        let (ten, two) = (book(10, 7), book(2, 5));
        two.set_lag(4);
        books.open(ten.clone());
        books.open(two);
        let status = reporter.status();
        assert_eq!((status.consumed, status.counts.indexed, status.counts.filtered), (14, 12, 2));
        let partition = |partition, indexed, lag| PartitionStatus {
            topic: "logs".to_owned(),
            partition: Some(partition),
            counts: RecordCounts { indexed, filtered: 1, ..RecordCounts::default() },
            lag,
        };
        assert_eq!(status.partitions, [partition(2, 5, Some(4)), partition(10, 7, None)]);
        books.hand_on(&ten);
        let status = reporter.status();
        assert_eq!((status.consumed, status.partitions), (6, vec![partition(2, 5, Some(4))]));
    }

    #[test]
    fn what_is_no_partition_is_in_the_sum_alone() {
        let (books, mut reporter) = reporter(false);
        let (one, two) = (book(0, 7), book(0, 5));
        books.open(one.clone());
        books.open(two);
        books.close(&one);
        let status = reporter.status();
        assert_eq!((status.consumed, status.partitions), (14, vec![]));
    }

    #[test]
    fn a_warning_leaves_the_pipeline_ready() {
        let (_, mut reporter) = reporter(true);
        let refused = || (0..20).map(|_| (400, "document_parsing_exception: no"));
        reporter.state.health.decided(100, refused());
        let told = |status: LogPipelineStatus| -> Vec<String> {
            status.conditions.iter().map(|it| format!("{} {} {}", it.type_, it.status, it.reason)).collect()
        };
        let status = reporter.status();
        let since = status.conditions[1].last_transition_time.clone();
        assert_eq!(told(status), ["Ready True Running", "Degraded True MappingConflict"]);
        reporter.state.health.decided(1, [(400, "index_closed_exception: closed")].into_iter());
        let status = reporter.status();
        assert_eq!(status.conditions[1].last_transition_time, since);
        assert_eq!(told(status), ["Ready True Running", "Degraded True IndexClosed"]);
        reporter.state.health.decided(1_000, std::iter::empty());
        assert_eq!(told(reporter.status()), ["Ready True Running"]);
        reporter.state.health.decided(1, [(201, "redirected")].into_iter());
        assert_eq!(told(reporter.status()), ["Ready True Running", "Degraded True FailureStoreUsed"]);
        assert_eq!(reporter.state.health.redirected(), 1);
    }

    #[test]
    fn only_news_is_reported() {
        let (books, mut reporter) = reporter(true);
        let reports = Arc::new(Mutex::new(Vec::new()));
        reporter.report = {
            let reports = reports.clone();
            Arc::new(move |status: LogPipelineStatus| reports.lock().push(status.partitions.len()))
        };
        reporter.look();
        reporter.look();
        books.open(book(0, 0));
        reporter.look();
        assert_eq!(*reports.lock(), [0, 1], "a partition of which nothing is read yet is news");
    }
}
