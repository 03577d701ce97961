//! Stored records: a few columns for filters, and the entry byte for byte.

use crate::model::ids::RecordId;
use crate::model::level::Level;

/// How the bytes of an entry are parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A JSON object: pino, a browser entry, an API write.
    Json,
    /// `2024-01-01T00:00:00.000Z [INFO] message`, with its continuation lines.
    WorkerText,
    /// Text without time or level.
    PlainText,
}

/// An entry that is written to, or read from, a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Position in its source, from 0. Quarantined records are counted.
    pub ordinal: u64,
    pub timestamp_ms: i64,
    pub level: Level,
    pub kind: EntryKind,
    /// The entry had no usable time: `timestamp_ms` is the object's LastModified, or the time of arrival.
    pub timestamp_fallback: bool,
    /// The original, byte for byte.
    pub raw: &'a str,
}

/// An entry read from a block, with its id. The id is the same on every read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord<'a> {
    pub id: RecordId,
    pub entry: Entry<'a>,
}
