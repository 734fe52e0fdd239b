//! What can be done to the stage.

/// Who is harmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    Worker,
    /// That of a worker.
    Network,
    Broker,
    Sink,
    Gate,
    Path,
    Metrics,
}

impl Victim {
    /// How many faults it has at a time.
    pub(super) const fn at_once(self) -> usize {
        match self {
            Self::Worker | Self::Network => 2,
            _ => 1,
        }
    }
}

/// One kind of harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// `kill -9`, and another one soon.
    KillWorker,
    /// A worker is asked to stop, and another one comes.
    ReplaceWorker,
    /// One more comes, and goes again.
    ExtraWorker,
    /// A worker stands still for longer than the group waits for it.
    PauseWorker,
    CutWorkerFromAll,
    CutWorkerFromBrokers,
    CutWorkerFromSink,
    CutWorkerFromMetrics,
    LossyWorker,
    NarrowWorker,
    KillBroker,
    /// A broker gives its leaderships away and ends.
    StopBroker,
    PauseBroker,
    KillAllBrokers,
    KillSink,
    /// Elasticsearch has hardly any room for what waits to be written: it answers 429, to requests and to single records.
    OverloadedSink,
    /// The disk is full, so that indices become read-only.
    FullDisk,
    /// Not a byte is left on the disk, so that shards fail.
    NoSpace,
    KillGate,
    /// The password changes, and the Secret later.
    ChangePassword,
    SlowPath,
    /// Connections between the gate and Elasticsearch break on the way.
    CutPath,
    KillMetrics,
}

impl Fault {
    pub(super) const ALL: [Self; 23] = [
        Self::KillWorker,
        Self::ReplaceWorker,
        Self::ExtraWorker,
        Self::PauseWorker,
        Self::CutWorkerFromAll,
        Self::CutWorkerFromBrokers,
        Self::CutWorkerFromSink,
        Self::CutWorkerFromMetrics,
        Self::LossyWorker,
        Self::NarrowWorker,
        Self::KillBroker,
        Self::StopBroker,
        Self::PauseBroker,
        Self::KillAllBrokers,
        Self::KillSink,
        Self::OverloadedSink,
        Self::FullDisk,
        Self::NoSpace,
        Self::KillGate,
        Self::ChangePassword,
        Self::SlowPath,
        Self::CutPath,
        Self::KillMetrics,
    ];

    /// Whether there is time for it within a minute.
    pub(super) const fn is_short(self) -> bool {
        !matches!(
            self,
            Self::OverloadedSink | Self::NoSpace | Self::KillAllBrokers | Self::StopBroker | Self::CutWorkerFromAll
        )
    }

    pub(super) const fn victim(self) -> Victim {
        match self {
            Self::KillWorker | Self::ReplaceWorker | Self::ExtraWorker | Self::PauseWorker => Victim::Worker,
            Self::CutWorkerFromAll
            | Self::CutWorkerFromBrokers
            | Self::CutWorkerFromSink
            | Self::CutWorkerFromMetrics
            | Self::LossyWorker
            | Self::NarrowWorker => Victim::Network,
            Self::KillBroker | Self::StopBroker | Self::PauseBroker | Self::KillAllBrokers => Victim::Broker,
            Self::KillSink | Self::OverloadedSink | Self::FullDisk | Self::NoSpace => Victim::Sink,
            Self::KillGate | Self::ChangePassword => Victim::Gate,
            Self::SlowPath | Self::CutPath => Victim::Path,
            Self::KillMetrics => Victim::Metrics,
        }
    }

    /// How long the harm lasts, milliseconds, at least and at most.
    pub(super) const fn lasts(self) -> (u64, u64) {
        match self {
            Self::KillWorker | Self::KillGate | Self::KillMetrics => (0, 4_000),
            Self::PauseWorker => (14_000, 20_000),
            Self::KillSink | Self::KillBroker | Self::StopBroker | Self::KillAllBrokers => (1_000, 6_000),
            // From when it is up.
            Self::OverloadedSink => (8_000, 16_000),
            // Elasticsearch looks every ten seconds.
            Self::FullDisk | Self::NoSpace => (12_000, 18_000),
            Self::CutWorkerFromAll | Self::CutWorkerFromBrokers => (3_000, 20_000),
            _ => (3_000, 12_000),
        }
    }
}
