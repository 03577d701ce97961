//! How much one query may read, decompress and wait before it answers with what is certain.

use std::time::Duration;

use tokio::time::Instant;

/// Compressed bytes that one query reads.
pub const MAX_READ_BYTES: usize = 96 * 1024 * 1024;

/// Bytes of decompressed blocks that one query looks into: what a block holds may be hundreds of
/// times what it takes compressed.
pub const MAX_DECOMPRESSED_BYTES: usize = 512 * 1024 * 1024;

/// How long one query reads. The functions that answer queries are given 29 s by the template, as
/// long as API Gateway waits; what was begun is finished, and the answer is written, after this.
pub const MAX_TIME: Duration = Duration::from_secs(12);

/// What one query may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub read_bytes: usize,
    pub decompressed_bytes: usize,
    /// `None`: there is all the time in the world.
    pub stop_at: Option<Instant>,
}

impl Budget {
    /// For tests and tools.
    pub const UNLIMITED: Self =
        Self { read_bytes: usize::MAX, decompressed_bytes: usize::MAX, stop_at: None };

    /// That of a query whose request came at this moment.
    #[must_use]
    pub fn since(arrival: Instant) -> Self {
        Self {
            read_bytes: MAX_READ_BYTES,
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

    pub(crate) fn decompressed_bytes(&mut self, bytes: usize) {
        self.0.decompressed_bytes = self.0.decompressed_bytes.saturating_sub(bytes);
    }

    /// Whether no more may be decompressed.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.0.decompressed_bytes == 0 || self.0.stop_at.is_some_and(|stop_at| now >= stop_at)
    }

    /// Whether no more may be read.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.0.read_bytes == 0 || self.is_late(now)
    }

    /// Waits for a read; `None` if the time is over first and the query `may_stop`.
    pub(crate) async fn in_time<F: Future>(&self, may_stop: bool, read: F) -> Option<F::Output> {
        match self.0.stop_at.filter(|_| may_stop) {
            Some(stop_at) => tokio::time::timeout_at(stop_at, read).await.ok(),
            None => Some(read.await),
        }
    }
}
