//! What survives the end of the process.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn pending_and_firing_times_and_what_was_told_survive() {
    let (mut bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    bench.apply("errors", with(&hook, json!({"for": "1m"}))).await;
    let since = bench.status("errors").active_at;
    let ready_since = bench.status("errors").conditions[0].last_transition_time.clone();
    bench.kill().await;
    bench.pass_without_worker(40);
    bench.start().await;
    assert_eq!((bench.state("errors").as_str(), bench.status("errors").active_at), ("Pending Loaded", since.clone()));
    assert_eq!(bench.status("errors").conditions[0].last_transition_time, ready_since);
    bench.kill().await;
    bench.pass_without_worker(25);
    bench.start().await;
    assert_eq!((bench.state("errors").as_str(), bench.status("errors").active_at), ("Firing Loaded", since.clone()));
    let fired = bench.status("errors").alerts[0].fired_at.clone();
    assert_eq!(hook.words(), ["firing"]);
    bench.stop().await;
    bench.pass_without_worker(1_000);
    bench.start().await;
    let alert = bench.status("errors").alerts.remove(0);
    assert_eq!((alert.active_at, alert.fired_at), (since, fired));
    assert!(hook.take().is_empty());
    bench.engine.say(QUERY, 1.0);
    bench.kill().await;
    bench.start().await;
    assert_eq!(hook.words(), ["resolved ConditionCeased"]);
    bench.kill().await;
    bench.start().await;
    assert_eq!(bench.status("errors").alerts[0].state, AlertState::Inactive);
    assert!(hook.take().is_empty());
}

#[tokio::test]
async fn nothing_is_written_while_nothing_happens() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 1.0);
    bench.apply("errors", spec(&hook)).await;
    bench.pass(300).await;
    assert_eq!(bench.journal().len(), 0);
    bench.engine.say(QUERY, 11.0);
    bench.pass(30).await;
    let written = bench.journal();
    for value in 12..20 {
        bench.engine.say(QUERY, f64::from(value));
        bench.pass(30).await;
    }
    assert_eq!(bench.status("errors").value, Some(19.0));
    assert_eq!(bench.journal(), written);
}

#[tokio::test]
async fn rules_that_were_changed_meanwhile_are_as_if_they_had_been_changed_now() {
    let (mut bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    for name in ["deleted", "edited", "suspended", "broken", "same"] {
        bench.apply(name, with(&hook, json!({"name": name}))).await;
    }
    assert_eq!(hook.words().len(), 5);
    bench.kill().await;
    bench.board.delete(&crate::testing::key("deleted"));
    for (name, edit) in [
        ("edited", json!({"name": "edited", "threshold": 20})),
        ("suspended", json!({"name": "suspended", "suspend": true})),
        ("broken", json!({"name": "broken", "query": "rat"})),
    ] {
        let rule = crate::testing::rule(name, &with(&hook, edit));
        bench.board.apply(taffrail_crds::Object::AlertRule(std::sync::Arc::new(rule)));
    }
    bench.start().await;
    let said = || {
        let said = hook.take();
        let word = |json: Value| format!("{} {}", json["rule"].as_str().unwrap(), json["reason"].as_str().unwrap());
        said.iter().map(|request| word(request.json())).collect::<BTreeSet<_>>()
    };
    assert_eq!(said(), BTreeSet::from(["edited RuleChanged".to_owned(), "suspended RuleSuspended".to_owned()]));
    // Files that can't be read may hold the rule that is not there.
    let problem = taffrail_runtime::LoadProblem { file: "x".to_owned(), line: 1, column: 1, message: String::new() };
    bench.board.set_problems("x", vec![problem]);
    bench.pass(60).await;
    assert!(said().is_empty());
    bench.board.set_problems("x", Vec::new());
    bench.pass(5).await;
    assert_eq!(said(), BTreeSet::from(["deleted RuleDeleted".to_owned()]));
    assert_eq!(bench.state("broken"), "Error InvalidQuery");
    assert_eq!(bench.status("broken").alerts[0].state, AlertState::Firing);
    bench.delete("broken").await;
    assert_eq!(said(), BTreeSet::from(["broken RuleDeleted".to_owned()]));
}

#[tokio::test]
async fn what_was_not_delivered_is_delivered_after_a_restart_with_the_same_id() {
    let (mut bench, hook) = (Bench::new().await, Hook::new().await);
    hook.answer(&[500; 2]);
    bench.engine.say(QUERY, 11.0);
    bench.apply("errors", spec(&hook)).await;
    bench.engine.say(QUERY, 1.0);
    bench.clock.advance(std::time::Duration::from_millis(100));
    bench.apply("errors", with(&hook, json!({"annotations": {}}))).await;
    let first = hook.take().remove(0);
    bench.stop().await;
    bench.start().await;
    // The first attempt after the start meets the second failure.
    assert_eq!(hook.take().len(), 1);
    bench.pass(2).await;
    let told = hook.take();
    assert_eq!(
        (told[0].body.as_str(), told[0].header("idempotency-key")),
        (first.body.as_str(), first.header("idempotency-key"))
    );
    assert_eq!(told[1].json()["status"], "resolved");
    assert_eq!(told.len(), 2);
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_receiver_that_hangs() {
    let mut bench = Bench::new().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = json!([{"webhook": {"url": format!("http://{}", silent.local_addr().unwrap())}}]);
    bench.engine.say(QUERY, 11.0);
    let rule =
        crate::testing::rule("errors", &json!({"query": QUERY, "operator": ">", "threshold": 1, "notify": hanging}));
    bench.board.apply(taffrail_crds::Object::AlertRule(std::sync::Arc::new(rule)));
    while !bench.journal().windows(6).any(|window| window == b"letter") {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let start = std::time::Instant::now();
    bench.stop().await;
    assert!(start.elapsed() < std::time::Duration::from_secs(1), "{:?}", start.elapsed());
}

/// Plays a story, ends the process after each write and within each, and goes on from there: whatever was told before
/// and after makes the whole story, and nothing but repetitions with the same id is told twice.
#[tokio::test]
async fn wherever_the_process_ends_nothing_is_lost_and_nothing_told_anew() {
    let (bench, hook) = (Bench::new().await, Hook::new().await);
    bench.engine.say(QUERY, 11.0);
    let rule = with(&hook, json!({"for": "1m"}));
    bench.apply("errors", rule.clone()).await;
    let since = bench.status("errors").active_at;
    bench.pass(90).await;
    let [fired] = hook.take().try_into().unwrap();
    let (journal, fired_at) = (bench.journal(), bench.now());

    let ends: Vec<usize> = (0..journal.len()).filter(|at| journal[*at] == b'\n').map(|at| at + 1).collect();
    // Pending; firing, with a letter; the letter is delivered.
    assert_eq!(ends.len(), 3);
    let within = ends.iter().map(|end| end - 7);
    for length in ends.iter().copied().chain(within) {
        let kept = String::from_utf8_lossy(&journal[..length]).into_owned();
        let delivered = ends[2] <= length;
        let mut next = Bench::new().await;
        next.stop().await;
        std::fs::write(next.directory.path().join("state.v1"), kept.as_bytes()).unwrap();
        next.clock.set(fired_at);
        next.engine.say(QUERY, 11.0);
        next.board.apply(taffrail_crds::Object::AlertRule(std::sync::Arc::new(crate::testing::rule("errors", &rule))));
        next.start().await;
        let mut told = hook.take();
        if length < ends[0] {
            // Nobody knew of it: it begins now.
            assert_eq!((next.state("errors").as_str(), told.len()), ("Pending Loaded", 0));
            next.pass(90).await;
            told = hook.take();
            assert_eq!(told.len(), 1);
        } else {
            assert_eq!(next.status("errors").active_at, since, "{length}");
            assert_eq!(next.state("errors"), "Firing Loaded");
            assert_eq!(told.len(), usize::from(!delivered), "{length}");
        }
        if ends[1] <= length && !delivered {
            assert_eq!(
                (told[0].header("idempotency-key"), &told[0].body),
                (fired.header("idempotency-key"), &fired.body)
            );
        }
        next.engine.say(QUERY, 1.0);
        next.pass(30).await;
        assert_eq!(hook.words(), ["resolved ConditionCeased"]);
        next.pass(600).await;
        assert!(hook.take().is_empty());
    }
}
