//! The ledger: where each object stands, and which steps are legal.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::AppId;
pub use crate::checkpoint::{Beyond, Checkpoint};
use crate::expiry::Expiring;
use crate::object::{ObjectRef, ObjectVersion};
use crate::packing::Packing;
pub use crate::quarantine::{MAX_SAMPLE_BYTES, QuarantineReason, Quarantined};
use crate::record::LevelCounts;
use crate::time::Day;

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

/// Why a file FAILED, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReasonCode {
    /// The object is larger than its prefix allows; it was not read.
    TooLarge,
    /// The gzip stream ends before its end.
    GzipTruncated,
    /// The gzip stream is damaged: header, data, checksum or length.
    GzipCorrupt,
    /// Something that is neither a gzip member nor zero padding follows the last member.
    GzipTrailingGarbage,
    ZstdTruncated,
    ZstdCorrupt,
    /// It expands to more than the allowed multiple of its compressed size, or to more than is allowed
    /// in all.
    ExpansionLimit,
    /// Its records are of more distinct days than a presigned file may hold.
    TooScattered,
    /// A JSON array without its end.
    ArrayUnterminated,
    /// No registered app owns it.
    NoOwner,
    /// The key is not one that Logferry issues or accepts.
    BadKey,
    /// The object was gone, or replaced, when it was to be read.
    ObjectGone,
    /// Reading it was refused.
    AccessDenied,
    /// So many runs in a row got no further, or so many in all did not bring it to its end.
    AttemptsExhausted,
    /// A URL was handed out and nothing was put there while it was valid.
    NeverUploaded,
    /// Other bytes came with the same URL before.
    AlreadyUploaded,
    /// The app has used up its quota of the day.
    QuotaExceeded,
}

impl ReasonCode {
    pub const ALL: [Self; 17] = [
        Self::TooLarge,
        Self::GzipTruncated,
        Self::GzipCorrupt,
        Self::GzipTrailingGarbage,
        Self::ZstdTruncated,
        Self::ZstdCorrupt,
        Self::ExpansionLimit,
        Self::TooScattered,
        Self::ArrayUnterminated,
        Self::NoOwner,
        Self::BadKey,
        Self::ObjectGone,
        Self::AccessDenied,
        Self::AttemptsExhausted,
        Self::NeverUploaded,
        Self::AlreadyUploaded,
        Self::QuotaExceeded,
    ];

    /// Whether only the file's sender can change what is wrong; otherwise it is the operator's to look at.
    #[must_use]
    pub fn is_senders(self) -> bool {
        match self {
            Self::TooLarge
            | Self::GzipTruncated
            | Self::GzipCorrupt
            | Self::GzipTrailingGarbage
            | Self::ZstdTruncated
            | Self::ZstdCorrupt
            | Self::ExpansionLimit
            | Self::TooScattered
            | Self::ArrayUnterminated
            | Self::NoOwner
            | Self::BadKey
            | Self::NeverUploaded
            | Self::AlreadyUploaded
            | Self::QuotaExceeded => true,
            Self::ObjectGone | Self::AccessDenied | Self::AttemptsExhausted => false,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "TOO_LARGE",
            Self::GzipTruncated => "GZIP_TRUNCATED",
            Self::GzipCorrupt => "GZIP_CORRUPT",
            Self::GzipTrailingGarbage => "GZIP_TRAILING_GARBAGE",
            Self::ZstdTruncated => "ZSTD_TRUNCATED",
            Self::ZstdCorrupt => "ZSTD_CORRUPT",
            Self::ExpansionLimit => "EXPANSION_LIMIT",
            Self::TooScattered => "TOO_SCATTERED",
            Self::ArrayUnterminated => "ARRAY_UNTERMINATED",
            Self::NoOwner => "NO_OWNER",
            Self::BadKey => "BAD_KEY",
            Self::ObjectGone => "OBJECT_GONE",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::AttemptsExhausted => "ATTEMPTS_EXHAUSTED",
            Self::NeverUploaded => "NEVER_UPLOADED",
            Self::AlreadyUploaded => "ALREADY_UPLOADED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// Whether the object itself was refused, and nothing of it is kept: it need not stay in the bucket.
    #[must_use]
    pub fn refuses_the_object(self) -> bool {
        match self {
            Self::TooLarge | Self::NoOwner | Self::BadKey | Self::AlreadyUploaded => true,
            Self::GzipTruncated
            | Self::GzipCorrupt
            | Self::GzipTrailingGarbage
            | Self::ZstdTruncated
            | Self::ZstdCorrupt
            | Self::ExpansionLimit
            | Self::TooScattered
            | Self::ArrayUnterminated
            | Self::ObjectGone
            | Self::AccessDenied
            | Self::AttemptsExhausted
            | Self::NeverUploaded
            // It may be redriven on another day.
            | Self::QuotaExceeded => false,
        }
    }
}

/// Why a file FAILED.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reason {
    pub code: ReasonCode,
    /// For people: offsets and limits, never contents.
    pub message: String,
}

/// What a file held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct FileCounts {
    /// Records stored.
    pub ok: u64,
    pub quarantined: u64,
    /// Good records older than the app's prune watermark, and so not stored.
    pub pruned: u64,
    /// Decompressed bytes read.
    pub bytes: u64,
}

/// Records and their bytes of one day, as counted into `stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DayCounts {
    pub levels: LevelCounts,
    /// Bytes of the entries.
    pub bytes: i64,
}

impl std::ops::Sub for DayCounts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { levels: self.levels - other.levels, bytes: self.bytes - other.bytes }
    }
}

impl std::ops::AddAssign for DayCounts {
    fn add_assign(&mut self, other: Self) {
        self.levels += other.levels;
        self.bytes += other.bytes;
    }
}

impl DayCounts {
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.levels.is_zero() && self.bytes == 0
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

/// How a run over an object ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `None`: COMPLETED; else FAILED.
    pub reason: Option<Reason>,
    pub counts: FileCounts,
    pub days: BTreeMap<Day, Expiring>,
}
