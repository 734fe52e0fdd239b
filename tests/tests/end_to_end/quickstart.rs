//! The quick start, as the README tells it.

use std::time::{Duration, Instant};

use serde_json::Value;
use taffrail_tests::taffrail::{Options, Taffrail};
use taffrail_tests::{checkout, eventually};

async fn total(taffrail: &Taffrail) -> u64 {
    taffrail.ask("logs/search?limit=1").await.unwrap()["total"].as_u64().unwrap()
}

/// Waits until a rule is in a state.
async fn state(taffrail: &Taffrail, rule: &str, state: &str, within: Duration) -> Value {
    eventually(within, || async {
        let rule = taffrail.rule(rule).await.map_err(|error| format!("{error:#}"))?;
        if rule["status"]["state"] == state { Ok(rule) } else { Err(rule.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_fires_within_a_minute_resolves_and_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let objects = checkout("examples/quickstart");
    let begun = Instant::now();
    let taffrail = Taffrail::start(Options::new(&data, [&objects])).await.unwrap();
    let page = reqwest::get(format!("{}/", taffrail.page)).await.unwrap();
    assert!(page.status().is_success() && page.text().await.unwrap().contains("<title>"), "the page is there");

    let firing = state(&taffrail, "payment-errors", "Firing", Duration::from_secs(60)).await;
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let fired = &firing["status"]["alerts"][0]["firedAt"];
    let alerts = taffrail.ask("alerts").await.unwrap();
    assert_eq!(alerts["alerts"][0]["rule"], "PaymentErrors", "{alerts}");
    let (logs, dashboard) = (total(&taffrail).await, taffrail.ask("dashboards/shop").await.unwrap());
    assert!(logs > 100, "{logs}");

    // Every panel has something to show.
    for panel in dashboard["spec"]["panels"].as_array().unwrap() {
        for query in panel["queries"].as_array().into_iter().flatten() {
            let text = query["query"].as_str().unwrap().replace("$service", "payment").replace(' ', "+");
            let answer = taffrail.ask(&format!("metrics/query?query={text}&duration=1m")).await.unwrap();
            assert!(answer["value"].as_f64().is_some(), "{query}: {answer}");
        }
    }

    // It stops at once, and goes on where it was.
    let took = taffrail.stop("INT").await.unwrap();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let taffrail = Taffrail::start(Options::new(&data, [&objects])).await.unwrap();
    eventually(Duration::from_secs(10), || async {
        let found = total(&taffrail).await;
        if found >= logs { Ok(()) } else { Err(format!("{found} of {logs} logs")) }
    })
    .await;
    let again = taffrail.rule("payment-errors").await.unwrap();
    assert_eq!(&again["status"]["alerts"][0]["firedAt"], fired, "{again}");
    let sum = taffrail.ask("metrics/query?query=sum+request_count&duration=1h").await.unwrap();
    assert!(sum["value"].as_f64().unwrap() >= logs as f64 * 0.9, "{sum} of {logs} logs");
    state(&taffrail, "payment-errors", "Inactive", Duration::from_secs(90)).await;
}
