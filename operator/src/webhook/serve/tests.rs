#![allow(clippy::unwrap_used)]

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::*;

fn reviewer(check: impl Fn(&Object) -> Findings + Send + Sync + 'static) -> (Arc<Reviewer>, Registry) {
    let mut registry = Registry::default();
    let metrics = OperatorMetrics::new(&mut registry);
    let config = Config::new("taffrail", "operator-1", "taffrail:test");
    (Arc::new(Reviewer { config, check: Arc::new(check), metrics, slots: Arc::new(Semaphore::new(REVIEWS)) }), registry)
}

fn pipeline(name: &str, source: &Value) -> String {
    let sink = json!({"elasticsearch": {"urls": ["http://elasticsearch:9200"]}});
    let object = json!({
        "apiVersion": "taffrail.dev/v1alpha1", "kind": "LogPipeline",
        "metadata": {"name": name, "namespace": "shop"}, "spec": {"source": source, "sink": sink},
    });
    let kind = json!({"group": "taffrail.dev", "version": "v1alpha1", "kind": "LogPipeline"});
    let request = json!({"uid": "u", "kind": kind, "operation": "CREATE", "object": object, "oldObject": null});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string()
}

fn demo() -> String {
    pipeline("logs", &json!({"demo": {}}))
}

async fn ask(reviewer: &Arc<Reviewer>, body: String) -> (StatusCode, String) {
    let response = review(State(reviewer.clone()), Body::from(body)).await;
    let status = response.status();
    let body = to_bytes(response.into_body(), LARGEST).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Whether it was allowed, the message and the warning.
async fn answer(reviewer: &Arc<Reviewer>, body: String) -> (bool, String, String) {
    let (status, body) = ask(reviewer, body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let response = &answer["response"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (response["allowed"] == true, text(&response["status"]["message"]), text(&response["warnings"][0]))
}

#[tokio::test]
async fn what_the_check_and_the_operator_find_is_refused() {
    let (reviewer, registry) = reviewer(|object| Findings {
        problems: vec![format!("{} is wrong", object.key())],
        warnings: vec!["careful".to_owned()],
    });
    let (allowed, message, warning) = answer(&reviewer, pipeline("logs", &json!({"stdin": {}}))).await;
    assert!(!allowed);
    assert!(
        message.starts_with("LogPipeline shop/logs is wrong; the stdin source is that of a single process"),
        "{message}"
    );
    assert_eq!(warning, "careful");
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    assert!(text.contains("reviews_total{answer=\"refused\"} 1"), "{text}");
}

#[tokio::test]
async fn what_can_not_have_workers_is_refused() {
    let (reviewer, _) = reviewer(|_| Findings::default());
    assert_eq!(answer(&reviewer, demo()).await, (true, String::new(), String::new()));
    let (allowed, message, _) = answer(&reviewer, pipeline("a.b", &json!({"demo": {}}))).await;
    assert!(!allowed && message.contains("no dots"), "{message}");
    let template = demo().replace(r#""source""#, r#""template":{"spec":{"containers":"none"}},"source""#);
    let (allowed, message, _) = answer(&reviewer, template).await;
    assert!(!allowed && message.contains("makes no pod template"), "{message}");
}

#[tokio::test]
async fn what_can_not_be_checked_is_allowed_with_a_warning() {
    let (panics, registry) = reviewer(|_| panic!("a fault in the check"));
    let (slow, _) = reviewer(|_| {
        std::thread::sleep(PATIENCE + Duration::from_secs(2));
        Findings::default()
    });
    for reviewer in [&panics, &slow] {
        let began = Instant::now();
        let (allowed, _, warning) = answer(reviewer, demo()).await;
        assert!(allowed && warning.contains("could not check this object"), "{warning}");
        assert!(began.elapsed() < PATIENCE + Duration::from_secs(1), "{:?}", began.elapsed());
    }
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    assert!(text.contains("reviews_total{answer=\"unchecked\"} 1"), "{text}");
    // Those that were given up still run, and so no more are begun than there are slots.
    let others: Vec<_> = (1..REVIEWS).map(|_| slow.slots.clone().try_acquire_owned().unwrap()).collect();
    assert_eq!(slow.slots.available_permits(), 0);
    drop(others);
}

#[tokio::test]
async fn who_waits_in_vain_for_a_slot_is_told() {
    let (reviewer, _) = reviewer(|_| Findings::default());
    let slots = reviewer.slots.clone().acquire_many_owned(u32::try_from(REVIEWS).unwrap()).await.unwrap();
    assert_eq!(ask(&reviewer, demo()).await.0, StatusCode::SERVICE_UNAVAILABLE);
    drop(slots);
    assert_eq!(ask(&reviewer, demo()).await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_review_is_not_answered() {
    let (reviewer, _) = reviewer(|_| Findings::default());
    assert_eq!(ask(&reviewer, "{}".to_owned()).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ask(&reviewer, " ".repeat(LARGEST + 1)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let silent = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let response = review(State(reviewer.clone()), silent).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
}
