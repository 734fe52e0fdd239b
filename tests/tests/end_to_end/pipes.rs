//! Real logs, piped and posted as the README shows it.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use taffrail_tests::eventually;
use taffrail_tests::taffrail::{Options, Taffrail};

use crate::support::consumed;

/// Waits until a search finds so many logs, and gives them, newest first.
async fn found(taffrail: &Taffrail, search: &str, total: usize) -> Vec<Value> {
    let answer = eventually(Duration::from_secs(20), || async {
        let answer = taffrail.ask(&format!("logs/search?{search}")).await.map_err(|error| format!("{error:#}"))?;
        if answer["total"] == total { Ok(answer) } else { Err(format!("{answer}\n{}", taffrail.log())) }
    })
    .await;
    answer["logs"].as_array().unwrap().clone()
}

/// Starts without any objects, with this on standard input.
async fn piped(folder: &std::path::Path, name: &str, input: &str) -> Taffrail {
    let file = folder.join(name);
    fs::write(&file, input).unwrap();
    let data = folder.join(format!("{name}-data"));
    let mut options = Options::new(&data, [] as [&str; 0]);
    options.stdin = Stdio::from(File::open(file).unwrap());
    Taffrail::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_read() {
    let folder = tempfile::tempdir().unwrap();
    // As `journalctl -o json` prints it: one with a message that is no text, too.
    let journal = concat!(
        r#"{"__CURSOR":"s=1;i=1","__REALTIME_TIMESTAMP":"1795420800000001","_BOOT_ID":"b0","PRIORITY":"3","_HOSTNAME":"box","#,
        r#""SYSLOG_IDENTIFIER":"sshd","_PID":"811","_SYSTEMD_UNIT":"ssh.service","MESSAGE":"error: kex_exchange_identification"}"#,
        "\n",
        r#"{"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1795420801000000","_BOOT_ID":"b0","PRIORITY":"6","_HOSTNAME":"box","#,
        r#""SYSLOG_IDENTIFIER":"kernel","MESSAGE":[104,101,108,108,111]}"#,
        "\n",
    );
    let taffrail = piped(folder.path(), "journal", journal).await;
    let logs = found(&taffrail, "host=box", 2).await;
    assert_eq!((&logs[1]["level"], &logs[1]["service"]), (&json!("error"), &json!("sshd")));
    assert_eq!(
        (&logs[1]["timestamp"], &logs[1]["fields"]["_PID"]),
        (&json!("2026-11-23T08:00:00.000001Z"), &json!("811"))
    );
    assert_eq!((&logs[0]["level"], &logs[0]["message"]), (&json!("info"), &json!("hello")));
    assert_eq!(consumed(&taffrail, "stdin", 2).await["deadLettered"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_container_runtimes_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let lines = concat!(
        r#"{"log":"{\"level\":\"warning\",\"msg\":\"disk is nearly full\",\"service\":\"db\",\"free\":7}\n","stream":"stdout","time":"2026-11-23T10:00:00.123456789Z"}"#,
        "\n",
        r#"{"log":"plain text of a container\n","stream":"stderr","time":"2026-11-23T10:00:01Z"}"#,
        "\n",
        "no JSON at all\n",
        r#"{"level":"info","message":"without a line feed at the end"}"#,
    );
    let taffrail = piped(folder.path(), "container", lines).await;
    // A line of text among JSON is a log as well: nobody pipes only half of what a program says.
    found(&taffrail, "", 4).await;
    let disk = &found(&taffrail, "q=disk", 1).await[0];
    assert_eq!((&disk["level"], &disk["service"], &disk["fields"]["free"]), (&json!("warn"), &json!("db"), &json!(7)));
    assert_eq!(disk["timestamp"], "2026-11-23T10:00:00.123456789Z");
    let plain = &found(&taffrail, "q=container", 1).await[0];
    assert_eq!(
        (&plain["message"], &plain["fields"]["stream"]),
        (&json!("plain text of a container"), &json!("stderr"))
    );
    assert_eq!(found(&taffrail, "q=%22JSON%20at%20all%22", 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_log_is_followed_through_rotation_and_restart() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let line = |n: usize, status: u16| {
        format!(
            "203.0.113.{} - - [23/Nov/2026:10:00:{:02} +0000] \"GET /page/{n} HTTP/1.1\" {status} 512 \"-\" \"Mozilla/5.0\"\n",
            n % 250,
            n % 60
        )
    };
    let append = |text: &str| {
        use std::io::Write as _;
        File::options().create(true).append(true).open(&log).unwrap().write_all(text.as_bytes()).unwrap();
    };
    let example = fs::read_to_string(taffrail_tests::checkout("examples/nginx/pipeline.yaml")).unwrap();
    let objects = folder.path().join("pipeline.yaml");
    fs::write(&objects, example.replace("/var/log/nginx/access.log", log.to_str().unwrap())).unwrap();
    append(&(0..50).map(|n| line(n, 200)).collect::<String>());
    let data = folder.path().join("data");
    let start = || Taffrail::start(Options::new(&data, [&objects]));
    let taffrail = start().await.unwrap();
    let logs = found(&taffrail, "service=nginx", 50).await;
    assert_eq!((&logs[0]["message"], &logs[0]["fields"]["status"]), (&json!("GET /page/49 HTTP/1.1"), &json!(200)));

    fs::rename(&log, folder.path().join("access.log.1")).unwrap();
    append(&(50..60).map(|n| line(n, 503)).collect::<String>());
    found(&taffrail, "level=error", 10).await;
    taffrail.kill().unwrap();
    append(&(60..70).map(|n| line(n, 404)).collect::<String>());
    let taffrail = start().await.unwrap();
    found(&taffrail, "level=warn", 10).await;
    found(&taffrail, "service=nginx", 70).await;
    let answer = taffrail.ask("metrics/query?query=sum%20error_count&duration=10d").await.unwrap();
    assert_eq!(answer["value"], 10.0, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_sends_a_file_to_the_http_source() {
    let folder = tempfile::tempdir().unwrap();
    let taffrail = piped(folder.path(), "nothing", "").await;
    let file = folder.path().join("app.ndjson");
    let lines: String =
        (0..500).map(|n| format!("{{\"level\":\"info\",\"service\":\"curl\",\"message\":\"line {n}\"}}\n")).collect();
    fs::write(&file, lines).unwrap();
    eventually(Duration::from_secs(10), || taffrail.send("")).await;
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--data-binary", &format!("@{}", file.display())])
        .arg(format!("{}/logs", taffrail.source))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer, json!({"accepted": 500, "deadLettered": 0}));
    found(&taffrail, "service=curl&limit=500", 500).await;
}
