//! Keys of the `files` table and its indexes.

use logferry_core::ledger::backlog::Queue;
use logferry_core::ledger::row::FileRow;
use logferry_core::model::ids::Seed;
use logferry_core::model::object::ObjectRef;

use crate::item::{Item, key};

pub(super) const GRANT_SK: &str = "grant";

/// Partitions of the index of due rows: this many for files, and as many for grants.
pub const DUE_SHARDS: u8 = 4;

/// Partitions of a day in the index of FAILED files.
pub(crate) const FAILED_SHARDS: u8 = 4;

pub(super) fn file_pk(bucket: &str, object_key: &str) -> String {
    format!("{bucket}/{object_key}")
}

/// Returns the key of an object's row.
#[must_use]
pub fn file_key(object: &ObjectRef) -> Item {
    key(file_pk(&object.bucket, &object.key), object.version.to_stored())
}

/// Returns the key of a row: an object's, or a grant's.
#[must_use]
pub fn row_key(row: &FileRow) -> Item {
    match &row.object {
        Some(object) => file_key(object),
        None => grant_key(&row.bucket, &row.key),
    }
}

/// Returns the key of the row that binds an object's key to its app.
pub(super) fn grant_key(bucket: &str, object_key: &str) -> Item {
    key(file_pk(bucket, object_key), GRANT_SK)
}

/// Returns the partition of the index of due rows for a file with this key.
pub(crate) fn due_shard(object_key: &str) -> String {
    shard_name(Queue::Files, shard_of(object_key))
}

pub(super) fn shard_of(object_key: &str) -> u8 {
    object_key.bytes().fold(0u8, u8::wrapping_add) % DUE_SHARDS
}

pub(crate) fn shard_name(queue: Queue, shard: u8) -> String {
    match queue {
        Queue::Files => shard.to_string(),
        Queue::Grants => format!("grant-{shard}"),
    }
}

/// Returns the partition of the index of due rows for this row.
pub(crate) fn due_shard_of(row: &FileRow) -> String {
    match row.object {
        Some(_) => due_shard(&row.key),
        None => shard_name(Queue::Grants, shard_of(&row.key)),
    }
}

/// Distinguishes rows of the same time. It has a fixed length: a key and a version may have up to 1,024
/// bytes each, and so may a sort key in total.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub(super) fn row_hash(bucket: &str, object_key: &str, sk: &str) -> String {
    let Seed(hash) = Seed::of(&[bucket.as_bytes(), object_key.as_bytes(), sk.as_bytes()]);
    hex::encode(&hash[..16])
}

pub(super) fn row_sk(row: &FileRow) -> String {
    row.object.as_ref().map_or_else(|| GRANT_SK.to_owned(), |object| object.version.to_stored())
}
