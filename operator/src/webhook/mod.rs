//! The optional admission webhook: objects that can't work are refused when they are applied.
//!
//! Every replica answers the API server (`serve`, `review`) with the certificate that is in a Secret. The leader makes
//! the certificate (`certificate`), renews it, and tells the API server which authority to trust (`keeper`). Nothing
//! depends on the webhook: while it is away, objects are taken as they are, and what is wrong shows in their status.

use std::sync::Arc;
use std::time::Duration;

use taffrail_crds::Object;

mod certificate;
pub(crate) mod keeper;
mod review;
mod serve;

pub use serve::serve;

/// The path that the API server posts to.
pub const PATH: &str = "/validate";

/// How the API server reaches the webhook, and for how long certificates are good.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The ValidatingWebhookConfiguration, which is there already: only the authority to trust is put in.
    pub configuration: String,
    /// The Secret with the certificates, in the operator's own namespace.
    pub secret: String,
    /// The names and addresses by which the API server knows who answers.
    pub names: Vec<String>,
    /// For how long certificates are good.
    pub lives: Lives,
    /// How often the leader looks whether all is as it should be.
    pub interval: Duration,
}

/// For how long certificates are good. Each is renewed when a third of its life is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lives {
    /// The authority's, which is the longer by far.
    pub authority: Duration,
    /// The one that is served.
    pub certificate: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Webhook {
    /// A webhook behind a Service of a namespace.
    #[must_use]
    pub fn behind(service: &str, namespace: &str) -> Self {
        Self {
            configuration: format!("{service}.{namespace}"),
            secret: format!("{service}-webhook"),
            names: vec![format!("{service}.{namespace}.svc")],
            lives: Lives { authority: 3650 * DAY, certificate: 90 * DAY },
            interval: Duration::from_secs(60),
        }
    }
}

/// What is found in an object whose form is right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What keeps it from working.
    pub problems: Vec<String>,
    /// What does not work of it for now.
    pub warnings: Vec<String>,
}

/// Looks for what is wrong in an object, by itself alone.
pub type Check = Arc<dyn Fn(&Object) -> Findings + Send + Sync>;
