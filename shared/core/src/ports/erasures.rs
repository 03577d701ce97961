//! Erasures: jobs that remove the records that match a filter.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::app::{App, AppId};
use crate::model::fault::Fault;
use crate::model::time::Day;

/// Identifies an erasure of an app. The same request has the same id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErasureKey {
    pub app_id: AppId,
    /// When the app was registered (ms).
    pub registered_ms: i64,
    /// 32 hex characters.
    pub job_id: String,
}

impl ErasureKey {
    #[must_use]
    pub fn of(app: &App, job_id: impl Into<String>) -> Self {
        Self { app_id: app.app_id.clone(), registered_ms: app.registered_ms, job_id: job_id.into() }
    }
}

/// Where a pass continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasePosition {
    pub day: Day,
    pub shard: u8,
    /// The position in the partition; see [`BlockPosition`](crate::logbook::blocks::BlockPosition).
    pub after: Option<String>,
}

/// An erasure and its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub key: ErasureKey,
    /// By the names of query parameters. Without values once the job is complete: they may be what was to
    /// be erased.
    pub filter: BTreeMap<String, String>,
    /// Included (ms).
    pub since_ms: i64,
    /// Excluded (ms).
    pub until_ms: i64,
    pub requested_ms: i64,
    /// When the job may be worked on again (ms): a worker holds it, or it rests, until then.
    pub due_ms: i64,
    /// `None` at the beginning of a pass.
    pub position: Option<ErasePosition>,
    /// Blocks that this pass has left: their files are in progress, or they have changed meanwhile.
    pub left: u64,
    /// The pass before has left nothing. One more pass finds what was being written meanwhile.
    pub last_pass: bool,
    /// Records erased so far. A worker that died may have erased more than it could note.
    pub records: u64,
    /// Blocks rewritten or removed so far.
    pub blocks: u64,
    /// Object versions removed so far.
    pub objects: u64,
    /// Objects that could not be removed: `{bucket}/{key}`, or the bucket alone for more than a number of them.
    pub not_reached: BTreeSet<String>,
    /// Blocks of the last pass that cannot be read.
    pub unreadable: u64,
    pub completed_ms: Option<i64>,
}

impl Erasure {
    /// A job that is due at once: for the records from `since_ms` to before `until_ms`.
    #[must_use]
    pub fn new(
        key: ErasureKey,
        filter: BTreeMap<String, String>,
        since_ms: i64,
        until_ms: i64,
        now_ms: i64,
    ) -> Self {
        Self {
            key,
            filter,
            since_ms,
            until_ms,
            requested_ms: now_ms,
            due_ms: now_ms,
            position: None,
            left: 0,
            last_pass: false,
            records: 0,
            blocks: 0,
            objects: 0,
            not_reached: BTreeSet::new(),
            unreadable: 0,
            completed_ms: None,
        }
    }
}

/// Stores erasures. Writes are visible to the next read.
pub trait Erasures: Send + Sync {
    /// Stores a job, unless one with its key is unfinished; `false` if so.
    ///
    /// # Errors
    /// The write failed.
    fn begin_erasure(&self, job: &Erasure) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Returns the unfinished job, or the one that was completed last.
    ///
    /// # Errors
    /// The read failed.
    fn erasure(&self, key: &ErasureKey) -> impl Future<Output = Result<Option<Erasure>, Fault>> + Send;

    /// Returns all unfinished jobs.
    ///
    /// # Errors
    /// The read failed.
    fn erasures(&self) -> impl Future<Output = Result<Vec<Erasure>, Fault>> + Send;

    /// Replaces the unfinished job that was due at `was_due_ms`; `false` if another worker has it. A
    /// completed job is kept without the values of its filter.
    ///
    /// # Errors
    /// The write failed.
    fn save_erasure(
        &self,
        job: &Erasure,
        was_due_ms: i64,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;
}
