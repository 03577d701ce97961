//! What `sweep` finds and moves: rows of the ledger that wait for it, and the worker it wakes.

use crate::ledger::row::FileRow;
use crate::logfile::outcome::Reason;
use crate::model::fault::Fault;
use crate::model::object::ObjectRef;

/// What a due row is of. Each queue is read by itself, so that any number of unused grants delays no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Objects: a worker has died, or a run has ended early.
    Files,
    /// Keys whose URLs were handed out and that wait for their objects.
    Grants,
}

/// Where the next page of due rows begins. Opaque; made and read by the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuePosition {
    pub due_at_ms: i64,
    pub pk: String,
    pub sk: String,
}

/// Some due rows of a shard, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct DuePage {
    pub rows: Vec<FileRow>,
    /// `None`: there are no more.
    pub next: Option<DuePosition>,
}

/// Rows of the ledger that are due, oldest first. The index is a moment behind the rows.
pub trait Backlog: Send + Sync {
    /// How many shards each queue has.
    fn shards(&self) -> u8;

    /// Rows of a shard that were due at `now_ms`, behind a position.
    ///
    /// # Errors
    /// The read failed.
    fn due(
        &self,
        queue: Queue,
        shard: u8,
        now_ms: i64,
        after: Option<&DuePosition>,
    ) -> impl Future<Output = Result<DuePage, Fault>> + Send;

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

    /// Those of some objects, all different, of which the ledger has no row. A moment behind.
    ///
    /// # Errors
    /// The read failed.
    fn unknown(&self, objects: Vec<ObjectRef>) -> impl Future<Output = Result<Vec<ObjectRef>, Fault>> + Send;
}

/// Starts `ingest` on an object and does not wait for its end.
pub trait Starter: Send + Sync {
    /// # Errors
    /// The start was not accepted, or its answer was lost.
    fn start(&self, object: &ObjectRef) -> impl Future<Output = Result<(), Fault>> + Send;
}
