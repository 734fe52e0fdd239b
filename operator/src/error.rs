//! What can go wrong between the operator and the API server.

use crate::child::ChildKind;
use crate::status::Why;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server refused, or could not be reached.
    #[error("could not {verb} {kind} {name}: {}", cause(.source))]
    Api { verb: &'static str, kind: String, name: String, source: kube::Error },
    /// The API server took too long.
    #[error("could not {verb} {kind} {name}: the API server did not answer in time")]
    Timeout { verb: &'static str, kind: String, name: String },
    /// Somebody else's object has the name that the operator needs.
    #[error("there is a {kind} {name} that is not Taffrail's; rename or delete it, or give the object another name")]
    NameTaken { kind: ChildKind, name: String },
}

/// What the API server said, in its own words where it said something.
fn cause(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

impl Error {
    /// The API server's status code, where it answered.
    fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source: kube::Error::Api(status), .. } => Some(status.code),
            _ => None,
        }
    }

    /// Whether the object is gone, or its namespace is going: nothing is left to do.
    pub(crate) fn is_moot(&self) -> bool {
        let terminating = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 403 && status.message.contains("because it is being terminated"));
        self.code() == Some(404) || matches!(self, Self::Api { source, .. } if terminating(source))
    }

    /// Whether what was applied has a field that the kind does not know, which the API server calls its own fault.
    fn is_schema_error(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. }
            if status.code == 500 && status.message.starts_with("failed to create typed patch object"))
    }

    /// What to say of it in a status, unless it is of the passing kind.
    pub(crate) fn why(&self) -> Option<Why> {
        let reason = match self {
            Self::NameTaken { .. } => "NameTaken",
            _ if self.is_schema_error() => "Refused",
            _ => match self.code()? {
                403 => "Forbidden",
                400 | 413 | 422 => "Refused",
                _ => return None,
            },
        };
        Some(Why::new(reason, self.to_string()))
    }

    /// A word for telemetry.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::NameTaken { .. } => "name_taken",
            Self::Timeout { .. } => "timeout",
            Self::Api { .. } => match self.code() {
                Some(403) => "forbidden",
                Some(409) => "conflict",
                Some(400..=499) => "refused",
                Some(_) => "server_error",
                None => "unreachable",
            },
        }
    }
}
