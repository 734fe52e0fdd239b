//! The counts of Kafka's partitions.
//!
//! A partition's account is committed beside its offset, and goes on with the next owner. So it only grows, and of all
//! that was ever said of a partition that with the most records holds. An owner that died may have told of records that
//! it had not committed: the next one reads those again, is behind for a moment, and then ahead.
//!
//! In an object's status not more than [`MOST_LISTED`] entries are listed. Where there are more partitions, the entry
//! of a topic that has no number sums up those that are not listed. An operator that begins with such a sum does not
//! know what it consists of. It holds until those partitions of the topic that were not listed have told as much.

use std::collections::{BTreeMap, BTreeSet};

use taffrail_crds::{PartitionStatus, RecordCounts};

/// How many entries a status has.
const MOST_LISTED: usize = 100;
/// No topic has more partitions. A worker takes input from anybody, and so is not believed without bounds.
const MOST_OF_TOPIC: i32 = 100_000;

/// What is known of a partition, or of several together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Account {
    counts: RecordCounts,
    lag: Option<u64>,
}

impl Account {
    fn of(status: &PartitionStatus) -> Self {
        Self { counts: status.counts, lag: status.lag }
    }

    fn plus(self, other: Self) -> Self {
        let lag = self.lag.into_iter().chain(other.lag).reduce(u64::saturating_add);
        Self { counts: self.counts.plus(other.counts), lag }
    }

    /// Takes in what an owner says. Where it says as much as was known, it says what became of the records in the end.
    fn take_in(&mut self, told: Self) {
        if told.counts.total() >= self.counts.total() {
            self.counts = told.counts;
        }
        self.lag = told.lag.or(self.lag);
    }

    fn say(self, topic: &str, partition: Option<i32>) -> PartitionStatus {
        PartitionStatus { topic: topic.to_owned(), partition, counts: self.counts, lag: self.lag }
    }
}

/// Partitions of a topic of which only a sum is known.
#[derive(Debug, Default)]
struct Unlisted {
    sum: Account,
    /// What was told since.
    told: BTreeMap<i32, Account>,
}

/// All partitions of a pipeline that were ever told of.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    /// By topic and number.
    known: BTreeMap<(String, i32), Account>,
    /// By topic.
    unlisted: BTreeMap<String, Unlisted>,
}

impl Partitions {
    pub(super) fn from_status(listed: &[PartitionStatus]) -> Self {
        let mut partitions = Self::default();
        for status in listed {
            let (topic, account) = (status.topic.clone(), Account::of(status));
            match status.partition {
                Some(number) => _ = partitions.known.insert((topic, number), account),
                None => _ = partitions.unlisted.insert(topic, Unlisted { sum: account, told: BTreeMap::new() }),
            }
        }
        partitions
    }

    /// Takes in what the workers that are there say of the partitions that they own. `is_read` tells the topics that are
    /// read.
    pub(super) fn take_in<'a>(
        &mut self,
        is_read: impl Fn(&str) -> bool,
        told: impl IntoIterator<Item = &'a PartitionStatus>,
    ) {
        // While a partition moves, two may think it theirs.
        let mut owned: BTreeMap<(&str, i32), Account> = BTreeMap::new();
        for status in told {
            let Some(number) = status.partition.filter(|number| (0..MOST_OF_TOPIC).contains(number)) else { continue };
            let account = Account::of(status);
            let most = owned.entry((&status.topic, number)).or_insert(account);
            if account.counts.total() > most.counts.total() {
                *most = account;
            }
        }
        for ((of, number), account) in owned {
            // Workers of the version before may read another topic still.
            if is_read(of) || self.has_topic(of) {
                self.account(of, number).take_in(account);
            }
        }
        self.resolve();
        self.forget_lags(is_read);
    }

    fn has_topic(&self, topic: &str) -> bool {
        let mut numbers = self.known.range((topic.to_owned(), 0)..=(topic.to_owned(), i32::MAX));
        numbers.next().is_some() || self.unlisted.contains_key(topic)
    }

    fn account(&mut self, topic: &str, number: i32) -> &mut Account {
        let place = (topic.to_owned(), number);
        match self.unlisted.get_mut(topic) {
            Some(unlisted) if !self.known.contains_key(&place) => unlisted.told.entry(number).or_default(),
            _ => self.known.entry(place).or_default(),
        }
    }

    /// Lets those sums go that are made up for.
    fn resolve(&mut self) {
        let is_told = |unlisted: &Unlisted| {
            let told = unlisted.told.values().fold(RecordCounts::default(), |sum, account| sum.plus(account.counts));
            told.total() >= unlisted.sum.counts.total()
        };
        for (topic, Unlisted { told, .. }) in self.unlisted.extract_if(.., |_, unlisted| is_told(unlisted)) {
            self.known.extend(told.into_iter().map(|(number, account)| ((topic.clone(), number), account)));
        }
    }

    /// Nobody lags behind a topic that is not read.
    fn forget_lags(&mut self, is_read: impl Fn(&str) -> bool) {
        let known = self.known.iter_mut().map(|((of, _), account)| (of, account));
        let unlisted = self.unlisted.iter_mut().map(|(of, unlisted)| (of, &mut unlisted.sum));
        for (of, account) in known.chain(unlisted) {
            if !is_read(of) {
                account.lag = None;
            }
        }
    }

    fn all(&self) -> Account {
        let unlisted = self.unlisted.values().map(|unlisted| &unlisted.sum);
        self.known.values().chain(unlisted).fold(Account::default(), |sum, account| sum.plus(*account))
    }

    pub(super) fn sum(&self) -> RecordCounts {
        self.all().counts
    }

    /// Records that are not yet accounted for; none where nobody has told.
    pub(super) fn lag(&self) -> Option<u64> {
        self.all().lag
    }

    /// What is said of them in a status, by topic and number.
    pub(super) fn list(&self) -> Vec<PartitionStatus> {
        let mut singly = self.known.len();
        if singly + self.unlisted.len() > MOST_LISTED {
            let topics: BTreeSet<_> = self.known.keys().map(|(topic, _)| topic).chain(self.unlisted.keys()).collect();
            singly = MOST_LISTED.saturating_sub(topics.len());
        }
        let mut sums: BTreeMap<&str, Account> =
            self.unlisted.iter().map(|(topic, unlisted)| (topic.as_str(), unlisted.sum)).collect();
        for ((topic, _), account) in self.known.iter().skip(singly) {
            let sum = sums.entry(topic).or_default();
            *sum = sum.plus(*account);
        }
        let known = self.known.iter().take(singly).map(|((topic, number), account)| account.say(topic, Some(*number)));
        let mut listed: Vec<_> = known.chain(sums.into_iter().map(|(topic, sum)| sum.say(topic, None))).collect();
        let place = |status: &PartitionStatus| (status.topic.clone(), status.partition.unwrap_or(i32::MAX));
        listed.sort_by_cached_key(place);
        // What is left out of more topics than that is in the totals.
        listed.truncate(MOST_LISTED);
        listed
    }
}

#[cfg(test)]
mod tests;
