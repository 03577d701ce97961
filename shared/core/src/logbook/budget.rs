//! Limits of a query: bytes read, bytes decompressed, and time. At a limit, the query returns what is
//! certain.

use std::time::Duration;

use tokio::time::Instant;

/// Maximum compressed bytes that a query reads.
pub const MAX_READ_BYTES: usize = 96 * 1024 * 1024;

/// Maximum bytes of decompressed blocks that a query inspects. A block may decompress to hundreds of times
/// its size.
pub const MAX_DECOMPRESSED_BYTES: usize = 512 * 1024 * 1024;

/// Maximum read units of headers, each of which costs as much as its block: 256 MiB of blocks.
pub const MAX_READ_UNITS: f64 = 65_536.0;

/// Maximum time that a query reads. The template gives the querying functions 29 s, as long as API Gateway
/// waits. After this time, started work is finished and the response is written.
pub const MAX_TIME: Duration = Duration::from_secs(12);

/// The budget of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Bytes of blocks, and 512 for a header.
    pub read_bytes: usize,
    /// Read units of listings that must be complete: those of an hour, and those that are counted.
    pub read_units: f64,
    pub decompressed_bytes: usize,
    /// `None` means no time limit.
    pub stop_at: Option<Instant>,
}

impl Budget {
    /// For tests and tools.
    pub const UNLIMITED: Self = Self {
        read_bytes: usize::MAX,
        read_units: f64::INFINITY,
        decompressed_bytes: usize::MAX,
        stop_at: None,
    };

    /// Returns the budget of a request that arrived at this moment.
    #[must_use]
    pub fn since(arrival: Instant) -> Self {
        Self {
            read_bytes: MAX_READ_BYTES,
            read_units: MAX_READ_UNITS,
            decompressed_bytes: MAX_DECOMPRESSED_BYTES,
            stop_at: Some(arrival + MAX_TIME),
        }
    }
}

/// What is left of a budget.
#[derive(Debug)]
pub(crate) struct Spending(Budget);

impl Spending {
    pub(crate) fn of(budget: &Budget) -> Self {
        Self(*budget)
    }

    pub(crate) fn read_bytes(&mut self, bytes: usize) {
        self.0.read_bytes = self.0.read_bytes.saturating_sub(bytes);
    }

    pub(crate) fn read_units(&mut self, units: f64) {
        self.0.read_units -= units;
    }

    pub(crate) fn decompressed_bytes(&mut self, bytes: usize) {
        self.0.decompressed_bytes = self.0.decompressed_bytes.saturating_sub(bytes);
    }

    /// Whether reading must end even without progress.
    pub(crate) fn is_exhausted(&self, now: Instant) -> bool {
        self.0.read_units <= 0.0 || self.0.stop_at.is_some_and(|stop_at| now >= stop_at)
    }

    /// Whether nothing more may be decompressed.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.0.decompressed_bytes == 0 || self.is_exhausted(now)
    }

    /// Whether nothing more may be read.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.0.read_bytes == 0 || self.is_late(now)
    }

    /// Waits for a read. `None` if the time is over first and the query `may_stop`.
    pub(crate) async fn in_time<F: Future>(&self, may_stop: bool, read: F) -> Option<F::Output> {
        match self.0.stop_at.filter(|_| may_stop) {
            Some(stop_at) => tokio::time::timeout_at(stop_at, read).await.ok(),
            None => Some(read.await),
        }
    }
}
