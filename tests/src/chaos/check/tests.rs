#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

const RECORDS: u64 = 600;

fn load() -> Load {
    Load::new(2, "logs")
}

/// The document that becomes of a record; none where it is dropped.
fn document(load: &Load, n: u64) -> Option<Value> {
    let record = load.record(n);
    let (index, source) = match load.kind(n) {
        Kind::Dropped => return None,
        Kind::Canonical => (load.index(n), serde_json::from_slice(&record).unwrap()),
        Kind::Mapped => {
            (load.index(n), json!({"level": Load::level(n), "message": load.message(n), "fields": {"n": n}}))
        }
        Kind::Refused | Kind::Rubbish => {
            let bytes = base64::engine::general_purpose::STANDARD.encode(&record);
            let (partition, offset) = (n % SHARES as u64, n / SHARES as u64);
            let letter = json!({"topic": "logs", "partition": partition, "offset": offset, "original_base64": bytes});
            ("logs-dead-letter".to_owned(), letter)
        }
    };
    Some(json!({"_index": index, "_id": n.to_string(), "_source": source}))
}

fn documents_of(load: &Load) -> Vec<Value> {
    (0..RECORDS).filter_map(|n| document(load, n)).collect()
}

fn verdict(load: &Load, truth: &Truth, documents: &[Value]) -> String {
    let mut findings = Findings::new(load, truth);
    documents.iter().for_each(|document| findings.take(document));
    findings.end().map_or_else(|error| error.to_string(), |()| "fine".to_owned())
}

fn first(load: &Load, kind: Kind) -> u64 {
    (0..RECORDS).find(|n| load.kind(*n) == kind).unwrap()
}

#[test]
fn what_is_missing_doubled_changed_or_misplaced_is_found() {
    let (load, truth) = (load(), Truth::below(RECORDS));
    let all = documents_of(&load);
    assert_eq!(verdict(&load, &truth, &all), "fine");
    for kind in [Kind::Canonical, Kind::Mapped, Kind::Refused, Kind::Rubbish] {
        let n = first(&load, kind);
        let at = all.iter().position(|document| document["_id"] == n.to_string().as_str()).unwrap();
        let places = truth.places(n);

        let mut missing = all.clone();
        missing.remove(at);
        assert_eq!(
            verdict(&load, &truth, &missing),
            format!("1 problems:\nrecord {n} ({kind:?}, {places}) is missing 1 times")
        );
        let doubled = [all.clone(), vec![all[at].clone()]].concat();
        assert!(verdict(&load, &truth, &doubled).contains(&format!("record {n} ({places}) is there 2 times")));

        let mut other = all.clone();
        other[at]["_index"] = "logs-2000.01.01".into();
        assert!(verdict(&load, &truth, &other).starts_with(if matches!(kind, Kind::Canonical | Kind::Mapped) {
            "1 problems"
        } else {
            "2 problems"
        }));
        let mut other = all.clone();
        for key in ["message", "original_base64"] {
            if !other[at]["_source"][key].is_null() {
                other[at]["_source"][key] = "b3RoZXI=".into();
            }
        }
        assert_ne!(verdict(&load, &truth, &other), "fine", "{kind:?}");
    }
    let mut dropped = all[0].clone();
    dropped["_source"]["fields"]["n"] = first(&load, Kind::Dropped).into();
    assert!(verdict(&load, &truth, &[all.clone(), vec![dropped]].concat()).contains("Dropped"));
    let mut letter = all.clone();
    let at = letter.iter().position(|document| document["_index"] == "logs-dead-letter").unwrap();
    letter[at]["_source"]["offset"] = 0.into();
    letter[at]["_source"]["partition"] = 0.into();
    assert!(verdict(&load, &truth, &letter).contains("not where the letter says"));
}

#[test]
fn what_kafka_has_twice_must_be_stored_twice() {
    let load = load();
    let n = first(&load, Kind::Canonical);
    let truth = Truth::below(RECORDS).again(n, 0);
    let all = documents_of(&load);
    assert!(verdict(&load, &truth, &all).contains("is missing 1 times"));
    assert_eq!(verdict(&load, &truth, &[all.clone(), document(&load, n).into_iter().collect()].concat()), "fine");
}

/// What two workers say that have three partitions each.
fn statuses(load: &Load) -> Vec<(String, Value)> {
    let worker = |first: u64| {
        let mut status = json!({"conditions": [{"status": "True"}], "consumed": 0, "partitions": []});
        for number in first..first + 3 {
            let mut partition = json!({"partition": number, "lag": 0});
            for n in (number..RECORDS).step_by(SHARES) {
                let part = match load.kind(n) {
                    Kind::Dropped => "filtered",
                    Kind::Refused | Kind::Rubbish => "deadLettered",
                    _ if n % 5 == 0 => "deduplicated",
                    _ => "indexed",
                };
                for counts in [&mut partition, &mut status] {
                    counts[part] = (counts[part].as_u64().unwrap_or(0) + 1).into();
                }
                status["consumed"] = (status["consumed"].as_u64().unwrap() + 1).into();
            }
            status["partitions"].as_array_mut().unwrap().push(partition);
        }
        status
    };
    vec![("one".to_owned(), worker(0)), ("two".to_owned(), worker(3))]
}

#[test]
fn an_account_that_is_wrong_anywhere_is_found() {
    let (load, truth) = (load(), Truth::below(RECORDS));
    let expected = Expected::of(&load, &truth);
    let right = statuses(&load);
    account(&right, &truth, &expected).unwrap();
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut statuses = right.clone();
        change(&mut statuses[0].1);
        account(&statuses, &truth, &expected).unwrap_err().to_string()
    };
    let add = |to: &mut Value, count: i64| *to = (to.as_i64().unwrap_or(0) + count).into();
    assert!(wrong(&|status| add(&mut status["partitions"][0]["indexed"], 1)).contains("partition 0 has accounted"));
    assert!(wrong(&|status| add(&mut status["partitions"][0]["lag"], 1)).contains("partition 0 has accounted"));
    assert!(wrong(&|status| add(&mut status["partitions"][0]["lost"], 1)).contains("lost"));
    assert!(wrong(&|status| add(&mut status["consumed"], 1)).contains("has consumed"));
    assert!(wrong(&|status| status["conditions"][0]["status"] = "False".into()).contains("not ready"));
    assert!(wrong(&|status| status["partitions"][0]["partition"] = 3.into()).contains("of one and of two"));
    assert!(wrong(&|status| status["partitions"] = json!([])).contains("of nobody"));
    let moved = wrong(&|status| {
        add(&mut status["partitions"][0]["indexed"], -1);
        add(&mut status["partitions"][0]["deadLettered"], 1);
    });
    assert!(moved.contains("must be"), "{moved}");
    let mut both = right.clone();
    both[0].1["partitions"] = both[1].1["partitions"].clone();
    assert!(account(&both, &truth, &expected).unwrap_err().to_string().contains("is of one and of two"));
}
