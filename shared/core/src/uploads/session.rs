//! Multipart upload sessions: part sizes, and the check that S3 holds exactly the declared file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::app::AppId;
use crate::model::object_key::Subject;

const MIB: u64 = 1024 * 1024;

/// Maximum number of parts of an upload.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MAX_PARTS: u32 = 10_000;
/// Minimum size of every part but the last (bytes).
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MIN_PART_BYTES: u64 = 5 * MIB;
/// Maximum size of a part (bytes). <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MAX_PART_BYTES: u64 = 5 * 1024 * MIB;
/// Maximum size of an object of one PUT or form (bytes).
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MAX_SINGLE_BYTES: u64 = 5 * 1024 * MIB;

/// Returns the size of all parts but the last (bytes): 8 MiB below 100 MiB, 16 MiB up to 1 GiB, 32 MiB
/// above, and more (in whole MiB) if 10,000 parts would not suffice. For an unknown size: the smallest.
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

/// The state of a session.
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

/// A multipart upload: its owner, its key and what was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The upload id from S3.
    pub upload_id: String,
    pub app_id: AppId,
    /// When the app was registered (ms).
    pub registered_ms: i64,
    pub subject: Subject,
    pub bucket: String,
    pub key: String,
    /// The file name as declared by the client.
    pub filename: String,
    pub content_type: String,
    /// The size as declared by the client (bytes).
    pub size_bytes: Option<u64>,
    /// Maximum size (bytes).
    pub max_bytes: u64,
    pub status: SessionStatus,
    pub created_ms: i64,
    pub expires_ms: i64,
}

/// Why a part must not be uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartRefused {
    /// Its number is higher than that of any part of an upload of this size.
    #[error(
        "the part number must be a number between 1 and {most}: an upload of at most {limit_bytes} bytes has no \
         more parts."
    )]
    Number { most: u32, limit_bytes: u64 },
    /// It is larger than the whole upload may be.
    #[error("a part of this upload has at most {limit_bytes} bytes")]
    LargerThanWhole { limit_bytes: u64 },
    /// This many parts of this length are larger than the whole upload.
    #[error(
        "{number} parts of {length_bytes} bytes do not fit into {limit_bytes} bytes: all parts but the last must \
         have one size."
    )]
    Length { number: u32, length_bytes: u64, limit_bytes: u64 },
    /// Its length is not given, and with the session's part size there is no such part.
    #[error(
        "by its partSize of {part_size_bytes} bytes the upload has {parts} part(s): divide the file by partSize, \
         or name the size of each part."
    )]
    BeyondPlan { parts: u32, part_size_bytes: u64 },
}

impl Session {
    /// Returns the maximum size (bytes): the declared size, else the allowed one.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.size_bytes.unwrap_or(self.max_bytes)
    }

    /// Returns the highest part number: every part but the last has at least [`MIN_PART_BYTES`].
    #[must_use]
    pub fn max_parts(&self) -> u32 {
        let parts = self.limit_bytes().div_ceil(MIN_PART_BYTES).max(1);
        u32::try_from(parts).map_or(MAX_PARTS, |parts| parts.min(MAX_PARTS))
    }

    /// Returns the length to sign for a part: the given length, else the one that follows from the
    /// session's part size if the total size was declared. `None` if neither is known.
    ///
    /// Parts of equal size `c` satisfy `number * c <= size`, and so does the shorter last one. Other
    /// lengths are refused, so all parts together have at most `size * (1 + 1/2 + ... + 1/parts)` bytes:
    /// less than ten times the size for 10,000 parts.
    ///
    /// # Errors
    /// If no correct client has such a part.
    pub fn part_length(&self, number: u32, named_bytes: Option<u64>) -> Result<Option<u64>, PartRefused> {
        let limit_bytes = self.limit_bytes();
        let most = self.max_parts();
        if number > most {
            return Err(PartRefused::Number { most, limit_bytes });
        }
        if let Some(length_bytes) = named_bytes {
            if length_bytes > limit_bytes {
                return Err(PartRefused::LargerThanWhole { limit_bytes });
            }
            if length_bytes.saturating_mul(u64::from(number)) > limit_bytes {
                return Err(PartRefused::Length { number, length_bytes, limit_bytes });
            }
            return Ok(Some(length_bytes));
        }
        let Some(size) = self.size_bytes else { return Ok(None) };
        let part_size_bytes = part_size_bytes(Some(size));
        let offset = part_size_bytes * u64::from(number.saturating_sub(1));
        if offset >= size {
            let parts = u32::try_from(size.div_ceil(part_size_bytes)).unwrap_or(MAX_PARTS);
            return Err(PartRefused::BeyondPlan { parts, part_size_bytes });
        }
        Ok(Some(part_size_bytes.min(size - offset)))
    }
}

/// A part as a client lists it. The ETag has no quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    pub number: u32,
    pub etag: String,
}

/// A part as S3 stores it. The ETag has no quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    pub number: u32,
    pub etag: String,
    pub size_bytes: u64,
}

/// Removes the quotes of an ETag, if any.
#[must_use]
pub fn bare_etag(text: &str) -> &str {
    text.trim().trim_matches('"')
}

/// Returns the sum of the parts (bytes).
#[must_use]
pub fn total_bytes(stored: &[StoredPart]) -> u64 {
    stored.iter().map(|part| part.size_bytes).sum()
}

/// Why an upload is not complete: all differences between the client's list, S3 and the declaration.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Incomplete {
    /// Neither listed nor stored, although a later part is; or listed and not stored.
    pub missing: Vec<u32>,
    /// Stored and not listed.
    pub unlisted: Vec<u32>,
    /// Listed with an ETag that differs from the stored part's, or with two ETags.
    pub changed: Vec<u32>,
    /// Smaller than S3's minimum for all parts but the last.
    pub too_small: Vec<u32>,
    /// Sum of the stored parts (bytes).
    pub stored_bytes: u64,
    /// Declared size (bytes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared_bytes: Option<u64>,
    /// Maximum size (bytes).
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

/// Returns the parts for the complete request, in order, if list, S3 and declaration agree exactly.
///
/// # Errors
/// All differences.
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
            registered_ms: 0,
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
    fn lengths_of_parts_are_those_of_the_part_size_where_the_size_is_declared() {
        let declared = session(Some(20 * MIB));
        let lengths: Vec<_> = (1..=4).map(|number| declared.part_length(number, None)).collect();
        let beyond = PartRefused::BeyondPlan { parts: 3, part_size_bytes: 8 * MIB };
        assert_eq!(
            lengths,
            [Ok(Some(8 * MIB)), Ok(Some(8 * MIB)), Ok(Some(4 * MIB)), Err(beyond)],
            "two whole parts and the rest"
        );
        assert_eq!(session(None).part_length(20, None), Ok(None), "nothing is known but the limit");
    }

    #[test]
    fn a_client_may_divide_a_file_by_any_one_size_and_by_nothing_else() {
        let size = 103 * MIB;
        let session = session(Some(size));
        for chunk in [5 * MIB, 6 * MIB + 1, 16 * MIB, 64 * MIB, size] {
            for number in 1..=size.div_ceil(chunk) {
                let length = chunk.min(size - chunk * (number - 1));
                let number = u32::try_from(number).unwrap();
                assert_eq!(session.part_length(number, Some(length)), Ok(Some(length)), "{chunk} {number}");
            }
        }
        let most = 21;
        assert_eq!(
            session.part_length(most + 1, Some(1)),
            Err(PartRefused::Number { most, limit_bytes: size })
        );
        assert_eq!(
            session.part_length(1, Some(size + 1)),
            Err(PartRefused::LargerThanWhole { limit_bytes: size })
        );
        assert_eq!(
            session.part_length(2, Some(52 * MIB)),
            Err(PartRefused::Length { number: 2, length_bytes: 52 * MIB, limit_bytes: size })
        );
        // Whatever lengths are requested, all parts together stay below the harmonic sum.
        let largest: u64 = (1..=most)
            .map(|number| {
                let fits = |length: &u64| session.part_length(number, Some(*length)).is_ok();
                (0..=size).rev().step_by(MIB as usize / 8).find(fits).unwrap()
            })
            .sum();
        assert!(largest <= size * 4, "{largest} bytes of {size}");
    }

    #[test]
    fn without_a_declared_size_there_are_no_more_parts_than_the_limit_has_room_for() {
        for (max_bytes, parts) in
            [(1, 1), (100, 1), (5 * MIB, 1), (5 * MIB + 1, 2), (100 * MIB, 20), (u64::MAX, MAX_PARTS)]
        {
            let session = Session { max_bytes, ..session(None) };
            assert_eq!(session.max_parts(), parts, "{max_bytes}");
            assert_eq!(session.part_length(parts, None), Ok(None));
            assert!(session.part_length(parts + 1, None).is_err());
        }
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
