//! Kafka that asks who one is: every mechanism, wrong credentials first, and then right ones; and certificates that are
//! changed while the worker runs.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use taffrail_tests::brokers::Brokers;
use taffrail_tests::ingestion::{Worker, write_secret};
use taffrail_tests::{elasticsearch, eventually, unique};

use crate::support::{PATIENCE, accounted, day_before, entry, numbers, pipeline};

const TOPIC: &str = "guarded";

/// Certificates in PEM: two authorities, a server's of each, and three of clients, the last of which nobody knows.
pub fn make_certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for authority in ["ca", "stranger"] {
        openssl(&format!("req -x509 {key} -days 2 -subj /CN={authority} -keyout {authority}.key -out {authority}.crt"));
    }
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    let names = [("server", "ca"), ("moved", "stranger"), ("first", "ca"), ("second", "ca"), ("unknown", "stranger")];
    for (name, authority) in names {
        openssl(&format!("req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        openssl(&format!(
            "x509 -req -days 2 -in {name}.csr -CA {authority}.crt -CAkey {authority}.key -CAcreateserial \
             -extfile names -out {name}.crt"
        ));
    }
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    fs::write(folder.join("server.pem"), read("server.key") + &read("server.crt")).unwrap();
}

fn properties(certificates: &Path) -> String {
    let security = "org.apache.kafka.common.security";
    let path = |name: &str| certificates.join(name).display().to_string();
    let scram = |mechanism: &str| {
        format!("listener.name.sasl.{mechanism}.sasl.jaas.config={security}.scram.ScramLoginModule required;\n")
    };
    let plain = format!("{security}.plain.PlainLoginModule required user_reader=\"right\";\n");
    format!(
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,MTLS:SSL,BOTH:SASL_SSL\n\
         listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER\n\
         listener.name.sasl.plain.sasl.jaas.config={plain}{}{}\
         listener.name.sasl.oauthbearer.sasl.jaas.config={security}.oauthbearer.OAuthBearerLoginModule required \
         unsecuredLoginStringClaim_sub=\"broker\";\n\
         listener.name.both.sasl.enabled.mechanisms=PLAIN\nlistener.name.both.plain.sasl.jaas.config={plain}\
         listener.name.mtls.ssl.client.auth=required\nssl.keystore.type=PEM\nssl.keystore.location={}\n\
         ssl.truststore.type=PEM\nssl.truststore.location={}\n",
        scram("scram-sha-256"),
        scram("scram-sha-512"),
        path("server.pem"),
        path("ca.crt"),
    )
}

/// Gives tokens that nobody has signed to whoever knows the secret.
fn token_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let right = format!("basic {}", BASE64_STANDARD.encode("reader:right")).to_lowercase();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = vec![0; 8 << 10];
            // Such a request comes in one piece.
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
            let now = jiff::Timestamp::now().as_second();
            let encode = |part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
            let token = format!(
                "{}.{}.",
                encode(json!({"alg": "none"})),
                encode(json!({"sub": "reader", "iat": now, "exp": now + 60}))
            );
            let (status, body) = if request.contains(&right) {
                ("200 OK", json!({"access_token": token, "token_type": "Bearer", "expires_in": 60}))
            } else {
                ("401 Unauthorized", json!({"error": "invalid_client"}))
            };
            let body = body.to_string();
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            // Whoever breaks off asks again.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

/// A way to the broker: how the pipeline says it, the secret that is wrong and the one that is right.
struct Way {
    name: &'static str,
    listener: &'static str,
    spec: Value,
    wrong: Vec<(&'static str, String)>,
    right: Vec<(&'static str, String)>,
}

fn ways(certificates: &Path, token_endpoint: &str) -> Vec<Way> {
    let user = |password: &str| vec![("username", "reader".to_owned()), ("password", password.to_owned())];
    let client = |secret: &str| {
        let pairs = [("tokenEndpoint", token_endpoint), ("clientId", "reader"), ("clientSecret", secret)];
        pairs.map(|(key, value)| (key, value.to_owned())).to_vec()
    };
    let pem = |name: &str| fs::read_to_string(certificates.join(name)).unwrap();
    let certificate = |name: &str| {
        vec![
            ("ca.crt", pem("ca.crt")),
            ("tls.crt", pem(&format!("{name}.crt"))),
            ("tls.key", pem(&format!("{name}.key"))),
        ]
    };
    let sasl = |name, mechanism: &str, wrong, right| {
        let spec = json!({"sasl": {"mechanism": mechanism, "secretName": name}});
        Way { name, listener: "SASL", spec, wrong, right }
    };
    let with_ca = |mut secret: Vec<(&'static str, String)>| {
        secret.push(("ca.crt", pem("ca.crt")));
        secret
    };
    vec![
        sasl("plain", "PLAIN", user("wrong"), user("right")),
        sasl("scram-256", "SCRAM-SHA-256", user("wrong"), user("right")),
        sasl("scram-512", "SCRAM-SHA-512", user("wrong"), user("right")),
        sasl("oauth", "OAUTHBEARER", client("wrong"), client("right")),
        Way {
            name: "mtls",
            listener: "MTLS",
            spec: json!({"tls": {"caSecretName": "mtls", "certSecretName": "mtls"}}),
            wrong: certificate("unknown"),
            right: certificate("first"),
        },
        Way {
            name: "both",
            listener: "BOTH",
            spec: json!({"tls": {"caSecretName": "both"}, "sasl": {"mechanism": "PLAIN", "secretName": "both"}}),
            wrong: with_ca(user("wrong")),
            right: with_ca(user("right")),
        },
    ]
}

fn borrowed<'a>(secret: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    secret.iter().map(|(key, value)| (*key, value.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_stall_and_right_ones_go_on_in_the_same_process() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = tempfile::tempdir().unwrap();
    make_certificates(certificates.path());
    let properties = properties(certificates.path());
    let brokers = Brokers::start(1, &["SASL", "MTLS", "BOTH"], &properties).await.unwrap();
    let address = brokers.addresses("PLAINTEXT").join(",");
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let password = format!("{mechanism}=[password=right]");
        let user = ["--bootstrap-server", &address, "--alter", "--add-config", &password];
        let user = [&user[..], &["--entity-type", "users", "--entity-name", "reader"]].concat();
        brokers.tool("kafka.admin.ConfigCommand", &user).unwrap();
    }
    brokers.cluster().create_topic(TOPIC, 1, 1, &[]).await.unwrap();
    let produce = |numbers: std::ops::Range<usize>| {
        let mut producer = brokers.cluster().producer(TOPIC, 1, &[]).unwrap();
        for n in numbers {
            producer.send(entry(n, day_before(1) + i64::try_from(n).unwrap()).as_bytes()).unwrap();
        }
        producer.flush().unwrap();
    };
    produce(0..100);

    let ways = ways(certificates.path(), &token_endpoint());
    let mut running = Vec::new();
    for way in &ways {
        write_secret(folder.path(), way.name, &borrowed(&way.wrong)).unwrap();
        let name = unique(way.name);
        let mut object = pipeline(way.name, TOPIC, &name);
        object["spec"]["metrics"] = json!([]);
        object["spec"]["batch"]["size"] = 50.into();
        let kafka = object["spec"]["source"]["kafka"].as_object_mut().unwrap();
        kafka.insert("brokers".to_owned(), json!(brokers.addresses(way.listener)));
        kafka.insert("group".to_owned(), json!(name));
        kafka.extend(way.spec.as_object().unwrap().clone());
        let worker = Worker::start(folder.path(), way.name, &object).unwrap();
        running.push((way, worker, elasticsearch::Indices(name)));
    }
    for (way, worker, _) in &running {
        eventually(PATIENCE, || async {
            let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
            let condition = &status["conditions"][0];
            let is_told = condition["reason"] == "SourceAuthFailed" && condition["status"] == "False";
            if is_told { Ok(()) } else { Err(format!("{}: {status}\n{}", way.name, worker.log())) }
        })
        .await;
        assert!(worker.is_alive().await.unwrap(), "{}: wrong credentials are no reason to start anew", way.name);
        write_secret(folder.path(), way.name, &borrowed(&way.right)).unwrap();
    }
    for (way, worker, indices) in &running {
        let status = accounted(worker, 100).await;
        let is_ready = || async {
            let status = worker.status().await.map_err(|error| format!("{error:#}"))?;
            if status["conditions"][0]["status"] == "True" { Ok(()) } else { Err(format!("{}: {status}", way.name)) }
        };
        eventually(PATIENCE, is_ready).await;
        assert_eq!(status["indexed"], 100, "{}: {status}", way.name);
        assert_eq!(numbers(&format!("{}-2*", indices.0)).await, (0..100).collect::<Vec<_>>(), "{}", way.name);
    }

    // A certificate is renewed: the next connections are made with it, in the same process.
    let (_, worker, indices) = running.iter().find(|(way, _, _)| way.name == "mtls").unwrap();
    let pem = |name: &str| fs::read_to_string(certificates.path().join(name)).unwrap();
    write_secret(folder.path(), "mtls", &[("tls.crt", &pem("second.crt")), ("tls.key", &pem("second.key"))]).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    produce(100..150);
    let status = accounted(worker, 150).await;
    assert_eq!(status["indexed"], 150, "{status}");
    assert_eq!(numbers(&format!("{}-2*", indices.0)).await, (0..150).collect::<Vec<_>>());
    for (_, worker, _) in running {
        worker.stop().await.unwrap();
    }
}
