//! What kind of server it is, as far as that makes a difference to us.

use serde::Deserialize;

use super::nodes::Answer;

/// How a server can index fields of which nobody knows the names and types beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Elasticsearch from 8.14 on: every path of a field is mapped for itself; those beyond a limit are not indexed.
    Mapped,
    /// Elasticsearch from 8.3 on: the same, but logs with paths beyond the limit are refused.
    Limited,
    /// OpenSearch: all fields together are one of type `flat_object`, which has texts and no numbers. Ranges are looked up
    /// in the sources of those logs that have the field at all, numbers are found by their usual spellings, and `key:*`
    /// finds values at the key itself, not below it.
    FlatObject,
}

#[derive(Deserialize)]
struct Root {
    version: Version,
}

#[derive(Deserialize)]
struct Version {
    number: String,
    #[serde(default)]
    distribution: Option<String>,
    #[serde(default)]
    build_flavor: Option<String>,
}

impl Dialect {
    /// What the answer to `GET /` says. Credentials that may not ask, and servers that say nothing of themselves, are
    /// taken for a current Elasticsearch; none if the answer says that this is no server of ours.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        if answer.status == 403 {
            return Some(Self::Mapped);
        }
        let root: Root = serde_json::from_slice(&answer.body).ok()?;
        let Version { number, distribution, build_flavor } = root.version;
        if distribution.is_some_and(|name| name == "opensearch") {
            return Some(Self::FlatObject);
        }
        let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0_u32));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        // Serverless is always current, whatever number it shows.
        let current = version >= (8, 14) || build_flavor.is_some_and(|flavor| flavor == "serverless");
        Some(if current { Self::Mapped } else { Self::Limited })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn servers_are_told_apart() {
        let of = |status, body: &str| Dialect::of(&Answer { status, body: Bytes::copy_from_slice(body.as_bytes()) });
        let version = |text: &str| of(200, &format!(r#"{{"name":"es1","version":{{{text}}}}}"#));
        assert_eq!(version(r#""number":"9.5.3","build_flavor":"default""#), Some(Dialect::Mapped));
        assert_eq!(version(r#""number":"8.14.0""#), Some(Dialect::Mapped));
        assert_eq!(version(r#""number":"8.13.4""#), Some(Dialect::Limited));
        assert_eq!(version(r#""number":"8.11.0","build_flavor":"serverless""#), Some(Dialect::Mapped));
        assert_eq!(version(r#""number":"3.4.0","distribution":"opensearch""#), Some(Dialect::FlatObject));
        assert_eq!(of(403, "{}"), Some(Dialect::Mapped));
        assert_eq!(of(200, "<html>"), None);
    }
}
