//! What is found is what [`Query::matches`] says, for any query on any logs.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Number, Value, json};
use taffrail_logstore::q::{Bound, Key, Query};
use taffrail_logstore::{LogEntry, LogStore, SearchRequest, TimeSpan};

use crate::conformance::support::{DAY, NOON, record, rfc3339};
use crate::support::Scratch;

const STORES: u32 = 6;
const LOGS: usize = 60;
const QUERIES: usize = 400;

// Few different ones of each, so that queries find something.
const WORDS: &[&str] = &["error", "timeout", "Time", "10.0.0.1", "数据", "über", "a_b", "!", "x"];
const KEYS: &[&str] = &["a", "b", "a.b", "n", "", "ü", "a\u{0}t", "a."];
const TEXTS: &[&str] = &["", "a", "ab", "A", "5", "5.0", "true", "a*b", "a?", "a\\", "x\u{0}y", "über", "\u{10FFFF}"];
const PATTERNS: &[&str] = &[
    "*",
    "?",
    "a*",
    "*b",
    "?b",
    "a\\*b",
    "t*",
    "tim?out",
    "\\",
    "über*",
    "*ü*",
    "数",
    "1*",
    "*.0",
    "\u{10FFFF}*",
    "x*y",
];

fn number() -> impl Strategy<Value = Number> {
    let integers = select(vec![0, 1, 5, -5, 500, (1 << 53) + 1, i64::MAX, i64::MIN]).prop_map(Number::from);
    let floats = select(vec![-0.0, 0.5, 5.0, -5.5, 1e300, -1e300, 5e-324]);
    prop_oneof![integers, floats.prop_map(|it| Number::from_f64(it).unwrap()), Just(Number::from(u64::MAX))]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number().prop_map(Value::from),
        select(TEXTS).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((select(KEYS), inner), 0..3).prop_map(|members| Value::from(object(members))),
        ]
    })
}

fn object(members: Vec<(&str, Value)>) -> Map<String, Value> {
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn log() -> impl Strategy<Value = (i64, Value)> {
    let message = proptest::collection::vec(select(WORDS), 0..6).prop_map(|words| words.join(" "));
    let tags = proptest::collection::btree_map(select(KEYS), select(TEXTS), 0..3);
    let fields = proptest::collection::vec((select(KEYS), value()), 0..4).prop_map(object);
    // Many of the same time, and several days.
    let time = (0..3_i64, 0..4_i64).prop_map(|(day, offset)| NOON + day * DAY + offset);
    (time, message, select(TEXTS), select(TEXTS), select(TEXTS), tags, fields).prop_map(
        |(time, message, level, service, host, tags, fields)| {
            (
                time,
                json!({
                    "timestamp": rfc3339(time), "level": level, "message": message, "service": service, "host": host,
                    "tags": tags.into_iter().collect::<BTreeMap<_, _>>(), "fields": fields,
                }),
            )
        },
    )
}

fn key() -> impl Strategy<Value = Key> {
    let path = proptest::collection::vec(select(KEYS), 1..3).prop_map(|keys| keys.join("."));
    prop_oneof![
        1 => select(vec![Key::Message, Key::Level, Key::Service, Key::Host, Key::Timestamp]),
        1 => select(KEYS).prop_map(|key| Key::Tag(key.to_owned())),
        3 => path.prop_map(Key::Field),
    ]
}

fn bound() -> impl Strategy<Value = Option<Bound>> {
    let times = (0..3_i64, -1..5_i64).prop_map(|(day, offset)| (NOON + day * DAY + offset) as f64);
    let value = prop_oneof![number().prop_map(|number| number.as_f64().unwrap()), times];
    proptest::option::of((value, any::<bool>()).prop_map(|(value, inclusive)| Bound { value, inclusive }))
}

fn query() -> impl Strategy<Value = Query> {
    let word =
        || select(&["error", "timeout", "time", "10", "0", "数", "über", "x", "nothing"][..]).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Query::All),
        word().prop_map(|word| Query::Term(Key::Message, word)),
        (key(), select(TEXTS)).prop_map(|(key, text)| Query::Term(key, text.to_owned())),
        (key(), number()).prop_map(|(key, number)| Query::Term(key, number.to_string())),
        proptest::collection::vec(word(), 0..4).prop_map(Query::Phrase),
        (key(), select(PATTERNS)).prop_map(|(key, pattern)| Query::Wildcard(key, pattern.to_owned())),
        key().prop_map(Query::Exists),
        (key(), bound(), bound()).prop_map(|(key, low, high)| Query::Range(key, low, high)),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Query::And),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Query::Or),
            inner.prop_map(|query| Query::Not(Box::new(query))),
        ]
    })
}

#[test]
fn any_query_on_any_logs_finds_what_the_definition_says() {
    let logs = proptest::collection::vec(log(), LOGS);
    let queries = proptest::collection::vec(query(), QUERIES);
    let config = Config { cases: STORES, failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hits = Cell::new(0);
    let result = TestRunner::new(config).run(&(logs, queries), |(logs, queries)| {
        hits.set(hits.get() + runtime.block_on(check(&logs, &queries))?);
        Ok(())
    });
    result.unwrap();
    // The queries are not all about nothing.
    assert!(hits.get() > STORES as usize * QUERIES / 4, "only {} queries find anything", hits.get());
}

fn entry(log: &Value) -> LogEntry {
    serde_json::from_value(log.clone()).unwrap()
}

/// Gives how many queries find anything.
async fn check(logs: &[(i64, Value)], queries: &[Query]) -> Result<usize, TestCaseError> {
    let scratch = Scratch::new("random");
    let ids: Vec<_> = (0..logs.len()).map(|n| format!("{:03}", n * 7 % logs.len())).collect();
    // In two parts, so that there are several segments.
    for part in [0..logs.len() / 2, logs.len() / 2..logs.len()] {
        let records: Vec<_> = part.map(|n| record(&ids[n], logs[n].0, logs[n].1.clone())).collect();
        scratch.store.write(&records.as_slice().into()).await.unwrap();
        scratch.settle().await;
    }
    let mut hits = 0;
    for query in queries {
        let mut expected: Vec<_> = logs
            .iter()
            .zip(&ids)
            .filter(|((_, log), _)| query.matches(&entry(log)))
            .map(|((time, log), id)| (*time, id.clone(), entry(log)))
            .collect();
        expected.sort_by(|a, b| (b.0, &b.1).cmp(&(a.0, &a.1)));
        let request = SearchRequest { query: query.clone(), span: TimeSpan::default(), limit: LOGS, cursor: None };
        let page = scratch.store.search(&request).await.unwrap();
        let found: Vec<_> = page.logs.into_iter().map(|log| (log.id, log.entry)).collect();
        let expected: Vec<_> = expected.into_iter().map(|(_, id, log)| (id, log)).collect();
        prop_assert_eq!(page.total, expected.len() as u64, "{:?}", query);
        prop_assert_eq!(found, expected, "{:?}", query);
        hits += usize::from(page.total > 0);
    }
    Ok(hits)
}
