#![allow(clippy::unwrap_used)]

use super::*;

type Values = BTreeMap<String, String>;

fn change(key: &str, value: Option<&str>) -> Change {
    (key.to_owned(), value.map(str::to_owned))
}

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// What is there after a start from this file.
fn started_from(content: &[u8]) -> (Values, bool) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(path_in(directory.path()), content).unwrap();
    let journal = Journal::open(directory.path()).unwrap();
    let damaged = directory.path().join("state.v1.damaged");
    if damaged.exists() {
        assert_eq!(fs::read(&damaged).unwrap(), content);
    }
    (journal.values().clone(), damaged.exists())
}

#[test]
fn a_process_that_ends_at_any_byte_has_all_or_nothing_of_each_change() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(directory.path()).unwrap();
    let path = path_in(directory.path());
    let steps = [
        vec![change("a", Some("1")), change("ü \"b\"", Some(r#"{"x":["y\n"]}"#))],
        vec![change("a", None), change("c", Some("2"))],
        vec![change("c", Some("3"))],
        vec![change("c", None), change("d", Some(r#""text""#))],
    ];
    let mut states = vec![(0, Values::new())];
    for step in steps {
        journal.commit(step).unwrap();
        states.push((fs::metadata(&path).unwrap().len(), journal.values().clone()));
    }
    let content = fs::read(&path).unwrap();
    for length in 0..=content.len() {
        let expected = &states.iter().rev().find(|(at, _)| *at <= length as u64).unwrap().1;
        assert_eq!(started_from(&content[..length]), (expected.clone(), false), "{length} bytes");
    }
    drop(journal);
    let journal = Journal::open(directory.path()).unwrap();
    assert_eq!(*journal.values(), values(&[("ü \"b\"", r#"{"x":["y\n"]}"#), ("d", r#""text""#)]));
}

#[test]
fn damage_costs_only_the_lines_it_is_in_and_the_file_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(directory.path()).unwrap();
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        journal.commit(vec![change(key, Some(value))]).unwrap();
    }
    let good = fs::read(path_in(directory.path())).unwrap();
    let second = good.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for at in second..second + 16 {
        let mut bad = good.clone();
        bad[at] ^= 0x04;
        let (found, damaged) = started_from(&bad);
        assert!(damaged, "byte {at}");
        assert_eq!((found.get("a"), found.get("c")), (Some(&"1".to_owned()), Some(&"3".to_owned())), "byte {at}");
    }
    assert_eq!(started_from(b"\0\0\0\0\n\xff\xff\nrubbish\n"), (Values::new(), true));
    assert_eq!(started_from(b"half a line"), (Values::new(), false));
}

#[test]
fn the_file_does_not_grow_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(directory.path()).unwrap();
    let value = format!("{:?}", "x".repeat(10_000));
    let mut largest = 0;
    for number in 0..250 {
        journal.commit(vec![change(&format!("key {}", number % 3), Some(&value))]).unwrap();
        largest = largest.max(fs::metadata(path_in(directory.path())).unwrap().len());
    }
    assert!(largest > SMALL / 2 && largest <= SMALL, "{largest}");
    drop(journal);
    assert_eq!(Journal::open(directory.path()).unwrap().values().len(), 3);
}

#[test]
fn what_could_not_be_written_is_written_later() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(directory.path()).unwrap();
    journal.commit(vec![change("a", Some("1"))]).unwrap();
    // As after a write that failed half way, on a disk that takes no new file either.
    journal.broken = true;
    let obstacle = directory.path().join("state.new");
    fs::create_dir(&obstacle).unwrap();
    let error = journal.commit(vec![change("b", Some("2"))]).unwrap_err();
    assert!(error.to_string().starts_with("can't make ") && journal.is_broken(), "{error}");
    fs::remove_dir(&obstacle).unwrap();
    journal.commit(Vec::new()).unwrap();
    assert!(!journal.is_broken());
    drop(journal);
    assert_eq!(*Journal::open(directory.path()).unwrap().values(), values(&[("a", "1"), ("b", "2")]));
}

#[test]
fn a_folder_is_for_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = Journal::open(directory.path()).unwrap();
    let error = Journal::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("is in use by another process"), "{error}");
    drop(first);
    Journal::open(directory.path()).unwrap();
}
