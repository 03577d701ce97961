//! Blocks: the unit of storage. Many records of one app and one UTC hour, compressed into one item.
//!
//! A block's payload is a version byte, the seed of its record ids, columns of numbers (ordinal,
//! time, level and kind, length) and the entries one after the other, compressed as a whole with
//! zstd. Filters on time and level read the columns alone.

mod builder;
mod payload;
mod varint;

use crate::model::app::AppId;
use crate::model::day_counts::DayCounts;
use crate::model::expiry;
use crate::model::fingerprint::Packing;
use crate::model::ids::{BlockId, SHARDS};
use crate::model::level::LevelCounts;
use crate::model::object::ObjectRef;
use crate::model::time::Day;

pub use builder::{BlockBuilder, BlockScratch, BlockSource};
pub use payload::{BadBlock, Payload};

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

/// What decides over the bytes of a block, beside its entries: for the fingerprint of the packing. The
/// compressor belongs to it: another version of it may compress to other sizes, from which the bounds of
/// the next blocks follow.
pub(crate) fn shape() -> [u64; 5] {
    [
        u64::from(zstd::zstd_safe::version_number()),
        ZSTD_LEVEL.unsigned_abs().into(),
        u64::from(payload::VERSION),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ids::Seed;
    use crate::model::level::Level;
    use crate::model::record::{Entry, EntryKind};

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
