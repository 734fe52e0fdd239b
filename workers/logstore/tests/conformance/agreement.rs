//! A store finds what [`Query::matches`] says, for many queries on many kinds of log.

use serde_json::{Value, json};
use taffrail_logstore::LogEntry;
use taffrail_logstore::q::Query;

use super::support::NOON;
use crate::support::Scratch;

fn logs() -> Vec<Value> {
    let message = |text: &str| json!({"message": text});
    let fields = |fields: Value| json!({"message": "m", "fields": fields});
    vec![
        message("Connection RESET by peer"),
        message("reset the connection"),
        message("GET /api/v1/user_id?x=10.0.0.1 200"),
        message("it's über-schnell, ΟΔΟΣ İSTANBUL"),
        message("数据库timeoutエラー"),
        message("read timeout timeout"),
        message(&"a".repeat(300)),
        message(""),
        message("!!! --- ..."),
        json!({"level": "error", "service": "api", "host": "web-01", "message": "x"}),
        json!({"level": "warn", "service": "API", "host": "web-1", "message": "x"}),
        json!({"level": "", "service": "", "host": "", "message": "x"}),
        json!({"service": "s".repeat(1024), "host": "h".repeat(1025)}),
        json!({"service": "a b*c?d\\e"}),
        json!({"tags": {"env": "prod", "empty": "", "a.b": "c"}}),
        json!({"tags": {"env": "eu west", "long": "x".repeat(2000)}}),
        fields(json!({"n": 5})),
        fields(json!({"n": 5.0})),
        fields(json!({"n": "5"})),
        fields(json!({"n": "five"})),
        fields(json!({"n": -5.5})),
        fields(json!({"n": 1e300})),
        fields(json!({"n": 0})),
        fields(json!({"n": -0.0})),
        fields(json!({"n": 9_007_199_254_740_993_i64})),
        fields(json!({"n": u64::MAX})),
        fields(json!({"n": true})),
        fields(json!({"n": "true"})),
        fields(json!({"n": null})),
        fields(json!({"n": []})),
        fields(json!({"n": {}})),
        fields(json!({"n": ""})),
        fields(json!({"n": [1, [2, "three"], {"m": 4}]})),
        fields(json!({"n": {"m": {"o": "deep"}}})),
        fields(json!({"n.m": {"o": 7}})),
        fields(json!({"n": {"m.o": [8, false]}})),
        fields(json!({"long": "y".repeat(1024)})),
        fields(json!({"long": "y".repeat(1025)})),
        fields(json!({"user": "Ann", "path": "/a/b?c=d*", "Case": "X"})),
    ]
}

const QUERIES: &[&str] = &[
    "*",
    "connection",
    "reset",
    "\"connection reset\"",
    "\"reset connection\"",
    "user_id",
    "user",
    "10.0.0.1",
    "\"0 0 1\"",
    "ÜBER",
    "schnell",
    "istanbul",
    "οδοσ",
    "数据",
    "\"据 库 timeout\"",
    "timeout",
    "エ",
    "\"timeout timeout\"",
    "tim*",
    "t?meout",
    "message:*",
    "NOT message:*",
    "message:*o*t*",
    "m",
    "level:error",
    "level:ERR",
    "level:*",
    "NOT level:*",
    "service:api",
    "service:API",
    "service:*",
    "NOT service:*",
    "host:web-*",
    "host:web-?",
    "host:web-??",
    "host:*",
    "service:s*",
    "host:h*",
    "service:\"a b*c?d\\\\e\"",
    "service:a*",
    "service:a\\ b\\*c\\?d\\\\e",
    "service:?*c*",
    "tags.env:prod",
    "tags.env:\"eu west\"",
    "tags.env:*",
    "tags.empty:*",
    "tags.empty:\"\"",
    "tags.a.b:c",
    "tags.a:*",
    "tags.long:*",
    "tags.long:x*",
    "tags.none:*",
    "fields.n:5",
    "fields.n:5.0",
    "fields.n:5e0",
    "fields.n:\"5\"",
    "fields.n:05",
    "n:five",
    "fields.n:0",
    "fields.n:-0",
    "fields.n:1e300",
    "fields.n:9007199254740993",
    "fields.n:9007199254740992",
    "fields.n:18446744073709551615",
    "fields.n:true",
    "fields.n:TRUE",
    "fields.n:*",
    "NOT fields.n:*",
    "fields.n:\"\"",
    "fields.n:>=5",
    "fields.n:>5",
    "fields.n:<5",
    "fields.n:<=-5.5",
    "fields.n:[1 TO 5]",
    "fields.n:{1 TO 5}",
    "fields.n:[* TO *]",
    "fields.n:[* TO 0]",
    "fields.n:[0 TO 1]",
    "fields.n:[* TO 0}",
    "fields.n:[-0.0 TO -0.0]",
    "fields.n:{0 TO *]",
    "fields.n:>1e299",
    "fields.n:f*",
    "fields.n:tr?e",
    "fields.n.m:4",
    "fields.n.m:*",
    "fields.n.m.o:deep",
    "fields.n.m.o:*",
    "fields.n.m.o:>=7",
    "fields.n.m.o:false",
    "fields.n:three",
    "fields.long:*",
    "fields.long:y*",
    "fields.user:Ann",
    "fields.user:ann",
    "user:A*",
    "fields.path:\"/a/b?c=d*\"",
    "fields.path:\\/a*",
    "fields.Case:X",
    "fields.case:X",
    "timestamp:*",
    "timestamp:2024-08-16",
    "timestamp:>2024-08-16T12:00:00.010Z",
    "timestamp:[2024-08-16T12:00:00.001Z TO 2024-08-16T12:00:00.003Z}",
    "timestamp:<=1723809600005",
    "timestamp:>9000000000000",
    "timeout OR connection",
    "timeout -read",
    "(reset OR timeout) AND NOT peer",
    "service:(api OR API)",
    "NOT (level:error OR level:warn)",
    "NOT NOT timeout",
    "message:x",
];

#[tokio::test]
async fn every_query_finds_what_the_definition_says() {
    let scratch = Scratch::new("agreement");
    let ids: Vec<_> = (0..logs().len()).map(|n| format!("{n:02}")).collect();
    let mut written = Vec::new();
    for (n, (id, mut log)) in ids.iter().zip(logs()).enumerate() {
        let time = NOON + i64::try_from(n).unwrap();
        log["timestamp"] = jiff::Timestamp::from_millisecond(time).unwrap().to_string().into();
        written.push((id.as_str(), time, log));
    }
    scratch.write(&written).await;
    let mut wrong = Vec::new();
    for text in QUERIES {
        let Ok(query) = Query::parse(text) else { panic!("{text} can't be read: {:?}", Query::parse(text)) };
        let matching = |(_, _, log): &&(&str, i64, Value)| {
            query.matches(&serde_json::from_value::<LogEntry>(log.clone()).unwrap())
        };
        let mut expected: Vec<_> = written.iter().filter(matching).map(|(id, ..)| (*id).to_owned()).collect();
        expected.reverse();
        let found = scratch.find(text).await;
        if found != expected {
            wrong.push(format!("{text}\n  finds  {found:?}\n  not    {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), QUERIES.len(), wrong.join("\n"));
}
