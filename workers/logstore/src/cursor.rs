//! Where a page of logs, or of dead letters, ended.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::json;

use crate::SearchError;

/// Behind the log, or letter, with this time and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) time: i64,
    pub(crate) id: String,
}

impl Cursor {
    pub(crate) fn encode(&self) -> String {
        BASE64.encode(json!([self.time, self.id]).to_string())
    }

    pub(crate) fn decode(text: &str) -> Result<Self, SearchError> {
        let read = || {
            let (time, id) = serde_json::from_slice(&BASE64.decode(text).ok()?).ok()?;
            Some(Self { time, id })
        };
        read().ok_or(SearchError::Cursor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn cursors_come_back_and_rubbish_does_not() {
        let cursor = Cursor { time: -5, id: "logs\"é-0-1".into() };
        assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
        for text in ["", "x", "!", "W10", &BASE64.encode("[1]"), &BASE64.encode("[1,2]"), &BASE64.encode("{}")] {
            assert!(matches!(Cursor::decode(text), Err(SearchError::Cursor)), "{text:?}");
        }
    }
}
