#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::Value;

use super::*;
use crate::LogEntry;

/// What was found, as it can be compared.
#[derive(Default)]
struct Found {
    record: String,
    members: Vec<(Member, String)>,
    tags: Vec<(String, String)>,
    leaves: Vec<(String, Value, bool)>,
}

impl Visit for Found {
    fn member(&mut self, member: Member, text: &Text) {
        self.members.push((member, text.of(&self.record).into_owned()));
    }

    fn tag(&mut self, key: &Text, value: &Text) {
        self.tags.push((key.of(&self.record).into_owned(), value.of(&self.record).into_owned()));
    }

    fn leaf(&mut self, path: &Path<'_, '_>, leaf: Leaf) {
        let mut text = String::new();
        path.write(&mut text);
        assert!(path.is(&text));
        assert!(!path.is(&format!("{text}x")) && !path.is(&format!("x{text}")));
        let value = match leaf {
            Leaf::Text(text) => text.of(&self.record).into(),
            Leaf::Number(range) => serde_json::from_str(&self.record[range]).unwrap(),
            Leaf::Bool(truth) => truth.into(),
            Leaf::Null => Value::Null,
        };
        self.leaves.push((text, value, path.in_array));
    }
}

fn scan(record: &str) -> Option<Found> {
    let mut found = Found { record: record.to_owned(), ..Found::default() };
    Scanner::default().scan(record, &mut found).then_some(found)
}

#[test]
fn all_parts_are_found() {
    let found = scan(
        "{ \"timestamp\":\"2024-08-16T12:00:00Z\",\t\"message\" : \"say \\\"\\u00e9\\ud83d\\ude00\\\" \u{e9}\",\n\"tags\":{\"a\":\"1\",\"\":\"\"},\r
        \"fields\":{\"n\":-1.5e3,\"o\":{\"p.q\":{\"r\":\"text of more than eight bytes\"},\"e\":{}},\"l\":[true,[2],{\"x\":null}],\"s\\\"\":0} } ",
    )
    .unwrap();
    assert_eq!(found.members[1], (Member::Message, "say \"\u{e9}\u{1f600}\" \u{e9}".to_owned()));
    assert_eq!(found.tags, [("a".to_owned(), "1".to_owned()), (String::new(), String::new())]);
    let leaves: Vec<_> = found
        .leaves
        .iter()
        .map(|(path, value, in_array)| format!("{path}={value}{}", if *in_array { "*" } else { "" }))
        .collect();
    assert_eq!(
        leaves,
        ["n=-1500.0", "o.p.q.r=\"text of more than eight bytes\"", "l=true*", "l=2*", "l.x=null*", "s\"=0"]
    );
}

#[rstest]
#[case("")]
#[case("{")]
#[case("{}x")]
#[case("[]")]
#[case("{\"x\":\"\"}")]
#[case("{\"level\":\"a\",\"level\":\"a\"}")]
#[case("{\"level\":1}")]
#[case("{\"level\":null}")]
#[case("{\"level\":\"a\",}")]
#[case("{\"level\" \"a\"}")]
#[case("{\"level\":\"a\"\"host\":\"a\"}")]
#[case("{\"l\\u0065vel\":\"a\"}")]
#[case("{\"tags\":{\"a\":1}}")]
#[case("{\"tags\":null}")]
#[case("{\"fields\":[]}")]
#[case("{\"fields\":{\"a\":01}}")]
#[case("{\"fields\":{\"a\":-}}")]
#[case("{\"fields\":{\"a\":1.}}")]
#[case("{\"fields\":{\"a\":.5}}")]
#[case("{\"fields\":{\"a\":+1}}")]
#[case("{\"fields\":{\"a\":1e}}")]
#[case("{\"fields\":{\"a\":1e999}}")]
#[case("{\"fields\":{\"a\":tru}}")]
#[case("{\"fields\":{\"a\":NaN}}")]
#[case("{\"fields\":{\"a\":[1,]}}")]
#[case("{\"fields\":{\"a\":[1 2]}}")]
#[case("{\"fields\":{\"a\":[1}}")]
#[case("{\"message\":\"a\nb\"}")]
#[case("{\"message\":\"long enough, \u{1}\"}")]
#[case("{\"message\":\"\\x\"}")]
#[case("{\"message\":\"\\u12g4\"}")]
#[case("{\"message\":\"\\ud800\"}")]
#[case("{\"message\":\"\\ud800\\u0041\"}")]
#[case("{\"message\":\"\\udc00\"}")]
#[case("{\"message\":\"\\")]
#[case("{\"message\":\"unended")]
fn what_is_no_entry_is_told(#[case] record: &str) {
    assert!(scan(record).is_none(), "{record}");
}

#[test]
fn nothing_is_nested_without_end() {
    let nested = |depth| format!("{{\"fields\":{{\"a\":{}{}}}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(scan(&nested(MAX_DEPTH - 1)).is_some());
    assert!(scan(&nested(MAX_DEPTH)).is_none());
    assert!(scan(&nested(1_000_000)).is_none());
}

/// Leaves of a value as the scanner tells them.
fn leaves(path: &str, value: &Value, in_array: bool, leaves_so_far: &mut Vec<(String, Value, bool)>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(&path, value, in_array, leaves_so_far);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| leaves(path, element, true, leaves_so_far)),
        leaf => leaves_so_far.push((path.to_owned(), leaf.clone(), in_array)),
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[\\x00-\\x7f]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\\u{e9}]{1,10}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever an entry holds, as serde writes it: all of it is found as serde reads it.
    #[test]
    fn an_entry_is_found_as_it_is_read(
        message in "\\PC{0,40}",
        tags in prop::collection::btree_map("[a-z\"]{1,12}", "\\PC{0,12}", 0..4),
        fields in prop::collection::btree_map("[a-z\"]{1,12}", any_value(), 0..4),
        is_pretty in any::<bool>(),
    ) {
        let fields: serde_json::Map<String, Value> = fields.into_iter().collect();
        let entry = LogEntry { timestamp: "t".into(), message, tags, fields, ..LogEntry::default() };
        let text = if is_pretty { serde_json::to_string_pretty(&entry) } else { serde_json::to_string(&entry) }.unwrap();
        // Reading may change the last digit of a double.
        let entry: LogEntry = serde_json::from_str(&text).unwrap();
        let found = scan(&text).unwrap();
        prop_assert_eq!(&found.members[2].1, &entry.message);
        prop_assert_eq!(found.tags, entry.tags.into_iter().collect::<Vec<_>>());
        let mut expected = Vec::new();
        for (key, value) in &entry.fields {
            leaves(key, value, false, &mut expected);
        }
        prop_assert_eq!(found.leaves, expected);
    }

    /// Whatever passes is an entry to serde, too, and the other way round for what is not nested too deep.
    #[test]
    fn what_passes_is_what_serde_takes(
        text in "\\{(\"(level|message|tags|fields)\": ?(\"([a\\\\\"\u{e9}nu0]{0,9})\"|\\{\\}|\\{\"a\":-?[0-9.eE+]{1,5}\\}|\\[\\]),?){0,3}\\}"
    ) {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)]
        struct Strict {
            level: Option<String>,
            message: Option<String>,
            tags: Option<std::collections::BTreeMap<String, String>>,
            fields: Option<serde_json::Map<String, Value>>,
        }
        prop_assert_eq!(scan(&text).is_some(), serde_json::from_str::<Strict>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        scan(&text);
    }

    #[test]
    fn what_may_end_a_text_is_found_as_by_the_slow_way(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), 0x1f_u8..0x23, 0x5b_u8..0x5e], 0..40)) {
        let slow = bytes.iter().take_while(|byte| **byte >= 0x20 && **byte != b'"' && **byte != b'\\').count();
        prop_assert_eq!(special(&bytes, 0).unwrap_or(bytes.len()), slow);
    }
}
