//! How to reach an Elasticsearch.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use elasticsearch::http::headers::HeaderValue;
use url::Url;

/// The longest name that Elasticsearch takes for an index, in bytes.
const MAX_INDEX_NAME: usize = 255;
/// What follows the base name at most: `-2024.08.16`.
const DAY_SUFFIX: usize = 11;

/// Where an Elasticsearch or OpenSearch is, and who we are to it.
#[derive(Clone)]
pub struct ElasticsearchOptions {
    /// The nodes, `http://` or `https://`. They are used in turn; one that fails is left out for a while. A user and
    /// password in the first of them stand for [`Auth::Basic`] where `auth` is [`Auth::None`].
    pub urls: Vec<Url>,
    /// What the indices' names start with: `logs` for `logs-2024.08.16`.
    pub index: String,
    /// The index that keeps dead letters; none means `<index>-dead-letter`.
    pub dead_letter_index: Option<String>,
    /// Who we are.
    pub auth: Auth,
    /// Certificates (PEM, one or more) of authorities that sign the nodes' certificates, trusted beside the public ones.
    pub ca: Option<Vec<u8>>,
    /// A certificate with those between it and its authority, and its key (all PEM), to show to nodes that ask for one.
    pub certificate: Option<Vec<u8>>,
    /// Whether to take any certificate. Whoever sits in between can then read and change everything.
    pub insecure_skip_verify: bool,
    /// How long a day's index is kept after its day, and after it was made; none means that it is not for us to delete it.
    pub retention: Option<Duration>,
    /// Whether what is written is compressed on its way.
    pub compression: Compression,
    /// How long one request may take, from connecting to the last byte of the answer.
    pub request_timeout: Duration,
}

impl ElasticsearchOptions {
    /// The longest that a request may take unless said otherwise.
    pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

    /// Options for nodes that ask for no credentials, with everything else as it is by default.
    #[must_use]
    pub fn new(urls: Vec<Url>, index: impl Into<String>) -> Self {
        Self {
            urls,
            index: index.into(),
            dead_letter_index: None,
            auth: Auth::None,
            ca: None,
            certificate: None,
            insecure_skip_verify: false,
            retention: None,
            compression: Compression::None,
            request_timeout: Self::DEFAULT_REQUEST_TIMEOUT,
        }
    }

    /// The index that keeps dead letters.
    #[must_use]
    pub fn dead_letter_index(&self) -> String {
        self.dead_letter_index.clone().unwrap_or_else(|| format!("{}-dead-letter", self.index))
    }
}

impl fmt::Debug for ElasticsearchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElasticsearchOptions")
            .field("urls", &self.urls.iter().map(|url| without_credentials(url).to_string()).collect::<Vec<_>>())
            .field("index", &self.index)
            .field("dead_letter_index", &self.dead_letter_index())
            .field("auth", &self.auth)
            .field("ca", &self.ca.is_some())
            .field("certificate", &self.certificate.is_some())
            .field("insecure_skip_verify", &self.insecure_skip_verify)
            .field("retention", &self.retention)
            .field("compression", &self.compression)
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}

/// How the bodies of requests are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all. Between machines of one network, compressing costs more time than it saves.
    #[default]
    None,
    /// By gzip at its fastest level, where a body is large enough to gain from it.
    Gzip,
}

/// Credentials. They are never shown, not even in debug output.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// None: security is off, or a proxy cares for it.
    #[default]
    None,
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// An API key in the encoded form that Elasticsearch gives out: base64 of `id:key`.
    ApiKey(String),
}

impl Auth {
    /// The value of the `Authorization` header, none without credentials.
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, OptionsError> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Basic { user, .. } if user.contains(':') => return Err(OptionsError::UserWithColon),
            Self::Basic { user, password } => format!("Basic {}", BASE64.encode(format!("{user}:{password}"))),
            Self::ApiKey(key) => format!("ApiKey {}", key.trim()),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| OptionsError::ApiKey)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Basic { user, .. } => write!(f, "Basic({user:?}, …)"),
            Self::ApiKey(_) => f.write_str("ApiKey(…)"),
        }
    }
}

/// What is wrong with the options.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// There is no node.
    #[error("no URL of Elasticsearch is given; name at least one, like http://elasticsearch:9200")]
    NoUrl,
    /// A URL can't be one of a node.
    #[error("{0} is no URL of Elasticsearch: it must start with http:// or https:// and name a host")]
    Url(String),
    /// The index's name is not a possible one.
    #[error("{name:?} can't be the name of an index in Elasticsearch: {problem}")]
    Index {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// HTTP separates user and password by a colon.
    #[error("the user for Elasticsearch has a colon in its name, which HTTP does not allow; use an API key instead")]
    UserWithColon,
    /// The API key can't be sent.
    #[error(
        "the API key for Elasticsearch has line breaks or other odd characters in it; give the encoded form, base64 of id:key"
    )]
    ApiKey,
    /// The authority's certificate can't be read.
    #[error("the CA certificate for Elasticsearch can't be read: {0}; give PEM, -----BEGIN CERTIFICATE----- and so on")]
    Ca(String),
    /// Our own certificate, or its key, can't be used.
    #[error(
        "the client's certificate for Elasticsearch can't be used: {0}; give PEM, the certificate under tls.crt and the key that belongs to it under tls.key"
    )]
    Certificate(String),
    /// The HTTP client can't be made.
    #[error("the HTTP client for Elasticsearch can't be made: {0}")]
    Client(String),
}

/// Takes the user and password out of the URLs, and checks that Elasticsearch will take the names.
pub(super) fn checked(mut options: ElasticsearchOptions) -> Result<ElasticsearchOptions, OptionsError> {
    if options.urls.is_empty() {
        return Err(OptionsError::NoUrl);
    }
    for url in &mut options.urls {
        let shown = without_credentials(url);
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(OptionsError::Url(shown.to_string()));
        }
        if !url.username().is_empty() && options.auth == Auth::None {
            options.auth =
                Auth::Basic { user: decoded(url.username()), password: decoded(url.password().unwrap_or_default()) };
        }
        *url = shown;
    }
    check_index(&options.index, MAX_INDEX_NAME - DAY_SUFFIX)?;
    check_index(&options.dead_letter_index(), MAX_INDEX_NAME)?;
    Ok(options)
}

fn without_credentials(url: &Url) -> Url {
    let mut url = url.clone();
    // Both fail only for URLs that can't have credentials in the first place.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// Undoes a URL's percent-encoding.
fn decoded(text: &str) -> String {
    // A form is what `url` decodes; there a plus is a space, which it is not in front of an @.
    let form = format!("v={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(form.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn check_index(name: &str, longest: usize) -> Result<(), OptionsError> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > longest {
        "it is too long"
    } else if name.starts_with(['-', '_', '+', '.']) {
        "it starts with one of - _ + ."
    } else if name.chars().any(char::is_uppercase) {
        "it has capital letters"
    } else if name.chars().any(|c| c.is_whitespace() || c.is_control() || "\\/*?\"<>|,#:%&".contains(c)) {
        "it has one of \\ / * ? \" < > | , # : % & or a space"
    } else {
        return Ok(());
    };
    Err(OptionsError::Index { name: name.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn options(url: &str) -> ElasticsearchOptions {
        ElasticsearchOptions::new(vec![Url::parse(url).unwrap()], "logs")
    }

    #[test]
    fn credentials_in_the_url_become_basic_auth() {
        let checked = checked(options("https://el%40stic:p%3Ass+%2F@es:9200/base")).unwrap();
        assert_eq!(checked.urls[0].as_str(), "https://es:9200/base");
        assert_eq!(checked.auth, Auth::Basic { user: "el@stic".into(), password: "p:ss+/".into() });
    }

    #[test]
    fn given_credentials_win_over_those_in_the_url() {
        let mut given = options("http://a:b@es:9200");
        given.auth = Auth::ApiKey("a2V5".into());
        let checked = checked(given).unwrap();
        assert_eq!(checked.auth, Auth::ApiKey("a2V5".into()));
        assert_eq!(checked.urls[0].as_str(), "http://es:9200/");
    }

    #[test]
    fn names_that_elasticsearch_refuses_are_refused_at_once() {
        for name in ["", "-logs", "_logs", ".logs", "Logs", "lo gs", "a,b", "a*", "a:b", &"x".repeat(245)] {
            let mut given = options("http://es:9200");
            given.index = name.into();
            assert!(matches!(checked(given), Err(OptionsError::Index { .. })), "{name:?} passed");
        }
        let mut given = options("http://es:9200");
        given.dead_letter_index = Some("Dead".into());
        assert!(checked(given).is_err());
        assert!(checked(options("http://es:9200")).is_ok());
        assert!(matches!(checked(options("kafka://es:9200")), Err(OptionsError::Url(_))));
        assert!(matches!(checked(ElasticsearchOptions::new(vec![], "logs")), Err(OptionsError::NoUrl)));
    }

    #[test]
    fn secrets_are_not_shown() {
        let auth = Auth::Basic { user: "elastic".into(), password: "hunter2".into() };
        let shown = format!("{auth:?} {:?} {:?}", Auth::ApiKey("hunter2".into()), options("http://u:hunter2@es:9200"));
        assert!(!shown.contains("hunter2"), "{shown}");
        let header = auth.header().unwrap().unwrap();
        assert_eq!(header, "Basic ZWxhc3RpYzpodW50ZXIy");
        assert!(header.is_sensitive());
        assert!(matches!(Auth::ApiKey("a\nb".into()).header(), Err(OptionsError::ApiKey)));
    }
}
