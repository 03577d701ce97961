//! The ledger as seen by apps and operators: lists of files, bad records, and redrives.

use crate::ledger::row::{FileRow, FileStatus};
use crate::logfile::quarantine::Quarantined;
use crate::model::app::AppId;
use crate::model::fault::Fault;
use crate::model::object::ObjectRef;

/// Where a list continues. Opaque; created and checked by the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePosition(pub String);

/// The app whose files are asked for. Files from before its registration are those of an earlier app of this
/// id.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub app_id: &'a AppId,
    pub registered_ms: i64,
}

impl Owner<'_> {
    #[must_use]
    pub fn owns(self, row: &FileRow) -> bool {
        row.app_id.as_ref() == Some(self.app_id) && row.created_ms >= self.registered_ms
    }
}

/// A page of files. It may be empty and still have a `next`.
#[derive(Debug, Clone, Default)]
pub struct FilePage {
    pub rows: Vec<FileRow>,
    /// `None` on the last page.
    pub next: Option<FilePosition>,
}

/// A page of a file's quarantine rows, in order.
#[derive(Debug, Clone, Default)]
pub struct QuarantinePage {
    pub rows: Vec<Quarantined>,
    /// The ordinal of the last row, if there are more.
    pub next: Option<u64>,
}

/// Lists and redrives files. A call reads a bounded number of rows. For a position of another list it
/// returns `Permanent` with the code `bad position`.
pub trait Files: Send + Sync {
    /// Returns files of an app that are known since `since_ms` or later, newest first, including keys with
    /// an unused URL. Eventually consistent.
    ///
    /// # Errors
    /// The read failed.
    fn of_app(
        &self,
        app_id: &AppId,
        since_ms: i64,
        status: Option<FileStatus>,
        limit: u32,
        after: Option<&FilePosition>,
    ) -> impl Future<Output = Result<FilePage, Fault>> + Send;

    /// Returns FAILED files of an app, or of all apps and without owner, that are known since `since_ms` or
    /// later. Ordered by the day on which they failed, newest first; within a day by app; within an app
    /// newest first. Eventually consistent.
    ///
    /// # Errors
    /// The read failed.
    fn failed(
        &self,
        app_id: Option<&AppId>,
        since_ms: i64,
        now_ms: i64,
        limit: u32,
        after: Option<&FilePosition>,
    ) -> impl Future<Output = Result<FilePage, Fault>> + Send;

    /// Returns every version ever uploaded under this key, plus an outstanding grant for it, in arbitrary
    /// order. With an owner, neither the rows nor `next` depend on files of others. A call skips a bounded
    /// number of those; if it finds only those, the list ends.
    ///
    /// # Errors
    /// The read failed.
    fn of_key(
        &self,
        bucket: &str,
        key: &str,
        owner: Option<Owner<'_>>,
        limit: u32,
        after: Option<&FilePosition>,
    ) -> impl Future<Output = Result<FilePage, Fault>> + Send;

    /// Returns the objects with this key and version or ETag. Not filtered by app: the caller must check
    /// ownership.
    ///
    /// # Errors
    /// The read failed.
    fn of_version(
        &self,
        bucket: &str,
        key: &str,
        version: &str,
    ) -> impl Future<Output = Result<Vec<FileRow>, Fault>> + Send;

    /// Returns the quarantine rows of a file after the ordinal `after`.
    ///
    /// # Errors
    /// The read failed.
    fn quarantined(
        &self,
        object: &ObjectRef,
        limit: u32,
        after: Option<u64>,
    ) -> impl Future<Output = Result<QuarantinePage, Fault>> + Send;

    /// Makes a terminal file PENDING and due, to be read from its beginning. `false` if it has changed
    /// since it was read.
    ///
    /// # Errors
    /// The write failed.
    fn redrive(&self, row: &FileRow, now_ms: i64) -> impl Future<Output = Result<bool, Fault>> + Send;
}
