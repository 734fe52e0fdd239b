#![allow(clippy::unwrap_used)]

use rstest::rstest;
use serde_json::{Value, json};
use taffrail_crds::Comparison;
use taffrail_query::Labels;

use super::*;
use crate::clock::timestamp;
use crate::machine::Reason;
use crate::notice::{Facts, Message, Notice, Status};
use crate::testing::{Hook, labels};

fn notice(series: &str, value: f64) -> Notice {
    Notice {
        status: Status::Firing,
        labels: labels(series),
        annotations: labels("summary=api <is> slow & sad"),
        value: Some(value),
        starts_at: timestamp(1_000),
        ends_at: None,
        fingerprint: format!("print of {series}"),
        reason: None,
    }
}

fn notification(notices: Vec<Notice>) -> Notification {
    let facts = Facts {
        namespace: "shop".to_owned(),
        name: "slow".to_owned(),
        title: "Slow".to_owned(),
        query: "p95 response_time by service".to_owned(),
        operator: Comparison::GreaterOrEqual,
        threshold: 500.0,
        interval: 30_000,
    };
    Notification::new(&facts, Message { group: Labels::new(), notices }, "receiver", 5_000)
}

fn secret(pairs: &[(&str, &str)]) -> SecretData {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

async fn sent(receiver: Value, secrets: SecretData, notification: &Notification) -> Outcome {
    let receiver: Receiver = serde_json::from_value(receiver).unwrap();
    deliver(&client().unwrap(), &receiver, Ok(secrets), notification, timestamp(10_000)).await
}

#[tokio::test]
async fn a_webhook_gets_a_document_that_says_all_of_one_alert() {
    let hook = Hook::new().await;
    let receiver = json!({"webhook": {"url": format!("{}/x?y=z", hook.url), "headers": {"X-Scope-OrgID": "t", "Content-Type": "application/cloudevents+json"}, "secretName": "s"}});
    let over = notice("service=api", 700.5).resolved(61_000, Some(100.0), Reason::ConditionCeased);
    let notification = notification(vec![over]);
    let secrets = secret(&[("key", "Jefe"), ("token", "abc\n")]);
    assert_eq!(sent(receiver, secrets, &notification).await, Outcome::Delivered);
    let request = hook.take().remove(0);
    assert_eq!(request.path, "/x");
    assert_eq!(request.header("x-scope-orgid"), "t");
    assert_eq!(request.header("authorization"), "Bearer abc");
    assert_eq!(request.header("content-type"), "application/cloudevents+json");
    assert_eq!(request.header("idempotency-key"), notification.id);
    let alert = json!({
        "status": "resolved",
        "labels": {"service": "api"},
        "annotations": {"summary": "api <is> slow & sad"},
        "value": 100.0,
        "startsAt": "1970-01-01T00:00:01Z",
        "endsAt": "1970-01-01T00:01:01Z",
        "fingerprint": "print of service=api",
        "reason": "ConditionCeased",
    });
    let mut expected = json!({
        "version": "1",
        "rule": "Slow",
        "name": "slow",
        "namespace": "shop",
        "query": "p95 response_time by service",
        "operator": ">=",
        "threshold": 500.0,
        "groupLabels": {},
        "alerts": [alert],
    });
    expected.as_object_mut().unwrap().extend(alert.as_object().unwrap().clone());
    assert_eq!(request.json(), expected);
    let signature = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"Jefe"), request.body.as_bytes());
    let signature = format!("sha256={}", crate::notice::hex(signature.as_ref()));
    assert_eq!(request.header("x-taffrail-signature"), signature);
}

#[test]
fn signatures_are_those_of_rfc_4231() {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"Jefe");
    let signature = ring::hmac::sign(&key, b"what do ya want for nothing?");
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(crate::notice::hex(signature.as_ref()), expected);
}

#[tokio::test]
async fn of_several_alerts_a_webhook_says_what_they_have_in_common() {
    let hook = Hook::new().await;
    let over = notice("service=api,host=a", 1.0).resolved(9_000, None, Reason::NoData);
    let both = notification(vec![over, notice("service=api,host=b", 600.0)]);
    assert_eq!(sent(hook.receiver(), SecretData::new(), &both).await, Outcome::Delivered);
    let json = hook.take().remove(0).json();
    assert_eq!((&json["status"], &json["labels"]), (&json!("firing"), &json!({"service": "api"})));
    assert_eq!((&json["value"], json["alerts"].as_array().unwrap().len()), (&Value::Null, 2));
    assert_eq!((&json["alerts"][0]["reason"], &json["alerts"][0]["value"]), (&json!("NoData"), &Value::Null));
}

#[tokio::test]
async fn alertmanager_gets_alerts_that_end_by_themselves() {
    let (one, other) = (Hook::new().await, Hook::new().await);
    let receiver = json!({"alertmanager": {"urls": [format!("{}/", one.url), other.url], "secretName": "s"}});
    let over = notice("alertname=Slow,service=web", 1.0).resolved(9_000, None, Reason::ConditionCeased);
    let both = notification(vec![notice("alertname=Slow,service=api,namespace=mine", 600.0), over]);
    other.answer(&[503]);
    let secrets = secret(&[("username", "u"), ("password", "p")]);
    assert_eq!(sent(receiver.clone(), secrets, &both).await, Outcome::Delivered);
    let request = one.take().remove(0);
    assert_eq!((request.path.as_str(), request.header("authorization")), ("/api/v2/alerts", "Basic dTpw"));
    assert_eq!(other.take().len(), 1);
    let summary = json!({"summary": "api <is> slow & sad"});
    assert_eq!(
        request.json(),
        json!([
            {
                "labels": {"alertname": "Slow", "service": "api", "namespace": "mine"},
                "annotations": summary, "startsAt": "1970-01-01T00:00:01Z", "endsAt": "1970-01-01T00:04:10Z",
            },
            {
                "labels": {"alertname": "Slow", "service": "web", "namespace": "shop"},
                "annotations": summary, "startsAt": "1970-01-01T00:00:01Z", "endsAt": "1970-01-01T00:00:09Z",
            },
        ])
    );
    // As long as one may take it later, it is worth another attempt.
    one.answer(&[400]);
    other.answer(&[500]);
    let outcome = sent(receiver, secret(&[("token", "t")]), &both).await;
    assert!(matches!(outcome, Outcome::Again { reason: "status", .. }), "{outcome:?}");
}

#[tokio::test]
async fn slack_gets_a_message_for_people() {
    let hook = Hook::new().await;
    let receiver = json!({"slack": {"secretName": "s", "channel": "#shop"}});
    let both = notification(vec![notice("alertname=Slow,service=api", 600.0), notice("service=web", 700.0)]);
    assert_eq!(sent(receiver.clone(), secret(&[("url", &hook.url)]), &both).await, Outcome::Delivered);
    let json = hook.take().remove(0).json();
    assert_eq!((&json["text"], &json["channel"]), (&json!("[FIRING: 2] Slow"), &json!("#shop")));
    assert_eq!(
        json["attachments"][0]["text"],
        "api &lt;is&gt; slow &amp; sad\n_service=api_\napi &lt;is&gt; slow &amp; sad\n_service=web_"
    );
    let mut bare = notice("service=api", 600.0).resolved(9_000, Some(1.5), Reason::ConditionCeased);
    bare.annotations.clear();
    sent(receiver, secret(&[("url", &hook.url)]), &notification(vec![bare])).await;
    let json = hook.take().remove(0).json();
    assert_eq!(json["text"], "[RESOLVED] Slow");
    assert_eq!(
        json["attachments"][0]["text"],
        "resolved: p95 response_time by service is 1.5, &gt;= 500\n_service=api_"
    );
}

#[rstest]
#[case(204, "Delivered")]
#[case(307, "Refused")]
#[case(400, "Refused")]
#[case(404, "Refused")]
#[case(408, "Again")]
#[case(429, "Again 120")]
#[case(500, "Again")]
#[case(503, "Again")]
#[tokio::test]
async fn answers(#[case] status: u16, #[case] expected: &str) {
    let hook = Hook::new().await;
    hook.answer(&[status]);
    let outcome = sent(hook.receiver(), SecretData::new(), &notification(vec![notice("a=b", 1.0)])).await;
    let word = match outcome {
        Outcome::Delivered => "Delivered".to_owned(),
        Outcome::Refused { reason: "status", message } => {
            assert!(message.contains(&status.to_string()) && message.ends_with(": because"), "{message}");
            "Refused".to_owned()
        }
        Outcome::Again { reason: "status", after, .. } => {
            after.map_or_else(|| "Again".to_owned(), |after| format!("Again {}", after.as_secs()))
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(word, expected);
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again_and_its_address_kept_secret() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/secret", listener.local_addr().unwrap());
    drop(listener);
    let notification = notification(vec![notice("a=b", 1.0)]);
    let outcome = sent(json!({"webhook": {"url": url}}), SecretData::new(), &notification).await;
    let Outcome::Again { reason: "network", message, .. } = outcome else { panic!("{outcome:?}") };
    assert!(message.starts_with("it can't be reached") && !message.contains("secret"), "{message}");
    let receiver = serde_json::from_value(json!({"slack": {"secretName": "s"}})).unwrap();
    let fault = Err(Fault::new("SecretNotFound", "there is no secret `s`"));
    let outcome = deliver(&client().unwrap(), &receiver, fault, &notification, timestamp(0)).await;
    assert!(matches!(outcome, Outcome::Again { reason: "secret", .. }), "{outcome:?}");
}
