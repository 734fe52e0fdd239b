//! Logs in Elasticsearch 8 and 9, and in OpenSearch.
//!
//! One index per UTC day of the logs' own time, `<index>-2024.08.16`. A document is the record's source, byte for byte,
//! under the record's id. The crate `elasticsearch` is the transport only: requests and answers are our own, so that
//! bodies are neither copied nor parsed more than needed, and so that OpenSearch is served as well.

mod apart;
mod bulk;
mod dialect;
mod index;
mod letters;
mod nodes;
mod numbers;
mod options;
mod outcome;
mod page;
mod query;
mod retention;
mod search;
mod setup;
mod template;

use async_trait::async_trait;
use elasticsearch::http::Method;

use crate::day::{day_of, days_of_records};
use crate::q::Query;
use crate::{
    FieldSummary, Histogram, LogStore, Outcome, Record, Records, SearchError, SearchPage, SearchRequest, TimeSpan,
    WriteError,
};
use dialect::Dialect;
use nodes::Nodes;
use numbers::Numbers;
pub use options::{Auth, Compression, ElasticsearchOptions, OptionsError};
#[cfg(any(test, fuzzing))]
pub(crate) use outcome::check as check_answer;
use retention::Retention;
use setup::Setup;

/// The store.
pub struct ElasticsearchStore {
    options: ElasticsearchOptions,
    nodes: Nodes,
    setup: Setup,
    numbers: Numbers,
    retention: Retention,
}

impl ElasticsearchStore {
    /// A store that has not spoken to its nodes yet: they need not be up.
    ///
    /// # Errors
    /// When the options can't be those of any Elasticsearch.
    pub fn new(options: ElasticsearchOptions) -> Result<Self, OptionsError> {
        let options = options::checked(options)?;
        let nodes = Nodes::new(&options)?;
        let retention = Retention::new(options.retention);
        Ok(Self { options, nodes, setup: Setup::default(), numbers: Numbers::default(), retention })
    }

    /// Speaks with other credentials from the next request on.
    ///
    /// # Errors
    /// When the credentials can't be sent; the ones before stay.
    pub fn set_auth(&self, auth: &Auth) -> Result<(), OptionsError> {
        self.nodes.set_auth(auth)
    }

    /// Sees to indices and their mappings, and writes.
    async fn write_all(&self, records: &Records) -> Result<Vec<Outcome>, WriteError> {
        self.setup.for_logs(&self.nodes, &self.options.index, &days_of_records(records)).await?;
        if self.setup.dialect(&self.nodes).await? == Dialect::FlatObject {
            return self.write_each(records).await;
        }
        let mut absent = self.numbers.see_to(&self.nodes, &self.options.index, records).await?;
        if absent.is_empty() {
            return self.write_each(records).await;
        }
        // The first record of a day makes its index. We could make it ourselves, but that needs another privilege, and it
        // would not heed who forbids that indices come into being.
        let is_first: Vec<bool> =
            records.iter().map(|record| day_of(record.timestamp).is_some_and(|day| absent.remove(&day))).collect();
        let part = |first: bool| records.select((0..records.len()).filter(|index| is_first[*index] == first));
        let mut firsts = self.write_each(&part(true)).await?.into_iter();
        let others = part(false);
        self.numbers.see_to(&self.nodes, &self.options.index, &others).await?;
        let mut others = self.write_each(&others).await?.into_iter();
        Ok(is_first.into_iter().filter_map(|first| if first { firsts.next() } else { others.next() }).collect())
    }

    /// Writes records whose index and mapping are as they should be.
    async fn write_each(&self, records: &Records) -> Result<Vec<Outcome>, WriteError> {
        let mut lines = bulk::lines(&self.options.index, records);
        if lines.count == 0 {
            return Ok(lines.outcomes(Vec::new()));
        }
        let sent = self.send_lines(std::mem::take(&mut lines.bytes), lines.count).await?;
        let mut outcomes = lines.outcomes(sent);
        self.write_apart(records, &mut outcomes).await?;
        Ok(outcomes)
    }

    /// Writes the logs that were refused once more, without the fields that may have been the reason. One that is
    /// refused again keeps its first refusal.
    async fn write_apart(&self, records: &Records, outcomes: &mut [Outcome]) -> Result<(), WriteError> {
        let mut places = Vec::new();
        let mut again = Vec::new();
        for (place, outcome) in outcomes.iter().enumerate() {
            if !matches!(outcome, Outcome::Refused { status: 400, .. }) {
                continue;
            }
            let record = records.record(place);
            if let Some(source) = apart::put_apart(&record.source, record.timestamp) {
                places.push(place);
                again.push(Record { source: source.into(), ..record });
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        let mut lines = bulk::lines(&self.options.index, &again.into_iter().collect());
        if lines.count > 0 {
            let sent = self.send_lines(std::mem::take(&mut lines.bytes), lines.count).await?;
            for (place, outcome) in places.into_iter().zip(lines.outcomes(sent)) {
                if !matches!(outcome, Outcome::Refused { .. }) {
                    outcomes[place] = outcome;
                }
            }
        }
        Ok(())
    }

    async fn send_lines(&self, lines: Vec<u8>, count: usize) -> Result<Vec<Outcome>, WriteError> {
        let body = bulk::body(lines, self.options.compression).await;
        let answer = self.nodes.send(Method::Post, "_bulk", &[("filter_path", outcome::FILTER)], &body).await;
        outcome::outcomes(&answer?, count)
    }
}

#[async_trait]
impl LogStore for ElasticsearchStore {
    async fn write(&self, records: &Records) -> Result<Vec<Outcome>, WriteError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let outcomes = self.write_all(records).await?;
        let now = jiff::Timestamp::now().as_millisecond();
        let gone = self.retention.see_to(&self.nodes, &self.options.index, now).await;
        self.numbers.forget(&gone);
        Ok(outcomes)
    }

    async fn search(&self, request: &SearchRequest) -> Result<SearchPage, SearchError> {
        self.find_page(request).await
    }

    async fn histogram(&self, query: &Query, span: TimeSpan, interval: i64) -> Result<Histogram, SearchError> {
        self.count_over_time(query, span, interval).await
    }

    async fn fields(&self, query: &Query, span: TimeSpan) -> Result<Vec<FieldSummary>, SearchError> {
        self.summarise_fields(query, span).await
    }
}
