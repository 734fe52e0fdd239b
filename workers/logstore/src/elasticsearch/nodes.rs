//! Sending requests to the nodes in turn, and leaving out those that fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use elasticsearch::auth::{ClientCertificate, Credentials};
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::headers::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{BuildError, SingleNodeConnectionPool, Transport, TransportBuilder};
use elasticsearch::http::{Method, StatusCode};
use parking_lot::{Mutex, RwLock};

use super::options::{Auth, ElasticsearchOptions, OptionsError};
use crate::WriteError;

/// How long a node is left out after its first failure. Every further failure doubles it.
const FIRST_REST: Duration = Duration::from_secs(1);
/// How long a node is left out at most.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// A request's body.
pub(super) enum Body {
    /// Nothing.
    None,
    /// A JSON document.
    Json(Bytes),
    /// Lines of JSON, for the bulk interface.
    Lines {
        /// The lines, compressed or not.
        bytes: Bytes,
        /// Whether they are compressed by gzip.
        gzip: bool,
    },
}

/// What a node answered, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{reason}")]
pub(super) struct NoAnswer {
    reason: String,
    /// Whether the node wants to see a certificate, or another one.
    wants_certificate: bool,
}

impl From<NoAnswer> for WriteError {
    fn from(NoAnswer { reason, wants_certificate }: NoAnswer) -> Self {
        if wants_certificate { Self::Unauthorized(reason) } else { Self::Unavailable(reason) }
    }
}

/// The nodes of one cluster.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    next: AtomicUsize,
    authorization: RwLock<Option<HeaderValue>>,
    timeout: Duration,
}

struct Node {
    /// For messages.
    url: String,
    /// The crate's own pools neither leave out dead nodes nor say which node failed; so each node has a transport of its own.
    transport: Transport,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    failures: u32,
    rests_until: Option<Instant>,
}

impl Nodes {
    pub(super) fn new(options: &ElasticsearchOptions) -> Result<Self, OptionsError> {
        let nodes = options.urls.iter().map(|url| Node::new(url.clone(), options)).collect::<Result<_, _>>()?;
        Ok(Self {
            nodes,
            next: AtomicUsize::new(0),
            authorization: RwLock::new(options.auth.header()?),
            timeout: options.request_timeout,
        })
    }

    pub(super) fn set_auth(&self, auth: &Auth) -> Result<(), OptionsError> {
        *self.authorization.write() = auth.header()?;
        Ok(())
    }

    /// Sends a request to the node whose turn it is, and to the next one when that can't be reached or is not there
    /// behind its proxy. A node that takes too long is not waited for twice: the time is used up.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: &Body,
    ) -> Result<Answer, NoAnswer> {
        let mut last = NoAnswer::default();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        for node in self.in_turn(turn, Instant::now()) {
            match node.send(method, path, query, body, self.headers(body), self.timeout).await {
                Ok(answer) if matches!(answer.status, 502..=504) && self.nodes.len() > 1 => {
                    node.failed(Instant::now());
                    let reason = format!("{}: status {}: {}", node.url, answer.status, excerpt(&answer.body));
                    last = NoAnswer { reason, wants_certificate: false };
                }
                Ok(answer) => {
                    node.succeeded();
                    return Ok(answer);
                }
                Err((reason, timed_out)) => {
                    node.failed(Instant::now());
                    last = reason;
                    if timed_out {
                        break;
                    }
                }
            }
        }
        Err(last)
    }

    /// The nodes in the order in which to try them: from the one whose turn it is, those that rest at the end.
    fn in_turn(&self, turn: usize, now: Instant) -> Vec<&Node> {
        let start = turn % self.nodes.len();
        let mut order: Vec<&Node> = self.nodes[start..].iter().chain(&self.nodes[..start]).collect();
        order.sort_by_key(|node| node.health.lock().rests_until.filter(|until| *until > now));
        order
    }

    fn headers(&self, body: &Body) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(3);
        if let Some(value) = self.authorization.read().as_ref() {
            headers.insert(AUTHORIZATION, value.clone());
        }
        if let Body::Lines { gzip, .. } = body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
            if *gzip {
                headers.insert("content-encoding", HeaderValue::from_static("gzip"));
            }
        }
        headers
    }
}

impl Node {
    fn new(url: url::Url, options: &ElasticsearchOptions) -> Result<Self, OptionsError> {
        let shown = url.to_string();
        // Built here and not from `options.auth`: the crate panics on credentials that can't be sent, and it would
        // hold them for good.
        let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url)).enable_meta_header(false);
        if let Some(pem) = &options.certificate {
            // Looked at beforehand: later nobody could tell which part of the client is wrong.
            let identity = reqwest::Identity::from_pem(pem);
            let client = identity.and_then(|identity| reqwest::Client::builder().identity(identity).build());
            client.map_err(|error| OptionsError::Certificate(explain(&error)))?;
            builder = builder.auth(Credentials::Certificate(ClientCertificate::Pem(pem.clone())));
        }
        if options.insecure_skip_verify {
            builder = builder.cert_validation(CertificateValidation::None);
        } else if let Some(pem) = &options.ca {
            let authority = Certificate::from_pem(pem).map_err(|error| OptionsError::Ca(explain(&error)))?;
            builder = builder.cert_validation(CertificateValidation::Full(authority));
        }
        let transport = builder.build().map_err(|error| match error {
            BuildError::Cert(error) if options.ca.is_some() => OptionsError::Ca(explain(&error)),
            error => OptionsError::Client(explain(&error)),
        })?;
        Ok(Self { url: shown, transport, health: Mutex::default() })
    }

    /// The error's second part tells whether the time ran out.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: &Body,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<Answer, (NoAnswer, bool)> {
        let bytes = match body {
            Body::None => None,
            Body::Json(bytes) | Body::Lines { bytes, .. } => Some(bytes.clone()),
        };
        let fault = |error: elasticsearch::Error| {
            let reason = match error.is_timeout() {
                true => format!("{} did not answer within {timeout:?}", self.url),
                false => format!("{}: {}", self.url, explain(&error)),
            };
            (NoAnswer { reason, wants_certificate: wants_certificate(&innermost(&error)) }, error.is_timeout())
        };
        let response =
            self.transport.send(method, path, headers, Some(query), bytes, Some(timeout)).await.map_err(fault)?;
        let status: StatusCode = response.status_code();
        let body = response.bytes().await.map_err(fault)?;
        Ok(Answer { status: status.as_u16(), body })
    }

    fn failed(&self, now: Instant) {
        let mut health = self.health.lock();
        let rest = FIRST_REST.saturating_mul(1 << health.failures.min(10)).min(LONGEST_REST);
        health.failures = health.failures.saturating_add(1);
        health.rests_until = Some(now + rest);
    }

    fn succeeded(&self) {
        *self.health.lock() = Health::default();
    }
}

/// The start of a body, for a message.
pub(super) fn excerpt(body: &[u8]) -> String {
    const LONGEST: usize = 300;
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * LONGEST)]);
    text.trim().chars().take(LONGEST).collect()
}

/// How TLS says that the certificate of the client is missing, or not one that the server takes. The last is what
/// TLS 1.2 says for want of one.
const ALERTS: [&str; 8] = [
    "CertificateRequired",
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "UnknownCA",
    "HandshakeFailure",
];

fn wants_certificate(cause: &str) -> bool {
    cause.strip_prefix("received fatal alert: ").is_some_and(|alert| ALERTS.contains(&alert))
}

/// What to do about it.
pub(super) const WANTS_CERTIFICATE: &str =
    "it asks for a client's certificate that it trusts; give one, with its key, that its authority has signed";

/// The innermost cause, which says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The innermost cause, with a hint where people have got stuck.
fn explain(error: &dyn std::error::Error) -> String {
    let text = innermost(error);
    if wants_certificate(&text) {
        return format!("{WANTS_CERTIFICATE} ({text})");
    }
    if text.contains("UnknownIssuer") || text.contains("SelfSigned") {
        return format!(
            "its certificate is signed by an authority that is not trusted ({text}); give that authority's certificate as the CA"
        );
    }
    if text.contains("NotValidForName") {
        return format!("its certificate is for another name than that in the URL ({text})");
    }
    text
}
