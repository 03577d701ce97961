//! What became of a file: counts, and the reason where it failed.

use std::collections::BTreeMap;

use crate::model::expiry::Expiring;
use crate::model::time::Day;

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

/// How a run over an object ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `None`: COMPLETED; else FAILED.
    pub reason: Option<Reason>,
    pub counts: FileCounts,
    pub days: BTreeMap<Day, Expiring>,
}
