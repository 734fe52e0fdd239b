use proptest::prelude::*;
use taffrail_crds::PartitionStatus;

use super::*;

fn counts(indexed: u64, filtered: u64) -> RecordCounts {
    RecordCounts { indexed, filtered, ..RecordCounts::default() }
}

fn pod(name: &str, indexed: u64) -> (String, Option<RecordCounts>) {
    (name.to_owned(), Some(counts(indexed, 0)))
}

#[test]
fn counts_survive_workers_that_come_and_go() {
    let mut workers = Workers::default();
    assert_eq!(workers.sum(&[pod("a", 5), pod("b", 7)]).total(), 12);
    assert_eq!(workers.sum(&[pod("b", 9), ("c".to_owned(), None)]).total(), 14, "a is gone");
    assert_eq!(workers.sum(&[pod("b", 2), pod("c", 1)]).total(), 17, "b began from nothing");
    assert_eq!(workers.sum(&[]).total(), 17);
}

fn status(counts: RecordCounts, partitions: Vec<PartitionStatus>, lag: Option<u64>) -> LogPipelineStatus {
    LogPipelineStatus { consumed: counts.total(), counts, lag, partitions, ..LogPipelineStatus::default() }
}

fn partition(number: i32, counts: RecordCounts, lag: u64) -> PartitionStatus {
    let (topic, partition, lag) = ("logs".to_owned(), Some(number), Some(lag));
    PartitionStatus { topic, partition, counts, lag }
}

/// What is said after a tally has taken something in.
fn said(tally: &mut Tally, told: &[Told]) -> LogPipelineStatus {
    let mut status = LogPipelineStatus::default();
    let kafka = KafkaSource { topic: Some("logs".to_owned()), ..KafkaSource::default() };
    tally.count(Some(&kafka), &LogPipelineStatus::default(), told, &mut status);
    status
}

#[test]
fn a_new_operator_goes_on_from_the_status() {
    let told = |name: &str, indexed| (name.to_owned(), Some(status(counts(indexed, 0), vec![], Some(1))));
    let silent = |name: &str| (name.to_owned(), None);
    let before = status(counts(100, 3), vec![], Some(1));
    let mut tally = Tally::from_status(&before, ["a".to_owned(), "dies-unheard".to_owned()]);
    let mut count = |told: &[Told]| said(&mut tally, told).counts;
    assert_eq!(count(&[silent("a"), silent("dies-unheard")]), counts(100, 3));
    assert_eq!(count(&[told("a", 40)]), counts(100, 3), "what a says was counted");
    assert_eq!(count(&[told("a", 45), told("new", 1)]), counts(106, 3));
}

#[test]
fn two_operators_come_to_say_the_same() {
    let told = |name: &str, indexed| (name.to_owned(), Some(status(counts(indexed, 0), vec![], Some(1))));
    let mut tallies = [Tally::default(), Tally::default()];
    let mut count = |operator: usize, before: &LogPipelineStatus, told: &[Told]| {
        let mut status = LogPipelineStatus::default();
        tallies[operator].count(None, before, told, &mut status);
        status
    };
    let first = count(0, &LogPipelineStatus::default(), &[told("a", 10)]);
    // Only the second hears the last words of `a`.
    let second = count(1, &first, &[told("a", 30)]);
    let first = count(0, &second, &[told("b", 5)]);
    let second = count(1, &first, &[told("b", 5)]);
    let agreed = count(0, &second, &[told("b", 5)]);
    assert_eq!((agreed.counts.indexed, count(1, &agreed, &[told("b", 5)]).counts.indexed), (35, 35));
    assert_eq!(count(0, &agreed, &[told("b", 6)]).counts.indexed, 36);
}

#[test]
fn a_partition_that_moves_is_neither_lost_nor_counted_twice() {
    let zero = |indexed| partition(0, counts(indexed, 1), 2);
    let one = |indexed| partition(1, counts(indexed, 0), 3);
    let told = |name: &str, own: u64, partitions: Vec<PartitionStatus>| {
        let sum = partitions.iter().map(|partition| partition.counts).fold(counts(own, 0), RecordCounts::plus);
        (name.to_owned(), Some(status(sum, partitions, Some(77))))
    };
    let mut tally = Tally::default();
    let after = said(&mut tally, &[told("a", 5, vec![zero(10), one(20)])]);
    assert_eq!((after.counts, after.consumed, after.lag), (counts(35, 1), 36, Some(5)));
    let after = said(&mut tally, &[told("a", 5, vec![zero(10)]), told("b", 0, vec![one(20)])]);
    assert_eq!(after.counts, counts(35, 1), "moved");
    let after = said(&mut tally, &[told("b", 1, vec![one(20)])]);
    assert_eq!((after.counts, after.lag), (counts(36, 1), Some(5)), "a is gone, and nobody owns what it owned");
    let mut tally = Tally::from_status(&after, ["b".to_owned()]);
    let after = said(&mut tally, &[told("b", 1, vec![zero(10), one(21)])]);
    assert_eq!(after.counts, counts(37, 1), "an operator that starts anew");
    assert_eq!(after.partitions, [zero(10), one(21)]);
}

#[test]
fn a_pattern_reads_the_topics_that_somebody_tells_of() {
    let of = |topic: &str, indexed| {
        let topic = topic.to_owned();
        let counts = RecordCounts { lost: 1, ..counts(indexed, 0) };
        PartitionStatus { topic, counts, ..partition(0, counts, 4) }
    };
    let kafka = KafkaSource { topic_pattern: Some("logs-.*".to_owned()), ..KafkaSource::default() };
    let mut tally = Tally::default();
    let mut told = |partitions: Vec<PartitionStatus>| {
        let sum = partitions.iter().map(|partition| partition.counts).fold(RecordCounts::default(), RecordCounts::plus);
        let told = ("a".to_owned(), Some(self::status(sum, partitions, None)));
        let mut status = LogPipelineStatus::default();
        tally.count(Some(&kafka), &LogPipelineStatus::default(), &[told], &mut status);
        (status.consumed, status.counts.lost, status.lag)
    };
    assert_eq!(told(vec![of("logs-a", 5), of("logs-b", 6)]), (11, 2, Some(8)));
    assert_eq!(told(vec![of("logs-b", 7)]), (12, 2, Some(4)), "a topic that is gone counts, and nobody lags behind it");
}

/// What happens to a pipeline.
#[derive(Debug, Clone)]
enum Event {
    /// The owner accounts for records, in one of the four ways.
    Account {
        partition: usize,
        records: u64,
        how: usize,
    },
    Commit {
        partition: usize,
    },
    /// A partition goes to another worker, what was resolved being committed, or not.
    Move {
        partition: usize,
        pod: usize,
        is_committed: bool,
    },
    Start,
    Kill {
        pod: usize,
    },
    /// The operator hears what all workers but one say, and writes the status.
    Hear {
        but: Option<usize>,
    },
    RestartOperator,
}

fn events() -> impl Strategy<Value = Event> {
    let index = 0..1_000_usize;
    prop_oneof![
        8 => (index.clone(), 1..50_u64, 0..4_usize)
            .prop_map(|(partition, records, how)| Event::Account { partition, records, how }),
        3 => index.clone().prop_map(|partition| Event::Commit { partition }),
        4 => (index.clone(), index.clone(), any::<bool>())
            .prop_map(|(partition, pod, is_committed)| Event::Move { partition, pod, is_committed }),
        1 => Just(Event::Start),
        1 => index.clone().prop_map(|pod| Event::Kill { pod }),
        5 => prop::option::of(index).prop_map(|but| Event::Hear { but }),
        1 => Just(Event::RestartOperator),
    ]
}

#[derive(Debug, Clone, Copy, Default)]
struct Part {
    owner: Option<usize>,
    resolved: RecordCounts,
    committed: RecordCounts,
    /// How many records the topic holds at least.
    records: u64,
}

/// A topic, its consumer group, and the operator.
struct World {
    parts: Vec<Part>,
    pods: Vec<usize>,
    started: usize,
    heard: BTreeMap<usize, LogPipelineStatus>,
    tally: Tally,
    status: LogPipelineStatus,
}

impl World {
    fn new(parts: usize) -> Self {
        Self {
            parts: vec![Part { owner: Some(0), ..Part::default() }; parts],
            pods: vec![0],
            started: 1,
            heard: BTreeMap::new(),
            tally: Tally::default(),
            status: LogPipelineStatus::default(),
        }
    }

    fn happen(&mut self, event: Event) {
        let parts = self.parts.len();
        match event {
            Event::Account { partition, records, how } => self.account(partition % parts, records, how),
            Event::Commit { partition } => {
                let part = &mut self.parts[partition % parts];
                part.committed = part.resolved;
            }
            Event::Move { partition, pod, is_committed } => {
                let pod = (!self.pods.is_empty()).then(|| self.pods[pod % self.pods.len()]);
                let part = &mut self.parts[partition % parts];
                if is_committed {
                    part.committed = part.resolved;
                }
                part.resolved = part.committed;
                part.owner = pod;
            }
            Event::Start => {
                self.pods.push(self.started);
                self.started += 1;
            }
            Event::Kill { pod } if !self.pods.is_empty() => {
                let dead = self.pods.remove(pod % self.pods.len());
                self.heard.remove(&dead);
                for part in self.parts.iter_mut().filter(|part| part.owner == Some(dead)) {
                    part.owner = None;
                    part.resolved = part.committed;
                }
            }
            Event::Kill { .. } => {}
            Event::Hear { but } => self.hear(but.map(|but| but % self.pods.len().max(1))),
            Event::RestartOperator => {
                self.heard.clear();
                self.tally = Tally::from_status(&self.status, self.pods.iter().map(usize::to_string));
            }
        }
    }

    fn account(&mut self, partition: usize, records: u64, how: usize) {
        let part = &mut self.parts[partition];
        if part.owner.is_none() {
            return;
        }
        let RecordCounts { indexed, deduplicated, dead_lettered, filtered, lost: _ } = &mut part.resolved;
        *[indexed, deduplicated, dead_lettered, filtered][how] += records;
        part.records = part.records.max(part.resolved.total());
    }

    fn report(&self, pod: usize) -> LogPipelineStatus {
        let owned = self.parts.iter().enumerate().filter(|(_, part)| part.owner == Some(pod));
        let partitions: Vec<_> = owned.map(|(number, part)| part.say(number)).collect();
        let sum = partitions.iter().map(|partition| partition.counts).fold(RecordCounts::default(), RecordCounts::plus);
        status(sum, partitions, None)
    }

    fn hear(&mut self, but: Option<usize>) {
        for (index, pod) in self.pods.iter().enumerate() {
            if but != Some(index) {
                self.heard.insert(*pod, self.report(*pod));
            }
        }
        let told: Vec<Told> = self.pods.iter().map(|pod| (pod.to_string(), self.heard.get(pod).cloned())).collect();
        let after = said(&mut self.tally, &told);
        assert!(after.consumed >= self.status.consumed, "{} after {}", after.consumed, self.status.consumed);
        assert_eq!(after.consumed, after.counts.total());
        let sum =
            after.partitions.iter().map(|partition| partition.counts).fold(RecordCounts::default(), RecordCounts::plus);
        assert_eq!(sum, after.counts, "all of it is of partitions");
        assert!(after.partitions.len() <= 100);
        let records: u64 = self.parts.iter().map(|part| part.records).sum();
        assert!(after.consumed <= records, "{} of {records} are counted", after.consumed);
        self.status = after;
    }

    /// Gives all partitions to somebody who reads all there is, and has them heard.
    fn settle(&mut self) {
        self.happen(Event::Start);
        for partition in 0..self.parts.len() {
            self.happen(Event::Move { partition, pod: partition, is_committed: true });
            let left = self.parts[partition].records - self.parts[partition].resolved.total();
            self.account(partition, left, 1);
        }
        self.hear(None);
    }
}

impl Part {
    fn say(&self, number: usize) -> PartitionStatus {
        partition(i32::try_from(number).expect("small"), self.resolved, self.resolved.total() % 5)
    }
}

proptest! {
    /// However partitions move and processes die, nothing goes down meanwhile, nothing counts twice, and in the end the
    /// status says what the partitions' accounts say.
    #[test]
    fn counts_are_exact_wherever_partitions_are(
        parts in prop_oneof![1..12_usize, 98..140_usize],
        happens in prop::collection::vec(events(), 0..150),
    ) {
        let mut world = World::new(parts);
        for event in happens {
            world.happen(event);
        }
        world.settle();
        let truth = world.parts.iter().map(|part| part.resolved).fold(RecordCounts::default(), RecordCounts::plus);
        prop_assert_eq!(world.status.counts, truth);
        let lag: u64 = world.parts.iter().map(|part| part.resolved.total() % 5).sum();
        prop_assert_eq!(world.status.lag, Some(lag));
        if parts <= 100 {
            let entries: Vec<_> = world.parts.iter().enumerate().map(|(number, part)| part.say(number)).collect();
            prop_assert_eq!(&world.status.partitions, &entries);
        }
    }
}
