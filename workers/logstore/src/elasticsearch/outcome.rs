//! What an answer of the bulk interface means for the records.
//!
//! | answer | is about | outcome |
//! | --- | --- | --- |
//! | no connection, no answer in time; request 408, 429, 5xx | the surroundings | `Unavailable` |
//! | request 401, 403; all items 401, 403 | our credentials | `Unauthorized` |
//! | request 413 | the size | `TooLarge`: split it |
//! | request 400 in Elasticsearch's own form | some record | `Refused`: bisect it |
//! | request 404 and others, an answer that Elasticsearch would not give (a proxy's page) | the configuration | `Stalled(Misconfigured)` |
//! | item 200, 201 | | `Indexed`, unless it went to a failure store: then `Refused` |
//! | item 409 | it is there, with this id | `Duplicate` |
//! | item 408, 429, 5xx | the surroundings | `Retry` |
//! | item or request: a block on the cluster or the index, whatever the status | the storage | `Stalled(StorageBlocked)` |
//! | item or request 400: no shards left, or no room in a shard | the cluster's limits | `Stalled(ShardLimit)` |
//! | item 401, 403 | our credentials | `Stalled(Unauthorized)` |
//! | item 404 | the configuration: indices don't come into being by themselves | `Stalled(IndexMissing)` |
//! | any other item 400 | the record, or its closed index | `Refused` |
//! | whatever is not known | the configuration | `Stalled(Misconfigured)` |
//!
//! What is refused goes to the dead letters, and is gone from the stream. So every doubt is decided for a stall, and
//! only Elasticsearch's own word about a record counts as a refusal.

use std::borrow::Cow;

use serde::Deserialize;

use super::nodes::{Answer, WANTS_CERTIFICATE, excerpt};
use crate::{Obstacle, Outcome, WriteError};

/// The parts of a bulk answer that we read; the server leaves out the rest.
pub(super) const FILTER: &str = "errors,items.*.status,items.*.failure_store,items.*.error.type,items.*.error.reason,\
                                 items.*.error.caused_by.reason,items.*.error.caused_by.caused_by.reason";

/// Reasons repeat what is in the record; so much of them is kept.
const LONGEST_REASON: usize = 600;

#[derive(Deserialize)]
struct BulkAnswer<'a> {
    #[serde(borrow)]
    items: Vec<BulkItem<'a>>,
}

#[derive(Deserialize)]
struct BulkItem<'a> {
    #[serde(borrow, alias = "create", alias = "index", alias = "delete")]
    result: ItemResult<'a>,
}

#[derive(Deserialize)]
struct ItemResult<'a> {
    status: u16,
    #[serde(borrow)]
    failure_store: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Fault<'a>>,
}

/// An error in Elasticsearch's form.
#[derive(Deserialize)]
struct Fault<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    caused_by: Option<Box<Cause<'a>>>,
}

#[derive(Deserialize)]
struct Cause<'a> {
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    caused_by: Option<Box<Cause<'a>>>,
}

#[derive(Deserialize)]
struct FaultAnswer<'a> {
    #[serde(borrow)]
    error: Fault<'a>,
}

impl Fault<'_> {
    /// The type, the reason, and the causes that add something to it.
    fn text(&self) -> String {
        let mut text = self.kind.to_string();
        let mut add = |reason: &Option<Cow<'_, str>>| {
            if let Some(reason) = reason.as_deref().filter(|reason| !text.contains(*reason)) {
                text.push_str(": ");
                text.push_str(reason);
            }
        };
        add(&self.reason);
        let mut cause = self.caused_by.as_deref();
        while let Some(inner) = cause {
            add(&inner.reason);
            cause = inner.caused_by.as_deref();
        }
        match text.char_indices().nth(LONGEST_REASON) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    /// What is in the way where the status alone does not say so. The list is short on purpose: everything else is
    /// decided by the status.
    fn obstacle(&self) -> Option<Obstacle> {
        let reason = self.reason.as_deref().unwrap_or_default();
        match &*self.kind {
            "cluster_block_exception" => Some(Obstacle::StorageBlocked),
            "validation_exception" if reason.contains("maximum") && reason.contains("shards open") => {
                Some(Obstacle::ShardLimit)
            }
            "illegal_argument_exception" if reason.starts_with("Number of documents in the") => {
                Some(Obstacle::ShardLimit)
            }
            "illegal_argument_exception" if reason.starts_with("no write index is defined") => {
                Some(Obstacle::Misconfigured)
            }
            _ => None,
        }
    }
}

/// The error that an answer has in Elasticsearch's form, as a text.
pub(super) fn fault_of(answer: &Answer) -> Option<String> {
    serde_json::from_slice::<FaultAnswer<'_>>(&answer.body).ok().map(|fault| fault.error.text())
}

/// What became of `count` records that were sent, in their order.
pub(super) fn outcomes(answer: &Answer, count: usize) -> Result<Vec<Outcome>, WriteError> {
    if answer.status != 200 {
        return Err(request_error(answer));
    }
    if are_all_created(&answer.body, count) {
        return Ok(vec![Outcome::Indexed; count]);
    }
    let Ok(bulk) = serde_json::from_slice::<BulkAnswer<'_>>(&answer.body) else {
        return Err(not_elasticsearch(answer));
    };
    if bulk.items.len() != count {
        let text = format!("the answer speaks of {} records, {count} were sent", bulk.items.len());
        return Err(WriteError::Unavailable(text));
    }
    // The credentials may do nothing here at all: that is for who manages them, not for single records.
    if count > 0
        && bulk.items.iter().all(|item| matches!(item.result.status, 401 | 403) && item.result.obstacle().is_none())
    {
        let reason = bulk.items.first().and_then(|item| item.result.error.as_ref()).map(Fault::text);
        return Err(WriteError::Unauthorized(reason.unwrap_or_default()));
    }
    Ok(bulk.items.into_iter().map(|item| outcome(&item.result)).collect())
}

/// Whether an answer says of every record that it is new, and nothing else: the usual one, which need not be parsed.
fn are_all_created(body: &[u8], count: usize) -> bool {
    const START: &[u8] = br#"{"errors":false,"items":["#;
    const ITEM: &[u8] = br#"{"create":{"status":201}}"#;
    // With the commas between them, and the two brackets at the end.
    let is_long_enough = body.len() == START.len() + count * (ITEM.len() + 1) + 1;
    is_long_enough && body.starts_with(START) && memchr::memmem::find_iter(body, ITEM).count() == count
}

/// Why not all documents that were to be deleted are gone, if so. What was not there need not be deleted.
pub(super) fn not_deleted(answer: &Answer) -> Result<Option<String>, WriteError> {
    if answer.status != 200 {
        return Err(request_error(answer));
    }
    let Ok(bulk) = serde_json::from_slice::<BulkAnswer<'_>>(&answer.body) else {
        return Err(not_elasticsearch(answer));
    };
    let failed = bulk.items.iter().find(|item| !matches!(item.result.status, 200 | 404));
    Ok(failed.map(|item| item.result.error.as_ref().map_or_else(|| "a dead letter stays".to_owned(), Fault::text)))
}

impl ItemResult<'_> {
    fn obstacle(&self) -> Option<Obstacle> {
        self.error.as_ref().and_then(Fault::obstacle)
    }
}

fn outcome(item: &ItemResult<'_>) -> Outcome {
    let status = item.status;
    let reason = || item.error.as_ref().map_or_else(|| format!("status {status}"), Fault::text);
    match status {
        200 | 201 => match item.failure_store.as_deref() {
            Some("used") => Outcome::Refused {
                status,
                reason: "it was redirected to the failure store of a data stream, where searches do not find it".into(),
            },
            _ => Outcome::Indexed,
        },
        409 => Outcome::Duplicate,
        _ if let Some(obstacle) = item.obstacle() => Outcome::Stalled { obstacle, reason: reason() },
        400 => Outcome::Refused { status, reason: reason() },
        408 | 429 | 500.. => Outcome::Retry { status, reason: reason() },
        401 | 403 => Outcome::Stalled { obstacle: Obstacle::Unauthorized, reason: reason() },
        404 => Outcome::Stalled { obstacle: Obstacle::IndexMissing, reason: reason() },
        _ => Outcome::Stalled { obstacle: Obstacle::Misconfigured, reason: reason() },
    }
}

/// Why a request was not carried out.
pub(super) fn request_error(answer: &Answer) -> WriteError {
    let Some(fault) = serde_json::from_slice::<FaultAnswer<'_>>(&answer.body).ok().map(|fault| fault.error) else {
        return match answer.status {
            401 | 403 => WriteError::Unauthorized(format!("status {}: {}", answer.status, excerpt(&answer.body))),
            // What nginx says to who shows no certificate, or another one.
            400 if memchr::memmem::find(&answer.body, b"SSL certificate").is_some() => {
                WriteError::Unauthorized(format!("{WANTS_CERTIFICATE}: {}", excerpt(&answer.body)))
            }
            413 => WriteError::TooLarge(format!("status 413: {}", excerpt(&answer.body))),
            408 | 429 | 500.. => {
                WriteError::Unavailable(format!("status {}: {}", answer.status, excerpt(&answer.body)))
            }
            _ => not_elasticsearch(answer),
        };
    };
    let text = format!("status {}: {}", answer.status, fault.text());
    match (fault.obstacle(), answer.status) {
        (Some(obstacle), _) => WriteError::Stalled(obstacle, text),
        (None, 400) => WriteError::Refused(text),
        (None, 401 | 403) => WriteError::Unauthorized(text),
        (None, 413) => WriteError::TooLarge(text),
        (None, 408 | 429 | 500..) => WriteError::Unavailable(text),
        (None, _) => WriteError::Stalled(Obstacle::Misconfigured, text),
    }
}

fn not_elasticsearch(answer: &Answer) -> WriteError {
    let begin = excerpt(&answer.body);
    let text = format!(
        "status {} and an answer that is not Elasticsearch's; is the URL right? it begins: {begin}",
        answer.status
    );
    WriteError::Stalled(Obstacle::Misconfigured, text)
}

/// What must hold of an answer, for checks: what need not be parsed says the same where it is.
#[cfg(any(test, fuzzing))]
pub(crate) fn check(body: &bytes::Bytes) {
    let answer = Answer { status: 200, body: body.clone() };
    let _ = (not_deleted(&answer), request_error(&Answer { status: 400, body: body.clone() }));
    let Ok(bulk) = serde_json::from_slice::<BulkAnswer<'_>>(body) else { return };
    let parsed: Vec<Outcome> = bulk.items.iter().map(|item| outcome(&item.result)).collect();
    if are_all_created(body, parsed.len()) {
        assert_eq!(parsed, vec![Outcome::Indexed; parsed.len()]);
    }
    assert!(outcomes(&answer, parsed.len() + 1).is_err());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;

    fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
        Answer { status, body: body.into() }
    }

    fn item(result: Value) -> Result<Vec<Outcome>, WriteError> {
        // A second, good one, so that the whole is never refused.
        let body = json!({"errors": true, "items": [{"create": result}, {"create": {"status": 201}}]});
        outcomes(&answer(200, body.to_string()), 2).map(|mut all| all.drain(..1).collect())
    }

    #[track_caller]
    fn check(result: Value, expected: &str) {
        let outcome = item(result.clone()).unwrap().remove(0);
        let name = format!("{outcome:?}");
        assert!(name.starts_with(expected), "{result} gave {name}");
    }

    #[test]
    fn the_usual_answer_need_not_be_parsed() {
        let body = |statuses: &[u16]| {
            let items: Vec<_> = statuses.iter().map(|status| json!({"create": {"status": status}})).collect();
            json!({"errors": false, "items": items}).to_string()
        };
        assert!(are_all_created(body(&[201]).as_bytes(), 1));
        assert!(are_all_created(body(&[201; 7]).as_bytes(), 7));
        for (statuses, count) in [(&[201; 7][..], 6), (&[201; 7], 8), (&[201, 409, 201], 3), (&[], 1)] {
            assert!(!are_all_created(body(statuses).as_bytes(), count), "{statuses:?}");
        }
    }

    fn fault(status: u16, kind: &str, reason: &str) -> Value {
        json!({"status": status, "error": {"type": kind, "reason": reason}})
    }

    #[test]
    fn items_fall_into_their_classes() {
        check(json!({"status": 201}), "Indexed");
        check(json!({"status": 200}), "Indexed");
        check(json!({"status": 201, "failure_store": "not_applicable_or_unknown"}), "Indexed");
        check(json!({"status": 201, "failure_store": "used"}), "Refused");
        check(
            fault(409, "version_conflict_engine_exception", "[x]: version conflict, document already exists"),
            "Duplicate",
        );
        check(fault(400, "document_parsing_exception", "[1:5] failed to parse"), "Refused");
        check(fault(400, "illegal_argument_exception", "Limit of total fields [1000] has been exceeded"), "Refused");
        check(fault(400, "index_closed_exception", "closed"), "Refused");
        check(
            fault(
                400,
                "validation_exception",
                "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] maximum normal shards open;",
            ),
            "Stalled { obstacle: ShardLimit",
        );
        check(
            fault(400, "illegal_argument_exception", "Number of documents in the shard cannot exceed [2147483519]"),
            "Stalled { obstacle: ShardLimit",
        );
        check(fault(429, "es_rejected_execution_exception", "rejected execution of coordinating operation"), "Retry");
        check(
            fault(429, "cluster_block_exception", "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage]"),
            "Stalled { obstacle: StorageBlocked",
        );
        check(
            fault(403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)]"),
            "Stalled { obstacle: StorageBlocked",
        );
        check(
            fault(403, "security_exception", "action [indices:data/write/bulk[s]] is unauthorized"),
            "Stalled { obstacle: Unauthorized",
        );
        check(
            fault(400, "illegal_argument_exception", "no write index is defined for alias [logs]"),
            "Stalled { obstacle: Misconfigured",
        );
        check(
            fault(404, "index_not_found_exception", "no such index [logs] and [action.auto_create_index] is [false]"),
            "Stalled { obstacle: IndexMissing",
        );
        check(fault(503, "unavailable_shards_exception", "primary shard is not active"), "Retry");
        check(json!({"status": 418}), "Stalled { obstacle: Misconfigured");
    }

    #[test]
    fn reasons_name_the_cause_once_and_are_short() {
        let parsing = json!({"status": 400, "error": {
            "type": "document_parsing_exception", "reason": "[1:9] failed to parse field [timestamp]",
            "caused_by": {"reason": "failed to parse date field [x]", "caused_by": {"reason": "failed to parse date field [x]"}},
        }});
        let outcome = item(parsing).unwrap().remove(0);
        let reason =
            "document_parsing_exception: [1:9] failed to parse field [timestamp]: failed to parse date field [x]";
        assert_eq!(outcome, Outcome::Refused { status: 400, reason: reason.into() });
        let Outcome::Refused { reason, .. } = item(fault(400, "x", &"é".repeat(9000))).unwrap().remove(0) else {
            panic!()
        };
        assert_eq!(reason.chars().count(), LONGEST_REASON + 1);
    }

    #[test]
    fn credentials_that_may_write_nothing_are_unauthorized() {
        let denied =
            json!({"create": fault(403, "security_exception", "no permissions for [indices:data/write/bulk]")});
        let body = json!({"errors": true, "items": [denied, denied]}).to_string();
        assert!(matches!(outcomes(&answer(200, body), 2), Err(WriteError::Unauthorized(_))));
        let blocked = json!({"create": fault(403, "cluster_block_exception", "blocked")});
        let body = json!({"errors": true, "items": [blocked]}).to_string();
        let outcome = outcomes(&answer(200, body), 1).unwrap().remove(0);
        assert!(matches!(outcome, Outcome::Stalled { obstacle: Obstacle::StorageBlocked, .. }), "{outcome:?}");
    }

    #[test]
    fn requests_fall_into_their_classes() {
        let own = |status: u16| {
            let body = json!({"error": {"type": "some_exception", "reason": "why"}, "status": status});
            request_error(&answer(status, body.to_string()))
        };
        assert!(matches!(own(400), WriteError::Refused(_)));
        assert!(matches!(own(401), WriteError::Unauthorized(_)));
        assert!(matches!(own(403), WriteError::Unauthorized(_)));
        assert!(matches!(own(404), WriteError::Stalled(Obstacle::Misconfigured, _)));
        assert!(matches!(own(413), WriteError::TooLarge(_)));
        assert!(matches!(own(429), WriteError::Unavailable(_)));
        assert!(matches!(own(503), WriteError::Unavailable(_)));
        let blocked = json!({"error": {"type": "cluster_block_exception", "reason": "blocked by: [FORBIDDEN/6/cluster read-only (api)]"}});
        let blocked = request_error(&answer(403, blocked.to_string()));
        assert!(matches!(blocked, WriteError::Stalled(Obstacle::StorageBlocked, _)), "{blocked}");
    }

    #[test]
    fn what_is_not_elasticsearch_never_refuses_a_record() {
        let page = "<html>400 The plain HTTP request was sent to HTTPS port</html>";
        for status in [200, 301, 400, 404, 405] {
            let error = outcomes(&answer(status, page), 1).unwrap_err();
            let is_said = |text: &str| text.contains("is the URL right");
            assert!(matches!(&error, WriteError::Stalled(Obstacle::Misconfigured, text) if is_said(text)), "{error}");
        }
        assert!(matches!(outcomes(&answer(413, page), 1), Err(WriteError::TooLarge(_))));
        assert!(matches!(outcomes(&answer(401, page), 1), Err(WriteError::Unauthorized(_))));
        assert!(matches!(outcomes(&answer(502, page), 1), Err(WriteError::Unavailable(_))));
        let short = json!({"errors": false, "items": []}).to_string();
        assert!(matches!(outcomes(&answer(200, short), 1), Err(WriteError::Unavailable(_))));
    }
}
