//! Which ids a day already has.
//!
//! Nearly all ids that come are new, and to be told so by each of a day's segments takes long. So a filter in memory
//! (Bloom's) is asked first: it knows for sure of nearly all new ids that they are. It is made from the day's segments
//! when the first log comes for that day, and learns every id that is accepted from then on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher as _;

use tantivy::Searcher;
use tantivy::columnar::StrColumn;

use super::schema::ID;

/// Filters take this much memory at most, together; the least recently asked go first.
const MAX_BYTES: usize = 64 << 20;
/// Bits for each id, and how many of them are set: of a thousand new ids, two or three have to be looked up.
const BITS: usize = 12;
const PROBES: u32 = 8;
/// The ids for which the first layer of a filter has room; each further layer has room for four times as many, up to
/// 2 to the power of [`MAX_GROWTH`] times as many.
const FIRST_LAYER: usize = 4_096;
const MAX_GROWTH: usize = 10;

/// The filters of the days to which logs have come.
#[derive(Default)]
pub(super) struct Filters {
    days: HashMap<i64, (u64, Filter)>,
    asked: u64,
}

impl Filters {
    /// The filter of a day; `make` gives all ids that it has.
    pub(super) fn of(
        &mut self,
        day: i64,
        make: impl FnOnce(&mut Filter) -> tantivy::Result<()>,
    ) -> tantivy::Result<&mut Filter> {
        self.asked += 1;
        let asked = self.asked;
        if let Entry::Vacant(vacant) = self.days.entry(day) {
            let mut filter = Filter::default();
            make(&mut filter)?;
            vacant.insert((asked, filter));
            self.make_room(day);
        }
        let (last_asked, filter) = self.days.entry(day).or_default();
        *last_asked = asked;
        Ok(filter)
    }

    fn make_room(&mut self, kept: i64) {
        while self.days.values().map(|(_, filter)| filter.bytes()).sum::<usize>() > MAX_BYTES {
            let others = self.days.iter().filter(|(day, _)| **day != kept);
            let Some(oldest) = others.min_by_key(|(_, (asked, _))| *asked).map(|(day, _)| *day) else { return };
            self.days.remove(&oldest);
        }
    }
}

/// A set of ids that may take an id for one of its own, but never the other way round.
#[derive(Default)]
pub(super) struct Filter {
    layers: Vec<Layer>,
    hasher: std::hash::RandomState,
}

struct Layer {
    bits: Vec<u64>,
    /// How many more ids it has room for.
    room: usize,
}

impl Filter {
    pub(super) fn may_have(&self, id: &str) -> bool {
        let hash = self.hasher.hash_one(id);
        self.layers.iter().any(|layer| places(hash, layer.bits.len()).all(|(word, bit)| layer.bits[word] & bit != 0))
    }

    pub(super) fn insert(&mut self, id: &str) {
        if self.layers.last().is_none_or(|layer| layer.room == 0) {
            let capacity = FIRST_LAYER << (2 * self.layers.len()).min(MAX_GROWTH);
            self.layers.push(Layer { bits: vec![0; capacity * BITS / 64], room: capacity });
        }
        let hash = self.hasher.hash_one(id);
        if let Some(layer) = self.layers.last_mut() {
            layer.room -= 1;
            places(hash, layer.bits.len()).for_each(|(word, bit)| layer.bits[word] |= bit);
        }
    }

    fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.bits.len() * 8).sum()
    }
}

/// The bits of an id: which word, and which bit of it.
fn places(hash: u64, words: usize) -> impl Iterator<Item = (usize, u64)> {
    let (mut at, step) = (hash, hash.rotate_left(32) | 1);
    (0..PROBES).map(move |_| {
        at = at.wrapping_add(step);
        // The upper bits say which word, the lower ones which bit.
        let word = (u128::from(at) * words as u128) >> 64;
        (word as usize, 1 << (at & 63))
    })
}

/// The ids of a day as its segments have them.
pub(super) struct Ids(Vec<StrColumn>);

impl Ids {
    pub(super) fn of(searcher: &Searcher) -> tantivy::Result<Self> {
        let columns: Result<Vec<_>, _> =
            searcher.segment_readers().iter().map(|segment| segment.fast_fields().str(ID)).collect();
        Ok(Self(columns?.into_iter().flatten().collect()))
    }

    pub(super) fn contain(&self, id: &str) -> tantivy::Result<bool> {
        for column in &self.0 {
            if column.dictionary().term_ord(id)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Teaches a filter all of them.
    pub(super) fn teach(&self, filter: &mut Filter) -> tantivy::Result<()> {
        for column in &self.0 {
            let mut stream = column.dictionary().stream()?;
            while stream.advance() {
                filter.insert(&String::from_utf8_lossy(stream.key()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_knows_its_ids_and_few_others() {
        let mut filter = Filter::default();
        (0..100_000).for_each(|n| filter.insert(&format!("logs-0-{n}")));
        assert!((0..100_000).all(|n| filter.may_have(&format!("logs-0-{n}"))));
        let wrong = (0..100_000).filter(|n| filter.may_have(&format!("logs-1-{n}"))).count();
        assert!(wrong < 2_000, "{wrong} of 100,000 strange ids look known");
        assert!(filter.bytes() < 1 << 20, "it takes {} bytes", filter.bytes());
    }

    #[test]
    fn filters_of_days_long_not_asked_for_go() {
        let mut filters = Filters::default();
        for day in 0..60 {
            let fill = |filter: &mut Filter| {
                filter.layers.push(Layer { bits: vec![0; 1 << 18], room: 1 });
                filter.insert("known");
                Ok(())
            };
            assert!(filters.of(day, fill).is_ok_and(|filter| filter.may_have("known")));
        }
        let bytes: usize = filters.days.values().map(|(_, filter)| filter.bytes()).sum();
        assert!(bytes <= MAX_BYTES && bytes > MAX_BYTES / 2, "{bytes}");
        assert!(filters.days.contains_key(&59) && !filters.days.contains_key(&0));
    }
}
