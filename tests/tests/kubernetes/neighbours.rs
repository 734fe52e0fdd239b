//! A bad object harms only itself: twenty good ones beside everything that can be wrong.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use taffrail_tests::kubernetes::{
    KINDS, all_ready, apply, becomes, get, is_ready, items, kubectl, object, ours, pods, restarts, said,
};
use taffrail_tests::{elasticsearch, eventually, kafka};

use crate::support::install;

const NAMESPACE: &str = "neighbours";
const GOOD: usize = 20;
/// How long what is wrong may take to show.
const SAID_WITHIN: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);

fn pipeline(topic: &str, group: &str) -> Value {
    json!({
        "source": {"kafka": {"brokers": ["kafka:9092"], "topic": topic, "group": group}},
        "metrics": [{"name": "log_count", "type": "counter"}],
        "batch": {"size": 100, "timeout": "100ms"},
        "sink": {"elasticsearch": {"urls": ["http://elasticsearch:9200"], "index": topic}},
    })
}

fn rule(query: &str) -> Value {
    json!({"query": query, "operator": ">", "threshold": 1_000_000, "interval": "5s"})
}

fn good(topics: &[&str]) -> Vec<Value> {
    let pipelines = topics.iter().map(|topic| object("LogPipeline", topic, &pipeline(topic, topic)));
    let rules = (0..14).map(|n| object("AlertRule", &format!("good-{n}"), &rule("sum log_count")));
    let dashboards = (0..4).map(|n| object("Dashboard", &format!("good-{n}"), &json!({"title": "Good"})));
    pipelines.chain(rules).chain(dashboards).collect()
}

/// Objects that the API server takes, with the reason that their status must give.
fn bad(topic: &str) -> Vec<(Value, &'static str)> {
    let with = |mut spec: Value, path: &str, value: Value| {
        let (parent, key) = path.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[key] = value;
        spec
    };
    // Of a group of their own: of the good one they would take partitions, as anybody would who joined it.
    let pipeline = |name: &str| pipeline(topic, &format!("{topic}-{name}"));
    let nowhere = with(pipeline("kafka"), "/source/kafka/brokers", json!(["10.250.0.2:1"]));
    let no_secret = with(pipeline("secret"), "/sink/elasticsearch/auth", json!({"secretName": "missing"}));
    let no_sink = with(pipeline("elasticsearch"), "/sink/elasticsearch/urls", json!(["http://10.250.0.2:1"]));
    let template = json!({"spec": {"containers": "none"}});
    let endless = with(rule("sum log_count"), "/for", json!("99999999999999w"));
    let misspelt = with(rule("sum log_count"), "/annotations", json!({"summary": "{{ labels.service | lowr }}"}));
    let pipelines = [
        ("vrl", with(pipeline("vrl"), "/transform", json!(".a = nonsense(.b)")), "InvalidTransform"),
        ("secret", no_secret, "SecretNotFound"),
        ("kafka", nowhere, "SourceUnavailable"),
        ("elasticsearch", no_sink, "SinkUnavailable"),
        ("template", with(pipeline("template"), "/template", template), "InvalidTemplate"),
        ("embedded", json!({"source": {"demo": {"rate": 1}}, "sink": {"embedded": {}}}), "InvalidSpec"),
    ];
    let rules = [
        ("query", rule("rtae error_count"), "InvalidQuery"),
        ("endless", endless, "InvalidSpec"),
        ("annotation", misspelt, "InvalidTemplate"),
    ];
    let pipelines =
        pipelines.map(|(name, spec, reason)| (object("LogPipeline", &format!("bad-{name}"), &spec), reason));
    let rules = rules.map(|(name, spec, reason)| (object("AlertRule", &format!("bad-{name}"), &spec), reason));
    let dashboard = object("Dashboard", "bad-range", &json!({"range": "99999999999999w"}));
    pipelines.into_iter().chain(rules).chain([(dashboard, "InvalidSpec")]).collect()
}

/// What the API server refuses, with what it must say.
fn refused() -> Vec<(Value, &'static str)> {
    let with = |key: &str, value: Value| {
        let mut spec = rule("sum log_count");
        spec[key] = value;
        object("AlertRule", "refused", &spec)
    };
    vec![
        // What YAML makes of `team: No`.
        (with("labels", json!({"team": false})), "labels"),
        (with("operator", json!("=>")), "operator"),
        (with("threshold", json!("many")), "threshold"),
        (with("notify", json!([{"webhok": {}}])), "webhok"),
        (with("noData", json!("Ok")), "noData"),
        (with("treshold", json!(5)), "treshold"),
    ]
}

fn path(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// Stores rules that can't be read, as from before their kind became stricter.
fn store_unreadable_rules() {
    let name = "alertrules.taffrail.dev";
    let strict = get(NAMESPACE, &format!("crd/{name}")).unwrap();
    let place = |field: &str| format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}");
    let patch = |schema: &dyn Fn(&str) -> Value| {
        let replace = |field| json!({"op": "replace", "path": place(field), "value": schema(field)});
        let patch = json!(["name", "interval"].map(replace)).to_string();
        kubectl(&["patch", "crd", name, "--type", "json", "-p", &patch]).unwrap();
    };
    patch(&|_| json!({"x-kubernetes-preserve-unknown-fields": true}));
    let with = |field: &str| {
        let mut unreadable = rule("sum log_count");
        unreadable[field] = json!({"every": "minute"});
        object("AlertRule", &format!("bad-{field}"), &unreadable)
    };
    let begun = Instant::now();
    // The API server takes up a new schema after a moment.
    while let Err(error) = apply(NAMESPACE, &[with("name"), with("interval")]) {
        assert!(begun.elapsed() < PATIENCE, "{error:#}");
    }
    patch(&|field| strict.pointer(&place(field)).unwrap().clone());
}

/// Logs go through a pipeline.
async fn moves_logs(topic: &str, expected: u64) {
    let mut producer = kafka::Producer::new(topic, 1).unwrap();
    (0..100).for_each(|n| producer.send(format!(r#"{{"message":"entry {n}"}}"#).as_bytes()).unwrap());
    producer.flush().unwrap();
    eventually(PATIENCE, || async {
        match elasticsearch::count(&format!("{topic}-2*")).await {
            Ok(count) if count == expected => Ok(()),
            other => Err(format!("{other:?} of {expected} documents")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_objects_say_what_is_wrong_and_harm_nobody() {
    install().await;
    let topics = [0, 1].map(|n| taffrail_tests::unique(&format!("good-{n}")));
    let topics = topics.each_ref().map(String::as_str);
    for topic in topics {
        kafka::create_topic(topic, 1).await.unwrap();
    }
    apply(NAMESPACE, &good(&topics)).unwrap();
    assert_eq!(all_ready(NAMESPACE).await, GOOD);
    moves_logs(topics[0], 100).await;
    let before = pods(NAMESPACE).unwrap();

    for (object, complaint) in refused() {
        let said = format!("{:#}", apply(NAMESPACE, &[object]).unwrap_err());
        assert!(said.contains(complaint), "{said}");
    }
    let bad = bad(topics[0]);
    let mut begun = Vec::new();
    for (object, reason) in &bad {
        apply(NAMESPACE, std::slice::from_ref(object)).unwrap();
        begun.push((path(object), *reason, Instant::now()));
    }
    // Each is asked for until it says so; how long that took is of the slowest, at most.
    for (path, reason, begun) in &begun {
        becomes(NAMESPACE, path, |it| said(it, "Ready") == format!("False {reason}")).await;
        println!("{path} {reason} after {:?}", begun.elapsed());
        assert!(begun.elapsed() < SAID_WITHIN, "{path} said what is wrong after {:?}", begun.elapsed());
    }
    store_unreadable_rules();
    becomes(NAMESPACE, "ar/bad-name", |it| said(it, "Ready") == "False InvalidSpec").await;
    // The API server refuses every write to this one, that of its status included.
    eventually(PATIENCE, || async {
        let events = kubectl(&["events", "--namespace", NAMESPACE, "--for", "alertrule/bad-interval"]).unwrap();
        if events.contains("InvalidSpec") { Ok(()) } else { Err(events) }
    })
    .await;

    // Nobody has noticed.
    moves_logs(topics[0], 200).await;
    let after = pods(NAMESPACE).unwrap();
    assert!(before.iter().all(|pod| after.contains(pod)), "{before:#?}\n{after:#?}");
    assert_eq!(ours(NAMESPACE).unwrap().iter().filter(|object| is_ready(object)).count(), GOOD);

    // All workers anew: the good ones come back, and the bad ones do not crash.
    kubectl(&["delete", "pods", "--namespace", NAMESPACE, "--all"]).unwrap();
    eventually(PATIENCE, || async {
        let ready = ours(NAMESPACE).unwrap().iter().filter(|object| is_ready(object)).count();
        if ready == GOOD { Ok(()) } else { Err(format!("only {ready} of {GOOD} are ready")) }
    })
    .await;
    moves_logs(topics[1], 100).await;
    for (path, reason, _) in &begun {
        becomes(NAMESPACE, path, |it| said(it, "Ready") == format!("False {reason}")).await;
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    for pod in items(get(NAMESPACE, "pods").unwrap()) {
        assert_eq!(restarts(&pod), 0, "{pod:#}");
    }
    kubectl(&["delete", "--namespace", NAMESPACE, &KINDS.join(","), "--all"]).unwrap();
}
