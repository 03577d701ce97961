//! What `sweep` finds and moves: rows of the ledger that wait for it, and the worker it wakes.

use logferry_domain::fault::Fault;
use logferry_domain::ledger::{FileRow, Reason};
use logferry_domain::object::ObjectRef;

/// Rows of the ledger that are due, oldest first.
pub trait Backlog: Send + Sync {
    /// How many shards the index of due rows has.
    fn shards(&self) -> u8;

    /// The first `limit` rows of a shard that were due at `now_ms`.
    ///
    /// # Errors
    /// The read failed.
    fn due(
        &self,
        shard: u8,
        now_ms: i64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<FileRow>, Fault>> + Send;

    /// Makes a row due later, unless it has changed since it was read. Returns whether it did.
    ///
    /// # Errors
    /// The write failed.
    fn postpone(&self, row: &FileRow, due_at_ms: i64) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Makes a row FAILED without counting anything, unless it has changed since it was read: for
    /// keys that nobody used, and files that no worker can end. Returns whether it did.
    ///
    /// # Errors
    /// The write failed.
    fn give_up(
        &self,
        row: &FileRow,
        reason: &Reason,
        now_ms: i64,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;
}

/// Starts `ingest` on an object and does not wait for its end.
pub trait Starter: Send + Sync {
    /// # Errors
    /// The start was not accepted, or its answer was lost.
    fn start(&self, object: &ObjectRef) -> impl Future<Output = Result<(), Fault>> + Send;
}
