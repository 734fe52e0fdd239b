//! What queries find, as the module's table says it.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::{ParseError, Pattern, Query};
use crate::LogEntry;

fn entry() -> LogEntry {
    serde_json::from_value(json!({
        "timestamp": "2024-08-16T12:00:00.500Z",
        "level": "error",
        "message": "Connection reset by peer 10.0.0.1: time-out",
        "service": "api",
        "host": "web-01",
        "tags": {"env": "eu west"},
        "fields": {"status": 503, "code": "503", "duration_ms": 12.5, "user": {"name": "Ann"}, "ok": true, "none": null}
    }))
    .expect("entry")
}

#[rstest]
#[case("", true)]
#[case("*", true)]
#[case("reset", true)]
#[case("RESET", true)]
#[case("res", false)]
#[case("res*", true)]
#[case("\"connection reset\"", true)]
#[case("\"reset connection\"", false)]
#[case("10.0.0.1", true)]
#[case("10.0.1", false)]
#[case("service:api", true)]
#[case("service:Api", false)]
#[case("level:ERR", true)]
#[case("level:warn", false)]
#[case("tags.env:\"eu west\"", true)]
#[case("host:web-??", true)]
#[case("host:web-?", false)]
#[case("fields.status:503", true)]
#[case("fields.code:503", true)]
#[case("status:503.0", true)]
#[case("status:>=500", true)]
#[case("status:>503", false)]
#[case("code:>=500", false)]
#[case("status:[500 TO 503}", false)]
#[case("status:[* TO 503]", true)]
#[case("duration_ms:{12 TO 13}", true)]
#[case("user.name:Ann", true)]
#[case("user:*", true)]
#[case("none:*", false)]
#[case("missing:*", false)]
#[case("ok:true", true)]
#[case("reset AND service:web", false)]
#[case("reset OR service:web", true)]
#[case("reset service:web OR level:error", true)]
#[case("reset -service:web", true)]
#[case("NOT (reset OR service:web)", false)]
#[case("service:(web OR api)", true)]
#[case("timestamp:>=2024-08-16", true)]
#[case("timestamp:[2024-08-15 TO 2024-08-16]", true)]
#[case("timestamp:<2024-08-16T12:00:00Z", false)]
fn finds_what_the_table_says(#[case] q: &str, #[case] found: bool) {
    let query = Query::parse(q).unwrap_or_else(|error| panic!("{q}: {error}"));
    assert_eq!(query.matches(&entry()), found, "{q} is {query:?}");
}

#[rstest]
#[case("(reset", 1)]
#[case("reset)", 6)]
#[case("\"reset", 1)]
#[case("service:", 9)]
#[case("a AND", 6)]
#[case("ü OR", 5)]
fn an_error_names_the_column(#[case] q: &str, #[case] column: usize) {
    let ParseError { column: found, message } = Query::parse(q).expect_err(q);
    assert_eq!(found, column, "{q}: {message}");
}

#[test]
fn what_is_too_deep_or_too_long_is_refused() {
    assert!(Query::parse(&"(".repeat(100_000)).is_err());
    assert!(Query::parse(&"a ".repeat(100_000)).is_err());
}

proptest! {
    #[test]
    fn what_fits_a_pattern_has_its_beginning_and_its_literal(pattern in "[ab*?\\\\]{0,6}", text in "[ab*\\\\]{0,8}") {
        let pattern = Pattern::new(&pattern);
        if pattern.fits(&text) {
            prop_assert!(text.starts_with(&pattern.prefix()) && text.contains(&pattern.literal()));
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused_within_it(q in "\\PC{0,40}") {
        if let Err(error) = Query::parse(&q) {
            prop_assert!(error.column >= 1 && error.column <= q.chars().count() + 1, "{error}");
        }
    }

    #[test]
    fn a_query_survives_being_written_and_read(q in "[a-c()\"*?:>=\\[\\]TO ANDR.\\\\/-]{0,24}") {
        if let Ok(query) = Query::parse(&q) {
            let written = query.to_string();
            prop_assert_eq!(Query::parse(&written), Ok(query), "{} was written as {}", q, written);
        }
    }
}
