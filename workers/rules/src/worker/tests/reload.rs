//! Created, edited, suspended, broken and deleted rules.

use super::*;

#[tokio::test]
async fn a_new_rule_has_a_status_at_once_and_is_evaluated_at_its_own_times_after_that() {
    let bench = Bench::new().await;
    bench.apply("errors", json!({"query": QUERY, "operator": ">", "threshold": 10, "evalDelay": "5s"})).await;
    assert_eq!(bench.state("errors"), "NoData Loaded");
    for _ in 0..120 {
        bench.pass(1).await;
    }
    let times = bench.engine.times(QUERY);
    let first = bench.now().as_millisecond() - 120_000 - 5_000;
    assert_eq!((times[0], times.len()), (first, 5));
    assert!(times[1] > first && times[1] <= first + 30_000);
    assert!(times[1..].windows(2).all(|pair| pair[1] - pair[0] == 30_000), "{times:?}");
    // Asleep for an hour: the last of the evaluations that were missed is made up for, the others are counted.
    bench.pass(3_600).await;
    assert_eq!(bench.engine.times(QUERY).len(), 6);
    assert_eq!((bench.engine.times(QUERY)[5] - times[1]) % 30_000, 0);
    let own = bench.telemetry.encode();
    assert!(own.contains("taffrail_rules_evaluations_missed_total 119"), "{own}");
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_stop_rules() {
    let bench = Bench::new().await;
    bench.apply("errors", json!({"query": QUERY, "operator": ">", "threshold": 10, "for": "1m"})).await;
    bench.engine.say(QUERY, 11.0);
    bench.pass(30).await;
    assert_eq!(bench.state("errors"), "Pending Loaded");
    bench.clock.set(bench.now() - std::time::Duration::from_secs(86_400));
    bench.settled().await;
    for _ in 0..2 {
        bench.pass(30).await;
        assert_eq!(bench.state("errors"), "Pending Loaded");
    }
    bench.pass(30).await;
    assert_eq!(bench.state("errors"), "Firing Loaded");
}

#[tokio::test]
async fn an_edit_that_leaves_the_condition_alone_keeps_the_alert() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    bench.apply("errors", with(&hook, json!({"for": "1m"}))).await;
    let since = bench.status("errors").active_at;
    bench.pass(30).await;
    let edited = json!({"for": "1m", "labels": {"team": "b"}, "interval": "10s", "annotations": {"summary": "new"}});
    bench.apply("errors", with(&hook, edited.clone())).await;
    let status = bench.status("errors");
    assert_eq!((status.state, status.observed_generation), (AlertState::Pending, Some(2)));
    assert_eq!((&status.active_at, &status.alerts[0].labels["team"]), (&since, &"b".to_owned()));
    bench.pass(40).await;
    assert_eq!((bench.state("errors").as_str(), bench.status("errors").active_at), ("Firing Loaded", since));
    let fired = hook.take();
    assert_eq!(fired.len(), 1);
    // Labels of a firing alert change what is shown, and neither who it is nor how often it is told of.
    bench.apply("errors", with(&hook, json!({"for": "1m", "labels": {"team": "c"}}))).await;
    bench.engine.say(QUERY, 1.0);
    bench.pass(30).await;
    let over = hook.take();
    assert_eq!((over.len(), &over[0].json()["labels"]["team"]), (1, &json!("c")));
    assert_eq!(over[0].json()["fingerprint"], fired[0].json()["fingerprint"]);
}

#[rstest::rstest]
#[case(json!({"threshold": 9}))]
#[case(json!({"operator": ">="}))]
#[case(json!({"duration": "1m"}))]
#[case(json!({"for": "1s"}))]
#[tokio::test]
async fn an_edit_of_the_condition_resolves_and_starts_anew(#[case] edit: Value) {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    bench.apply("errors", spec(&hook)).await;
    assert_eq!(hook.words(), ["firing"]);
    bench.pass(10).await;
    let before = bench.status("errors");
    bench.apply("errors", with(&hook, edit.clone())).await;
    let pending = edit["for"].is_string();
    let expected = if pending { vec!["resolved RuleChanged"] } else { vec!["resolved RuleChanged", "firing"] };
    assert_eq!(hook.words(), expected);
    let status = bench.status("errors");
    assert_eq!(status.state, if pending { AlertState::Pending } else { AlertState::Firing });
    assert_ne!(status.active_at, before.active_at);
    assert_eq!(status.active_at, status.last_evaluation);
    assert_eq!(status.alerts.last().unwrap().state, AlertState::Inactive);
}

#[tokio::test]
async fn a_deleted_rule_sends_its_resolve_and_stops() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    bench.apply("errors", spec(&hook)).await;
    bench.delete("errors").await;
    assert_eq!(hook.words(), ["firing", "resolved RuleDeleted"]);
    let asked = bench.engine.times(QUERY).len();
    bench.pass(600).await;
    assert_eq!((bench.engine.times(QUERY).len(), hook.take().len()), (asked, 0));
    // The same name is another rule.
    bench.apply("errors", spec(&hook)).await;
    assert_eq!(hook.words(), ["firing"]);
    let own = bench.telemetry.encode();
    assert!(own.contains("taffrail_rules_alerts{state=\"firing\"} 1"), "{own}");
    assert!(own.contains("taffrail_rules_rules{ready=\"true\"} 1"), "{own}");
}

#[tokio::test]
async fn a_suspended_rule_sends_its_resolve_and_rests() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    bench.apply("errors", spec(&hook)).await;
    bench.apply("errors", with(&hook, json!({"suspend": true}))).await;
    assert_eq!(hook.words(), ["firing", "resolved RuleSuspended"]);
    assert_eq!(bench.state("errors"), "Inactive Suspended");
    let asked = bench.engine.times(QUERY).len();
    bench.pass(600).await;
    assert_eq!(bench.engine.times(QUERY).len(), asked);
    bench.apply("errors", spec(&hook)).await;
    assert_eq!(bench.state("errors"), "Firing Loaded");
    // Suspended, and broken beside it.
    bench.apply("errors", with(&hook, json!({"suspend": true, "query": "rat"}))).await;
    assert_eq!(hook.words(), ["firing", "resolved RuleSuspended"]);
    assert_eq!(bench.state("errors"), "Error InvalidQuery");
}

#[tokio::test]
async fn a_broken_edit_leaves_the_last_good_version_running() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 1.0);
    bench.apply("errors", spec(&hook)).await;
    let ready_since = bench.status("errors").conditions[0].last_transition_time.clone();
    bench.pass(60).await;
    bench.apply("errors", with(&hook, json!({"query": "rate errors service"}))).await;
    assert_eq!(bench.state("errors"), "Inactive InvalidQuery");
    assert!(bench.message("errors").starts_with("column 20: "), "{}", bench.message("errors"));
    assert!(bench.message("errors").ends_with("; the last good version goes on"), "{}", bench.message("errors"));
    let broken_since = bench.status("errors").conditions[0].last_transition_time.clone();
    assert_ne!(broken_since, ready_since);
    bench.engine.say(QUERY, 11.0);
    bench.pass(30).await;
    assert_eq!((bench.state("errors").as_str(), hook.words()), ("Firing InvalidQuery", vec!["firing".to_owned()]));
    assert_eq!(bench.status("errors").conditions[0].last_transition_time, broken_since);
    assert_eq!(bench.status("errors").observed_generation, Some(2));
    // Mended, and the alert goes on.
    bench.apply("errors", with(&hook, json!({"labels": {"a": "b"}}))).await;
    assert_eq!((bench.state("errors").as_str(), hook.take().len()), ("Firing Loaded", 0));
}

#[tokio::test]
async fn a_broken_rule_harms_only_itself() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    bench.engine.fail("sum broken");
    bench.apply("a", with(&hook, json!({"annotations": {"summary": "{{ x"}}))).await;
    bench.apply("b", with(&hook, json!({"query": "sum broken"}))).await;
    bench.apply("c", spec(&hook)).await;
    assert_eq!(bench.state("a"), "Error InvalidTemplate");
    assert_eq!(bench.state("b"), "Error EvaluationFailed");
    assert_eq!(bench.state("c"), "Firing Loaded");
    assert_eq!(bench.status("a").last_evaluation, None);
    assert_eq!(hook.words(), ["firing"]);
}

#[tokio::test]
async fn an_engine_that_is_away_changes_nothing() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    bench.apply("errors", spec(&hook)).await;
    let before = bench.status("errors");
    bench.engine.fail(QUERY);
    bench.pass(3_600).await;
    let status = bench.status("errors");
    assert_eq!(bench.state("errors"), "Error EvaluationFailed");
    assert_eq!(bench.message("errors"), "the metrics engine does not answer: it is away; alerts stay as they are");
    assert_eq!((status.alerts[0].state, &status.active_at), (AlertState::Firing, &before.active_at));
    assert_eq!(hook.words(), ["firing"]);
    bench.engine.say(QUERY, 11.0);
    bench.pass(30).await;
    assert_eq!((bench.state("errors").as_str(), hook.take().len()), ("Firing Loaded", 0));
    let own = bench.telemetry.encode();
    assert!(own.contains("taffrail_rules_evaluation_failures_total{reason=\"unavailable\"} 1"), "{own}");
}

#[tokio::test]
async fn a_rule_has_one_alert_for_each_series_and_shows_ten() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    let query = "rate errors by host";
    let hosts: Vec<String> = (0..12).map(|number| format!("host=h{number:02}")).collect();
    let values: Vec<_> = hosts.iter().map(|host| (host.as_str(), 11.0)).collect();
    bench.engine.say_all(query, &values);
    bench.apply("errors", with(&hook, json!({"query": query}))).await;
    assert_eq!(hook.words().len(), 12);
    assert_eq!(bench.status("errors").alerts.len(), 10);
    bench.engine.say_all(query, &values[11..]);
    bench.pass(30).await;
    let alerts = bench.status("errors").alerts;
    assert_eq!((alerts[0].state, &alerts[0].labels["host"]), (AlertState::Firing, &"h11".to_owned()));
    assert_eq!((alerts[1].state, alerts.len()), (AlertState::Inactive, 10));
    assert_eq!(hook.words(), ["resolved NoData"; 11]);
}

#[tokio::test]
async fn too_many_alerts_are_said() {
    let bench = Bench::new().await;
    let query = "rate errors by host";
    let hosts: Vec<String> = (0..1_003).map(|number| format!("host=h{number}")).collect();
    let values: Vec<_> = hosts.iter().map(|host| (host.as_str(), 11.0)).collect();
    bench.engine.say_all(query, &values);
    bench.apply("errors", json!({"query": query, "operator": ">", "threshold": 10, "for": "1h"})).await;
    assert_eq!(bench.state("errors"), "Pending TooManyAlerts");
    assert!(bench.message("errors").contains("more than 1000 alerts, and 3 label sets"), "{}", bench.message("errors"));
}

#[tokio::test]
async fn an_edit_does_not_wait_for_an_evaluation_and_there_is_one_at_a_time() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.slow.send_replace(true);
    let slow =
        |labels: Value| crate::testing::rule("slow", &with(&hook, json!({"query": "sum slow", "labels": labels})));
    let apply = |rule| bench.board.apply(taffrail_crds::Object::AlertRule(std::sync::Arc::new(rule)));
    for edit in 1..=3 {
        apply(slow(json!({"edit": edit.to_string()})));
        while bench.engine.times("sum slow").len() < edit {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(std::sync::Arc::strong_count(&bench.engine.waiting), 2);
        assert_eq!(bench.status("slow").observed_generation, i64::try_from(edit).ok());
        // It is due again, which is no reason to ask again.
        bench.clock.advance(std::time::Duration::from_secs(60));
    }
    bench.engine.say("sum slow", 11.0);
    bench.engine.slow.send_replace(false);
    bench.settled().await;
    assert_eq!(bench.status("slow").alerts[0].labels["edit"], "3");
    assert_eq!(hook.words(), ["firing"]);
    // Deleted while it is evaluated.
    bench.engine.slow.send_replace(true);
    bench.clock.advance(std::time::Duration::from_secs(60));
    let asked = bench.engine.times("sum slow").len();
    while bench.engine.times("sum slow").len() == asked {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    bench.delete("slow").await;
    assert_eq!(hook.words(), ["resolved RuleDeleted"]);
    assert_eq!(std::sync::Arc::strong_count(&bench.engine.waiting), 1);
}
