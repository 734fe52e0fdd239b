//! `/metrics`: the process's own metrics and all series of the store, as Prometheus text 0.0.4 or OpenMetrics 1.0.
//!
//! A counter is shown as its running total since the store first saw it, under a name that ends in `_total`; a gauge as
//! its latest value; a histogram with the buckets that were described for it. What Prometheus does not allow in a name is
//! `_` here. Where two metrics would have one name, the first by name is shown.

use std::collections::HashSet;
use std::fmt::Write;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::params::ApiError;
use super::text::{name, number, push_help, push_label_value};
use crate::model::Kind;
use crate::state::shard_of;
use crate::store::Core;
use crate::totals::{Buckets, Totals};

const NO_HELP: &str = "Derived from logs, or pushed.";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    fn accepted(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        if accepted.any(|text| text.contains("application/openmetrics-text")) { Self::OpenMetrics } else { Self::Text }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

pub(super) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let format = Format::accepted(&headers);
    let own = app.telemetry.encode();
    let done = app
        .store
        .run(move |core| {
            let mut out = Exposition { format, out: String::with_capacity(own.len()), taken: HashSet::new() };
            out.own(&own);
            out.store(core);
            if format == Format::OpenMetrics {
                out.out.push_str("# EOF\n");
            }
            Ok(out.out)
        })
        .await?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], done).into_response())
}

struct Exposition {
    format: Format,
    out: String,
    /// Names that samples have.
    taken: HashSet<String>,
}

impl Exposition {
    /// The process's own metrics, which come as OpenMetrics.
    fn own(&mut self, own: &str) {
        let mut help = None;
        for line in own.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ');
            } else if let Some((family, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                self.take(family, kind);
                let text = help.take().filter(|help| help.0 == family).map_or(NO_HELP, |help| help.1);
                // It is escaped already.
                self.head(family, kind, |out| out.push_str(text));
            } else if self.format == Format::OpenMetrics || !line.starts_with("# UNIT ") {
                self.out.push_str(line);
                self.out.push('\n');
            }
        }
    }

    /// Whether the names that a family's samples have were all free; now they are not.
    fn take(&mut self, family: &str, kind: &str) -> bool {
        let suffixes: &[&str] = match kind {
            "counter" => &["", "_total"],
            "histogram" => &["", "_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let names: Vec<String> = suffixes.iter().map(|suffix| format!("{family}{suffix}")).collect();
        let free = names.iter().all(|name| !self.taken.contains(name));
        if free {
            self.taken.extend(names);
        }
        free
    }

    fn head(&mut self, family: &str, kind: &str, push_help: impl FnOnce(&mut String)) {
        // OpenMetrics names the family, the older text the samples.
        let suffix = if kind == "counter" && self.format == Format::Text { "_total" } else { "" };
        let kind = if kind == "unknown" && self.format == Format::Text { "untyped" } else { kind };
        let _ = write!(self.out, "# HELP {family}{suffix} ");
        push_help(&mut self.out);
        let _ = writeln!(self.out, "\n# TYPE {family}{suffix} {kind}");
    }

    fn store(&mut self, core: &Core) {
        let metrics = core.index.read().metrics();
        for (metric, kind, _) in metrics {
            let shown = name(&metric);
            let family = if kind.is_counter() { shown.strip_suffix("_total").unwrap_or(&shown) } else { &shown };
            if !self.take(family, kind.type_name()) {
                continue;
            }
            let help = {
                let known = core.descriptions.read();
                let help = known.get(&metric).map_or("", |description| description.help.as_str());
                if help.is_empty() { NO_HELP.to_owned() } else { help.to_owned() }
            };
            let quotes = self.format == Format::OpenMetrics;
            self.head(family, kind.type_name(), |out| push_help(out, &help, quotes));
            self.family(core, &metric, family);
        }
    }

    fn family(&mut self, core: &Core, metric: &str, family: &str) {
        let index = core.index.read();
        let mut series: Vec<(String, u32)> = index
            .series_of(metric)
            .into_iter()
            .filter_map(|id| Some((label_text(index.describe(id)?.1), id)))
            .collect();
        drop(index);
        series.sort_unstable();
        for (labels, id) in series {
            let (shard, slot) = shard_of(id);
            let (kind, newest, totals) = {
                let shard = core.shards[shard].read();
                let Some(Some(series)) = shard.get(slot) else { continue };
                (series.kind(), series.newest().1, series.totals().clone())
            };
            match totals {
                Totals::Counter(sum) => self.sample(family, "_total", &labels, "", sum.value()),
                Totals::Histogram(buckets) => self.histogram(family, &labels, &buckets),
                Totals::None if kind == Kind::CumulativeCounter => self.sample(family, "_total", &labels, "", newest),
                Totals::None => self.sample(family, "", &labels, "", newest),
            }
        }
    }

    fn histogram(&mut self, family: &str, labels: &str, buckets: &Buckets) {
        let mut count = 0;
        let bounds = buckets.bounds.iter().copied().chain([f64::INFINITY]);
        for (bound, observed) in bounds.zip(&buckets.counts) {
            count += observed;
            let mut text = number(bound);
            // OpenMetrics wants bounds that are seen to be no integers.
            if self.format == Format::OpenMetrics && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
                text.push_str(".0");
            }
            self.sample(family, "_bucket", labels, &format!("le=\"{text}\""), count as f64);
        }
        self.sample(family, "_sum", labels, "", buckets.sum.value());
        self.sample(family, "_count", labels, "", count as f64);
    }

    fn sample(&mut self, family: &str, suffix: &str, labels: &str, more: &str, value: f64) {
        self.out.push_str(family);
        self.out.push_str(suffix);
        if !labels.is_empty() || !more.is_empty() {
            let comma = if labels.is_empty() || more.is_empty() { "" } else { "," };
            let _ = write!(self.out, "{{{labels}{comma}{more}}}");
        }
        let _ = writeln!(self.out, " {}", number(value));
    }
}

/// Labels as they stand between braces.
fn label_text<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    let mut names: Vec<String> = Vec::new();
    for (label, value) in labels {
        let label = name(label);
        if names.iter().any(|known| *known == label) {
            continue;
        }
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&label);
        out.push_str("=\"");
        push_label_value(&mut out, value);
        out.push('"');
        names.push(label.into_owned());
    }
    out
}
