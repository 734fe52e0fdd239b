#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::decode;

/// 2024-08-16T12:00:00Z.
const NOON: i64 = 1_723_809_600_000;

fn run(program: &str, log: Mapped) -> Result<Option<Value>, String> {
    let transformed = Transform::new(program).unwrap().run(log)?;
    Ok(transformed.map(|log| serde_json::to_value(log.entry).unwrap()))
}

fn on(program: &str, object: Value) -> Result<Option<Value>, String> {
    run(program, decode::json(&object.to_string(), NOON).unwrap())
}

#[test]
fn a_program_changes_the_entry() {
    let program = ".tags.env = \"prod\"\n.level = \"FATAL\"\n.fields.n = to_int!(.fields.n) + 1\n.extra = true";
    let changed = on(program, json!({"message": "m", "n": "41", "timestamp": "2024-08-16T14:00:00.0+02:00"})).unwrap();
    assert_eq!(
        changed.unwrap(),
        json!({
            "timestamp": "2024-08-16T14:00:00.0+02:00", "level": "error", "message": "m", "service": "", "host": "",
            "tags": {"env": "prod"}, "fields": {"n": 42, "original_level": "FATAL", "extra": true},
        })
    );
}

#[test]
fn an_nginx_access_log_is_parsed() {
    let program = r#"
        . = merge(., parse_nginx_log!(.message, "combined"))
        .service = "nginx"
        .level = if to_int!(.status) >= 500 { "error" } else { "info" }
    "#;
    let line = r#"172.17.0.1 - alice [01/Apr/2021:12:02:31 +0000] "POST /not-found HTTP/1.1" 502 153 "http://localhost/" "Mozilla/5.0""#;
    let log = run(program, decode::line(line, NOON)).unwrap().unwrap();
    assert_eq!(
        (&log["timestamp"], &log["level"], &log["service"]),
        (&json!("2021-04-01T12:02:31Z"), &json!("error"), &json!("nginx"))
    );
    assert_eq!((&log["fields"]["status"], &log["fields"]["client"]), (&json!(502), &json!("172.17.0.1")));
    assert_eq!(log["message"], line);
    let error = run(program, decode::line("something else", NOON)).unwrap_err();
    assert!(error.contains("failed parsing"), "{error}");
}

#[test]
fn a_common_log_and_a_regex_work_too() {
    let line = r#"127.0.0.1 bob frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326"#;
    let log = run(". = merge(., parse_common_log!(.message))", decode::line(line, NOON)).unwrap().unwrap();
    assert_eq!((&log["timestamp"], &log["fields"]["path"]), (&json!("2000-10-10T20:55:36Z"), &json!("/a.gif")));
    let program = r#".fields |= parse_regex!(.message, r'took (?P<ms>\d+) ms')"#;
    let log = run(program, decode::line("it took 17 ms", NOON)).unwrap().unwrap();
    assert_eq!(log["fields"]["ms"], "17");
}

#[test]
fn a_program_may_drop_a_log_on_purpose() {
    for program in ["abort", ". = null", "del(.)", ". = {}", "if .level == \"info\" { abort }"] {
        assert_eq!(on(program, json!({"level": "info"})).unwrap(), None, "{program}");
    }
    assert!(on("if .level == \"debug\" { abort }", json!({"level": "info"})).unwrap().is_some());
}

#[test]
fn what_goes_wrong_is_told() {
    for (program, expected) in [
        (".a = to_int!(.message)", "the transform failed"),
        (". = [1]", "one log can't become several"),
        (". = 5", "left integer instead of an object"),
    ] {
        let error = on(program, json!({"message": "m"})).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_fault_in_a_program_is_told_with_its_place() {
    for (program, expected) in [
        (".a = 1\n.b = nonsense(.a)", "line 2, column 6: call to undefined function"),
        (".a = to_int(.b)", "line 1, column 6: unhandled fallible assignment"),
        (".a = ", "line 1, column"),
    ] {
        let error = check_transform(program).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(check_transform(".a = 1"), Ok(()));
}

#[test]
fn times_without_a_zone_are_in_utc() {
    let program = r#".timestamp = parse_timestamp!(.message, "%Y-%m-%d %H:%M")"#;
    let log = run(program, decode::line("2024-01-02 03:04", NOON)).unwrap().unwrap();
    assert_eq!(log["timestamp"], "2024-01-02T03:04:00Z");
}
