//! One log, in the shape in which it is stored and shown.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How grave a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For who looks for a fault.
    Debug,
    /// The ordinary course of things.
    Info,
    /// Not yet a fault.
    Warn,
    /// A fault.
    Error,
}

impl Level {
    /// Every level, from the least grave.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The level that any of the common spellings means, in any case: `WARNING`, `Err`, `fatal`, `notice`, syslog's
    /// numbers 0 to 7, pino's and bunyan's 10 to 60.
    #[must_use]
    pub fn normalise(text: &str) -> Option<Self> {
        let lower = text.trim().to_ascii_lowercase();
        Some(match lower.as_str() {
            "debug" | "dbg" | "trace" | "verbose" | "fine" | "finer" | "finest" | "d" | "t" | "7" | "10" | "20" => {
                Self::Debug
            }
            "info" | "information" | "informational" | "inf" | "notice" | "log" | "i" | "n" | "5" | "6" | "30" => {
                Self::Info
            }
            "warn" | "warning" | "wrn" | "w" | "4" | "40" => Self::Warn,
            "error" | "err" | "e" | "fatal" | "critical" | "crit" | "alert" | "emerg" | "emergency" | "panic"
            | "severe" | "f" | "c" | "0" | "1" | "2" | "3" | "50" | "60" => Self::Error,
            _ => return None,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One log. This is also the document that a store keeps, with these keys in this order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogEntry {
    /// When it happened, RFC 3339.
    pub timestamp: String,
    /// How grave it is; empty where nobody said.
    #[serde(default)]
    pub level: String,
    /// The text.
    #[serde(default)]
    pub message: String,
    /// Who wrote it.
    #[serde(default)]
    pub service: String,
    /// Where that one ran.
    #[serde(default)]
    pub host: String,
    /// What it is marked with.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// What else it says.
    #[serde(default)]
    pub fields: serde_json::Map<String, serde_json::Value>,
}

impl LogEntry {
    /// When it happened, milliseconds since 1970 (what is finer is cut off, towards the past), if its timestamp is RFC 3339.
    #[must_use]
    pub fn milliseconds(&self) -> Option<i64> {
        let timestamp: jiff::Timestamp = self.timestamp.parse().ok()?;
        i64::try_from(timestamp.as_nanosecond().div_euclid(1_000_000)).ok()
    }
}
