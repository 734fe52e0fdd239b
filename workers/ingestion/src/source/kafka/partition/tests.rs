use super::*;
use crate::lane::Resolved;

fn mark(offset: i64, timestamp: i64) -> Mark {
    Mark { offset, timestamp, crc: u32::try_from(offset).expect("small") }
}

fn note(last: Mark) -> Note {
    let ledger = Ledger { indexed: 10, ..Ledger::default() };
    Note { incarnation: Some("abc".into()), last: Some(last), ledger, watermark: Some(5), uncounted: Some(7) }
}

fn assigned(committed: Option<(i64, Option<Note>)>) -> (Partition, Start) {
    Partition::assign("default/shop", "logs", 3, committed, None, Start::Beginning)
}

fn take(partition: &mut Partition, mark: Mark) -> Arc<Lane> {
    match partition.arrived(mark) {
        Verdict::Take(lane) => lane,
        other => panic!("{other:?}"),
    }
}

fn resolve(lane: &Lane, last: Mark) {
    let next = last.offset + 1;
    lane.hand_over(next);
    let first = lane.cut(next);
    let indexed = u64::try_from(next - first).expect("ascending");
    lane.resolve(Resolved { first, next, ledger: Ledger { indexed, ..Ledger::default() }, watermark: None, last });
}

#[test]
fn a_note_survives_the_commit() {
    let note = note(mark(9, 100));
    assert_eq!(Note::read(&note.write()), Some(note.clone()));
    assert!(note.write().len() < 300);
    assert_eq!(Note::read("someone else's"), None);
}

#[test]
fn the_record_read_last_is_skipped_and_the_account_goes_on() {
    let (mut partition, start) = assigned(Some((10, Some(note(mark(9, 100))))));
    assert_eq!(start, Start::At(9));
    assert!(matches!(partition.arrived(mark(9, 100)), Verdict::Skip));
    assert_eq!(partition.next_commit(), None);
    let lane = take(&mut partition, mark(10, 101));
    assert_eq!(lane.origin.as_deref(), Some("default/shop/kafka/logs/3/abc"));
    resolve(&lane, mark(10, 101));
    let (position, note) = partition.next_commit().expect("news");
    assert_eq!((position, note.ledger.indexed, note.last), (11, 11, Some(mark(10, 101))));
}

#[test]
fn another_record_in_its_place_means_another_topic() {
    let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
    assert!(matches!(partition.arrived(mark(9, 555)), Verdict::Restart));
    let lane = take(&mut partition, mark(0, 500));
    assert_eq!(lane.origin.as_deref(), Some("default/shop/kafka/logs/3/1f4-00000000"));
    resolve(&lane, mark(0, 500));
    let (position, note) = partition.next_commit().expect("news");
    assert_eq!((position, note.ledger.indexed), (1, 11), "the account goes on");
}

#[test]
fn a_topic_that_starts_again_from_zero_is_another_one() {
    let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
    let lane = take(&mut partition, mark(0, 500));
    assert_eq!(lane.snapshot().position, 0);
    let again = take(&mut partition, mark(1, 501));
    assert!(Arc::ptr_eq(&lane, &again));
    // And once more, while running.
    let third = take(&mut partition, mark(0, 900));
    assert!(!Arc::ptr_eq(&lane, &third));
}

#[test]
fn a_record_that_retention_removed_is_not_missed() {
    let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
    let lane = take(&mut partition, mark(50, 500));
    assert_eq!(lane.origin.as_deref(), Some("default/shop/kafka/logs/3/abc"));
    resolve(&lane, mark(50, 500));
    assert_eq!(partition.next_commit().map(|(position, _)| position), Some(51));
}

#[test]
fn a_changed_topic_is_looked_at_where_it_was_read_last() {
    let (mut partition, start) = assigned(None);
    assert_eq!((start, partition.verify()), (Start::Beginning, None));
    take(&mut partition, mark(0, 1));
    take(&mut partition, mark(1, 2));
    assert_eq!(partition.verify(), Some(1));
    assert!(matches!(partition.arrived(mark(1, 2)), Verdict::Skip));
    assert_eq!(partition.verify(), Some(1));
    assert!(matches!(partition.arrived(mark(1, 77)), Verdict::Restart));
}

#[test]
fn a_group_whose_offsets_went_with_the_topic_reads_the_new_one_whole() {
    let (known, _) = assigned(Some((10, Some(note(mark(9, 100))))));
    let (partition, start) = Partition::assign("default/shop", "logs", 3, None, Some(known.book.clone()), Start::End);
    assert_eq!((start, partition.book.ledger().indexed), (Start::Beginning, 10));
    let (_, start) = Partition::assign("default/shop", "logs", 3, None, None, Start::End);
    assert_eq!(start, Start::End);
}

#[test]
fn lag_is_never_negative() {
    let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
    partition.set_end(Some(4), Instant::now());
    assert_eq!(partition.book.lag(), Some(0));
    partition.set_end(Some(25), Instant::now());
    assert_eq!(partition.book.lag(), Some(15));
}

#[test]
fn a_group_that_starts_at_the_end_has_no_lag_and_commits_where_it_starts() {
    let (mut partition, start) = Partition::assign("default/shop", "logs", 3, None, None, Start::End);
    assert_eq!((start, partition.next_commit()), (Start::End, None));
    partition.set_end(Some(50), Instant::now());
    assert_eq!(partition.book.lag(), None);
    partition.starts_at(50);
    partition.set_end(Some(50), Instant::now());
    assert_eq!(partition.book.lag(), Some(0));
    let (position, note) = partition.next_commit().expect("news");
    assert_eq!((position, &note.last, &note.incarnation), (50, &None, &None));
    // Whoever gets it next.
    let (_, start) = assigned(Some((50, Note::read(&note.write()))));
    assert_eq!(start, Start::At(50));
}

#[test]
fn what_retention_removed_counts_as_lost_once() {
    let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
    assert!(matches!(partition.arrived(mark(9, 100)), Verdict::Skip));
    let lane = take(&mut partition, mark(10, 101));
    assert_eq!(partition.out_of_range(5, 20), None, "of another partition");
    assert_eq!(partition.out_of_range(40, 60), Some(40));
    assert_eq!(partition.out_of_range(40, 60), None, "told once");
    // Not before what comes before it is resolved: a crash now reads that, or finds it lost, again.
    assert_eq!((partition.next_commit(), partition.book.ledger().lost), (None, 0));
    resolve(&lane, mark(10, 101));
    let (position, after) = partition.next_commit().expect("news");
    assert_eq!((position, after.ledger.lost, partition.book.ledger().lost), (40, 29, 29));
    partition.set_committed(Some(position));
    partition.set_end(Some(60), Instant::now());
    assert_eq!(partition.book.lag(), Some(20));
    let lane = take(&mut partition, mark(40, 200));
    resolve(&lane, mark(40, 200));
    let (position, after) = partition.next_commit().expect("news");
    assert_eq!((position, after.ledger.lost, after.ledger.consumed()), (41, 29, 10 + 30 + 1));
}

#[test]
fn what_was_removed_while_stopped_counts_as_lost() {
    let (mut partition, start) = assigned(Some((10, Some(note(mark(9, 100))))));
    assert_eq!((start, partition.out_of_range(10, 60)), (Start::At(9), Some(10)), "only what had been read is gone");
    assert_eq!(partition.next_commit(), None);
    let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
    assert_eq!(partition.out_of_range(30, 30), Some(30), "all is gone");
    let (position, after) = partition.next_commit().expect("news");
    assert_eq!((position, after.ledger.lost, after.last), (30, 20, Some(mark(9, 100))));
    let (again, start) = assigned(Some((position, Some(after))));
    assert_eq!((start, again.book.ledger().lost), (Start::At(9), 20));
    let (mut never_read, _) = assigned(Some((10, None)));
    assert_eq!(never_read.out_of_range(12, 30), Some(12));
    assert_eq!(never_read.next_commit().map(|(position, note)| (position, note.ledger.lost)), Some((12, 2)));
}

#[test]
fn a_topic_that_ends_before_what_was_read_is_another_one() {
    let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
    assert_eq!(partition.out_of_range(0, 5), Some(0));
    let lane = take(&mut partition, mark(0, 500));
    resolve(&lane, mark(0, 500));
    let (position, note) = partition.next_commit().expect("news");
    assert_eq!((position, note.ledger.indexed, note.ledger.lost), (1, 11, 0));
}

#[test]
fn what_is_no_record_behind_the_last_one_leaves_no_lag() {
    let (mut partition, _) = assigned(None);
    partition.starts_at(0);
    partition.set_end(Some(2), Instant::now());
    let lane = take(&mut partition, mark(0, 1));
    partition.reached(Some(2));
    partition.update_lag();
    assert_eq!(partition.book.lag(), Some(2), "the record is not resolved");
    resolve(&lane, mark(0, 1));
    partition.reached(Some(2));
    partition.set_end(Some(2), Instant::now());
    assert_eq!((partition.book.lag(), partition.waiting), (Some(0), None));
    let (position, note) = partition.next_commit().expect("news");
    assert_eq!((position, note.last), (2, Some(mark(0, 1))));
    let lane = take(&mut partition, mark(2, 3));
    partition.reached(Some(3));
    assert_eq!(partition.next_commit().map(|(position, _)| position), Some(2), "a record is under way");
    resolve(&lane, mark(2, 3));
    assert_eq!(partition.next_commit().map(|(position, _)| position), Some(3));
}

#[test]
fn where_the_consumer_was_before_a_topic_was_made_anew_means_nothing() {
    let (mut partition, _) = assigned(Some((10, Some(note(mark(9, 100))))));
    assert_eq!(partition.out_of_range(0, 5), Some(0));
    partition.reached(Some(10));
    assert_eq!(partition.next_commit().map(|(position, _)| position), Some(0));
    partition.reached(None);
    partition.reached(Some(2));
    assert_eq!(partition.next_commit().map(|(position, _)| position), Some(2), "marks of a transaction");
}
