//! The work of `sweep`: due rows of the ledger, and starting `ingest`.

use crate::ledger::row::FileRow;
use crate::logfile::outcome::Reason;
use crate::model::fault::Fault;
use crate::model::object::ObjectRef;

/// A queue of due rows. Each queue is read separately, so unused grants never delay files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Objects whose worker died, or whose run ended early.
    Files,
    /// Keys with an issued URL that wait for their objects.
    Grants,
}

/// Position of the next page of due rows. Opaque; only the adapter creates and reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuePosition {
    pub due_at_ms: i64,
    pub pk: String,
    pub sk: String,
}

/// A page of due rows of a shard, oldest first.
#[derive(Debug, Clone, Default)]
pub struct DuePage {
    pub rows: Vec<FileRow>,
    /// `None` on the last page.
    pub next: Option<DuePosition>,
}

/// Due rows of the ledger, oldest first. The index is eventually consistent.
pub trait Backlog: Send + Sync {
    /// Returns the number of shards of each queue.
    fn shards(&self) -> u8;

    /// Returns the rows of a shard that were due at `now_ms`, after a position.
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

    /// Postpones a row, unless it has changed since it was read. Returns whether it did.
    ///
    /// # Errors
    /// The write failed.
    fn postpone(&self, row: &FileRow, due_at_ms: i64) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Makes a row FAILED without counting anything, unless it has changed since it was read. For unused
    /// keys, and for files that no worker can end. Returns whether it did.
    ///
    /// # Errors
    /// The write failed.
    fn give_up(
        &self,
        row: &FileRow,
        reason: &Reason,
        now_ms: i64,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Returns those of the objects (all different) that have no row in the ledger. Eventually consistent.
    ///
    /// # Errors
    /// The read failed.
    fn unknown(&self, objects: Vec<ObjectRef>) -> impl Future<Output = Result<Vec<ObjectRef>, Fault>> + Send;
}

/// Starts `ingest` on an object without waiting for the result.
pub trait Starter: Send + Sync {
    /// Starts `ingest` on an object.
    ///
    /// # Errors
    /// The start was not accepted, or its response was lost.
    fn start(&self, object: &ObjectRef) -> impl Future<Output = Result<(), Fault>> + Send;
}
