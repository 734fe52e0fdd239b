use super::*;

fn entry(topic: &str, partition: impl Into<Option<i32>>, indexed: u64, lag: impl Into<Option<u64>>) -> PartitionStatus {
    let (topic, partition, lag) = (topic.to_owned(), partition.into(), lag.into());
    PartitionStatus { topic, partition, counts: RecordCounts { indexed, ..RecordCounts::default() }, lag }
}

/// Takes in, and says the sum and the lag.
fn take_in(partitions: &mut Partitions, topic: &str, told: &[PartitionStatus]) -> (u64, Option<u64>) {
    partitions.take_in(|other| other == topic, told);
    (partitions.sum().total(), partitions.lag())
}

/// As an operator does that starts anew.
fn restarted(partitions: &Partitions) -> Partitions {
    let again = Partitions::from_status(&partitions.list());
    assert_eq!((again.sum(), again.lag()), (partitions.sum(), partitions.lag()));
    again
}

fn many(numbers: std::ops::Range<i32>, indexed: u64) -> Vec<PartitionStatus> {
    numbers.map(|number| entry("logs", number, indexed, 1)).collect()
}

#[test]
fn the_account_with_the_most_records_holds_and_the_lag_is_its_owners() {
    let mut partitions = Partitions::default();
    assert_eq!(partitions.lag(), None);
    let both = [entry("logs", 0, 10, 3), entry("logs", 1, 20, None)];
    assert_eq!(take_in(&mut partitions, "logs", &both), (30, Some(3)));
    assert_eq!(take_in(&mut partitions, "logs", &[]), (30, Some(3)), "nobody owns them, and nothing is lost");
    assert_eq!(
        take_in(&mut partitions, "logs", &[entry("logs", 0, 8, 9)]),
        (30, Some(9)),
        "the next owner reads again"
    );
    assert_eq!(take_in(&mut partitions, "logs", &[entry("logs", 0, 11, None)]), (31, Some(9)), "and goes on");
    let two = [entry("logs", 1, 25, 7), entry("logs", 1, 20, 12)];
    assert_eq!(take_in(&mut partitions, "logs", &two), (36, Some(16)), "two think it theirs");
    assert_eq!(restarted(&partitions).list(), [entry("logs", 0, 11, 9), entry("logs", 1, 25, 7)]);
}

#[test]
fn what_became_of_records_that_were_read_again_is_what_the_next_owner_says() {
    let mut partitions = Partitions::default();
    take_in(&mut partitions, "logs", &[entry("logs", 0, 10, 0)]);
    let counts = RecordCounts { indexed: 7, deduplicated: 3, ..RecordCounts::default() };
    let again = PartitionStatus { counts, ..entry("logs", 0, 0, 0) };
    let again = [again];
    take_in(&mut partitions, "logs", &again);
    assert_eq!(partitions.list(), again);
}

#[test]
fn a_topic_that_was_read_before_counts_and_has_no_lag() {
    let mut partitions = Partitions::default();
    take_in(&mut partitions, "old", &[entry("old", 0, 10, 3), entry("stranger", 0, 99, 1)]);
    let both = [entry("new", 0, 1, 4), entry("old", 0, 12, 1)];
    assert_eq!(take_in(&mut partitions, "new", &both), (13, Some(4)), "old workers finish");
    assert_eq!(restarted(&partitions).list(), [entry("new", 0, 1, 4), entry("old", 0, 12, None)]);
    partitions.take_in(|_| false, []);
    assert_eq!((partitions.sum().total(), partitions.lag()), (13, None), "the source is none of Kafka's");
}

#[test]
fn what_is_no_partition_is_not_taken() {
    let mut partitions = Partitions::default();
    let told = [entry("logs", -1, 1, 1), entry("logs", MOST_OF_TOPIC, 1, 1), entry("logs", None, 1, 1)];
    assert_eq!(take_in(&mut partitions, "logs", &told), (0, None));
}

#[test]
fn more_partitions_than_are_listed_are_summed_up() {
    let mut partitions = Partitions::default();
    assert_eq!(take_in(&mut partitions, "logs", &many(0..100, 1)), (100, Some(100)));
    assert!(partitions.list().iter().all(|entry| entry.partition.is_some()));
    take_in(&mut partitions, "logs", &many(0..150, 1));
    let listed = partitions.list();
    let numbers: Vec<_> = listed.iter().map(|entry| entry.partition).collect();
    let expected: Vec<_> = (0..99).map(Some).chain([None]).collect();
    assert_eq!(numbers, expected);
    assert_eq!(listed[99], entry("logs", None, 51, 51));
    restarted(&partitions);
}

#[test]
fn a_sum_holds_until_its_partitions_have_told_as_much() {
    let mut before = Partitions::default();
    take_in(&mut before, "logs", &many(0..150, 2));
    let mut partitions = restarted(&before);
    assert_eq!(take_in(&mut partitions, "logs", &many(0..99, 3)), (99 * 3 + 102, Some(150)), "what is listed goes on");
    assert_eq!(take_in(&mut partitions, "logs", &many(99..120, 3)), (99 * 3 + 102, Some(150)), "some are not told of");
    let mut partitions = restarted(&partitions);
    assert_eq!(take_in(&mut partitions, "logs", &many(99..150, 3)), (150 * 3, Some(150)), "all are");
    assert_eq!(take_in(&mut partitions, "logs", &many(150..151, 3)), (151 * 3, Some(151)), "the topic has grown");
}

#[test]
fn a_sum_of_a_topic_that_was_read_before_stays() {
    let mut before = Partitions::default();
    take_in(&mut before, "logs", &many(0..150, 2));
    let mut partitions = restarted(&before);
    let other: Vec<_> = (0..150).map(|number| entry("more-logs", number, 1, 1)).collect();
    for _ in 0..3 {
        assert_eq!(take_in(&mut partitions, "more-logs", &other), (450, Some(150)));
        let listed = partitions.list();
        assert_eq!(listed.len(), MOST_LISTED);
        let sums: Vec<_> = listed.iter().filter(|entry| entry.partition.is_none()).collect();
        assert_eq!((&*sums[0].topic, &*sums[1].topic, sums.len()), ("logs", "more-logs", 2));
        partitions = restarted(&partitions);
    }
}

#[test]
fn there_are_never_more_entries_than_that() {
    let mut partitions = Partitions::default();
    for topic in 0..120 {
        let topic = format!("logs-{topic:03}");
        take_in(&mut partitions, &topic, &[entry(&topic, 0, 1, 1), entry(&topic, 1, 1, 1)]);
    }
    assert_eq!((partitions.list().len(), partitions.sum().total()), (MOST_LISTED, 240));
}
