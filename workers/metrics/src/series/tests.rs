#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn bounds() -> Arc<[f64]> {
    Arc::from([1.0, 10.0])
}

fn reload(series: &Series) -> Series {
    let mut out = Vec::new();
    series.save(&mut out);
    let mut reader = Reader::new(&out);
    let loaded = Series::load(series.identity, series.kind, &mut reader).unwrap();
    assert!(reader.is_empty());
    loaded
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Counter), Just(Kind::CumulativeCounter), Just(Kind::Gauge), Just(Kind::Histogram)]
}

proptest! {
    /// In whatever order samples come, and wherever the process restarts, each is found once, in the right window.
    #[test]
    fn every_sample_is_found_once(
        kind in kinds(),
        times in proptest::collection::vec(0_i64..2_000_000, 1..1_500),
        grain in prop_oneof![Just(1_i64), Just(10_000)],
        sorted_part in 0_usize..1_500,
        restart in 0_usize..1_500,
        window in (0_i64..2_000_000, 0_i64..2_000_000),
    ) {
        let mut times: Vec<i64> = times.into_iter().map(|time| time / grain * grain + time % 7).collect();
        let sorted_part = sorted_part.min(times.len());
        times[..sorted_part].sort_unstable();
        let mut series = Series::new(7, kind, &bounds());
        for (index, time) in times.iter().enumerate() {
            if index == restart {
                series = reload(&series);
            }
            series.append(*time, index as f64);
        }
        let (from, to) = (window.0.min(window.1), window.0.max(window.1));
        let view = series.view(from, to);
        prop_assert!(view.dense().is_empty());
        let mut found: Vec<_> = view.samples(from, to).collect();
        let mut expected: Vec<_> = times.iter().enumerate().map(|(index, time)| (*time, index as f64)).collect();
        let newest = *expected.iter().max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))).unwrap();
        prop_assert_eq!(series.newest(), newest);
        expected.sort_by_key(|sample| sample.0);
        if kind == Kind::CumulativeCounter {
            // The last arrival of each time, and the last one before the window is there, too.
            let mut last: Vec<(i64, f64)> = Vec::new();
            for sample in expected.iter().filter(|sample| sample.0 <= to) {
                if last.last().is_some_and(|other| other.0 == sample.0) {
                    last.pop();
                }
                last.push(*sample);
            }
            let needed = last.iter().rposition(|sample| sample.0 <= from).unwrap_or(0);
            let sorted = view.sorted(to);
            prop_assert!(sorted.ends_with(&last[needed..]), "{sorted:?}");
        } else {
            found.sort_by_key(|sample| sample.0);
            expected.retain(|sample| sample.0 > from && sample.0 <= to);
            prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn pruning_frees_what_is_old_and_keeps_the_rest() {
    let mut series = Series::new(0, Kind::Gauge, &bounds());
    for index in 0..2_400 {
        series.append(index * 1000, 1.0);
    }
    for index in 0..500 {
        series.append(index * 1000 + 1, 1.0);
    }
    let (chunks, bytes) = series.size();
    assert_eq!(chunks, 12);
    series.prune(1_200_000);
    assert_eq!(series.view(0, i64::MAX).len(), 1_200);
    let (fewer_chunks, fewer_bytes) = series.size();
    assert_eq!(fewer_chunks, 5);
    assert!(fewer_bytes < bytes);
    assert_eq!(series.newest(), (2_399_000, 1.0));
    series.prune(2_399_001);
    assert!(series.is_empty());
    // It goes on as if it were new.
    series.append(5, 2.0);
    assert_eq!(series.view(0, 10).samples(0, 10).collect::<Vec<_>>(), [(5, 2.0)]);
}

#[test]
fn dense_seconds_survive_a_restart() {
    let mut series = Series::new(0, Kind::Histogram, &bounds());
    for index in 0..1_000 {
        series.append(1_000 + index % 1_000, f64::from(index as i32));
        if index == 500 {
            series = reload(&series);
        }
    }
    let view = series.view(0, 2_000);
    let summed: u64 = view.dense().iter().map(|(_, sketch)| sketch.count).sum();
    assert_eq!(view.samples(0, 2_000).count() as u64 + summed, 1_000);
    assert!(view.len() < 100);
}
