#![allow(clippy::unwrap_used)]

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// A review as an API server sends it.
fn review(operation: &str, kind: &str, object: Value, old_object: Value) -> Value {
    let version = json!({"group": "taffrail.dev", "version": "v1alpha1", "kind": kind});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5", "operation": operation, "kind": version, "requestKind": version,
            "resource": {"group": "taffrail.dev", "version": "v1alpha1", "resource": "any"},
            "name": "one", "namespace": "shop", "userInfo": {"username": "admin"}, "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
            "object": object, "oldObject": old_object,
        },
    })
}

fn object(kind: &str, spec: Value) -> Value {
    let metadata = json!({"name": "one", "namespace": "shop", "uid": "u", "managedFields": [{"manager": "kubectl"}]});
    json!({"apiVersion": "taffrail.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn rule(query: &str) -> Value {
    object("AlertRule", json!({"query": query, "operator": ">", "threshold": 1}))
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key] = value;
    object
}

/// What is answered where everything that is looked at is found wrong.
fn answer(review: &Value) -> String {
    let mut request = Request::read(review.to_string().as_bytes()).unwrap();
    let findings = match request.task() {
        Task::Answer(findings) => findings,
        Task::Check(object) => Findings { problems: vec![format!("saw {}", object.key())], warnings: Vec::new() },
    };
    let answer = request.answer(findings);
    assert_eq!((&answer["apiVersion"], &answer["kind"]), (&json!("admission.k8s.io/v1"), &json!("AdmissionReview")));
    assert_eq!(answer["response"]["uid"], "705ab4f5");
    match answer["response"]["status"]["message"].as_str() {
        Some(message) => format!("{}: {message}", answer["response"]["allowed"]),
        None => answer["response"]["allowed"].to_string(),
    }
}

#[rstest]
#[case::a_new_one(review("CREATE", "AlertRule", rule("a"), Value::Null), "false: saw AlertRule shop/one")]
#[case::an_edit(review("UPDATE", "AlertRule", rule("a"), rule("b")), "false: saw AlertRule shop/one")]
#[case::a_pipeline(
    review("CREATE", "LogPipeline", object("LogPipeline", json!({"source": {"demo": {}}, "sink": {"embedded": {}}})), Value::Null),
    "false: saw LogPipeline shop/one"
)]
#[case::a_dashboard(
    review("CREATE", "Dashboard", object("Dashboard", json!({})), Value::Null),
    "false: saw Dashboard shop/one"
)]
#[case::a_status_of_another_version(
    review("UPDATE", "AlertRule", with(rule("a"), "/status", json!({"state": {"odd": 1}})), rule("b")),
    "false: saw AlertRule shop/one"
)]
#[case::metadata_only(
    review("UPDATE", "AlertRule", with(rule("a"), "/metadata/labels", json!({"team": "shop"})), rule("a")),
    "true"
)]
#[case::finalizers_only(
    review("UPDATE", "AlertRule", with(rule("a"), "/metadata/finalizers", json!([])), rule("a")),
    "true"
)]
#[case::status_only(review("UPDATE", "AlertRule", with(rule("a"), "/status", json!({"state": "ok"})), rule("a")), "true")]
#[case::the_status_itself(
    with(review("UPDATE", "AlertRule", rule("a"), rule("b")), "/request/subResource", json!("status")),
    "true"
)]
#[case::on_its_way_out(
    review("UPDATE", "AlertRule", with(rule("a"), "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z")), rule("b")),
    "true"
)]
#[case::deleted(review("DELETE", "AlertRule", Value::Null, rule("a")), "true")]
#[case::connected(review("CONNECT", "AlertRule", Value::Null, Value::Null), "true")]
#[case::another_kind(review("CREATE", "Pod", object("Pod", json!({})), Value::Null), "true")]
#[case::another_group(
    with(review("CREATE", "AlertRule", rule("a"), Value::Null), "/request/kind/group", json!("example.com")),
    "true"
)]
fn what_is_asked_about(#[case] review: Value, #[case] expected: &str) {
    assert_eq!(answer(&review), expected);
}

#[test]
fn what_can_not_be_read_is_refused_where_the_spec_is_new() {
    let endless = with(rule("a"), "/spec/for", json!("99999999999999w"));
    let refused = answer(&review("CREATE", "AlertRule", endless.clone(), Value::Null));
    assert!(refused.starts_with("false: can't be read: "), "{refused}");
    assert!(refused.contains("is not a duration"), "{refused}");
    let old = with(endless.clone(), "/metadata/labels", json!({"team": "shop"}));
    assert_eq!(answer(&review("UPDATE", "AlertRule", endless, old)), "true");
}

#[rstest]
#[case::nothing(&[], &[], json!({"uid": "u", "allowed": true}))]
#[case::warnings_refuse_nothing(&[], &["careful"], json!({"uid": "u", "allowed": true, "warnings": ["careful"]}))]
#[case::problems(
    &["spec.a: is wrong", "spec.b: too"], &["careful"],
    json!({
        "uid": "u", "allowed": false, "warnings": ["careful"],
        "status": {"code": 422, "reason": "Invalid", "message": "spec.a: is wrong; spec.b: too"},
    })
)]
#[case::too_many_to_tell(
    &["x"; 12], &[],
    json!({
        "uid": "u", "allowed": false,
        "status": {"code": 422, "reason": "Invalid", "message": "x; x; x; x; x; x; x; x; x; x; and 2 more"},
    })
)]
fn an_answer_says_what_was_found(#[case] problems: &[&str], #[case] warnings: &[&str], #[case] expected: Value) {
    let request = with(review("CREATE", "AlertRule", rule("a"), Value::Null), "/request/uid", json!("u"));
    let request = Request::read(request.to_string().as_bytes()).unwrap();
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let answer = request.answer(Findings { problems: owned(problems), warnings: owned(warnings) });
    assert_eq!(answer["response"], expected);
}

#[rstest]
#[case::no_json("{", "not an AdmissionReview: ")]
#[case::no_request(r#"{"apiVersion": "admission.k8s.io/v1"}"#, "not an AdmissionReview: missing field `request`")]
#[case::another_version(
    &review("CREATE", "AlertRule", rule("a"), Value::Null).to_string().replace("k8s.io/v1", "k8s.io/v1beta1"),
    "expected an AdmissionReview of admission.k8s.io/v1, found admission.k8s.io/v1beta1"
)]
fn what_is_no_review_is_not_answered(#[case] body: &str, #[case] expected: &str) {
    let problem = Request::read(body.as_bytes()).err().unwrap();
    assert!(problem.starts_with(expected), "{problem}");
}
