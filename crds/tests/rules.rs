//! Every rule of every kind: one object that keeps it, and one that breaks it and is told how to mend it.

use std::collections::BTreeSet;

use taffrail_crds::{crds, manifest};

const PIPELINE: &str = "source: {http: {}}, sink: {embedded: {}}";
const KAFKA: &str = "source: {kafka: {brokers: ['kafka:9092'], topic: logs}}, sink: {embedded: {}}";
const RULE: &str = "query: sum a, operator: '>', threshold: 10";

/// Kind, a spec that is right, one that is wrong, and where and what is said of it.
#[rustfmt::skip]
fn cases() -> Vec<(&'static str, String, String, &'static str, &'static str)> {
    let lp = |good: &str, bad: &str, path, message| ("LogPipeline", format!("{PIPELINE}, {good}"), format!("{PIPELINE}, {bad}"), path, message);
    let kafka = |good: &str, bad: &str, path, message| ("LogPipeline", format!("{KAFKA}, {good}"), format!("{KAFKA}, {bad}"), path, message);
    let ar = |good: &str, bad: &str, path, message| ("AlertRule", format!("{RULE}, {good}"), format!("{RULE}, {bad}"), path, message);
    let whole = |kind, good: &str, bad: &str, path, message| (kind, good.to_owned(), bad.to_owned(), path, message);
    let panel = |good: &str, bad: &str, path, message| ("Dashboard", format!("panels: [{{{good}}}]"), format!("panels: [{{{bad}}}]"), path, message);
    let names = "names of labels are letters, digits and `_`, and do not begin with a digit";
    vec![
        // LogPipeline
        whole("LogPipeline", "source: {stdin: {}}, sink: {embedded: {}}", "source: {}, sink: {embedded: {}}", "spec.source", "name exactly one source: kafka, http, file, stdin or demo"),
        whole("LogPipeline", "source: {demo: {}}, sink: {embedded: {}}", "source: {demo: {}, http: {}}, sink: {embedded: {}}", "spec.source", "name exactly one source"),
        whole("LogPipeline", "source: {http: {}}, sink: {elasticsearch: {urls: ['http://a:9200']}}", "source: {http: {}}, sink: {embedded: {}, elasticsearch: {urls: ['http://a:9200']}}", "spec.sink", "name exactly one sink: elasticsearch or embedded"),
        lp("replicas: 2", "replicas: 2, source: {file: {paths: ['/a']}}", "spec.source", "`source` is set twice"),
        kafka("deadLetter: {kafka: {topic: dead}}", "deadLetter: {kafka: {topic: dead}, index: dead}", "spec.deadLetter", "name exactly one place for dead letters: kafka or index"),
        lp("deadLetter: {index: dead}", "deadLetter: {kafka: {topic: dead}}", "spec.deadLetter", "a Kafka topic for dead letters needs a Kafka source"),
        kafka("deadLetter: {kafka: {topic: dead}}", "deadLetter: {kafka: {topic: logs}}", "spec.deadLetter", "a pipeline must not read its own dead letters"),
        whole("LogPipeline", "source: {kafka: {brokers: ['a:1'], topics: [a, b]}}, sink: {embedded: {}}, deadLetter: {kafka: {topic: c}}", "source: {kafka: {brokers: ['a:1'], topics: [a, b]}}, sink: {embedded: {}}, deadLetter: {kafka: {topic: b}}", "spec.deadLetter", "a pipeline must not read its own dead letters"),
        whole("LogPipeline", "source: {kafka: {brokers: ['a:1'], topicPattern: 'logs-.*'}}, sink: {embedded: {}}", "source: {kafka: {brokers: ['a:1'], topic: a, topicPattern: 'logs-.*'}}, sink: {embedded: {}}", "spec.source.kafka", "name exactly one of `topic`, `topics` and `topicPattern`"),
        whole("LogPipeline", "source: {kafka: {brokers: ['a:1'], topics: [a, b]}}, sink: {embedded: {}}", "source: {kafka: {brokers: ['a:1']}}, sink: {embedded: {}}", "spec.source.kafka", "name exactly one of `topic`, `topics` and `topicPattern`"),
        kafka("replicas: 3", "replicas: 3, autoscaling: {maxReplicas: 3}", "spec.replicas", "set either `replicas` or `autoscaling`"),
        kafka("autoscaling: {minReplicas: 2, maxReplicas: 2}", "autoscaling: {minReplicas: 3, maxReplicas: 2}", "spec.autoscaling.minReplicas", "`minReplicas` must not be above `maxReplicas`"),
        lp("replicas: 0", "autoscaling: {maxReplicas: 3}", "spec.autoscaling", "autoscaling goes by the lag behind Kafka"),
        whole("LogPipeline", "source: {demo: {}}, sink: {embedded: {}}, replicas: 1", "source: {demo: {}}, sink: {embedded: {}}, replicas: 2", "spec.replicas", "only a Kafka or http source can be shared by several workers"),
        lp("metrics: [{name: a, type: counter}, {name: a, type: counter}]", "metrics: [{name: a, type: counter}, {name: a, type: gauge, value: fields.a}]", "spec.metrics", "metrics of one name must be of one type"),
        lp("metrics: [{name: a, type: gauge, value: fields.a}]", "metrics: [{name: a, type: gauge}]", "spec.metrics[0]", "a gauge or a histogram needs `value`"),
        lp("metrics: [{name: a, type: histogram, value: fields.a, buckets: [1, 2.5]}]", "metrics: [{name: a, type: histogram, value: fields.a, buckets: [2.5, 1]}]", "spec.metrics[0].buckets", "bounds of buckets must ascend"),
        lp("metrics: [{name: a, type: counter, buckets: []}]", "metrics: [{name: a, type: counter, buckets: [1]}]", "spec.metrics[0].buckets", "only a histogram has buckets"),
        lp("metrics: [{name: a, type: counter, labels: {a: tags.b}}]", "metrics: [{name: a, type: counter, labels: {a-b: tags.b}}]", "spec.metrics[0].labels", names),
        lp("metrics: [{name: a, type: counter, match: {level: error, tags.x.y: z}}]", "metrics: [{name: a, type: counter, match: {status: '500'}}]", "spec.metrics[0].match", "a log is matched by its level, service, host, message, tags.<key> or fields.<key>"),
        lp("metrics: [{name: a, type: counter, matchExpressions: [{key: level, operator: In, values: [error]}]}]", "metrics: [{name: a, type: counter, matchExpressions: [{key: level, operator: NotIn}]}]", "spec.metrics[0].matchExpressions[0]", "`In` and `NotIn` need at least one of `values`"),
        lp("metrics: [{name: a, type: counter, matchExpressions: [{key: level, operator: Exists}]}]", "metrics: [{name: a, type: counter, matchExpressions: [{key: level, operator: DoesNotExist, values: [a]}]}]", "spec.metrics[0].matchExpressions[0]", "`Exists` and `DoesNotExist` take no `values`"),
        lp("metrics: [{name: a, type: counter, matchExpressions: [{key: fields.a, operator: Gte, values: ['-5.5e3']}]}]", "metrics: [{name: a, type: counter, matchExpressions: [{key: fields.a, operator: Gte, values: ['5', '6']}]}]", "spec.metrics[0].matchExpressions[0]", "`Gt`, `Gte`, `Lt` and `Lte` need exactly one of `values`, and it must be a number"),
        lp("metrics: [{name: a, type: counter, matchExpressions: [{key: fields.a, operator: Lt, values: ['.5']}]}]", "metrics: [{name: a, type: counter, matchExpressions: [{key: fields.a, operator: Lt, values: [five]}]}]", "spec.metrics[0].matchExpressions[0]", "and it must be a number"),
        lp("batch: {timeout: 1ms}", "batch: {timeout: 0s}", "spec.batch.timeout", "must be longer than 0s"),
        lp("batch: {maxBytes: 1k}", "batch: {maxBytes: '0'}", "spec.batch.maxBytes", "must be more than 0"),
        whole("LogPipeline", "source: {http: {}}, sink: {embedded: {retention: 1d}}", "source: {http: {}}, sink: {embedded: {retention: '0'}}", "spec.sink.embedded.retention", "must be longer than 0s"),
        // AlertRule
        whole("AlertRule", "logs: {q: 'level:error'}, operator: '>', threshold: 0", "operator: '>', threshold: 0", "spec", "name exactly one of `query` (short form), `expr` (PromQL) and `logs`"),
        ar("name: A", "expr: up", "spec", "name exactly one of `query`"),
        whole("AlertRule", "expr: up == 0", "expr: up, operator: '=='", "spec", "`operator` and `threshold` belong together"),
        whole("AlertRule", "query: sum a, operator: '>', threshold: 1", "query: sum a", "spec", "`query` and `logs` need `operator` and `threshold`"),
        ar("resolveThreshold: 10", "resolveThreshold: 10.5", "spec.resolveThreshold", "`resolveThreshold` must not be above `threshold` when the operator is > or >="),
        whole("AlertRule", "query: sum a, operator: <=, threshold: 1.5, resolveThreshold: 2", "query: sum a, operator: <, threshold: 1.5, resolveThreshold: 1", "spec.resolveThreshold", "`resolveThreshold` must not be below `threshold` when the operator is < or <="),
        ar("suspend: true", "operator: '==', resolveThreshold: 1", "spec.operator", "`operator` is set twice"),
        whole("AlertRule", "query: sum a, operator: '==', threshold: 0", "query: sum a, operator: '==', threshold: 0, resolveThreshold: 1", "spec.resolveThreshold", "`resolveThreshold` needs one of the operators > >= < <="),
        ar("interval: 1s, duration: 1w2d3h4m5s6ms", "interval: 0s", "spec.interval", "must be longer than 0s"),
        ar("for: 0s, keepFiringFor: '0'", "duration: 0m", "spec.duration", "must be longer than 0s"),
        ar("labels: {a_1: x}", "labels: {1a: x}", "spec.labels", names),
        ar("annotations: {a: x}", "annotations: {a.b: x}", "spec.annotations", "names of annotations are letters, digits and `_`, and do not begin with a digit"),
        ar("notify: [{log: {}}, {webhook: {url: 'https://a/b?c'}}]", "notify: [{log: {}, webhook: {url: 'https://a/b?c'}}]", "spec.notify[0]", "name exactly one kind of receiver: webhook, slack, alertmanager, pagerduty, email or log"),
        ar("notify: [{slack: {secretName: a}}]", "notify: [{}]", "spec.notify[0]", "name exactly one kind of receiver"),
        ar("notify: [{webhook: {url: 'http://a', headers: {X-Scope-OrgID: a}}}]", "notify: [{webhook: {url: 'http://a', headers: {'a b': a}}}]", "spec.notify[0].webhook.headers", "names of headers are letters, digits and `-`, as in `X-Scope-OrgID`"),
        ar("group: {by: [service], wait: '0'}", "group: {repeat: 0s}", "spec.group.repeat", "must be longer than 0s"),
        ar("silences: [{until: '2026-12-01T00:00:00Z', match: {a: b}}]", "silences: [{until: '2026-12-01T00:00:00Z', match: {'a b': c}}]", "spec.silences[0].match", names),
        ar("tests: [{series: [{metric: a, values: '1x5'}], expect: [{at: 1m, state: Firing}]}]", "tests: [{interval: '0', series: [], expect: [{at: 1m, state: Firing}]}]", "spec.tests[0].interval", "must be longer than 0s"),
        // Dashboard
        panel("type: stat, queries: [{query: sum a}]", "type: stat", "spec.panels[0]", "a timeseries, stat, gauge, bar, table or heatmap needs at least one of `queries`"),
        panel("type: alerts", "type: alerts, queries: [{query: sum a}]", "spec.panels[0].queries", "a panel of type logs, alerts or text has no `queries`"),
        panel("type: logs, logs: {}", "type: logs", "spec.panels[0]", "`logs` belongs to a panel of type logs, and such a panel needs it"),
        panel("type: text, text: hello", "queries: [{query: sum a}], text: hello", "spec.panels[0]", "`text` belongs to a panel of type text, and such a panel needs it"),
        panel("queries: [{expr: up}]", "queries: [{query: sum a, expr: up}]", "spec.panels[0].queries[0]", "name exactly one of `query` (short form) and `expr` (PromQL)"),
        panel("queries: [{query: sum a, duration: 1m}]", "queries: [{query: sum a, duration: 0s}]", "spec.panels[0].queries[0].duration", "must be longer than 0s"),
        whole("Dashboard", "range: 1h, refresh: '0'", "range: '0'", "spec.range", "must be longer than 0s"),
        whole("Dashboard", "variables: [{name: a, values: [x]}]", "variables: [{name: a, values: [x], labelValues: {metric: a, label: b}}]", "spec.variables[0]", "a variable needs exactly one of `labelValues` and `values`"),
        whole("Dashboard", "variables: [{name: a, labelValues: {metric: a.b, label: b}, default: c}]", "variables: [{name: a}]", "spec.variables[0]", "a variable needs exactly one of"),
        whole("Dashboard", "variables: [{name: a, values: [x], default: x}]", "variables: [{name: a, values: [x], default: z}]", "spec.variables[0].default", "`default` must be one of `values`"),
        whole("Dashboard", "variables: [{name: a, values: [x]}, {name: b, values: [x]}]", "variables: [{name: a, values: [x]}, {name: a, values: [x]}]", "spec.variables[1].name", "`a` is there twice: each name may appear once in this list"),
        // Limits of the schemas
        lp("transform: '.a = 1'", "transform: ''", "spec.transform", "must not be empty"),
        panel("width: 12, queries: [{query: sum a}]", "width: 13, queries: [{query: sum a}]", "spec.panels[0].width", "13 is too large: at most 12"),
        panel("height: 1, queries: [{query: sum a}]", "height: 0, queries: [{query: sum a}]", "spec.panels[0].height", "0 is too small: at least 1"),
        whole("Dashboard", "ingress: {host: a.example.com}", "ingress: {host: A, path: a}", "spec.ingress.path", "`a` is not a path that begins with `/`"),
        whole("LogPipeline", "source: {http: {port: 65535}}, sink: {embedded: {}}", "source: {http: {port: 65536}}, sink: {embedded: {}}", "spec.source.http.port", "65536 is too large: at most 65535"),
        whole("LogPipeline", "source: {kafka: {brokers: ['[::1]:9092'], topic: a}}, sink: {embedded: {}}", "source: {kafka: {brokers: [kafka], topic: a}}, sink: {embedded: {}}", "spec.source.kafka.brokers[0]", "`kafka` is not host:port, such as kafka:9092"),
        whole("LogPipeline", "source: {file: {paths: ['/var/log/*.log']}}, sink: {embedded: {}}", "source: {file: {paths: []}}, sink: {embedded: {}}", "spec.source.file.paths", "needs at least 1 item"),
        ar("silences: [{until: '2026-12-01T00:00:00+01:00'}]", "silences: [{until: tomorrow}]", "spec.silences[0].until", "`tomorrow` is not a time as in 2026-12-01T00:00:00Z"),
        ar("notify: [{email: {to: [a@b.c], from: 'A <a@b.c>', smarthost: 'm:25'}}]", "notify: [{email: {to: [a], from: a@b.c, smarthost: 'm:25'}}]", "spec.notify[0].email.to[0]", "`a` is not an e-mail address"),
    ]
}

fn document(kind: &str, spec: &str) -> String {
    format!("apiVersion: taffrail.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{{spec}}}\n")
}

#[test]
fn good_objects_pass() {
    for (kind, good, ..) in cases() {
        let parsed = manifest::parse(&document(kind, &good));
        assert_eq!(parsed.problems, [], "{good}");
        assert_eq!(parsed.objects.len(), 1, "{good}");
    }
}

#[test]
fn bad_objects_are_told_how_to_mend_them() {
    for (kind, _, bad, path, message) in cases() {
        let parsed = manifest::parse(&document(kind, &bad));
        let said = parsed.problems.iter().any(|problem| problem.path == path && problem.message.contains(message));
        assert!(said, "{bad}: {:#?}", parsed.problems);
        assert!(parsed.objects.is_empty(), "{bad}");
    }
}

#[test]
fn no_rule_goes_untested() {
    fn messages(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    if key == "x-kubernetes-validations" {
                        let rules = value.as_array().into_iter().flatten();
                        found.extend(rules.filter_map(|rule| rule["message"].as_str().map(str::to_owned)));
                    }
                    messages(value, found);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| messages(item, found)),
            _ => {}
        }
    }
    let mut rules = BTreeSet::new();
    for crd in crds() {
        messages(&serde_json::to_value(&crd).expect("a definition is JSON"), &mut rules);
    }
    let tested = cases();
    for rule in rules {
        assert!(tested.iter().any(|(.., message)| rule.contains(message)), "{rule}");
    }
}
