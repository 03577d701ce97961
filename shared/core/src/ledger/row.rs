//! The ledger: the state of each object, and the legal transitions.

use std::collections::BTreeSet;

use crate::ledger::checkpoint::Checkpoint;
use crate::logfile::outcome::{FileCounts, Findings, Reason};
use crate::model::app::AppId;
use crate::model::fingerprint::PackFingerprint;
use crate::model::object::{ObjectRef, ObjectVersion};

/// The state of an object. Terminal states change only by an explicit redrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FileStatus {
    /// Expected, or waiting to be resumed.
    Pending,
    /// A worker holds the lease.
    Processing,
    Completed,
    Failed,
}

impl FileStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Processing => "PROCESSING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Processing, Self::Completed, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == text)
    }

    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed => true,
            Self::Pending | Self::Processing => false,
        }
    }
}

/// Maximum number of consecutive runs that fail by themselves without progress. The next run ends the file.
pub const MAX_ATTEMPTS: u32 = 20;

/// A file is ended after each multiple of this number of runs, whatever the cause: more than a week of
/// `sweep` runs. This prevents endless retries. A redriven file gets the same number again.
pub const MAX_RUNS: u64 = 2_500;

/// What is stored of an object, by any run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredSoFar {
    /// All hours (since the epoch) in which it may have blocks.
    pub hours: BTreeSet<i64>,
    /// Bad records.
    pub quarantined: u64,
}

/// A key for which a URL was issued. It determines the owner of the object's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub bucket: String,
    pub key: String,
    pub app_id: AppId,
    /// Meeting and attendee of a browser upload.
    pub meeting: Option<(String, String)>,
    /// The signed size (bytes), if the client declared one.
    pub size_bytes: Option<u64>,
    /// When the app of the grant was registered (ms). The grant is not valid for another app with the same
    /// id.
    pub registered_ms: i64,
    /// The object that was uploaded with its URL. No other object is accepted.
    pub used: Option<UsedBy>,
    pub created_ms: i64,
    /// When the URL expires (ms).
    pub expires_ms: i64,
}

/// The first object that was uploaded with a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedBy {
    pub version: ObjectVersion,
    /// `None` if the ETag is unknown.
    pub etag: Option<String>,
    pub size_bytes: Option<u64>,
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    pub object: Option<ObjectRef>,
    pub bucket: String,
    pub key: String,
    pub app_id: Option<AppId>,
    pub status: FileStatus,
    /// Increased by each claim. A worker with a lower fence cannot change anything.
    pub fence: u64,
    /// Failed runs since the last progress, including the current run.
    pub attempt: u32,
    /// New for each claim. A worker that lost the response recognizes its own claim by it.
    pub claim_id: String,
    pub lease_until_ms: Option<i64>,
    pub due_at_ms: Option<i64>,
    /// When the URL of a grant expires (ms).
    pub url_expires_ms: Option<i64>,
    pub checkpoint: Checkpoint,
    /// Packing fingerprint of everything that is stored of it, and of the checkpoint.
    pub packing: PackFingerprint,
    pub counts: FileCounts,
    pub size_bytes: Option<u64>,
    pub reason: Option<Reason>,
    pub findings: Findings,
    pub created_ms: i64,
    pub updated_ms: i64,
    pub processed_ms: Option<i64>,
}

impl Grant {
    /// Returns the row of a key that waits for its object.
    #[must_use]
    pub fn waiting_row(&self) -> FileRow {
        FileRow {
            object: None,
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            app_id: Some(self.app_id.clone()),
            status: FileStatus::Pending,
            fence: 0,
            attempt: 0,
            claim_id: String::new(),
            lease_until_ms: None,
            due_at_ms: Some(self.expires_ms),
            url_expires_ms: Some(self.expires_ms),
            checkpoint: Checkpoint::default(),
            packing: PackFingerprint::default(),
            counts: FileCounts::default(),
            size_bytes: self.size_bytes,
            reason: None,
            findings: Findings::default(),
            created_ms: self.created_ms,
            updated_ms: self.created_ms,
            processed_ms: None,
        }
    }
}

/// Whether a worker may claim a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimable {
    Yes,
    /// Another worker holds the lease until then (ms).
    Held(i64),
    /// The file waits until then (ms).
    NotDue(i64),
    /// It is in a terminal state.
    Done(FileStatus),
}

impl FileRow {
    /// Whether a worker may claim this file at `now_ms`: it is PENDING and due, or PROCESSING with an
    /// expired lease.
    #[must_use]
    pub fn claimable(&self, now_ms: i64) -> Claimable {
        match self.status {
            FileStatus::Completed | FileStatus::Failed => Claimable::Done(self.status),
            FileStatus::Pending => match self.due_at_ms {
                Some(due) if due > now_ms => Claimable::NotDue(due),
                _ => Claimable::Yes,
            },
            FileStatus::Processing => match self.lease_until_ms {
                Some(until) if until > now_ms => Claimable::Held(until),
                _ => Claimable::Yes,
            },
        }
    }
}
