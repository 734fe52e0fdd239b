//! Elasticsearch that asks who one is, by certificate and by password: wrong ones first, and then right ones; and a server
//! whose certificate comes from another authority one day. The same process goes on each time, and nothing gets lost,
//! doubled, or refused.

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use taffrail_tests::ingestion::{Worker, write_secret};
use taffrail_tests::process::{Process, free_port};
use taffrail_tests::{elasticsearch, eventually, kafka, unique};

use crate::security::make_certificates;
use crate::support::{PATIENCE, accounted, day_before, entry, numbers, pipeline};

/// nginx in front of Elasticsearch, with a server's certificate. It takes clients of the first authority who know the
/// password.
fn start_proxy(folder: &Path, certificate: &str, port: u16) -> Process {
    let authorization = BASE64_STANDARD.encode("writer:right");
    let denied = r#"{"error":{"type":"security_exception","reason":"unable to authenticate user"},"status":401}"#;
    let folder_name = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder_name}/{kind};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {folder_name}/nginx.pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\n\
         access_log off;\nclient_max_body_size 100m;\n{temporary}\
         server {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate {folder_name}/{certificate}.crt;\n\
         ssl_certificate_key {folder_name}/{certificate}.key;\nssl_client_certificate {folder_name}/ca.crt;\n\
         ssl_verify_client on;\ndefault_type application/json;\nlocation / {{\n\
         if ($http_authorization != \"Basic {authorization}\") {{ return 401 '{denied}'; }}\nproxy_pass {};\n}}\n}}\n}}\n",
        elasticsearch::address()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).unwrap();
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let mut nginx = Command::new("nginx");
    nginx.env("PATH", path).arg("-e").arg("stderr").arg("-c").arg(file);
    Process::start(&mut nginx, &folder.join("nginx")).unwrap()
}

/// Waits until the worker says why it does not go on, and what to do.
async fn stalled(worker: &Worker, reason: &str, hint: &str) {
    eventually(PATIENCE, || async {
        let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
        let condition = &status["conditions"][0];
        let message = condition["message"].as_str().unwrap_or_default();
        let is_told = condition["status"] == "False" && condition["reason"] == reason && message.contains(hint);
        if is_told { Ok(()) } else { Err(format!("not {reason} with {hint:?}: {status}\n{}", worker.log())) }
    })
    .await;
    assert!(worker.is_alive().await.unwrap(), "it is no reason to start anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_does_not_know_us_is_waited_for_until_it_does() {
    let (folder, certificates, name) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), unique("sink-security"));
    let _indices = elasticsearch::Indices(name.clone());
    make_certificates(certificates.path());
    let port = free_port().unwrap();
    let proxy = start_proxy(certificates.path(), "server", port);
    kafka::create_topic(&name, 2).await.unwrap();
    let produce = |numbers: std::ops::Range<usize>| {
        let mut producer = kafka::Producer::new(&name, 2).unwrap();
        for n in numbers {
            producer.send(entry(n, day_before(1) + i64::try_from(n).unwrap()).as_bytes()).unwrap();
        }
        producer.flush().unwrap();
    };
    produce(0..200);

    let pem = |file: &str| fs::read_to_string(certificates.path().join(file)).unwrap();
    let present = |client: &str| {
        let (certificate, key) = (pem(&format!("{client}.crt")), pem(&format!("{client}.key")));
        write_secret(folder.path(), "client", &[("tls.crt", &certificate), ("tls.key", &key)]).unwrap();
    };
    let log_in = |password| {
        write_secret(folder.path(), "writer", &[("username", "writer"), ("password", password)]).unwrap();
    };
    write_secret(folder.path(), "authority", &[("ca.crt", &pem("ca.crt"))]).unwrap();
    present("unknown");
    log_in("wrong");
    let mut object = pipeline("shop", &name, &name);
    object["spec"]["metrics"] = json!([]);
    let sink = &mut object["spec"]["sink"]["elasticsearch"];
    sink["urls"] = json!([format!("https://localhost:{port}")]);
    sink["auth"] = json!({"secretName": "writer"});
    sink["tls"] = json!({"caSecretName": "authority", "certSecretName": "client"});
    let worker = Worker::start(folder.path(), "worker", &object).unwrap();

    stalled(&worker, "SinkAuthFailed", "give one, with its key, that its authority has signed").await;
    present("first");
    stalled(&worker, "SinkAuthFailed", "unable to authenticate user").await;
    log_in("right");
    accounted(&worker, 200).await;

    // A certificate is renewed, and so is the password's Secret, while logs come.
    produce(200..300);
    present("second");
    accounted(&worker, 300).await;

    // The server's next certificate is of another authority.
    proxy.kill().unwrap();
    let proxy = start_proxy(certificates.path(), "moved", port);
    produce(300..400);
    stalled(&worker, "SinkUnavailable", "give that authority's certificate as the CA").await;
    write_secret(folder.path(), "authority", &[("ca.crt", &pem("stranger.crt"))]).unwrap();
    let status = accounted(&worker, 400).await;
    assert_eq!((&status["deadLettered"], &status["filtered"]), (&json!(0), &json!(0)), "{status}");
    assert_eq!(numbers(&format!("{name}-2*")).await, (0..400).collect::<Vec<_>>());
    assert_eq!(elasticsearch::count(&format!("{name}-dead-letter")).await.unwrap(), 0);
    worker.stop().await.unwrap();
    proxy.kill().unwrap();
}
