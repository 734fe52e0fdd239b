#![allow(clippy::unwrap_used)]

use super::*;

const RULE: &str = "\
apiVersion: taffrail.dev/v1alpha1
kind: AlertRule
metadata: {name: errors}
spec:
  query: rate error_count service=api
  operator: \">\"
  threshold: 10
";

fn check(files: &[(&str, &str)]) -> String {
    let mut report = Report::default();
    for (name, text) in files {
        report.file(Path::new(name), text.as_bytes());
    }
    let mut out = Vec::new();
    report.print(files.len(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn what_is_right_is_counted() {
    let other = RULE.replace("errors", "other");
    assert_eq!(check(&[("a.yaml", RULE), ("b.yaml", &other)]), "no problems in 2 files; 2 objects right\n");
}

#[test]
fn problems_are_told_by_file_line_column_and_field() {
    let twice = format!("{RULE}---\n{}", RULE.replace("threshold: 10", "threshold: ten"));
    let expected = "\
b.yaml:3:18: metadata.name: AlertRule default/errors is defined in a.yaml:1, too; remove one of them
b.yaml:15:14: spec.threshold: expected a number, found the text \"ten\"
2 problems in 2 files; 2 objects right
";
    assert_eq!(check(&[("a.yaml", RULE), ("b.yaml", &twice)]), expected);
    let mut report = Report::default();
    report.file(Path::new("c.yaml"), b"\xff");
    assert_eq!(report.lines, ["c.yaml:1:1: not UTF-8; write the file anew in that encoding"]);
}

#[test]
fn programs_are_checked_where_they_stand() {
    let text = format!(
        "{}---
apiVersion: taffrail.dev/v1alpha1
kind: LogPipeline
metadata: {{name: logs}}
spec:
  source: {{http: {{}}}}
  transform: |
    .a = 1
    .b = nothing(.a)
  sink: {{embedded: {{}}}}
---
apiVersion: taffrail.dev/v1alpha1
kind: Dashboard
metadata: {{name: shop}}
spec:
  variables: [{{name: service, values: [api]}}]
  panels:
    - queries: [{{query: rate error_count service=$service, legend: x}}, {{query: \"p200 x host=$hst\"}}]
    - {{type: logs, logs: {{query: 'service:$service AND ('}}}}
",
        RULE.replace("service=api", "service")
    );
    let found = check(&[("a.yaml", &text)]);
    for expected in [
        "a.yaml:5:34: spec.query: column 25: expected =, !=, =~ or !~ after label `service`, found the end",
        "a.yaml:16:10: spec.transform: line 2, column 6: ",
        "a.yaml:25:93: spec.panels[0].queries[1].query: there is no variable `hst`; add it to spec.variables",
        "a.yaml:25:81: spec.panels[0].queries[1].query: column 1: expected a percentile from p0 to p100, found `p200`",
        "a.yaml:26:57: spec.panels[1].logs.query: column 23: expected a condition, found the end",
        "problems in 1 file; 0 objects right",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn the_examples_are_right() {
    let mut files = Vec::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")), 0, &mut files).unwrap();
    // The classic form, and what development on kind needs beside Taffrail.
    let others = ["config.yaml", "alert_rules.json", "tilt"].map(std::ffi::OsStr::new);
    files.retain(|file| !file.iter().any(|part| others.contains(&part)));
    assert!(!files.is_empty());
    for file in files {
        let mut report = Report::default();
        report.file(&file, &std::fs::read(&file).unwrap());
        assert_eq!(report.lines, [""; 0]);
        assert!(report.objects > 0, "{} holds no objects", file.display());
    }
}

#[test]
fn what_convert_makes_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let config = taffrail_crds::classic::Config::parse(&read("config.yaml")).unwrap();
    let converted = taffrail_crds::classic::objects(&config, Some(&read("alert_rules.json")));
    let texts: Vec<_> = converted.objects.iter().map(|object| taffrail_crds::object_to_yaml(object).unwrap()).collect();
    assert_eq!(check(&[("converted.yaml", &texts.join("---\n"))]), "no problems in 1 file; 6 objects right\n");
}
