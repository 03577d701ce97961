//! Multipart upload sessions: part sizes, and whether what S3 holds is the file that was declared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::app::AppId;
use crate::keys::Subject;

const MIB: u64 = 1024 * 1024;

/// The most parts of an upload. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MAX_PARTS: u32 = 10_000;
/// The smallest part but the last (bytes). <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MIN_PART_BYTES: u64 = 5 * MIB;
/// The largest part (bytes). <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MAX_PART_BYTES: u64 = 5 * 1024 * MIB;
/// The largest object of one PUT or form (bytes). <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MAX_SINGLE_BYTES: u64 = 5 * 1024 * MIB;

/// The size of all parts but the last (bytes): 8 MiB below 100 MiB, 16 MiB up to 1 GiB, 32 MiB above,
/// and whole MiB beyond that where 10,000 parts would not do. Of an unknown size: the smallest.
#[must_use]
pub fn part_size_bytes(size_bytes: Option<u64>) -> u64 {
    let Some(size) = size_bytes else { return 8 * MIB };
    let usual = match size {
        _ if size < 100 * MIB => 8 * MIB,
        _ if size <= 1024 * MIB => 16 * MIB,
        _ => 32 * MIB,
    };
    usual.max(size.div_ceil(u64::from(MAX_PARTS)).div_ceil(MIB) * MIB)
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SessionStatus {
    Open,
    Completed,
    Aborted,
}

impl SessionStatus {
    pub const ALL: [Self; 3] = [Self::Open, Self::Completed, Self::Aborted];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Completed => "COMPLETED",
            Self::Aborted => "ABORTED",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// One multipart upload: whose it is, where it goes and what was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// As S3 gave it.
    pub upload_id: String,
    pub app_id: AppId,
    pub subject: Subject,
    pub bucket: String,
    pub key: String,
    /// As the client called its file.
    pub filename: String,
    pub content_type: String,
    /// As the client declared it (bytes).
    pub size_bytes: Option<u64>,
    /// The most that it may become (bytes).
    pub max_bytes: u64,
    pub status: SessionStatus,
    pub created_ms: i64,
    pub expires_ms: i64,
}

/// A part as a client lists it. The ETag without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    pub number: u32,
    pub etag: String,
}

/// A part as S3 holds it. The ETag without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    pub number: u32,
    pub etag: String,
    pub size_bytes: u64,
}

/// The ETag without the quotes that some send and some do not.
#[must_use]
pub fn bare_etag(text: &str) -> &str {
    text.trim().trim_matches('"')
}

/// The sum of the parts (bytes).
#[must_use]
pub fn total_bytes(stored: &[StoredPart]) -> u64 {
    stored.iter().map(|part| part.size_bytes).sum()
}

/// Why an upload is not complete: every way in which list, store and declaration differ.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Incomplete {
    /// In neither list nor store, though a later part is; or listed and not stored.
    pub missing: Vec<u32>,
    /// Stored and not listed.
    pub unlisted: Vec<u32>,
    /// Listed with an ETag that is not the stored part's, or with two.
    pub changed: Vec<u32>,
    /// Smaller than S3 lets any part be but the last.
    pub too_small: Vec<u32>,
    /// What the parts add up to (bytes).
    pub stored_bytes: u64,
    /// What was declared (bytes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared_bytes: Option<u64>,
    /// The most that it may be (bytes).
    pub max_bytes: u64,
}

impl Incomplete {
    fn is_complete(&self) -> bool {
        self.missing.is_empty()
            && self.unlisted.is_empty()
            && self.changed.is_empty()
            && self.too_small.is_empty()
            && self.declared_bytes.is_none_or(|declared| declared == self.stored_bytes)
            && self.stored_bytes <= self.max_bytes
    }
}

impl std::fmt::Display for Incomplete {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for (what, parts) in [
            ("missing", &self.missing),
            ("not listed", &self.unlisted),
            ("changed", &self.changed),
            ("too small", &self.too_small),
        ] {
            if let Some(first) = parts.first() {
                // Writing to a String cannot fail.
                let _ = write!(text, "; {} part(s) {what}, first {first}", parts.len());
            }
        }
        if let Some(declared) = self.declared_bytes.filter(|declared| *declared != self.stored_bytes) {
            let _ = write!(text, "; {} bytes stored of {declared} declared", self.stored_bytes);
        }
        if self.stored_bytes > self.max_bytes {
            let _ = write!(text, "; {} bytes stored, {} allowed", self.stored_bytes, self.max_bytes);
        }
        f.write_str(text.trim_start_matches("; "))
    }
}

/// The parts to complete with, in order, when list, store and declaration agree to the byte.
///
/// # Errors
/// Every difference.
pub fn check_complete(
    session: &Session,
    listed: &[ListedPart],
    stored: &[StoredPart],
) -> Result<Vec<ListedPart>, Incomplete> {
    let mut found = Incomplete {
        stored_bytes: total_bytes(stored),
        declared_bytes: session.size_bytes,
        max_bytes: session.max_bytes,
        ..Incomplete::default()
    };
    let stored: BTreeMap<u32, &StoredPart> = stored.iter().map(|part| (part.number, part)).collect();
    let mut wanted = BTreeMap::<u32, &ListedPart>::new();
    for part in listed {
        let known = wanted.insert(part.number, part);
        let doubtful = known.is_some_and(|known| known.etag != part.etag)
            || stored.get(&part.number).is_some_and(|stored| stored.etag != part.etag);
        if doubtful && !found.changed.contains(&part.number) {
            found.changed.push(part.number);
        }
    }
    let last = stored.keys().chain(wanted.keys()).max().copied().unwrap_or(1);
    for number in 1..=last {
        match (stored.get(&number), wanted.get(&number)) {
            (None, _) => found.missing.push(number),
            (Some(_), None) => found.unlisted.push(number),
            (Some(part), Some(_)) if number < last && part.size_bytes < MIN_PART_BYTES => {
                found.too_small.push(number);
            }
            (Some(_), Some(_)) => {}
        }
    }
    found.changed.sort_unstable();
    if found.is_complete() { Ok(wanted.into_values().cloned().collect()) } else { Err(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(size_bytes: Option<u64>) -> Session {
        Session {
            upload_id: "u".to_owned(),
            app_id: "a".parse().unwrap(),
            subject: "s".parse().unwrap(),
            bucket: "b".to_owned(),
            key: "k".to_owned(),
            filename: "f".to_owned(),
            content_type: "video/mp4".to_owned(),
            size_bytes,
            max_bytes: 100 * MIB,
            status: SessionStatus::Open,
            created_ms: 0,
            expires_ms: 1,
        }
    }

    fn listed(parts: &[(u32, &str)]) -> Vec<ListedPart> {
        parts.iter().map(|(number, etag)| ListedPart { number: *number, etag: (*etag).to_owned() }).collect()
    }

    fn stored(parts: &[(u32, &str, u64)]) -> Vec<StoredPart> {
        parts
            .iter()
            .map(|(number, etag, mib)| StoredPart {
                number: *number,
                etag: (*etag).to_owned(),
                size_bytes: mib * MIB,
            })
            .collect()
    }

    #[test]
    fn part_sizes_grow_with_the_file_so_that_ten_thousand_do() {
        for (size, part) in [
            (None, 8),
            (Some(1), 8),
            (Some(100 * MIB - 1), 8),
            (Some(100 * MIB), 16),
            (Some(1024 * MIB), 16),
            (Some(1024 * MIB + 1), 32),
            (Some(320_000 * MIB), 32),
            (Some(320_000 * MIB + 1), 33),
            (Some(5 * 1024 * 1024 * MIB), 525),
        ] {
            assert_eq!(part_size_bytes(size), part * MIB, "{size:?}");
        }
        let huge = part_size_bytes(Some(5 * 1024 * 1024 * MIB));
        assert!((5 * 1024 * 1024 * MIB).div_ceil(huge) <= u64::from(MAX_PARTS));
    }

    #[test]
    fn parts_in_any_order_and_listed_twice_complete_in_order() {
        let parts = check_complete(
            &session(Some(13 * MIB)),
            &listed(&[(2, "b"), (1, "a"), (2, "b")]),
            &stored(&[(1, "a", 8), (2, "b", 5)]),
        );
        assert_eq!(parts, Ok(listed(&[(1, "a"), (2, "b")])));
    }

    #[test]
    fn whatever_differs_is_named() {
        let check = |size, list: &[(u32, &str)], store: &[(u32, &str, u64)]| {
            check_complete(&session(size), &listed(list), &stored(store)).unwrap_err().to_string()
        };
        let two = [(1, "a", 8), (2, "b", 8)];
        for (got, expected) in [
            (check(None, &[], &[]), "1 part(s) missing, first 1"),
            (check(None, &[(1, "a"), (2, "b"), (3, "c")], &two), "1 part(s) missing, first 3"),
            (check(None, &[(1, "a"), (3, "b")], &[(1, "a", 8), (3, "b", 8)]), "1 part(s) missing, first 2"),
            (check(None, &[(1, "a")], &two), "1 part(s) not listed, first 2"),
            (check(None, &[(1, "a"), (2, "x")], &two), "1 part(s) changed, first 2"),
            (check(None, &[(1, "a"), (2, "b"), (2, "x")], &two), "1 part(s) changed, first 2"),
            (check(None, &[(1, "a"), (2, "b")], &[(1, "a", 4), (2, "b", 8)]), "1 part(s) too small, first 1"),
            (
                check(Some(17 * MIB), &[(1, "a"), (2, "b")], &two),
                "16777216 bytes stored of 17825792 declared",
            ),
            (check(None, &[(1, "a")], &[(1, "a", 101)]), "105906176 bytes stored, 104857600 allowed"),
        ] {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn etags_are_the_same_with_and_without_quotes() {
        assert_eq!(bare_etag("\"abc\""), "abc");
        assert_eq!(bare_etag("abc"), "abc");
    }
}
