//! The result of a file: its counts, and a reason if it failed.

use std::collections::BTreeMap;

use crate::model::expiry::Expiring;
use crate::model::time::Day;

/// Why a file FAILED, as a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReasonCode {
    /// The object is larger than its prefix allows; it was not read.
    TooLarge,
    /// The gzip stream is truncated.
    GzipTruncated,
    /// The gzip stream is damaged: header, data, checksum or length.
    GzipCorrupt,
    /// Data that is neither a gzip member nor zero padding follows the last member.
    GzipTrailingGarbage,
    ZstdTruncated,
    ZstdCorrupt,
    /// It expands to more than the allowed multiple of its compressed size, or to more than the total
    /// limit.
    ExpansionLimit,
    /// Its records have more distinct days than a presigned file may have.
    TooScattered,
    /// A JSON array without its end.
    ArrayUnterminated,
    /// No registered app owns it.
    NoOwner,
    /// The key is not one that Logferry issues or accepts.
    BadKey,
    /// The object was deleted or replaced before it was read.
    ObjectGone,
    /// S3 denied access to it.
    AccessDenied,
    /// Too many consecutive runs made no progress, or too many runs in total did not finish it.
    AttemptsExhausted,
    /// A URL was issued, and no object was uploaded before it expired.
    NeverUploaded,
    /// Another object was uploaded with the same URL before.
    AlreadyUploaded,
    /// The app has used up its daily quota.
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

    /// Whether only the file's sender can fix the cause. Otherwise the operator should look at it.
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

    /// Whether the object itself was refused and nothing of it is stored, so that the bucket need not keep
    /// it.
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
    /// Human-readable: offsets and limits, never contents.
    pub message: String,
}

/// Counts of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct FileCounts {
    /// Records stored.
    pub ok: u64,
    pub quarantined: u64,
    /// Valid records older than the app's prune watermark, which are not stored.
    pub pruned: u64,
    /// Decompressed bytes read.
    pub bytes: u64,
}

/// The result of a run over an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `None` for COMPLETED, else FAILED.
    pub reason: Option<Reason>,
    pub counts: FileCounts,
    pub days: BTreeMap<Day, Expiring>,
}
