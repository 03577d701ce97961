//! The ledger as its owners look at it: lists of files, bad records, and starting over.

use crate::ledger::row::{FileRow, FileStatus};
use crate::logfile::quarantine::Quarantined;
use crate::model::app::AppId;
use crate::model::fault::Fault;
use crate::model::object::ObjectRef;

/// Where a list is gone on with. Opaque; made by the adapter, checked by it when it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePosition(pub String);

/// Some files of a list; with a `next`, it may be none.
#[derive(Debug, Clone, Default)]
pub struct FilePage {
    pub rows: Vec<FileRow>,
    /// `None`: there are no more.
    pub next: Option<FilePosition>,
}

/// Some rows of a file's quarantine, in order.
#[derive(Debug, Clone, Default)]
pub struct QuarantinePage {
    pub rows: Vec<Quarantined>,
    /// The ordinal of the last one, where there are more.
    pub next: Option<u64>,
}

/// Lists and restarts files. A call reads a bounded number of rows, whatever it finds among them. Of
/// a position that is not one of its list a call says `Permanent`, with the code `bad position`.
pub trait Files: Send + Sync {
    /// Files of an app that were first heard of at `since_ms` or later, newest first; keys that were
    /// handed out and not yet used are among them. A moment behind.
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

    /// FAILED files, of an app or of all, those that nobody owns among them, first heard of at
    /// `since_ms` or later: by the day on which they failed, newest day first; of one day by app, and
    /// of one app newest first. A moment behind.
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

    /// Objects that have had this key, and the key itself while it waits for one; whosever they are,
    /// in no order that means anything.
    ///
    /// # Errors
    /// The read failed.
    fn of_key(
        &self,
        bucket: &str,
        key: &str,
        limit: u32,
        after: Option<&FilePosition>,
    ) -> impl Future<Output = Result<FilePage, Fault>> + Send;

    /// The objects that have had this key and version or ETag; whosever they are.
    ///
    /// # Errors
    /// The read failed.
    fn of_version(
        &self,
        bucket: &str,
        key: &str,
        version: &str,
    ) -> impl Future<Output = Result<Vec<FileRow>, Fault>> + Send;

    /// Rows of a file's quarantine behind the one with the ordinal `after`.
    ///
    /// # Errors
    /// The read failed.
    fn quarantined(
        &self,
        object: &ObjectRef,
        limit: u32,
        after: Option<u64>,
    ) -> impl Future<Output = Result<QuarantinePage, Fault>> + Send;

    /// Makes a terminal file PENDING and due, to be read anew from its beginning. `false`: it is not
    /// as it was read any more.
    ///
    /// # Errors
    /// The write failed.
    fn redrive(&self, row: &FileRow, now_ms: i64) -> impl Future<Output = Result<bool, Fault>> + Send;
}
