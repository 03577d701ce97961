//! The layout of a block's payload, and its reader.

use std::collections::HashSet;
use std::io::Read as _;

use super::{BlockBuilder, MAX_PAYLOAD_BYTES, varint};
use crate::model::day_counts::DayCounts;
use crate::model::ids::Seed;
use crate::model::level::Level;
use crate::model::record::{Entry, EntryKind, Marks, StoredRecord};

pub(super) const VERSION: u8 = 1;

/// Why the data of a block cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    #[error("block data is not a zstd frame of a valid size")]
    Frame,
    #[error("block data has an unknown version {0}")]
    Version(u8),
    #[error("block columns are truncated or inconsistent")]
    Columns,
    #[error("block entries are not valid UTF-8")]
    Utf8,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) ordinal: u64,
    pub(super) timestamp_ms: i64,
    pub(super) level: Level,
    pub(super) kind: EntryKind,
    pub(super) timestamp_fallback: bool,
    pub(super) marks: Marks,
    pub(super) end: usize,
}

/// From the lowest bit: two of level, two of kind, one of the fallback, three of marks.
pub(super) fn flags(row: &Row) -> u8 {
    let kind = match row.kind {
        EntryKind::Json => 0,
        EntryKind::WorkerText => 1,
        EntryKind::PlainText => 2,
        EntryKind::LogText => 3,
    };
    row.level as u8 | kind << 2 | u8::from(row.timestamp_fallback) << 4 | row.marks.bits() << 5
}

fn unflags(byte: u8) -> Option<(Level, EntryKind, bool, Marks)> {
    let kind = match (byte >> 2) & 3 {
        0 => EntryKind::Json,
        1 => EntryKind::WorkerText,
        2 => EntryKind::PlainText,
        _ => EntryKind::LogText,
    };
    let marks = Marks::from_bits(byte >> 5)?;
    Some((Level::ALL[usize::from(byte & 3)], kind, byte & 0x10 != 0, marks))
}

/// Bytes of a payload that are decompressed first to read its times: zstd decompresses this much at once. They hold
/// the times of some 20,000 entries.
const TIMES_BYTES: usize = 128 * 1024;

/// When the entries of a block happened, and their levels, read without the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTimes {
    pub entries: Vec<(i64, Level)>,
    /// What was decompressed for it (bytes).
    pub bytes: usize,
}

impl BlockTimes {
    /// Reads the times from the data of a block, or from that of its own item: the columns come first.
    ///
    /// # Errors
    /// As [`Payload::decode`]. Damage after the columns is not noticed.
    pub fn decode(data: &[u8]) -> Result<Self, BadBlock> {
        let size = payload_bytes(data)?;
        let mut decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(|_| BadBlock::Frame)?;
        let mut read = Vec::new();
        let mut most = TIMES_BYTES.min(size);
        loop {
            let more = most.saturating_sub(read.len()) as u64;
            decoder.by_ref().take(more).read_to_end(&mut read).map_err(|_| BadBlock::Frame)?;
            let (_, mut rest) = opening(&read)?;
            if let Some(rows) = first_columns(&mut rest) {
                let entries = rows.iter().map(|row| (row.timestamp_ms, row.level)).collect();
                return Ok(Self { entries, bytes: read.len() });
            }
            if most == size {
                return Err(BadBlock::Columns);
            }
            most = (most * 2).min(size);
        }
    }
}

/// Returns the size of the payload when it is decompressed.
fn payload_bytes(data: &[u8]) -> Result<usize, BadBlock> {
    let size = zstd::zstd_safe::get_frame_content_size(data).ok().flatten().ok_or(BadBlock::Frame)?;
    usize::try_from(size).ok().filter(|&n| n <= MAX_PAYLOAD_BYTES).ok_or(BadBlock::Frame)
}

/// Splits a payload into the seed of its ids and its columns.
fn opening(payload: &[u8]) -> Result<(&[u8; 32], &[u8]), BadBlock> {
    let (&version, rest) = payload.split_first().ok_or(BadBlock::Columns)?;
    if version != VERSION {
        return Err(BadBlock::Version(version));
    }
    rest.split_first_chunk::<32>().ok_or(BadBlock::Columns)
}

/// Reads all columns but the last, the lengths. `None` if they are truncated or invalid.
fn first_columns(rest: &mut &[u8]) -> Option<Vec<Row>> {
    let count = usize::try_from(varint::take(rest)?).ok()?;
    // Each row takes at least one byte in each of the four columns.
    let count = Some(count).filter(|&count| count <= rest.len() / 4)?;
    let blank = Row {
        ordinal: 0,
        timestamp_ms: 0,
        level: Level::Debug,
        kind: EntryKind::Json,
        timestamp_fallback: false,
        marks: Marks::NONE,
        end: 0,
    };
    let mut rows = vec![blank; count];
    let mut ordinal = 0u64;
    for row in &mut rows {
        ordinal = ordinal.wrapping_add(varint::take(rest)?);
        row.ordinal = ordinal;
    }
    let mut time = 0i64;
    for row in &mut rows {
        time = time.wrapping_add(varint::unzigzag(varint::take(rest)?));
        row.timestamp_ms = time;
    }
    let (flag_bytes, after) = rest.split_at_checked(count)?;
    *rest = after;
    for (row, &byte) in rows.iter_mut().zip(flag_bytes) {
        (row.level, row.kind, row.timestamp_fallback, row.marks) = unflags(byte)?;
    }
    Some(rows)
}

/// The decompressed entries of a block.
#[derive(Debug, Clone)]
pub struct Payload {
    seed: Seed,
    rows: Vec<Row>,
    raw: String,
}

impl Payload {
    /// Decodes the data of a block, including its extents.
    ///
    /// # Errors
    /// [`BadBlock`] for data that no [`BlockBuilder`](super::BlockBuilder) wrote. Never panics.
    pub fn decode(data: &[u8]) -> Result<Self, BadBlock> {
        let payload = zstd::bulk::decompress(data, payload_bytes(data)?).map_err(|_| BadBlock::Frame)?;
        let (seed, mut rest) = opening(&payload)?;
        Self::columns(&mut rest).ok_or(BadBlock::Columns).and_then(|(rows, raw)| {
            let raw = simdutf8::basic::from_utf8(raw).map_err(|_| BadBlock::Utf8)?;
            if rows.iter().any(|row| !raw.is_char_boundary(row.end)) {
                return Err(BadBlock::Utf8);
            }
            Ok(Self { seed: Seed(*seed), rows, raw: raw.to_owned() })
        })
    }

    fn columns<'a>(rest: &mut &'a [u8]) -> Option<(Vec<Row>, &'a [u8])> {
        let mut rows = first_columns(rest)?;
        let mut end = 0usize;
        for row in &mut rows {
            end = end.checked_add(usize::try_from(varint::take(rest)?).ok()?)?;
            row.end = end;
        }
        (end == rest.len()).then_some((rows, rest))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Counts the records from `from_ms` on and before `to_ms`.
    #[must_use]
    pub fn counts(&self, from_ms: Option<i64>, to_ms: Option<i64>) -> DayCounts {
        let mut counts = DayCounts::default();
        for entry in self.entries() {
            let time = entry.timestamp_ms;
            if from_ms.is_none_or(|from| time >= from) && to_ms.is_none_or(|to| time < to) {
                counts.levels.count(entry.level);
                counts.bytes += i64::try_from(entry.raw.len()).unwrap_or(0);
            }
        }
        counts
    }

    /// Packs the entries except those at these positions, with the same ids.
    ///
    /// # Errors
    /// If zstd runs out of memory.
    pub fn without(&self, left_out: &HashSet<usize>) -> Result<Vec<u8>, BadBlock> {
        let mut builder = BlockBuilder::default();
        let kept = self.entries().enumerate().filter(|(index, _)| !left_out.contains(index));
        kept.for_each(|(_, entry)| builder.push(&entry));
        builder.pack(&self.seed)
    }

    /// Returns the size in memory (bytes).
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.raw.len() + size_of_val(self.rows.as_slice())
    }

    /// Returns the entries one after the other, without anything between them.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.raw
    }

    /// Returns the entries in order of their ordinals.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> + DoubleEndedIterator {
        (0..self.rows.len()).map(|index| self.entry(index))
    }

    /// Returns the entry at `index`. Panics if `index` is not below [`Payload::len`].
    #[must_use]
    pub fn entry(&self, index: usize) -> Entry<'_> {
        let row = &self.rows[index];
        let begin = if index == 0 { 0 } else { self.rows[index - 1].end };
        Entry {
            ordinal: row.ordinal,
            timestamp_ms: row.timestamp_ms,
            level: row.level,
            kind: row.kind,
            timestamp_fallback: row.timestamp_fallback,
            marks: row.marks,
            raw: &self.raw[begin..row.end],
        }
    }

    /// Returns the entry at `index` with its id. Computing an id costs a hash, so call this only for needed
    /// entries.
    #[must_use]
    pub fn record(&self, index: usize) -> StoredRecord<'_> {
        let entry = self.entry(index);
        StoredRecord { id: self.seed.record_id(entry.ordinal), entry }
    }

    pub fn records(&self) -> impl ExactSizeIterator<Item = StoredRecord<'_>> + DoubleEndedIterator {
        (0..self.rows.len()).map(|index| self.record(index))
    }
}
