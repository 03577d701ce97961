//! Blocks: the unit of storage. A block holds many records of one app and one UTC hour, compressed into one
//! item.
//!
//! The payload has a version byte, the seed of the record ids, numeric columns (ordinal, time, level and
//! kind, length) and the entries one after the other. It is compressed as a whole with zstd. Filters on
//! time and level read the columns only.

mod builder;
mod item;
mod payload;
mod varint;

use crate::model::app::AppId;
use crate::model::day_counts::DayCounts;
use crate::model::expiry;
use crate::model::fingerprint::PackFingerprint;
use crate::model::ids::{BlockId, SHARDS};
use crate::model::level::LevelCounts;
use crate::model::object::ObjectRef;
use crate::model::time::Day;

pub use builder::{BlockBuilder, BlockScratch, BlockSource};
pub use item::{Attr, BadAttribute, HeaderItem};
pub use payload::{BadBlock, BlockTimes, Payload};

/// Target size of a compressed block (bytes). Writes are billed per KiB, so larger blocks are cheaper, but
/// a reader of one record has to read more.
pub const TARGET_COMPRESSED_BYTES: usize = 64 * 1024;

/// Maximum data per item (bytes). With its other attributes, the item stays below DynamoDB's limit of 400
/// KB.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub const MAX_ITEM_DATA_BYTES: usize = 350 * 1024;

/// Maximum size of a decompressed payload (bytes). Readers allocate at most this.
pub const MAX_PAYLOAD_BYTES: usize = 8 * 1024 * 1024;

/// zstd level 1: on log data it is faster than level 3 and not larger.
const ZSTD_LEVEL: i32 = 1;

/// Everything besides the entries that determines a block's bytes, for the packing fingerprint. The
/// compressor is part of it: another version may compress to other sizes, which moves the bounds of later
/// blocks.
pub(crate) fn shape() -> [u64; 5] {
    [
        u64::from(zstd::zstd_safe::version_number()),
        ZSTD_LEVEL.unsigned_abs().into(),
        u64::from(payload::VERSION),
        MAX_ITEM_DATA_BYTES as u64,
        MAX_PAYLOAD_BYTES as u64,
    ]
}

/// Attributes of a block that can be read without decompressing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHeader {
    pub app_id: AppId,
    pub block_id: BlockId,
    pub first_ms: i64,
    pub last_ms: i64,
    pub count: u32,
    pub levels: LevelCounts,
    /// Records whose level is INFO because they name none that is known.
    pub unknown_levels: u32,
    /// What the entries came as, such as `ndjson`; for people.
    pub format: String,
    /// Source of the entries: `s3://bucket/key` or `api`; informational.
    pub source: String,
    /// When the app of these records was registered (ms).
    pub registered_ms: i64,
    /// When DynamoDB may delete the item (seconds since the epoch).
    pub expires_at_secs: Option<i64>,
    /// The file that the block comes from, if any.
    pub file: Option<Box<FileBlock>>,
}

/// The file that a block comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBlock {
    pub object: ObjectRef,
    /// Packing fingerprint of the block.
    pub packing: PackFingerprint,
}

impl BlockHeader {
    #[must_use]
    pub fn day(&self) -> Day {
        Day::of_ms(self.last_ms)
    }

    /// Returns the day on which the block expires. Its counts are kept separately by this day.
    #[must_use]
    pub fn expires_on(&self) -> Day {
        expiry::day_of(self.expires_at_secs)
    }

    /// Whether the header contains the levels of its records. Some blocks have no counts.
    #[must_use]
    pub fn says_levels(&self) -> bool {
        self.levels.total() == i64::from(self.count)
    }

    #[must_use]
    pub fn partition(&self) -> Partition {
        Partition { app_id: self.app_id.clone(), day: self.day(), shard: self.block_id.shard() }
    }

    #[must_use]
    pub fn sort_key(&self) -> String {
        sort_key(self.last_ms, &self.block_id)
    }

    #[must_use]
    pub fn place(&self) -> BlockPlace {
        BlockPlace { partition: self.partition(), last_ms: self.last_ms, block_id: self.block_id }
    }

    /// Returns the counts of a block whose entries cannot be read, for records from `from_ms` on and before
    /// `to_ms`: all of its records if they all lie in that range, else none.
    #[must_use]
    pub fn counts_unread(&self, from_ms: Option<i64>, to_ms: Option<i64>) -> DayCounts {
        let within =
            from_ms.is_none_or(|from| self.first_ms >= from) && to_ms.is_none_or(|to| self.last_ms < to);
        DayCounts { levels: if within { self.levels } else { LevelCounts::default() }, bytes: 0 }
    }
}

/// `{last_ms:013}#{block_id}`: blocks sort by the time of their last record.
#[must_use]
pub fn sort_key(last_ms: i64, block_id: &BlockId) -> String {
    format!("{last_ms:013}#{block_id}")
}

/// A quarter of an app's day. One Query reads one partition.
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

    /// Parses a key that [`Partition::key`] wrote.
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

/// The key of a block's item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPlace {
    pub partition: Partition,
    pub last_ms: i64,
    pub block_id: BlockId,
}

impl BlockPlace {
    #[must_use]
    pub fn sort_key(&self) -> String {
        sort_key(self.last_ms, &self.block_id)
    }
}

/// A complete block. `data` may exceed one item, but only if a single record does not compress below that
/// size. The table adapter then splits it into the item and its *extents*.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub header: BlockHeader,
    pub data: Vec<u8>,
}

impl Block {
    /// Returns the number of extents.
    #[must_use]
    pub fn extents(&self) -> u8 {
        let items = self.data.len().div_ceil(MAX_ITEM_DATA_BYTES);
        u8::try_from(items.saturating_sub(1)).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ids::Seed;
    use crate::model::level::Level;
    use crate::model::record::{Entry, EntryKind, Marks};

    fn source<'a>(app_id: &'a AppId, seed: &'a Seed) -> BlockSource<'a> {
        BlockSource {
            app_id,
            seed,
            format: "ndjson",
            source: "test",
            registered_ms: 1,
            expires_at_secs: Some(2),
        }
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
                timestamp_fallback: *fallback, marks: Marks::NONE, raw,
            }).collect();
            let blocks = build(&entries);
            prop_assert_eq!(blocks.len(), 1);
            let payload = Payload::decode(&blocks[0].data).unwrap();
            prop_assert_eq!(payload.entries().collect::<Vec<_>>(), entries);
            let times = BlockTimes::decode(&blocks[0].data).unwrap();
            prop_assert_eq!(times.entries, rows.iter().map(|row| (row.1, Level::ALL[row.2])).collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), flip in 0usize..400) {
            let read = |data: &[u8]| (Payload::decode(data).is_ok(), BlockTimes::decode(data).is_ok());
            read(&bytes);
            read(&zstd::bulk::compress(&bytes, 1).unwrap());
            let entry = Entry { ordinal: 3, timestamp_ms: 5, level: Level::Info, kind: EntryKind::Json, timestamp_fallback: false, marks: Marks::NONE, raw: "{\"ü\":1}" };
            let mut payload = zstd::bulk::decompress(&build(&[entry.clone(), entry])[0].data, 1000).unwrap();
            let at = flip % payload.len();
            payload[at] ^= 1 << (flip % 8);
            let (whole, times) = read(&zstd::bulk::compress(&payload, 1).unwrap());
            prop_assert!(times || !whole);
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
                marks: Marks::NONE,
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
        let mut builder = BlockBuilder::default();
        entries.iter().for_each(|entry| builder.push(entry));
        let app_id = "app".parse().unwrap();
        let whole = builder.build_whole(&source(&app_id, &Seed::of(&[b"x"]))).unwrap().unwrap();
        assert!(whole.header.count == 9 && whole.extents() > 0);
        assert_eq!(Payload::decode(&whole.data).unwrap().entries().collect::<Vec<_>>(), entries);
    }

    #[test]
    fn times_are_read_without_the_entries_however_many_there_are() {
        let message = noise(700, 1);
        for count in [1_000, 5_000] {
            let entry = |i: u64| Entry {
                ordinal: i * 1_000_003,
                timestamp_ms: 1_000 + (i as i64 * 7_919_999) % 3_600_000,
                level: Level::ALL[i as usize % 4],
                kind: EntryKind::Json,
                timestamp_fallback: false,
                marks: Marks::NONE,
                raw: &message,
            };
            let entries: Vec<_> = (0..count).map(entry).collect();
            let data = &build(&entries)[0].data;
            let times = BlockTimes::decode(data).unwrap();
            let expected: Vec<_> = entries.iter().map(|entry| (entry.timestamp_ms, entry.level)).collect();
            assert_eq!(times.entries, expected);
            assert!(
                times.bytes < count as usize * message.len() / 4,
                "{} bytes were decompressed",
                times.bytes
            );
        }
        let mut many = BlockBuilder::default();
        let tiny = |i: u64| Entry {
            ordinal: i << 20,
            timestamp_ms: i as i64,
            level: Level::Info,
            kind: EntryKind::PlainText,
            timestamp_fallback: false,
            marks: Marks::NONE,
            raw: "",
        };
        (0..100_000).for_each(|i| many.push(&tiny(i)));
        let data = many.pack(&Seed::of(&[b"x"])).unwrap();
        assert_eq!(BlockTimes::decode(&data).unwrap().entries.len(), 100_000);
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
