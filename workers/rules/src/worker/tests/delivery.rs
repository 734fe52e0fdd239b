//! Telling receivers.

use super::*;

#[tokio::test]
async fn what_can_not_be_delivered_is_tried_again_with_the_same_id_and_in_order() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    hook.answer(&[500, 503, 429]);
    bench.engine.say(QUERY, 11.0);
    bench.apply("errors", spec(&hook)).await;
    assert_eq!(hook.take().len(), 1);
    assert_eq!(bench.state("errors"), "Firing NotificationFailed");
    let message = bench.message("errors");
    assert!(message.contains("to a receiver of kind webhook was not delivered; attempt 1 failed"), "{message}");
    assert!(message.ends_with("it answered 500 Internal Server Error: because"), "{message}");
    // The alert resolves meanwhile: that waits its turn.
    bench.engine.say(QUERY, 1.0);
    let mut attempts = Vec::new();
    for _ in 0..40 {
        bench.pass(1).await;
        attempts.extend(hook.take());
    }
    // 429 asked for two minutes.
    assert_eq!(attempts.len(), 2);
    for _ in 0..120 {
        bench.pass(1).await;
        attempts.extend(hook.take());
    }
    let told: Vec<_> = attempts.iter().map(|request| request.json()["status"].clone()).collect();
    assert_eq!(told, ["firing", "firing", "firing", "resolved"]);
    let ids: Vec<_> = attempts.iter().map(|request| request.header("idempotency-key")).collect();
    assert!(ids[0] == ids[2] && ids[2] != ids[3] && ids[0].len() == 32, "{ids:?}");
    assert_eq!(bench.state("errors"), "Inactive Loaded");
    let own = bench.telemetry.encode();
    assert!(
        own.contains("taffrail_rules_notifications_failed_total{receiver=\"webhook\",reason=\"status\"} 3"),
        "{own}"
    );
    assert!(own.contains("taffrail_rules_notifications_total{receiver=\"webhook\"} 2"), "{own}");
    assert!(own.contains("taffrail_rules_notifications_waiting 0"), "{own}");
}

#[tokio::test]
async fn what_a_receiver_refuses_is_not_tried_again_but_said() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    hook.answer(&[404]);
    bench.engine.say(QUERY, 11.0);
    bench.apply("errors", spec(&hook)).await;
    bench.pass(600).await;
    assert_eq!(hook.words(), ["firing"]);
    assert_eq!(bench.state("errors"), "Firing NotificationFailed");
    assert!(bench.message("errors").contains("not tried again: it answered 404 Not Found: because"));
    bench.engine.say(QUERY, 1.0);
    bench.pass(30).await;
    assert_eq!(
        (hook.words(), bench.state("errors").as_str()),
        (vec!["resolved ConditionCeased".to_owned()], "Inactive Loaded")
    );
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_neither_evaluation_nor_other_receivers() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    // Takes connections, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = json!({"webhook": {"url": format!("http://{}", silent.local_addr().unwrap())}});
    bench.engine.say(QUERY, 11.0);
    let rule = crate::testing::rule("errors", &with(&hook, json!({"notify": [hanging, hook.receiver()]})));
    bench.board.apply(taffrail_crds::Object::AlertRule(std::sync::Arc::new(rule)));
    // It is never settled, so it is waited for in small steps.
    for wanted in ["firing", "resolved ConditionCeased"] {
        let mut told = Vec::new();
        for _ in 0..500 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            told.extend(hook.words());
            if !told.is_empty() {
                break;
            }
        }
        assert_eq!(told, [wanted]);
        bench.engine.say(QUERY, 1.0);
        bench.clock.advance(std::time::Duration::from_secs(30));
    }
}

#[tokio::test]
async fn a_missing_secret_is_said_and_delivery_waits_for_it() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    let signed = json!([{"webhook": {"url": hook.url, "secretName": "hook"}}]);
    bench.apply("errors", with(&hook, json!({"notify": signed}))).await;
    assert_eq!(bench.state("errors"), "Firing SecretNotFound");
    assert!(hook.take().is_empty());
    // "a2V5" is "key" in base64.
    bench.secret("hook", json!({"key": "a2V5"})).await;
    assert_eq!(bench.state("errors"), "Firing Loaded");
    let request = hook.take().remove(0);
    assert!(request.header("x-taffrail-signature").starts_with("sha256="));
    bench.board.delete(&taffrail_crds::ObjectKey { kind: taffrail_crds::Kind::Secret, ..crate::testing::key("hook") });
    bench.settled().await;
    assert_eq!(bench.state("errors"), "Firing SecretNotFound");
}

#[tokio::test]
async fn receivers_come_and_go() {
    let (bench, one, other) = (Bench::new().await, Hook::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    bench.apply("errors", spec(&one)).await;
    assert_eq!(one.words(), ["firing"]);
    bench.apply("errors", with(&one, json!({"notify": [one.receiver(), other.receiver()]}))).await;
    assert_eq!((one.words().len(), other.words()), (0, vec!["firing".to_owned()]));
    bench.apply("errors", spec(&other)).await;
    assert_eq!((one.words(), other.words().len()), (vec!["resolved ReceiverRemoved".to_owned()], 0));
    bench.engine.say(QUERY, 1.0);
    bench.pass(30).await;
    assert_eq!((one.words().len(), other.words()), (0, vec!["resolved ConditionCeased".to_owned()]));
}

#[tokio::test]
async fn a_receiver_that_can_not_be_told_is_said_and_the_rule_goes_on() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    let notify = json!([{"pagerduty": {"secretName": "x"}}, hook.receiver()]);
    bench.apply("errors", with(&hook, json!({"notify": notify}))).await;
    assert_eq!(
        (bench.state("errors").as_str(), hook.words()),
        ("Firing UnsupportedReceiver", vec!["firing".to_owned()])
    );
}

#[tokio::test]
async fn silenced_alerts_are_shown_and_told_of_when_the_silence_ends() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    let silences = json!({"silences": [{"match": {"service": "api"}, "until": "2026-01-01T00:10:00Z"}]});
    bench.apply("errors", with(&hook, silences.clone())).await;
    bench.pass(599).await;
    assert_eq!((bench.state("errors").as_str(), hook.take().len()), ("Firing Loaded", 0));
    bench.pass(1).await;
    assert_eq!(hook.words(), ["firing"]);
    // One that resolves while it is silenced is no news; one that is known still ends.
    bench.engine.say(QUERY, 1.0);
    let later = json!({"silences": [{"match": {}, "until": "2027-01-01T00:00:00Z"}]});
    bench.apply("errors", with(&hook, later)).await;
    assert_eq!(hook.words(), ["resolved ConditionCeased"]);
    bench.engine.say(QUERY, 11.0);
    bench.pass(30).await;
    bench.engine.say(QUERY, 1.0);
    bench.pass(30).await;
    assert!(hook.take().is_empty());
    assert_eq!(bench.status("errors").alerts[0].labels["service"], "api");
}

#[tokio::test]
async fn a_group_is_told_of_when_it_has_waited() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    let query = "rate errors by host";
    bench.engine.say_all(query, &[("host=a", 11.0), ("host=b", 12.0)]);
    let group = json!({"by": ["severity"], "wait": "10s", "interval": "1m", "repeat": "1h"});
    bench.apply("errors", with(&hook, json!({"query": query, "group": group}))).await;
    assert!(hook.take().is_empty());
    bench.pass(10).await;
    let told = hook.take();
    let told = told[0].json();
    assert_eq!((told["alerts"].as_array().unwrap().len(), &told["groupLabels"]), (2, &json!({"severity": "critical"})));
    bench.pass(3_600).await;
    assert_eq!(hook.words(), ["firing"]);
    bench.delete("errors").await;
    let told = hook.take();
    assert_eq!((told.len(), told[0].json()["alerts"].as_array().unwrap().len()), (1, 2));
}

#[tokio::test]
async fn a_receiver_that_goes_is_told_of_what_its_group_still_held_back() {
    let (bench, one, other) = (Bench::new().await, Hook::new().await, Hook::new().await);
    let group = json!({"by": [], "wait": "0s", "interval": "1h", "repeat": "4h"});
    bench.engine.say(QUERY, 11.0);
    bench.apply("errors", with(&one, json!({"group": group}))).await;
    bench.engine.say(QUERY, 1.0);
    bench.pass(30).await;
    assert_eq!(one.words(), ["firing"]);
    bench.apply("errors", with(&other, json!({"group": group}))).await;
    assert_eq!((one.words(), other.words().len()), (vec!["resolved ConditionCeased".to_owned()], 0));
}

#[tokio::test]
async fn alertmanager_is_reminded_and_told_of_other_labels() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    let notify = json!([{"alertmanager": {"urls": [hook.url]}}]);
    bench.apply("errors", with(&hook, json!({"notify": notify}))).await;
    assert_eq!(hook.take().len(), 1);
    let written = bench.journal();
    for minute in 1..=3 {
        bench.pass(60).await;
        let reminders = hook.take();
        assert_eq!(reminders.len(), 1, "minute {minute}");
        assert!(reminders[0].json()[0]["endsAt"].as_str().unwrap() > bench.now().to_string().as_str());
    }
    // Saying what is known costs no write.
    assert_eq!(bench.journal(), written);
    bench.apply("errors", with(&hook, json!({"notify": notify, "labels": {"severity": "low"}}))).await;
    let told = hook.take().remove(0).json();
    let said: Vec<_> = told.as_array().unwrap().iter().map(|alert| alert["labels"]["severity"].clone()).collect();
    assert_eq!(said, ["critical", "low"]);
    assert!(told[0]["endsAt"].as_str().unwrap() <= bench.now().to_string().as_str());
}
