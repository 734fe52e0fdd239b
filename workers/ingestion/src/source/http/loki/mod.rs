//! Loki's push: `POST /loki/api/v1/push`, as Protocol Buffers in a block of snappy, or JSON.
//!
//! A line becomes the message (one that is an object in JSON is read as that object), a stream's labels become tags,
//! except those that name the service, the host and the level; structured metadata become fields. As Loki does it, a
//! push is answered by 204, and one that is sent again is stored once.

pub(super) mod json;
pub(super) mod labels;
pub(super) mod protobuf;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use taffrail_logstore::LogEntry;

use super::body::{self, Encoding};
use super::entries::{self, Origin};
use super::refusal::Refusal;
use super::{Shared, media_type};
use crate::decode::{mapping, timestamp};

/// `POST /loki/api/v1/push`.
pub(super) async fn push(State(shared): State<Shared>, mut request: Request<Body>) -> Result<StatusCode, Refusal> {
    let is_json = media_type(&request).as_deref() == Some("application/json");
    if is_json {
        let (body, room) = body::read(&shared.room, request).await?;
        shared.translate_and_hand_over(body, room, json::read).await?;
    } else {
        // It is snappy, whether a header says so or not; and it may be compressed once more.
        if Encoding::of(request.headers(), header::CONTENT_ENCODING)? == Encoding::Snappy {
            request.headers_mut().remove(header::CONTENT_ENCODING);
        }
        let (body, room) = body::read(&shared.room, request).await?;
        let (body, room) = body::decompress(Encoding::Snappy, body, room).await?;
        shared.translate_and_hand_over(body, room, protobuf::read).await?;
    }
    // What went to the dead letters is taken as well: to send it again would change nothing.
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /ready`, which Loki's clients ask.
pub(super) async fn ready() -> &'static str {
    "ready\n"
}

/// Labels that name the service, best first, as Loki itself looks for it.
const SERVICE: [&str; 13] = [
    "service_name",
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
];
const HOST: [&str; 6] = ["host", "hostname", "host_name", "node_name", "node", "instance"];
const LEVEL: [&str; 5] = ["level", "severity", "lvl", "severity_text", "detected_level"];

/// What a stream's labels say. The labels that name the service, the host and the level are no tags any more.
fn origin(labels: Vec<(String, String)>) -> Origin {
    let mut origin = Origin { tags: labels.into_iter().collect(), ..Origin::default() };
    let mut take =
        |spellings: &[&str]| spellings.iter().find_map(|spelling| origin.tags.remove(*spelling)).unwrap_or_default();
    (origin.service, origin.host, origin.level) = (take(&SERVICE), take(&HOST), take(&LEVEL));
    origin
}

/// Makes an entry of a line. Metadata that name a level do so where the stream does not.
fn entry(line: String, nanos: u64, mut metadata: Vec<(String, String)>, stream: &Origin) -> LogEntry {
    let mut named = None;
    if stream.level.is_empty()
        && let Some(at) = metadata.iter().position(|(name, _)| LEVEL.contains(&name.as_str()))
    {
        named = Some(Origin { level: metadata.remove(at).1, ..stream.clone() });
    }
    let mut entry = entries::entry(line.into(), timestamp::from_nanos(nanos), named.as_ref().unwrap_or(stream));
    for (name, value) in metadata {
        mapping::keep(&mut entry.fields, name, value.into());
    }
    entry
}

#[cfg(test)]
pub(super) mod tests;
