//! Blocks: the unit of storage. Many records of one app and one UTC hour, compressed into one item.
//!
//! A block's payload is a version byte, the seed of its record ids, columns of numbers (ordinal,
//! time, level and kind, length) and the entries one after the other, compressed as a whole with
//! zstd. Filters on time and level read the columns alone.

use crate::app::AppId;
use crate::expiry;
use crate::hex128::{BlockId, Seed};
use crate::ledger::DayCounts;
use crate::object::ObjectRef;
use crate::packing::Packing;
use crate::record::{Entry, EntryKind, Level, LevelCounts, StoredRecord};
use crate::time::{Day, hour_of_ms};
use crate::varint;

/// Partitions of an app's day.
pub const SHARDS: u8 = 4;

/// What a block aims at, compressed (bytes): writes cost by the KiB, so fuller is cheaper, until
/// a reader that wants one record has to take too many.
pub const TARGET_COMPRESSED_BYTES: usize = 64 * 1024;

/// The most data one item carries (bytes), so that with its other attributes it stays below
/// DynamoDB's 400 KB an item.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub const MAX_ITEM_DATA_BYTES: usize = 350 * 1024;

/// The most a block's payload can be (bytes, decompressed): what a reader is ready to allocate.
pub const MAX_PAYLOAD_BYTES: usize = 8 * 1024 * 1024;

/// zstd level 1: on log data better than level 3 in speed and no worse in size.
const ZSTD_LEVEL: i32 = 1;

const VERSION: u8 = 1;

/// What decides over the bytes of a block, beside its entries: for the fingerprint of the packing. The
/// compressor belongs to it: another version of it may compress to other sizes, from which the bounds of
/// the next blocks follow.
pub(crate) fn shape() -> [u64; 5] {
    [
        u64::from(zstd::zstd_safe::version_number()),
        ZSTD_LEVEL.unsigned_abs().into(),
        u64::from(VERSION),
        MAX_ITEM_DATA_BYTES as u64,
        MAX_PAYLOAD_BYTES as u64,
    ]
}

/// What a block says of itself without being decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHeader {
    pub app_id: AppId,
    pub block_id: BlockId,
    pub first_ms: i64,
    pub last_ms: i64,
    pub count: u32,
    pub levels: LevelCounts,
    /// What the entries came as, such as `ndjson`; for people.
    pub format: String,
    /// Where they came from: `s3://bucket/key`, or `api`; for people.
    pub source: String,
    /// When the app was registered that these records belong to (ms).
    pub epoch_ms: i64,
    /// When DynamoDB may delete the item (seconds since the epoch).
    pub expires_at_secs: Option<i64>,
    /// Of a block that comes from a file: which one.
    pub file: Option<Box<FileBlock>>,
}

/// Which file a block comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBlock {
    pub object: ObjectRef,
    /// How it was packed.
    pub packing: Packing,
}

impl BlockHeader {
    #[must_use]
    pub fn day(&self) -> Day {
        Day::of_ms(self.last_ms)
    }

    /// The day on which it expires, by which its counts stand apart.
    #[must_use]
    pub fn expires_on(&self) -> Day {
        expiry::day_of(self.expires_at_secs)
    }

    #[must_use]
    pub fn partition(&self) -> Partition {
        Partition { app_id: self.app_id.clone(), day: self.day(), shard: self.block_id.shard() }
    }

    #[must_use]
    pub fn sort_key(&self) -> String {
        sort_key(self.last_ms, &self.block_id)
    }

    /// What a block whose entries cannot be read counts from one time on and before another (ms):
    /// all of its records if all of them lie there, else none.
    #[must_use]
    pub fn counts_unread(&self, from_ms: Option<i64>, to_ms: Option<i64>) -> DayCounts {
        let within =
            from_ms.is_none_or(|from| self.first_ms >= from) && to_ms.is_none_or(|to| self.last_ms < to);
        DayCounts { levels: if within { self.levels } else { LevelCounts::default() }, bytes: 0 }
    }
}

/// `{last_ms:013}#{block_id}`: a block sorts by the time of its last record.
#[must_use]
pub fn sort_key(last_ms: i64, block_id: &BlockId) -> String {
    format!("{last_ms:013}#{block_id}")
}

/// A quarter of an app's day: what one Query reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    pub app_id: AppId,
    pub day: Day,
    pub shard: u8,
}

impl Partition {
    /// `{app_id}#{yyyy-mm-dd}#{shard}`
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}#{}#{}", self.app_id, self.day, self.shard)
    }

    /// Reads what [`Partition::key`] wrote.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let mut parts = key.split('#');
        let partition = Self {
            app_id: parts.next()?.parse().ok()?,
            day: parts.next()?.parse().ok()?,
            shard: parts.next()?.parse().ok().filter(|&shard| shard < SHARDS)?,
        };
        parts.next().is_none().then_some(partition)
    }
}

/// A block whole: `data` may be longer than one item holds (only where a single record does not
/// compress below that); the table adapter then spreads it over the item and its *extents*.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub header: BlockHeader,
    pub data: Vec<u8>,
}

impl Block {
    /// Items behind its own that it needs.
    #[must_use]
    pub fn extents(&self) -> u8 {
        let items = self.data.len().div_ceil(MAX_ITEM_DATA_BYTES);
        u8::try_from(items.saturating_sub(1)).unwrap_or(u8::MAX)
    }
}

/// Why the data of a block cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    #[error("block data is not a zstd frame of a legal size")]
    Frame,
    #[error("block data has an unknown version {0}")]
    Version(u8),
    #[error("block columns are cut short or inconsistent")]
    Columns,
    #[error("block entries are not valid utf-8")]
    Utf8,
}

/// The entries that will be one block. All of the same UTC hour: the packer sees to it.
#[derive(Debug, Clone, Default)]
pub struct BlockBuilder {
    rows: Vec<Row>,
    raw: String,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    ordinal: u64,
    timestamp_ms: i64,
    level: Level,
    kind: EntryKind,
    timestamp_fallback: bool,
    end: usize,
}

/// Memory that building a block takes, to be used again for the next one: for a file, asking the
/// system for it anew each time costs a sixth of everything.
#[derive(Default)]
pub struct BlockScratch {
    payload: Vec<u8>,
    compressed: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl std::fmt::Debug for BlockScratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockScratch").finish_non_exhaustive()
    }
}

impl BlockScratch {
    fn compress(&mut self) -> Result<Vec<u8>, BadBlock> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            empty => {
                let new = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|_| BadBlock::Frame)?;
                empty.insert(new)
            }
        };
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.payload.len()));
        compressor.compress_to_buffer(&self.payload, &mut self.compressed).map_err(|_| BadBlock::Frame)?;
        Ok(self.compressed.clone())
    }
}

/// What belongs in every block of one source.
#[derive(Debug, Clone)]
pub struct BlockSource<'a> {
    pub app_id: &'a AppId,
    pub seed: &'a Seed,
    pub format: &'a str,
    pub source: &'a str,
    pub epoch_ms: i64,
    pub expires_at_secs: Option<i64>,
}

impl BlockBuilder {
    pub fn push(&mut self, entry: &Entry<'_>) {
        self.raw.push_str(entry.raw);
        self.rows.push(Row {
            ordinal: entry.ordinal,
            timestamp_ms: entry.timestamp_ms,
            level: entry.level,
            kind: entry.kind,
            timestamp_fallback: entry.timestamp_fallback,
            end: self.raw.len(),
        });
    }

    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.raw.len()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Forgets the entries and keeps the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.raw.clear();
    }

    /// The blocks of these entries: one, or more where one would not fit an item. The same entries
    /// always make the same blocks, to the byte.
    ///
    /// # Errors
    /// [`BadBlock::Frame`] when zstd refuses to compress, which it does only without memory.
    pub fn build(&self, source: &BlockSource<'_>) -> Result<Vec<Block>, BadBlock> {
        self.build_with(&mut BlockScratch::default(), source)
    }

    /// As [`BlockBuilder::build`], for somebody who builds many blocks.
    ///
    /// # Errors
    /// As [`BlockBuilder::build`].
    pub fn build_with(
        &self,
        scratch: &mut BlockScratch,
        source: &BlockSource<'_>,
    ) -> Result<Vec<Block>, BadBlock> {
        let mut blocks = Vec::with_capacity(1);
        self.build_rows(0..self.rows.len(), scratch, source, &mut blocks)?;
        Ok(blocks)
    }

    /// All entries, of whatever hours, as the data of one block of any size that
    /// [`MAX_PAYLOAD_BYTES`] allows: for keeping, not for the table of blocks.
    ///
    /// # Errors
    /// They are more than that, or zstd has no memory.
    pub fn pack(&self, seed: &Seed) -> Result<Vec<u8>, BadBlock> {
        let mut scratch = BlockScratch::default();
        self.payload(0..self.rows.len(), seed, &mut scratch.payload);
        if scratch.payload.len() > MAX_PAYLOAD_BYTES {
            return Err(BadBlock::Frame);
        }
        scratch.compress()
    }

    fn build_rows(
        &self,
        rows: std::ops::Range<usize>,
        scratch: &mut BlockScratch,
        source: &BlockSource<'_>,
        blocks: &mut Vec<Block>,
    ) -> Result<(), BadBlock> {
        if rows.is_empty() {
            return Ok(());
        }
        self.payload(rows.clone(), source.seed, &mut scratch.payload);
        let data = scratch.compress()?;
        let splittable = rows.len() > 1;
        if splittable && (data.len() > MAX_ITEM_DATA_BYTES || scratch.payload.len() > MAX_PAYLOAD_BYTES) {
            let middle = rows.start + rows.len() / 2;
            self.build_rows(rows.start..middle, scratch, source, blocks)?;
            return self.build_rows(middle..rows.end, scratch, source, blocks);
        }
        let slice = &self.rows[rows];
        let mut levels = LevelCounts::default();
        let (mut first_ms, mut last_ms) = (i64::MAX, i64::MIN);
        for row in slice {
            levels.count(row.level);
            first_ms = first_ms.min(row.timestamp_ms);
            last_ms = last_ms.max(row.timestamp_ms);
        }
        blocks.push(Block {
            header: BlockHeader {
                app_id: source.app_id.clone(),
                block_id: source.seed.block_id(hour_of_ms(last_ms), slice[0].ordinal),
                first_ms,
                last_ms,
                count: u32::try_from(slice.len()).map_err(|_| BadBlock::Columns)?,
                levels,
                format: source.format.to_owned(),
                source: source.source.to_owned(),
                epoch_ms: source.epoch_ms,
                expires_at_secs: source.expires_at_secs,
                file: None,
            },
            data,
        });
        Ok(())
    }

    fn payload(&self, range: std::ops::Range<usize>, seed: &Seed, out: &mut Vec<u8>) {
        let begin = if range.start == 0 { 0 } else { self.rows[range.start - 1].end };
        let rows = &self.rows[range];
        let end = rows.last().map_or(begin, |row| row.end);
        out.clear();
        out.reserve(64 + rows.len() * 8 + (end - begin));
        out.push(VERSION);
        out.extend_from_slice(&seed.0);
        varint::put(out, rows.len() as u64);
        let mut previous = 0u64;
        for row in rows {
            varint::put(out, row.ordinal.wrapping_sub(previous));
            previous = row.ordinal;
        }
        let mut previous = 0i64;
        for row in rows {
            varint::put(out, varint::zigzag(row.timestamp_ms.wrapping_sub(previous)));
            previous = row.timestamp_ms;
        }
        out.extend(rows.iter().map(|row| flags(row.level, row.kind, row.timestamp_fallback)));
        let mut previous = begin;
        for row in rows {
            varint::put(out, (row.end - previous) as u64);
            previous = row.end;
        }
        out.extend_from_slice(&self.raw.as_bytes()[begin..end]);
    }
}

fn flags(level: Level, kind: EntryKind, timestamp_fallback: bool) -> u8 {
    let kind = match kind {
        EntryKind::Json => 0,
        EntryKind::WorkerText => 1,
        EntryKind::PlainText => 2,
    };
    level as u8 | kind << 2 | u8::from(timestamp_fallback) << 4
}

fn unflags(byte: u8) -> Option<(Level, EntryKind, bool)> {
    let kind = match (byte >> 2) & 3 {
        0 => EntryKind::Json,
        1 => EntryKind::WorkerText,
        2 => EntryKind::PlainText,
        _ => return None,
    };
    (byte < 0x20).then_some((Level::ALL[usize::from(byte & 3)], kind, byte & 0x10 != 0))
}

/// A block's entries, decompressed.
#[derive(Debug, Clone)]
pub struct Payload {
    seed: Seed,
    rows: Vec<Row>,
    raw: String,
}

impl Payload {
    /// Reads the data of a block (all of it, extents included).
    ///
    /// # Errors
    /// [`BadBlock`] for data that no [`BlockBuilder`] wrote. Never panics, whatever the bytes.
    pub fn decode(data: &[u8]) -> Result<Self, BadBlock> {
        let size = zstd::zstd_safe::get_frame_content_size(data).ok().flatten().ok_or(BadBlock::Frame)?;
        let size = usize::try_from(size).ok().filter(|&n| n <= MAX_PAYLOAD_BYTES).ok_or(BadBlock::Frame)?;
        let payload = zstd::bulk::decompress(data, size).map_err(|_| BadBlock::Frame)?;
        let (&version, rest) = payload.split_first().ok_or(BadBlock::Columns)?;
        if version != VERSION {
            return Err(BadBlock::Version(version));
        }
        let (seed, mut rest) = rest.split_first_chunk::<32>().ok_or(BadBlock::Columns)?;
        Self::columns(&mut rest).ok_or(BadBlock::Columns).and_then(|(rows, raw)| {
            let raw = simdutf8::basic::from_utf8(raw).map_err(|_| BadBlock::Utf8)?;
            if rows.iter().any(|row| !raw.is_char_boundary(row.end)) {
                return Err(BadBlock::Utf8);
            }
            Ok(Self { seed: Seed(*seed), rows, raw: raw.to_owned() })
        })
    }

    fn columns<'a>(rest: &mut &'a [u8]) -> Option<(Vec<Row>, &'a [u8])> {
        let count = usize::try_from(varint::take(rest)?).ok()?;
        // Each row takes a byte at least of each of its four columns.
        let count = Some(count).filter(|&count| count <= rest.len() / 4)?;
        let blank = Row {
            ordinal: 0,
            timestamp_ms: 0,
            level: Level::Debug,
            kind: EntryKind::Json,
            timestamp_fallback: false,
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
            (row.level, row.kind, row.timestamp_fallback) = unflags(byte)?;
        }
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

    /// Its records from one time on and before another (ms).
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

    /// What it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.raw.len() + size_of_val(self.rows.as_slice())
    }

    /// The entries in the order of their ordinals.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> + DoubleEndedIterator {
        (0..self.rows.len()).map(|index| self.entry(index))
    }

    /// The entry at `index` (below [`Payload::len`], else it panics).
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
            raw: &self.raw[begin..row.end],
        }
    }

    /// The entry at `index` with its id; ids cost a hash each, so ask for those you need.
    #[must_use]
    pub fn record(&self, index: usize) -> StoredRecord<'_> {
        let entry = self.entry(index);
        StoredRecord { id: self.seed.record_id(entry.ordinal), entry }
    }

    pub fn records(&self) -> impl ExactSizeIterator<Item = StoredRecord<'_>> + DoubleEndedIterator {
        (0..self.rows.len()).map(|index| self.record(index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source<'a>(app_id: &'a AppId, seed: &'a Seed) -> BlockSource<'a> {
        BlockSource { app_id, seed, format: "ndjson", source: "test", epoch_ms: 1, expires_at_secs: Some(2) }
    }

    fn build(entries: &[Entry<'_>]) -> Vec<Block> {
        let mut builder = BlockBuilder::default();
        entries.iter().for_each(|entry| builder.push(entry));
        let app_id = "app".parse().unwrap();
        builder.build(&source(&app_id, &Seed::of(&[b"x"]))).unwrap()
    }

    fn noise(bytes: usize, seed: u64) -> String {
        let mut state = seed;
        (0..bytes)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(33 + ((state >> 33) % 90) as u8)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn entries_come_out_as_they_went_in(
            rows in prop::collection::vec((0u64..1 << 50, any::<i64>(), 0usize..4, 0usize..3, any::<bool>(), ".{0,40}"), 1..60)
        ) {
            let kinds = [EntryKind::Json, EntryKind::WorkerText, EntryKind::PlainText];
            let entries: Vec<_> = rows.iter().map(|(ordinal, time, level, kind, fallback, raw)| Entry {
                ordinal: *ordinal, timestamp_ms: *time, level: Level::ALL[*level], kind: kinds[*kind],
                timestamp_fallback: *fallback, raw,
            }).collect();
            let blocks = build(&entries);
            prop_assert_eq!(blocks.len(), 1);
            let payload = Payload::decode(&blocks[0].data).unwrap();
            prop_assert_eq!(payload.entries().collect::<Vec<_>>(), entries);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), flip in 0usize..400) {
            let _ = Payload::decode(&bytes);
            let _ = Payload::decode(&zstd::bulk::compress(&bytes, 1).unwrap());
            let entry = Entry { ordinal: 3, timestamp_ms: 5, level: Level::Info, kind: EntryKind::Json, timestamp_fallback: false, raw: "{\"ü\":1}" };
            let mut payload = zstd::bulk::decompress(&build(&[entry.clone(), entry])[0].data, 1000).unwrap();
            let at = flip % payload.len();
            payload[at] ^= 1 << (flip % 8);
            let _ = Payload::decode(&zstd::bulk::compress(&payload, 1).unwrap());
        }
    }

    #[test]
    fn what_does_not_compress_into_an_item_is_halved_and_nothing_is_lost() {
        let texts: Vec<_> = (0..9).map(|seed| noise(100_000, seed)).collect();
        let entries: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(i, raw)| Entry {
                ordinal: i as u64,
                timestamp_ms: 1000 + i as i64,
                level: Level::Warn,
                kind: EntryKind::PlainText,
                timestamp_fallback: false,
                raw,
            })
            .collect();
        let blocks = build(&entries);
        assert!(blocks.len() > 1);
        assert!(blocks.iter().all(|block| block.data.len() <= MAX_ITEM_DATA_BYTES));
        assert_eq!(blocks.iter().map(|b| b.header.count).sum::<u32>(), 9);
        let ordinals: Vec<_> = blocks
            .iter()
            .flat_map(|b| Payload::decode(&b.data).unwrap().entries().map(|e| e.ordinal).collect::<Vec<_>>())
            .collect();
        assert_eq!(ordinals, (0..9).collect::<Vec<_>>());
        let mut ids: Vec<_> = blocks.iter().map(|b| b.header.block_id).collect();
        ids.dedup();
        assert_eq!(ids.len(), blocks.len());
    }

    #[test]
    fn partitions_read_back_from_their_keys() {
        let partition = Partition { app_id: "my-app".parse().unwrap(), day: Day(19_000), shard: 3 };
        assert_eq!(partition.key(), "my-app#2022-01-08#3");
        assert_eq!(Partition::parse("my-app#2022-01-08#3"), Some(partition));
        for bad in ["my-app#2022-01-08#4", "my-app#2022-01-08", "#2022-01-08#1", "a#2022-01-08#1#x"] {
            assert_eq!(Partition::parse(bad), None, "{bad}");
        }
    }
}
