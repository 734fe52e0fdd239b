#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::frame;

fn framed(content: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::new();
    frame::begin(&mut buffer);
    buffer.extend(content);
    frame::end(&mut buffer);
    buffer
}

fn open(directory: &Path) -> (Wal, Vec<(u64, Vec<u8>)>, Recovered) {
    let mut records = Vec::new();
    let (wal, recovered) = Wal::open(directory, 1, None, |number, content| {
        records.push((number, content.to_vec()));
        Ok(())
    })
    .unwrap();
    (wal, records, recovered)
}

/// Three segments of three records each.
fn written(directory: &Path) -> Vec<(u64, Vec<u8>)> {
    let (mut wal, _, _) = open(directory);
    for index in 0..9_u8 {
        if index == 3 || index == 6 {
            wal.rotate().unwrap();
        }
        assert_eq!(wal.append(&framed(&[index; 5])).unwrap(), u64::from(index));
    }
    (0..9).map(|index| (u64::from(index), vec![index; 5])).collect()
}

#[test]
fn records_come_back_in_order_and_writing_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = written(directory.path());
    let (mut wal, records, recovered) = open(directory.path());
    assert_eq!(records, expected);
    assert_eq!((recovered.records, recovered.damage), (9, None));
    assert_eq!(wal.append(&framed(b"more")).unwrap(), 9);
    expected.push((9, b"more".to_vec()));
    assert_eq!(open(directory.path()).1, expected);
    delete_before(directory.path(), 3).unwrap();
    let (_, records, _) = open(directory.path());
    assert_eq!(records, expected[6..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_keeps_all_before_it_and_nothing_after_it(
        segment in 1_u64..=3,
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
        cut: bool,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let expected = written(directory.path());
        let path = segment_path(directory.path(), segment);
        let mut bytes = fs::read(&path).unwrap();
        // Damage to the magic is another version, which is not touched.
        let at = 8 + at.index(bytes.len() - 8);
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= flip;
        }
        fs::write(&path, &bytes).unwrap();
        let record = 8 + 5;
        let whole = (segment as usize - 1) * 3 + at.saturating_sub(16) / record;
        let (mut wal, records, _) = open(directory.path());
        if at < 16 && !cut && segment == 1 {
            // The first segment may begin with any number.
            prop_assert_eq!(records.len(), 3);
            return Ok(());
        }
        prop_assert_eq!(&records[..], &expected[..whole]);
        // What is written next is found after the good ones.
        wal.append(&framed(b"after")).unwrap();
        let (_, records, recovered) = open(directory.path());
        prop_assert_eq!(&records[..whole], &expected[..whole]);
        prop_assert_eq!(records.len(), whole + 1);
        prop_assert_eq!(&records[whole].1[..], b"after");
        prop_assert_eq!(recovered.damage, None);
    }
}

#[test]
fn another_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let path = segment_path(directory.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[7] = b'2';
    fs::write(&path, &bytes).unwrap();
    let error = Wal::open(directory.path(), 1, None, |_, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("not a write-ahead log of this version"), "{error}");
    let error = Wal::open(directory.path(), 2, None, |_, _| Err(Malformed)).unwrap_err().to_string();
    assert!(error.contains("record 3 is whole, but of another version"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
