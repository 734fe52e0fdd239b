//! Logs in Elasticsearch 8 and 9, and in OpenSearch.
//!
//! One index per UTC day of the logs' own time, `<index>-2024.08.16`. A document is the record's source, byte for byte,
//! under the record's id. The crate `elasticsearch` is the transport only: requests and answers are our own, so that
//! bodies are neither copied nor parsed more than needed, and so that OpenSearch is served as well.

mod nodes;
mod options;

use nodes::Nodes;
pub use options::{Auth, ElasticsearchOptions, OptionsError};

/// The store.
pub struct ElasticsearchStore {
    options: ElasticsearchOptions,
    nodes: Nodes,
}

impl ElasticsearchStore {
    /// A store that has not spoken to its nodes yet: they need not be up.
    ///
    /// # Errors
    /// When the options can't be those of any Elasticsearch.
    pub fn new(options: ElasticsearchOptions) -> Result<Self, OptionsError> {
        let options = options::checked(options)?;
        let nodes = Nodes::new(&options)?;
        Ok(Self { options, nodes })
    }

    /// Speaks with other credentials from the next request on.
    ///
    /// # Errors
    /// When the credentials can't be sent; the ones before stay.
    pub fn set_auth(&self, auth: &Auth) -> Result<(), OptionsError> {
        self.nodes.set_auth(auth)
    }
}
