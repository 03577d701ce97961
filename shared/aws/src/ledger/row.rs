//! Rows of the `files` table and their items.

use aws_sdk_dynamodb::types::AttributeValue;
use logferry_core::ledger::checkpoint::{Beyond, Checkpoint};
use logferry_core::ledger::row::{FileRow, FileStatus};
use logferry_core::logfile::outcome::{FileCounts, Findings, Reason, ReasonCode};
use logferry_core::model::app::AppId;
use logferry_core::model::fault::Fault;
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::object::{ObjectRef, ObjectVersion};
use logferry_core::model::time::{Day, MS_PER_DAY};

use super::keys::{FAILED_SHARDS, due_shard_of, row_hash, row_key, row_sk};
use crate::item::{Get, Item, Put, b, malformed, n, s};

/// How long an unused grant and an ended file are kept in the ledger (days).
pub(crate) const KEEP_DAYS: i64 = 90;
/// The same in milliseconds.
pub const KEEP_FILES_MS: i64 = KEEP_DAYS * MS_PER_DAY;

/// How much longer than its file's row a row of bad records is kept (s), because it was written before the
/// file ended.
const KEEP_BAD_BEYOND_SECS: i64 = 7 * 86_400;

/// Placeholder for the app id of a file without owner. It is not a valid app id.
const NO_APP: &str = "-";

pub(crate) fn expires_at(now_ms: i64) -> AttributeValue {
    n(now_ms / 1000 + KEEP_DAYS * 86_400)
}

/// Returns when a row of bad records written at `now_ms` is deleted.
pub(super) fn bad_expires_at(now_ms: i64) -> AttributeValue {
    n(now_ms / 1000 + KEEP_DAYS * 86_400 + KEEP_BAD_BEYOND_SECS)
}

/// Returns the sort key of a row among those of its app.
#[must_use]
pub fn listed_at(row: &FileRow) -> String {
    format!("{:013}#{}", row.created_ms, row_hash(&row.bucket, &row.key, &row_sk(row)))
}

/// The keys of a FAILED row in its index: the day with a shard, and the place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedPlace {
    pub failed_on: String,
    pub failed_at: String,
}

impl FailedPlace {
    /// For a row that fails at this time.
    #[must_use]
    pub fn new(row: &FileRow, now_ms: i64) -> Self {
        Self::of(row.app_id.as_ref(), &row.bucket, &row.key, &row_sk(row), now_ms)
    }

    pub(super) fn of_object(app_id: Option<&AppId>, object: &ObjectRef, now_ms: i64) -> Self {
        Self::of(app_id, &object.bucket, &object.key, &object.version.to_stored(), now_ms)
    }

    fn of(app_id: Option<&AppId>, bucket: &str, object_key: &str, sk: &str, now_ms: i64) -> Self {
        let hash = row_hash(bucket, object_key, sk);
        let shard = hash.bytes().fold(0u8, u8::wrapping_add) % FAILED_SHARDS;
        let failed_at = format!("{}{now_ms:013}#{hash}", failed_prefix(app_id));
        Self { failed_on: failed_on(Day::of_ms(now_ms), shard), failed_at }
    }
}

pub(crate) fn failed_on(day: Day, shard: u8) -> String {
    format!("{day}#{shard}")
}

/// Returns the prefix of the places of an app's FAILED rows, or of those without owner.
pub(crate) fn failed_prefix(app_id: Option<&AppId>) -> String {
    format!("{}#", app_id.map_or(NO_APP, AppId::as_str))
}

/// Returns the item of a row.
#[must_use]
pub fn row_to_item(row: &FileRow) -> Item {
    let mut item = row_key(row);
    item.put("bucket", s(&row.bucket));
    item.put("key", s(&row.key));
    item.put("status", s(row.status.as_str()));
    item.put("fence", n(row.fence));
    item.put("attempt", n(row.attempt));
    item.put("claim_id", s(&row.claim_id));
    item.put("created_ms", n(row.created_ms));
    item.put("updated_ms", n(row.updated_ms));
    item.put("checkpoint_blocks", n(row.checkpoint.blocks));
    item.put("checkpoint_quarantined", n(row.checkpoint.quarantined));
    if !row.checkpoint.beyond.is_empty() {
        item.put("checkpoint_beyond", b(row.checkpoint.beyond.to_bytes()));
    }
    item.put("packing", s(row.packing.as_str()));
    item.put_some("size", row.size_bytes.map(n));
    item.put_some("lease_until", row.lease_until_ms.map(n));
    item.put_some("processed_ms", row.processed_ms.map(n));
    if let Some(app_id) = &row.app_id {
        item.put("app_id", s(app_id.as_str()));
        item.put("listed_at", s(listed_at(row)));
    }
    if let Some(due_at_ms) = row.due_at_ms {
        item.put("due_at", n(due_at_ms));
        item.put("due_shard", s(due_shard_of(row)));
    }
    if row.status == FileStatus::Failed {
        let place = FailedPlace::new(row, row.updated_ms);
        item.put("failed_on", s(place.failed_on));
        item.put("failed_at", s(place.failed_at));
    }
    item.put_some("url_expires_ms", row.url_expires_ms.map(n));
    item
}

/// Parses a row: an object's, or a grant that waits for its object.
///
/// # Errors
/// An attribute is not as we write it.
pub fn row_from_item(item: &Item) -> Result<FileRow, Fault> {
    let (bucket, object_key) = (item.text("bucket")?.to_owned(), item.text("key")?.to_owned());
    let version = ObjectVersion::from_stored(item.text("sk")?);
    let reason = match item.text_opt("reason_code") {
        None => None,
        Some(code) => Some(Reason {
            code: ReasonCode::parse(code).ok_or_else(|| malformed("reason_code"))?,
            message: item.text_opt("reason_message").unwrap_or_default().to_owned(),
        }),
    };
    let app_id = item.text_opt("app_id").map(|id| id.parse().map_err(|_| malformed("app_id"))).transpose()?;
    Ok(FileRow {
        object: version.map(|version| ObjectRef { bucket: bucket.clone(), key: object_key.clone(), version }),
        bucket,
        key: object_key,
        app_id,
        status: FileStatus::parse(item.text("status")?).ok_or_else(|| malformed("status"))?,
        fence: item.number_opt("fence").unwrap_or(0),
        attempt: item.number_opt("attempt").unwrap_or(0),
        claim_id: item.text_opt("claim_id").unwrap_or_default().to_owned(),
        lease_until_ms: item.number_opt("lease_until"),
        due_at_ms: item.number_opt("due_at"),
        url_expires_ms: item.number_opt("url_expires_ms"),
        checkpoint: Checkpoint {
            blocks: item.number_opt("checkpoint_blocks").unwrap_or(0),
            quarantined: item.number_opt("checkpoint_quarantined").unwrap_or(0),
            beyond: match item.get("checkpoint_beyond") {
                Some(AttributeValue::B(bytes)) => Beyond::from_bytes(bytes.as_ref()),
                _ => Beyond::default(),
            },
        },
        packing: PackFingerprint::from_stored(item.text_opt("packing").unwrap_or_default()),
        counts: FileCounts {
            ok: item.number_opt("records_ok").unwrap_or(0),
            quarantined: item.number_opt("records_quarantined").unwrap_or(0),
            pruned: item.number_opt("records_pruned").unwrap_or(0),
            bytes: item.number_opt("bytes_read").unwrap_or(0),
        },
        size_bytes: item.number_opt("size"),
        reason,
        findings: Findings::from_stored(item.text_opt("kinds"), item.text_opt("warning")),
        created_ms: item.number("created_ms")?,
        updated_ms: item.number("updated_ms")?,
        processed_ms: item.number_opt("processed_ms"),
    })
}

#[cfg(test)]
mod tests {

    use super::*;

    fn beyond() -> Beyond {
        let mut beyond = Beyond::default();
        [2, 700].into_iter().for_each(|distance| beyond.insert(distance));
        beyond
    }

    fn row(key: &str, version: ObjectVersion) -> FileRow {
        FileRow {
            object: Some(ObjectRef { bucket: "b".to_owned(), key: key.to_owned(), version }),
            bucket: "b".to_owned(),
            key: key.to_owned(),
            app_id: Some("app".parse().unwrap()),
            status: FileStatus::Processing,
            fence: 2,
            attempt: 2,
            claim_id: "c".to_owned(),
            lease_until_ms: Some(7),
            due_at_ms: Some(7),
            url_expires_ms: None,
            checkpoint: Checkpoint { blocks: 3, quarantined: 1, beyond: beyond() },
            packing: PackFingerprint::from_stored("p"),
            counts: FileCounts::default(),
            size_bytes: Some(10),
            reason: None,
            findings: Findings::default(),
            created_ms: 1,
            updated_ms: 2,
            processed_ms: None,
        }
    }

    #[test]
    fn a_row_reads_back_from_its_item() {
        let row = row("logs/app/x y", ObjectVersion::ETag("abc".to_owned()));
        assert_eq!(row_from_item(&row_to_item(&row)).unwrap(), row);
    }

    #[test]
    fn places_in_the_indexes_are_short_and_tell_versions_of_one_moment_apart() {
        let long = "k".repeat(1_024);
        let mut places = std::collections::BTreeSet::new();
        for version in ["1", "2"] {
            let failed =
                FileRow { status: FileStatus::Failed, ..row(&long, ObjectVersion::Id(version.to_owned())) };
            let item = row_to_item(&failed);
            for name in ["sk", "listed_at", "failed_at", "failed_on", "due_shard"] {
                assert!(item.text_opt(name).unwrap().len() <= 1_024, "{name}");
            }
            places.insert((
                item.text_opt("listed_at").unwrap().to_owned(),
                item.text_opt("failed_at").unwrap().to_owned(),
            ));
        }
        assert_eq!(places.len(), 2);
    }
}
