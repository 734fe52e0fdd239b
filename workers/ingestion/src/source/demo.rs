//! The demo source: traffic of a small web shop, with waves, and an incident now and then.
//!
//! Ten seconds after the start, and every 70 seconds from then on, the payment provider fails for 20 seconds: payments
//! time out, checkouts fail with them, and the shop answers 502.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use taffrail_crds::DemoSource;
use tokio::task::JoinHandle;

use super::local::{Local, now};
use super::{Checkpoint, Intake, Records};
use crate::config::{PipelineConfig, StartError};
use crate::decode::timestamp::format_millis;
use crate::random::{Random, seed};
use crate::record::Filling;

/// How often logs are made.
const TICK: Duration = Duration::from_millis(100);

/// Seconds after the start, and between starts, and of length, of incidents.
const INCIDENT: (f64, f64, f64) = (10.0, 70.0, 20.0);

/// Seconds of a wave of traffic, and how much of the rate it makes.
const WAVE: (f64, f64) = (90.0, 0.35);

pub(super) fn start(
    spec: &DemoSource,
    config: &PipelineConfig,
    intake: Intake,
    records: Records,
) -> Result<(JoinHandle<()>, Checkpoint), StartError> {
    let local = Local::new("demo", config, &intake)?;
    let checkpoint = local.checkpoint();
    Ok((tokio::spawn(run(f64::from(spec.rate), local, intake, records)), checkpoint))
}

async fn run(rate: f64, mut local: Local, intake: Intake, records: Records) {
    let mut shop = Shop { random: Random::new(seed()) };
    let mut ticks = tokio::time::interval(TICK);
    // What was missed while the sink was away is not made up for: nobody visited the shop.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let start = tokio::time::Instant::now();
    let mut owed = 0.0;
    let mut filling = Filling::default();
    loop {
        tokio::select! {
            () = intake.stopping.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let elapsed = start.elapsed().as_secs_f64();
        owed += rate * TICK.as_secs_f64() * (1.0 + WAVE.1 * (elapsed / WAVE.0 * std::f64::consts::TAU).sin());
        while owed >= 1.0 {
            owed -= 1.0;
            let at = now();
            local.push(&mut filling, &shop.log(at, is_incident(elapsed)), at);
        }
        if let Some(chunk) = filling.take()
            && records.send(chunk).await.is_err()
        {
            break;
        }
    }
    drop(records);
    local.close(&intake).await;
}

fn is_incident(elapsed: f64) -> bool {
    let (first, every, length) = INCIDENT;
    elapsed >= first && (elapsed - first) % every < length
}

/// A service: its name, its share of the traffic, its typical duration in milliseconds, and what is asked of it.
type Service = (&'static str, u64, f64, &'static [(&'static str, &'static str)]);

const SERVICES: [Service; 6] = [
    ("web", 40, 45.0, &[("GET", "/"), ("GET", "/products"), ("GET", "/products/{id}"), ("GET", "/static/app.js")]),
    ("search", 18, 80.0, &[("GET", "/search"), ("GET", "/suggest")]),
    ("cart", 15, 25.0, &[("GET", "/cart"), ("POST", "/cart/items"), ("DELETE", "/cart/items/{id}")]),
    ("checkout", 11, 120.0, &[("POST", "/checkout"), ("GET", "/checkout/{id}")]),
    ("payment", 10, 180.0, &[("POST", "/payments"), ("GET", "/payments/{id}")]),
    ("inventory", 6, 15.0, &[("GET", "/stock/{id}"), ("PUT", "/stock/{id}/reserve")]),
];

struct Shop {
    random: Random,
}

/// What a request came to.
struct Answer {
    level: &'static str,
    status: u16,
    message: String,
    slower: f64,
}

impl Shop {
    /// One log, as the bytes of a canonical entry.
    fn log(&mut self, at: i64, is_incident: bool) -> Bytes {
        let (service, _, typical, requests) = *self.service();
        let (method, path) = *self.random.pick(requests);
        let path = path.replace("{id}", &self.random.below(500).to_string());
        let answer = self.answer(service, method, &path, is_incident);
        let duration = typical * self.spread() * answer.slower;
        let host = format!("{service}-{}", 1 + self.random.below(3));
        let zone = self.random.pick(&["eu-west-1a", "eu-west-1b"]);
        let (trace, user) = (self.random.next(), self.random.below(4_000));
        let Answer { level, status, message, .. } = answer;
        let mut text = format!(
            r#"{{"timestamp":"{}","level":"{level}","message":{},"service":"{service}","host":"{host}","tags":{{"env":"demo","zone":"{zone}"}},"fields":{{"method":"{method}","path":"{path}","status":{status},"duration_ms":{duration:.1},"user":"u{user}","trace_id":"{trace:016x}""#,
            format_millis(at),
            serde_json::Value::from(message),
        );
        if service == "payment" && status < 400 {
            // Writing to a string can't fail.
            let _ = write!(text, r#","amount":{}.{:02}"#, 5 + self.random.below(200), self.random.below(100));
        }
        text.push_str("}}");
        Bytes::from(text)
    }

    fn service(&mut self) -> &'static Service {
        let mut share = self.random.below(SERVICES.iter().map(|service| service.1).sum());
        for service in &SERVICES {
            if share < service.1 {
                return service;
            }
            share -= service.1;
        }
        &SERVICES[0]
    }

    /// Mostly about 1, rarely much more: a log-normal distribution, by adding up twelve even ones.
    fn spread(&mut self) -> f64 {
        let normal = (0..12).map(|_| self.random.unit()).sum::<f64>() - 6.0;
        (normal * 0.45).exp()
    }

    fn answer(&mut self, service: &str, method: &str, path: &str, is_incident: bool) -> Answer {
        let chance = self.random.unit();
        let failing = if is_incident {
            match service {
                "payment" => 0.75,
                "checkout" => 0.45,
                "web" => 0.03,
                _ => 0.004,
            }
        } else {
            0.004
        };
        if chance < failing {
            let (status, message) = match service {
                "payment" => (504, "payment provider did not answer within 3000 ms".to_owned()),
                "checkout" => (502, "could not place the order: payment failed".to_owned()),
                _ => (500, format!("{method} {path} failed: upstream connection reset")),
            };
            let slower = if service == "payment" { 16.0 } else { 3.0 };
            return Answer { level: "error", status, message, slower };
        }
        let (level, status, message, slower) = match ((chance - failing) * 1_000.0) as u32 {
            0..15 => ("warn", 200, format!("slow answer to {method} {path}"), 8.0),
            15..35 => ("warn", 404, format!("{method} {path} not found"), 0.4),
            35..45 => ("warn", 409, format!("{method} {path}: out of stock"), 1.0),
            45..145 => ("debug", 200, format!("cache miss for {path}"), 0.6),
            _ => ("info", if method == "POST" { 201 } else { 200 }, format!("{method} {path}"), 1.0),
        };
        Answer { level, status, message, slower }
    }
}

#[cfg(test)]
mod tests {
    use taffrail_logstore::Records;

    use super::*;
    use crate::decode::canonical::{Key, Reader};

    #[test]
    fn logs_are_canonical_and_incidents_show() {
        let mut shop = Shop { random: Random::new(7) };
        let mut reader = Reader::new(vec![Key::Level, Key::Service, Key::Field("duration_ms".into())]);
        let mut errors = [0, 0];
        for is_incident in [false, true] {
            for _ in 0..2_000 {
                let log = shop.log(1_700_000_000_000, is_incident);
                let text = std::str::from_utf8(&log).expect("text");
                assert!(reader.read(text, &mut Records::default()).is_some(), "canonical: {text}");
                assert!((0..3).all(|index| reader.picked(text).get(index).is_some()), "{text}");
                let value: serde_json::Value = serde_json::from_str(text).expect("json");
                if value["level"] == "error" && value["service"] == "payment" {
                    errors[usize::from(is_incident)] += 1;
                }
            }
        }
        assert!(errors[0] < 10 && errors[1] > 80, "{errors:?}");
    }

    #[test]
    fn the_first_incident_starts_soon_and_ends() {
        let starts: Vec<u32> = (0..200).filter(|second| is_incident(f64::from(*second))).collect();
        assert_eq!((starts[0], starts[19], starts[20]), (10, 29, 80));
    }
}
