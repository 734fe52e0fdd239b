//! Records on their way through the pipeline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::lane::{Lane, Mark};

/// A record as its source gave it.
#[derive(Debug, Clone)]
pub(crate) struct RawRecord {
    pub(crate) lane: Arc<Lane>,
    pub(crate) mark: Mark,
    /// The offset after this record.
    pub(crate) next: i64,
    /// The id that the sender chose; otherwise the lane makes one.
    pub(crate) id: Option<String>,
    pub(crate) payload: Bytes,
    /// Who waits for what becomes of it.
    pub(crate) ticket: Option<(Arc<Ticket>, usize)>,
}

impl RawRecord {
    pub(crate) fn id(&self) -> String {
        self.id.clone().unwrap_or_else(|| self.lane.record_id(self.mark))
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Indexed,
    Duplicate,
    DeadLetter { status: u16, reason: String },
    Filtered,
}

/// Tells somebody who handed in several records together what became of all of them.
#[derive(Debug)]
pub(crate) struct Ticket {
    missing: AtomicUsize,
    fates: Mutex<Vec<Option<Fate>>>,
    complete: Notify,
}

impl Ticket {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            missing: AtomicUsize::new(count),
            fates: Mutex::new(vec![None; count]),
            complete: Notify::new(),
        })
    }

    pub(crate) fn tell(&self, index: usize, fate: Fate) {
        if self.fates.lock()[index].replace(fate).is_none() && self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.complete.notify_one();
        }
    }

    /// Waits for all of them. For one waiter.
    pub(crate) async fn all(&self) -> Vec<Fate> {
        while self.missing.load(Ordering::Acquire) > 0 {
            self.complete.notified().await;
        }
        self.fates.lock().drain(..).flatten().collect()
    }
}
