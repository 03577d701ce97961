//! The result of a file: its counts, and a reason if it failed.

use std::collections::BTreeMap;

use crate::logfile::quarantine::QuarantineReason;
use crate::logfile::split::Skipped;
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
    /// It is of a kind that is no log: an archive, an image, a database.
    NotALog,
    /// There are entries in it, and none of them can be a record.
    NothingReadable,
}

impl ReasonCode {
    pub const ALL: [Self; 19] = [
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
        Self::NotALog,
        Self::NothingReadable,
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
            | Self::QuotaExceeded
            | Self::NotALog
            | Self::NothingReadable => true,
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
            Self::NotALog => "NOT_A_LOG",
            Self::NothingReadable => "NOTHING_READABLE",
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
            // A later version may read more.
            | Self::NotALog
            | Self::NothingReadable
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

/// How a run over an object ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// `None` for COMPLETED, else FAILED.
    pub reason: Option<Reason>,
    /// What is odd about a file that is COMPLETED.
    pub warning: Option<Warning>,
    pub counts: FileCounts,
    pub days: BTreeMap<Day, Expiring>,
    pub tally: ContentTally,
}

impl Outcome {
    /// What the ledger tells of the content.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let kinds = self.tally.kinds().iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
        Findings { kinds, warning: self.warning }
    }
}

/// What the ledger tells of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Records by what they were taken for, in the order in which the kinds came first.
    pub kinds: Vec<(String, u64)>,
    pub warning: Option<Warning>,
}

impl Findings {
    /// The kinds as they are stored: `ndjson=3,text=1`.
    #[must_use]
    pub fn kinds_text(&self) -> String {
        self.kinds.iter().map(|(kind, count)| format!("{kind}={count}")).collect::<Vec<_>>().join(",")
    }

    /// The kinds as an object.
    #[must_use]
    pub fn kinds_json(&self) -> serde_json::Value {
        self.kinds.iter().map(|(kind, count)| (kind.clone(), serde_json::Value::from(*count))).collect()
    }

    /// Reads what was stored; what is not as it was written is left out.
    #[must_use]
    pub fn from_stored(kinds: Option<&str>, warning: Option<&str>) -> Self {
        let kind = |text: &str| {
            let (kind, count) = text.split_once('=')?;
            Some((kind.to_owned(), count.parse().ok()?))
        };
        Self {
            kinds: kinds.unwrap_or_default().split(',').filter_map(kind).collect(),
            warning: warning.and_then(Warning::parse),
        }
    }
}

/// What is odd about a file that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Warning {
    /// More than half of its bytes are in quarantine.
    MostlyQuarantined,
}

impl Warning {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MostlyQuarantined => "MOSTLY_QUARANTINED",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::MostlyQuarantined].into_iter().find(|warning| warning.as_str() == text)
    }
}

/// What a file was taken for: how many of its entries, by kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContentTally {
    /// In the order in which they came first.
    kinds: Vec<(&'static str, u64)>,
    bad: BTreeMap<QuarantineReason, u64>,
    /// Decompressed bytes in quarantine.
    pub bad_bytes: u64,
    /// Bytes of records that the file has not: what envelopes and columns make of each beyond
    /// [`FREE_GROWTH`] times its own bytes.
    pub grown_bytes: u64,
    pub skipped: Skipped,
}

/// How many times as long as in its file a record may be with its context, before the rest counts as content of
/// the file.
pub const FREE_GROWTH: u64 = 8;

impl ContentTally {
    pub(crate) fn good(&mut self, kind: &'static str) {
        match self.kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => self.kinds.push((kind, 1)),
        }
    }

    pub(crate) fn bad(&mut self, reason: QuarantineReason, bytes: u64) {
        *self.bad.entry(reason).or_default() += 1;
        self.bad_bytes += bytes;
    }

    /// Counts the bytes of a record that stands on `own` bytes of its file.
    pub(crate) fn grown(&mut self, own: u64, bytes: usize) {
        self.grown_bytes += (bytes as u64).saturating_sub(FREE_GROWTH * own);
    }

    /// The most frequent reason; of equals the first one.
    pub(crate) fn most_frequent_bad(&self) -> Option<(QuarantineReason, u64)> {
        self.bad.iter().rev().max_by_key(|(_, count)| **count).map(|(reason, count)| (*reason, *count))
    }

    /// Records by kind, in the order in which the kinds came first.
    #[must_use]
    pub fn kinds(&self) -> &[(&'static str, u64)] {
        &self.kinds
    }

    /// Quarantined entries by reason.
    #[must_use]
    pub fn reasons(&self) -> &BTreeMap<QuarantineReason, u64> {
        &self.bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_back_from_what_is_stored() {
        let kinds = vec![("ndjson".to_owned(), 3), ("alb".to_owned(), 1)];
        let findings = Findings { kinds, warning: Some(Warning::MostlyQuarantined) };
        let text = findings.kinds_text();
        assert_eq!(Findings::from_stored(Some(&text), Some("MOSTLY_QUARANTINED")), findings);
        assert_eq!(Findings::from_stored(Some(""), Some("other")), Findings::default());
        assert_eq!(findings.kinds_json().to_string(), r#"{"ndjson":3,"alb":1}"#);
    }
}
