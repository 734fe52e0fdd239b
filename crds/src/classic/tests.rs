#![allow(clippy::unwrap_used)]

use super::*;
use crate::manifest;

const CONFIG: &str = include_str!("../../../examples/config.yaml");
const RULES: &str = include_str!("../../../examples/alert_rules.json");

fn yaml(objects: &[Object]) -> String {
    let documents: Vec<_> = objects.iter().map(|object| crate::object_to_yaml(object).unwrap()).collect();
    documents.join("---\n")
}

fn lines(problems: Vec<Problem>) -> Vec<String> {
    problems.iter().map(|p| format!("{}:{}: {}: {}", p.line, p.column, p.path, p.message)).collect()
}

#[test]
fn the_classic_files_become_objects_that_pass_the_check() {
    let config = Config::parse(CONFIG).unwrap();
    let converted = objects(&config, Some(RULES));
    assert_eq!(lines(converted.problems), [""; 0]);
    let text = yaml(&converted.objects);
    insta::assert_snapshot!(text);
    let parsed = manifest::parse(&text);
    assert_eq!(lines(parsed.problems), [""; 0]);
    let again: Vec<_> = parsed.objects.into_iter().map(|located| located.object).collect();
    assert_eq!(again, converted.objects);
}

#[test]
fn a_user_becomes_a_secret() {
    let config = Config::parse("elasticsearch: {username: elastic, password: \"no\"}").unwrap();
    let converted = objects(&config, None).objects;
    let text = yaml(&converted);
    let parsed = manifest::parse(&text);
    assert_eq!(lines(parsed.problems), [""; 0]);
    let Object::Secret(secret) = &parsed.objects[0].object else { panic!("{text}") };
    assert_eq!(crate::secret_data(secret)["password"], b"no");
    let Object::LogPipeline(pipeline) = &parsed.objects[1].object else { panic!("{text}") };
    let sink = pipeline.spec.sink.elasticsearch.as_ref().unwrap();
    assert_eq!(sink.auth.as_ref().unwrap().secret_name, "elasticsearch");
}

#[test]
fn a_wrong_configuration_is_named_by_line_and_column() {
    let text = "kafka:\n  broker: [a]\n  topic: a b\nelasticsearch:\n  urls: [localhost:9200]\n  password: 12345\n\
                metrics: {path: /prom, retention_days: 0}\nalerting:\n  check_interval: 30\nkibana: {}\n";
    insta::assert_snapshot!(lines(Config::parse(text).unwrap_err()).join("\n"));
    assert_eq!(Config::parse("").unwrap(), Config::default());
    assert_eq!(
        lines(Config::parse("alerting: {check_interval: 0s}").unwrap_err()),
        ["1:28: alerting.check_interval: must be longer than 0s"]
    );
    assert_eq!(lines(Config::parse("kafka: {}\n---\nkafka: {}").unwrap_err()).len(), 1);
    assert!(Config::parse("kafka: [").is_err());
}

#[test]
fn the_environment_wins() {
    let config = Config::parse(CONFIG).unwrap();
    let changed = config.clone().with_environment(Some("a:1, b,"), Some("https://es:9243"));
    assert_eq!(changed.kafka.brokers, ["a:1", "b"]);
    assert_eq!(changed.elasticsearch.urls, ["https://es:9243"]);
    let Object::LogPipeline(pipeline) = &objects(&changed, None).objects[0] else { panic!() };
    assert_eq!(pipeline.spec.source.kafka.as_ref().unwrap().brokers, ["a:1", "b:9092"]);
    assert_eq!(config.clone().with_environment(None, Some("")), config);
}

#[test]
fn a_wrong_rule_leaves_the_others() {
    let text = r#"[
  {"name": "A", "query": "sum a", "threshold": 1, "operator": ">"},
  {"name": "B", "query": "sum a", "treshold": 1, "operator": "=>"},
  {"name": "A", "query": "sum a", "threshold": "1", "operator": ">", "duration": "0s"},
  {"name": "A", "query": "sum a", "threshold": 1, "operator": ">", "duration": "0s"},
  {"name": "A", "query": "sum a", "threshold": 1, "operator": "<", "duration": "1m", "duration": "2m"},
  {"name": "a", "query": "sum a", "threshold": 1, "operator": "<"}
]"#;
    let converted = rules(text, Duration::from_secs(60));
    let names: Vec<_> = converted.objects.iter().map(|object| object.key().name).collect();
    assert_eq!(names, ["a", "a-2"]);
    insta::assert_snapshot!(lines(converted.problems).join("\n"));
    assert_eq!(rules("{}", Duration::from_secs(1)).problems.len(), 1);
    assert_eq!(rules("[", Duration::from_secs(1)).problems.len(), 1);
    assert!(rules("[]", Duration::from_secs(1)).objects.is_empty());
}

#[test]
fn names_of_objects_are_made_of_shown_names() {
    let mut names = Names::default();
    for (shown, expected) in [
        ("HighErrorRate", "high-error-rate"),
        ("HTTPErrors 5xx!", "httperrors-5xx"),
        ("high_error-rate", "high-error-rate-2"),
        ("Über", "ber"),
        ("…", "rule"),
        ("", "rule-2"),
    ] {
        assert_eq!(names.unique(shown), expected, "{shown}");
    }
    assert!(names.unique(&"x".repeat(1000)).len() <= 253);
}
