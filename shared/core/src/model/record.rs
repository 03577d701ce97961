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
    /// Text whose first line a recogniser of [`text`](crate::model::text) reads.
    LogText,
}

/// What is to be known of an entry beside its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Marks(u8);

impl Marks {
    pub const NONE: Self = Self(0);
    /// It names a level that is none: `level` is INFO.
    pub const LEVEL_UNKNOWN: Self = Self(1);
    /// Its time has no offset (UTC is assumed) or no year (the file's is assumed).
    pub const TIME_ASSUMED: Self = Self(2);
    /// `raw` is a line with the context that an envelope gives, and the entry itself.
    pub const WRAPPED: Self = Self(4);

    #[must_use]
    pub fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    /// Both marks; `mark` only `if` it holds.
    #[must_use]
    pub fn with(self, mark: Self, holds: bool) -> Self {
        if holds { Self(self.0 | mark.0) } else { self }
    }

    #[must_use]
    pub(crate) fn without(self, mark: Self) -> Self {
        Self(self.0 & !mark.0)
    }

    #[must_use]
    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// `None` for bits that no mark has.
    #[must_use]
    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        (bits < 8).then_some(Self(bits))
    }
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
    pub marks: Marks,
    /// The original, byte for byte; with [`Marks::WRAPPED`] after a line that holds its context.
    pub raw: &'a str,
}

impl<'a> Entry<'a> {
    /// The context that an envelope gives, a JSON object, and the entry itself.
    #[must_use]
    pub fn parts(&self) -> (Option<&'a str>, &'a str) {
        match self.raw.split_once('\n') {
            Some((context, raw)) if self.marks.has(Marks::WRAPPED) => (Some(context), raw),
            _ => (None, self.raw),
        }
    }
}

/// An entry read from a block, with the id it always has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord<'a> {
    pub id: RecordId,
    pub entry: Entry<'a>,
}
