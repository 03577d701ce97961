//! The ledger: where each object stands, and which steps are legal.

use std::collections::BTreeSet;

use crate::ledger::checkpoint::Checkpoint;
use crate::logfile::outcome::{FileCounts, Reason};
use crate::model::app::AppId;
use crate::model::fingerprint::Packing;
use crate::model::object::{ObjectRef, ObjectVersion};

/// Where an object stands. Terminal states stay as they are except by an explicit redrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FileStatus {
    /// Expected, or to be gone on with.
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

/// Runs in a row that may fail by themselves without getting further. The next one ends the file.
pub const MAX_ATTEMPTS: u32 = 20;

/// After each so many runs a file ends, whatever kept them from its end: more than a week of `sweep`s. So
/// nothing goes round for ever; one that is started over has as many again.
pub const MAX_RUNS: u64 = 2_500;

/// What is kept of an object, whatever became of the runs that stored it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// Hours (since the epoch) in which blocks of it may be, and none else.
    pub hours: BTreeSet<i64>,
    /// Bad records.
    pub quarantined: u64,
}

/// A key that was handed out: whose records the object will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub bucket: String,
    pub key: String,
    pub app_id: AppId,
    /// Of a browser upload: its meeting and attendee.
    pub meeting: Option<(String, String)>,
    /// The size that was signed, where the client declared one (bytes).
    pub size_bytes: Option<u64>,
    /// When the app was registered that it was written for (ms): it is no other's of the same id.
    pub epoch_ms: i64,
    /// The object that came with its URL. No other will be taken.
    pub used: Option<Used>,
    pub created_ms: i64,
    /// When the URL stops working (ms).
    pub expires_ms: i64,
}

/// The first object that came with a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub version: ObjectVersion,
    /// `None` where nobody could say.
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
    /// Raised by each claim: a worker with a lower one can change nothing any more.
    pub fence: u64,
    /// Runs that failed by themselves since one got further, and the one at work.
    pub attempt: u32,
    /// Drawn anew by each claim: tells a worker whose answer was lost that the claim is its own.
    pub claim_id: String,
    pub lease_until_ms: Option<i64>,
    pub due_at_ms: Option<i64>,
    /// Of a grant: when its URL stops working (ms).
    pub url_expires_ms: Option<i64>,
    pub checkpoint: Checkpoint,
    /// How all that is stored of it was packed, and what the checkpoint is true of.
    pub packing: Packing,
    pub counts: FileCounts,
    pub size_bytes: Option<u64>,
    pub reason: Option<Reason>,
    pub created_ms: i64,
    pub updated_ms: i64,
    pub processed_ms: Option<i64>,
}

impl Grant {
    /// The row of a key that waits for its object.
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
            packing: Packing::default(),
            counts: FileCounts::default(),
            size_bytes: self.size_bytes,
            reason: None,
            created_ms: self.created_ms,
            updated_ms: self.created_ms,
            processed_ms: None,
        }
    }
}

/// What a worker that wants a file may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimable {
    Yes,
    /// Another worker's lease lives until then (ms).
    Held(i64),
    /// It waits until then (ms).
    NotDue(i64),
    /// It is in a terminal state.
    Done(FileStatus),
}

impl FileRow {
    /// Whether a worker may claim this file at `now_ms`: PENDING and due, or PROCESSING with an
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
