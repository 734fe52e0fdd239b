//! `opentelemetry.proto.collector.logs.v1.LogsService/Export` over gRPC.
//!
//! One call without streams needs little: a message has five bytes before it, and what came of the call stands in the
//! trailers of the answer. See <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use hyper::body::Frame;

use super::protobuf;
use crate::record::Fate;
use crate::source::http::body::{self, Encoding};
use crate::source::http::refusal::{COME_BACK, Refusal};
use crate::source::http::{Shared, media_type, wire};

/// Where the service is.
pub(in super::super) const PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

const CONTENT_TYPE: &str = "application/grpc";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPTED: (HeaderName, &str) =
    (HeaderName::from_static("grpc-accept-encoding"), "identity,gzip,zstd,deflate,snappy");

/// The bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Answers an export.
pub(in super::super) async fn export(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let is_grpc = media_type(&request).is_some_and(|found| matches!(&*found, CONTENT_TYPE | "application/grpc+proto"));
    if !is_grpc {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    match take(&shared, request).await {
        Ok(fates) => {
            let (rejected, message) = super::rejected(&fates);
            let message = super::success(rejected, &message);
            let mut data = vec![0; PREFIX];
            // An answer is small.
            data[1..].copy_from_slice(&u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
            data.extend_from_slice(&message);
            let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from(0))]);
            let body = Answer { data: Some(data.into()), trailers: Some(trailers) };
            ([(header::CONTENT_TYPE, CONTENT_TYPE), (ACCEPTED.0, ACCEPTED.1)], Body::new(body)).into_response()
        }
        Err(refusal) => {
            let details = BASE64_STANDARD_NO_PAD.encode(status(&refusal));
            let message = percent_encoded(&refusal.to_string());
            let mut response = [(header::CONTENT_TYPE, CONTENT_TYPE), (ACCEPTED.0, ACCEPTED.1)].into_response();
            let headers = response.headers_mut();
            headers.insert(STATUS, HeaderValue::from(code(&refusal)));
            for (name, text) in [(MESSAGE, message), (DETAILS, details)] {
                // Both are ASCII by now.
                if let Ok(value) = HeaderValue::from_str(&text) {
                    headers.insert(name, value);
                }
            }
            response
        }
    }
}

async fn take(shared: &Shared, request: Request<Body>) -> Result<Vec<(String, Fate)>, Refusal> {
    let encoding = Encoding::of(request.headers(), ENCODING)?;
    let (mut message, room) = body::read_as_sent(&shared.room, request).await?;
    if message.len() < PREFIX {
        return Err(Refusal::Broken("the message is missing".to_owned()));
    }
    let prefix = message.split_to(PREFIX);
    if u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize != message.len() {
        return Err(Refusal::Broken("there must be one message".to_owned()));
    }
    let encoding = if prefix[0] == 0 { Encoding::Plain } else { encoding };
    let (message, room) = body::decompress(encoding, message, room).await?;
    shared.translate_and_hand_over(message, room, protobuf::read).await
}

/// gRPC's code for a refusal. OTLP's clients send again after `UNAVAILABLE`.
pub(super) fn code(refusal: &Refusal) -> u32 {
    const INVALID_ARGUMENT: u32 = 3;
    const UNIMPLEMENTED: u32 = 12;
    const UNAVAILABLE: u32 = 14;
    match refusal {
        Refusal::Encoding(_) | Refusal::Type(_) => UNIMPLEMENTED,
        refusal if refusal.is_passing() => UNAVAILABLE,
        _ => INVALID_ARGUMENT,
    }
}

/// A `google.rpc.Status`; for what may be sent again it has a `RetryInfo`.
pub(super) fn status(refusal: &Refusal) -> Vec<u8> {
    let mut status = Vec::new();
    wire::put_number(&mut status, 1, code(refusal).into());
    wire::put_bytes(&mut status, 2, refusal.to_string().as_bytes());
    if refusal.is_passing() {
        let (mut duration, mut retry_info, mut any) = (Vec::new(), Vec::new(), Vec::new());
        wire::put_number(&mut duration, 1, COME_BACK.into());
        wire::put_bytes(&mut retry_info, 1, &duration);
        wire::put_bytes(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
        wire::put_bytes(&mut any, 2, &retry_info);
        wire::put_bytes(&mut status, 3, &any);
    }
    status
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            _ => encoded.push(byte.into()),
        }
        encoded
    })
}

/// A message, and the trailers behind it.
struct Answer {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.data.take().map(Frame::data).or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }
}
