//! Pages of logs, and the newest logs for a summary.
//!
//! Days are gone through from the newest. Once there are enough logs, those of further days and segments are only
//! counted, which for most conditions is a look into the dictionary.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use tantivy::query::{EnableScoring, Weight};
use tantivy::schema::Value as _;
use tantivy::{DocAddress, DocId, Searcher, TantivyDocument, TantivyError};

use super::days::Days;
use super::query::translate;
use super::schema::FIELDS;
use super::segments::Segment;
use crate::cursor::Cursor;
use crate::day::DAY;
use crate::limits::MAX_PAGE;
use crate::q::Query;
use crate::{LogEntry, SearchPage, SearchRequest, StoredLog, TimeSpan};

/// How a query is asked of any segment.
pub(super) fn weight_of(query: &Query) -> tantivy::Result<Box<dyn Weight>> {
    translate(query).weight(EnableScoring::disabled_from_schema(&FIELDS.schema))
}

/// One page, and how many logs there are in all.
pub(super) fn page(days: &Days, request: &SearchRequest, cursor: Option<&Cursor>) -> tantivy::Result<SearchPage> {
    let limit = request.limit.min(MAX_PAGE);
    let weight = weight_of(&request.query)?;
    let mut found = Vec::new();
    let mut total = 0;
    days.each_within(request.span, |day, searcher| {
        // One more tells whether there is another page.
        let room = limit + 1 - found.len();
        let (wanted, behind) = match cursor {
            Some(cursor) if cursor.time.div_euclid(DAY) < day => (0, None),
            Some(cursor) if cursor.time.div_euclid(DAY) == day => (room, Some(cursor)),
            _ => (room, None),
        };
        let mut search = Newest { searcher, weight: &*weight, span: request.span, wanted, candidates: Vec::new() };
        total += search.run(behind, true)?;
        found.extend(search.sorted()?);
        Ok(ControlFlow::Continue(()))
    })?;
    let more = found.len() > limit;
    found.truncate(limit);
    let cursor = found.last().filter(|_| more).map(|last| Cursor { time: last.time, id: last.id.clone() }.encode());
    Ok(SearchPage { logs: read(&found)?, total, cursor })
}

/// The newest logs, without counting the others.
pub(super) fn newest(days: &Days, query: &Query, span: TimeSpan, limit: usize) -> tantivy::Result<Vec<StoredLog>> {
    let weight = weight_of(query)?;
    let mut found = Vec::new();
    days.each_within(span, |_, searcher| {
        let wanted = limit - found.len();
        let mut search = Newest { searcher, weight: &*weight, span, wanted, candidates: Vec::new() };
        search.run(None, false)?;
        found.extend(search.sorted()?);
        Ok(if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    read(&found)
}

/// A log that belongs on the page.
struct Found {
    time: i64,
    id: String,
    searcher: Searcher,
    address: DocAddress,
}

/// A log that may belong on the page. Within a segment, the order of `id` is that of ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    time: i64,
    id: u64,
    doc: DocId,
    segment: u32,
}

/// The search for the newest logs of a day.
struct Newest<'a> {
    searcher: &'a Searcher,
    weight: &'a dyn Weight,
    span: TimeSpan,
    wanted: usize,
    candidates: Vec<Candidate>,
}

impl Newest<'_> {
    /// Goes through the segments, and counts the logs that the query finds if that is asked for.
    fn run(&mut self, behind: Option<&Cursor>, count: bool) -> tantivy::Result<u64> {
        let mut total = 0;
        let mut floor = i64::MIN;
        for segment in Segment::of(self.searcher, self.span)? {
            if self.wanted > 0 && segment.newest() >= floor {
                total += self.look_into(&segment, behind, floor)?;
                floor = self.drop_surplus();
            } else if count {
                total += segment.count(self.weight)?;
            }
        }
        Ok(total)
    }

    /// Adds the newest of a segment, from a time on, to the candidates.
    fn look_into(&mut self, segment: &Segment<'_>, behind: Option<&Cursor>, floor: i64) -> tantivy::Result<u64> {
        let ids = segment.ids()?;
        let numbers = ids.ords().clone().first_or_default_col(0);
        let behind = behind.map(|cursor| Ok((cursor.time, first_from(&ids, &cursor.id)?))).transpose();
        let behind: Option<(i64, u64)> = behind.map_err(|error: std::io::Error| TantivyError::from(error))?;
        let mut newest: BinaryHeap<Reverse<Candidate>> = BinaryHeap::new();
        let mut total = 0;
        let mut floor = floor;
        segment.each(self.weight, |docs, times| {
            total += docs.len() as u64;
            for (&doc, &time) in docs.iter().zip(times) {
                if time < floor || behind.is_some_and(|(before, _)| time > before) {
                    continue;
                }
                let id = numbers.get_val(doc);
                if behind.is_some_and(|(before, below)| time == before && id >= below) {
                    continue;
                }
                newest.push(Reverse(Candidate { time, id, doc, segment: segment.place }));
                if newest.len() > self.wanted {
                    newest.pop();
                    floor = newest.peek().map_or(floor, |oldest| oldest.0.time);
                }
            }
        })?;
        self.candidates.extend(newest.into_iter().map(|candidate| candidate.0));
        Ok(total)
    }

    /// Drops what is surely too old, and gives the time from which on logs are wanted still. Within one millisecond the
    /// order is known in the end only, when the ids are.
    fn drop_surplus(&mut self) -> i64 {
        let Some(last) = self.wanted.checked_sub(1).filter(|last| *last < self.candidates.len()) else {
            return i64::MIN;
        };
        let by_time = |a: &Candidate, b: &Candidate| b.time.cmp(&a.time);
        let floor = self.candidates.select_nth_unstable_by(last, by_time).1.time;
        self.candidates.retain(|candidate| candidate.time >= floor);
        floor
    }

    /// The newest of the candidates, in their order.
    fn sorted(mut self) -> tantivy::Result<Vec<Found>> {
        self.candidates.sort_unstable_by_key(|candidate| (candidate.segment, candidate.id));
        let mut found = Vec::with_capacity(self.candidates.len());
        for candidates in self.candidates.chunk_by(|a, b| a.segment == b.segment) {
            let numbers: Vec<_> = candidates.iter().map(|candidate| candidate.id).collect();
            let reader = self.searcher.segment_reader(candidates[0].segment);
            let mut ids = Vec::with_capacity(numbers.len());
            if let Some(column) = reader.fast_fields().str(super::schema::ID)? {
                let push = |id: &[u8]| ids.push(String::from_utf8_lossy(id).into_owned());
                column.dictionary().sorted_ords_to_term_cb(&numbers, push)?;
            }
            found.extend(candidates.iter().zip(ids).map(|(candidate, id)| Found {
                time: candidate.time,
                id,
                searcher: self.searcher.clone(),
                address: DocAddress::new(candidate.segment, candidate.doc),
            }));
        }
        found.sort_unstable_by(|a, b| (b.time, &b.id).cmp(&(a.time, &a.id)));
        found.truncate(self.wanted);
        Ok(found)
    }
}

/// The number of the first id that is not before this one.
fn first_from(ids: &tantivy::columnar::StrColumn, id: &str) -> std::io::Result<u64> {
    use tantivy::columnar::TermOrdHit;
    Ok(match ids.dictionary().term_ord_or_next(id)? {
        TermOrdHit::Exact(number) | TermOrdHit::Next(number) => number,
    })
}

/// Reads the logs, those of a segment in the order in which they are stored.
fn read(found: &[Found]) -> tantivy::Result<Vec<StoredLog>> {
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by_key(|place| (found[*place].time.div_euclid(DAY), found[*place].address));
    let mut logs = vec![None; found.len()];
    for place in order {
        let Found { id, searcher, address, .. } = &found[place];
        let document: TantivyDocument = searcher.doc(*address)?;
        let source = document.get_first(FIELDS.source).and_then(|source| source.as_bytes()).unwrap_or_default();
        let entry: LogEntry = serde_json::from_slice(source)
            .map_err(|error| TantivyError::InternalError(format!("the log {id} can't be read: {error}")))?;
        logs[place] = Some(StoredLog { id: id.clone(), entry });
    }
    Ok(logs.into_iter().flatten().collect())
}
