//! What Kafka has, and what must become of it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::load::{Kind, Load};
use super::stage::{PARTITIONS, Stage};

/// How many partitions there are.
pub(super) const SHARES: usize = PARTITIONS as usize;

/// What Kafka has: the number of each record, by partition and offset. A client that loses its brokers may write a record
/// twice; then it must be stored twice.
#[derive(Default)]
pub(super) struct Truth {
    records: [Vec<u64>; SHARES],
    /// How many records were produced, and how often each of them is there.
    copies: Vec<u8>,
}

impl Truth {
    /// Reads on to the end. All that was produced must be there: else the test is at fault.
    pub(super) fn read(&mut self, stage: &Stage, load: &Load, produced: u64) -> Result<()> {
        let from: Vec<_> = self.records.iter().map(|records| records.len() as i64).collect();
        self.copies.resize(usize::try_from(produced)?, 0);
        let mut strange = None;
        let take = |partition: i32, offset: i64, key: &[u8], payload: &[u8]| {
            let n = key.try_into().map_or(u64::MAX, u64::from_be_bytes);
            if load.record(n) != payload || self.note(partition, offset, n).is_none() {
                strange = Some((partition, offset, n));
            }
        };
        tokio::task::block_in_place(|| stage.cluster.read(&load.name, &from, take))?;
        ensure!(strange.is_none(), "of the test itself: strange things in Kafka: {strange:?}");
        let missing = self.copies.iter().position(|copies| *copies == 0);
        ensure!(missing.is_none(), "of the test itself: record {missing:?} is not in Kafka");
        Ok(())
    }

    fn note(&mut self, partition: i32, offset: i64, n: u64) -> Option<()> {
        let records = self.records.get_mut(usize::try_from(partition).ok()?)?;
        let copies = self.copies.get_mut(usize::try_from(n).ok()?)?;
        if records.len() as i64 != offset {
            return None;
        }
        records.push(n);
        *copies += 1;
        Some(())
    }

    /// How many records were produced.
    pub(super) fn produced(&self) -> u64 {
        self.copies.len() as u64
    }

    /// How many records a partition has.
    pub(super) fn share(&self, partition: u64) -> Option<u64> {
        Some(self.records.get(usize::try_from(partition).ok()?)?.len() as u64)
    }

    /// How many records there are.
    pub(super) fn count(&self) -> u64 {
        self.records.iter().map(|records| records.len() as u64).sum()
    }

    /// How many records Kafka has more than once.
    pub(super) fn doubled(&self) -> u64 {
        self.count() - self.produced()
    }

    /// How often a record is there.
    pub(super) fn copies(&self, n: u64) -> u8 {
        usize::try_from(n).ok().and_then(|n| self.copies.get(n)).copied().unwrap_or(0)
    }

    /// The record at a place.
    pub(super) fn at(&self, partition: u64, offset: u64) -> Option<u64> {
        let records = usize::try_from(partition).ok().and_then(|partition| self.records.get(partition))?;
        records.get(usize::try_from(offset).ok()?).copied()
    }

    /// Where a record is, for people.
    pub(super) fn places(&self, n: u64) -> String {
        let mut places = Vec::new();
        for (partition, records) in self.records.iter().enumerate() {
            let offsets = records.iter().enumerate().filter(|(_, other)| **other == n);
            places.extend(offsets.map(|(offset, _)| format!("partition {partition} offset {offset}")));
        }
        places.join(" and ")
    }
}

/// What must have become of all records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) entries: u64,
    pub(super) letters: u64,
    pub(super) dropped: u64,
    /// Of those that derived metrics count.
    pub(super) levels: BTreeMap<&'static str, u64>,
}

impl Expected {
    pub(super) fn of(load: &Load, truth: &Truth) -> Self {
        let mut expected = Self::default();
        for n in truth.records.iter().flatten() {
            let kind = load.kind(*n);
            match kind {
                Kind::Canonical | Kind::Mapped => expected.entries += 1,
                Kind::Dropped => expected.dropped += 1,
                Kind::Refused | Kind::Rubbish => expected.letters += 1,
            }
            // What the store refuses was read, and counted.
            if matches!(kind, Kind::Canonical | Kind::Mapped | Kind::Refused) {
                *expected.levels.entry(Load::level(*n)).or_default() += 1;
            }
        }
        expected
    }
}

#[cfg(test)]
impl Truth {
    /// All records below a number, in partitions in turn.
    pub(super) fn below(count: u64) -> Self {
        let mut truth = Self { copies: vec![1; count as usize], ..Self::default() };
        (0..count).for_each(|n| truth.records[n as usize % SHARES].push(n));
        truth
    }

    /// One record once more, at the end of a partition.
    pub(super) fn again(mut self, n: u64, partition: usize) -> Self {
        self.copies[n as usize] += 1;
        self.records[partition].push(n);
        self
    }
}
