//! The packer: turns entries into blocks, as a pure function of the entries.
//!
//! Entries are collected by UTC hour. A block is closed when
//!
//! - it reaches the size that compresses to [`TARGET_COMPRESSED_BYTES`], estimated from the last block's
//!   ratio,
//! - all open blocks together exceed the byte limit (the fullest first) or the hour limit (the longest
//!   untouched first),
//! - or no entry of its hour has arrived for a while.
//!
//! Blocks are numbered in the order in which they are closed, so a run can be resumed: the same entries
//! make the same blocks with the same numbers, even if records were pruned in between.
//!
//! The cost of an entry grows only with the logarithm of the number of open hours.

mod open;

use std::collections::BTreeMap;

use open::OpenHours;

use crate::model::app::AppId;
use crate::model::block::{
    BadBlock, Block, BlockBuilder, BlockScratch, BlockSource, Payload, TARGET_COMPRESSED_BYTES,
};
use crate::model::day_counts::DayCounts;
use crate::model::expiry;
use crate::model::ids::Seed;
use crate::model::record::Entry;
use crate::model::time::{Day, hour_of_ms};

/// Maximum size of all open blocks together (bytes).
pub const MAX_OPEN_BYTES: usize = 32 * 1024 * 1024;

/// Maximum number of open hours.
pub const MAX_OPEN_HOURS: usize = 4096;

/// An hour is closed after this many bytes of other hours since its last entry.
const IDLE_BYTES: u64 = 8 * 1024 * 1024;

/// Overhead per entry (bytes).
const ROW_BYTES: usize = 32;

/// Raw bytes per block: the initial target, and the bounds of later ones.
const FIRST_TARGET_BYTES: usize = 320 * 1024;
const MIN_TARGET_BYTES: usize = 64 * 1024;
const MAX_TARGET_BYTES: usize = 4 * 1024 * 1024;

/// All numbers that determine where a block ends, for the packing fingerprint.
pub(crate) const BOUNDS: [u64; 9] = [
    TARGET_COMPRESSED_BYTES as u64,
    MAX_OPEN_BYTES as u64,
    MAX_OPEN_HOURS as u64,
    IDLE_BYTES,
    ROW_BYTES as u64,
    FIRST_TARGET_BYTES as u64,
    MIN_TARGET_BYTES as u64,
    MAX_TARGET_BYTES as u64,
    open::GRAIN_BYTES,
];

/// The source of entries, with the attributes of their blocks.
#[derive(Debug, Clone)]
pub struct PackSource<'a> {
    pub app_id: &'a AppId,
    pub seed: &'a Seed,
    /// Informational: `s3://bucket/key` or `api`.
    pub source: &'a str,
    /// When the app was registered (ms).
    pub registered_ms: i64,
    /// The object's LastModified, or the arrival of a request (ms). Retention counts from here, whatever
    /// the records' timestamps are.
    pub arrived_ms: i64,
    pub retention_days: u32,
    /// Records older than this are not stored (ms).
    pub pruned_before_ms: Option<i64>,
}

/// A finished block. `block` is `None` if none of its records is left to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Consecutive numbers from 0.
    pub sequence: u64,
    pub block: Option<Block>,
}

/// Packs the entries of one source, pushed in order of their ordinals.
#[derive(Debug)]
pub struct Packer<'a> {
    source: PackSource<'a>,
    format: &'static str,
    open: OpenHours,
    target: usize,
    next_sequence: u64,
    stored: u64,
    pruned: u64,
    days: BTreeMap<Day, DayCounts>,
    scratch: BlockScratch,
}

impl<'a> Packer<'a> {
    #[must_use]
    pub fn new(source: PackSource<'a>) -> Self {
        Self {
            source,
            format: "",
            open: OpenHours::default(),
            target: FIRST_TARGET_BYTES,
            next_sequence: 0,
            stored: 0,
            pruned: 0,
            days: BTreeMap::new(),
            scratch: BlockScratch::default(),
        }
    }

    /// Sets the format of the entries that follow. A block has that of the last entry before it was closed;
    /// informational.
    pub fn set_format(&mut self, format: &'static str) {
        self.format = format;
    }

    /// Returns the number of pushed entries that are stored.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Returns the number of pushed entries that are older than the app's prune watermark.
    #[must_use]
    pub fn pruned(&self) -> u64 {
        self.pruned
    }

    /// Adds an entry. Finished blocks go to `ready`.
    ///
    /// # Errors
    /// See [`BlockBuilder::build`].
    pub fn push(&mut self, entry: &Entry<'_>, ready: &mut Vec<Packed>) -> Result<(), BadBlock> {
        self.count(entry);
        let hour = hour_of_ms(entry.timestamp_ms);
        if self.open.push(hour, entry) >= self.target {
            self.close(hour, ready)?;
        }
        while let Some(hour) = self.open.one_too_many() {
            self.close(hour, ready)?;
        }
        Ok(())
    }

    /// Closes all open blocks. Returns the counts of stored records per day.
    ///
    /// # Errors
    /// See [`BlockBuilder::build`].
    pub fn finish(mut self, ready: &mut Vec<Packed>) -> Result<BTreeMap<Day, DayCounts>, BadBlock> {
        while let Some(hour) = self.open.earliest() {
            self.close(hour, ready)?;
        }
        Ok(self.days)
    }

    fn is_pruned(&self, timestamp_ms: i64) -> bool {
        self.source.pruned_before_ms.is_some_and(|before| timestamp_ms < before)
    }

    fn count(&mut self, entry: &Entry<'_>) {
        if self.is_pruned(entry.timestamp_ms) {
            self.pruned += 1;
            return;
        }
        self.stored += 1;
        let day = self.days.entry(Day::of_ms(entry.timestamp_ms)).or_default();
        day.levels.count(entry.level);
        day.bytes += entry.raw.len() as i64;
    }

    fn close(&mut self, hour: i64, ready: &mut Vec<Packed>) -> Result<(), BadBlock> {
        let Some((mut builder, weight)) = self.open.take(hour) else { return Ok(()) };
        let mut scratch = std::mem::take(&mut self.scratch);
        let blocks = builder.build_with(&mut scratch, &self.block_source())?;
        self.scratch = scratch;
        builder.clear();
        self.open.keep_for_reuse(builder);
        let compressed: usize = blocks.iter().map(|block| block.data.len()).sum();
        let target = weight as u128 * TARGET_COMPRESSED_BYTES as u128 / compressed.max(1) as u128;
        self.target = usize::try_from(target).unwrap_or(usize::MAX).clamp(MIN_TARGET_BYTES, MAX_TARGET_BYTES);
        for block in blocks {
            let block = self.without_pruned(block)?;
            ready.push(Packed { sequence: self.next_sequence, block });
            self.next_sequence += 1;
        }
        Ok(())
    }

    fn block_source(&self) -> BlockSource<'_> {
        BlockSource {
            app_id: self.source.app_id,
            seed: self.source.seed,
            format: self.format,
            source: self.source.source,
            registered_ms: self.source.registered_ms,
            expires_at_secs: Some(expiry::expires_at_secs(self.expires_on())),
        }
    }

    /// Returns the expiry day of all records of this source.
    #[must_use]
    pub fn expires_on(&self) -> Day {
        expiry::expires_on(self.source.arrived_ms, self.source.retention_days)
    }

    /// Removes pruned records, after the block's bounds and id are fixed: an earlier run may have stored
    /// the block before the watermark was set, and this must be the same item.
    fn without_pruned(&self, block: Block) -> Result<Option<Block>, BadBlock> {
        if self.is_pruned(block.header.last_ms) {
            return Ok(None);
        }
        if !self.is_pruned(block.header.first_ms) {
            return Ok(Some(block));
        }
        let payload = Payload::decode(&block.data)?;
        let mut builder = BlockBuilder::default();
        payload
            .entries()
            .filter(|entry| !self.is_pruned(entry.timestamp_ms))
            .for_each(|entry| builder.push(&entry));
        let rebuilt = builder.build_whole(&self.block_source())?;
        Ok(rebuilt.map(|mut rebuilt| {
            rebuilt.header.block_id = block.header.block_id;
            rebuilt
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::MAX_ITEM_DATA_BYTES;
    use crate::model::level::Level;
    use crate::model::record::{EntryKind, Marks};

    const START_MS: i64 = 1_743_465_600_000;

    struct Made {
        packed: Vec<Packed>,
        days: BTreeMap<Day, DayCounts>,
        stored: u64,
        pruned: u64,
    }

    fn pack(entries: &[(i64, String)], pruned_before_ms: Option<i64>) -> Made {
        let app_id = "app".parse().unwrap();
        let seed = Seed::of(&[b"object"]);
        let source = PackSource {
            app_id: &app_id,
            seed: &seed,
            source: "s3://b/k",
            registered_ms: 1,
            arrived_ms: START_MS,
            retention_days: 30,
            pruned_before_ms,
        };
        let mut packer = Packer::new(source);
        let mut packed = Vec::new();
        for (ordinal, (timestamp_ms, raw)) in entries.iter().enumerate() {
            let entry = Entry {
                ordinal: ordinal as u64,
                timestamp_ms: *timestamp_ms,
                level: Level::ALL[ordinal % 4],
                kind: EntryKind::PlainText,
                timestamp_fallback: false,
                marks: Marks::NONE,
                raw,
            };
            packer.push(&entry, &mut packed).unwrap();
        }
        let (stored, pruned) = (packer.stored(), packer.pruned());
        let days = packer.finish(&mut packed).unwrap();
        Made { packed, days, stored, pruned }
    }

    fn lines(count: usize, step_ms: i64) -> Vec<(i64, String)> {
        let mut state = 1u64;
        (0..count)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let raw = format!("{{\"msg\":\"line {i} {:x}\",\"id\":{}}}", state >> 20, state >> 40);
                (START_MS + i as i64 * step_ms, raw)
            })
            .collect()
    }

    fn ordinals(made: &Made) -> Vec<u64> {
        let mut all: Vec<_> = made
            .packed
            .iter()
            .flat_map(|packed| &packed.block)
            .flat_map(|b| Payload::decode(&b.data).unwrap().entries().map(|e| e.ordinal).collect::<Vec<_>>())
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn every_entry_is_in_one_block_and_no_block_crosses_an_hour() {
        let made = pack(&lines(50_000, 500), None);
        assert_eq!(ordinals(&made), (0..50_000).collect::<Vec<_>>());
        for (index, packed) in made.packed.iter().enumerate() {
            assert_eq!(packed.sequence, index as u64);
            let block = packed.block.as_ref().unwrap();
            assert_eq!(hour_of_ms(block.header.first_ms), hour_of_ms(block.header.last_ms));
            assert!(block.data.len() <= MAX_ITEM_DATA_BYTES);
            assert_eq!(block.header.expires_at_secs, Some(START_MS / 1000 + 31 * 86_400));
        }
        assert_eq!(made.days.values().map(|day| day.levels.total()).sum::<i64>(), 50_000);
    }

    #[test]
    fn blocks_come_to_about_the_target() {
        let made = pack(&lines(100_000, 1), None);
        let sizes: Vec<_> = made.packed.iter().flat_map(|p| &p.block).map(|b| b.data.len()).collect();
        let middle = &sizes[1..sizes.len() - 1];
        assert!(middle.len() > 10);
        for size in middle {
            assert!((56 * 1024..=72 * 1024).contains(size), "{sizes:?}");
        }
    }

    #[test]
    fn the_same_entries_make_the_same_blocks() {
        let entries = lines(20_000, 700);
        assert_eq!(pack(&entries, None).packed, pack(&entries, None).packed);
    }

    #[test]
    fn entries_of_many_hours_at_once_stay_within_the_memory_and_are_all_stored() {
        let mut entries = lines(120_000, 1);
        for (i, (timestamp_ms, raw)) in entries.iter_mut().enumerate() {
            *timestamp_ms = START_MS + (i as i64 * 7919 % 4000) * 3_600_000;
            raw.push_str(&"x".repeat(400));
        }
        let made = pack(&entries, None);
        assert_eq!(ordinals(&made).len(), 120_000);
        assert!(made.packed.len() > 4000);
    }

    /// One entry each in this many hours, over and over again.
    fn scattered(hours: i64, entries: i64) -> Vec<(i64, String)> {
        (0..entries)
            .map(|i| (START_MS - i * 7919 % hours * 3_600_000, format!("{{\"n\":{i},\"pad\":\"{i:060}\"}}")))
            .collect()
    }

    #[test]
    fn the_cost_of_an_entry_does_not_grow_with_the_hours_that_are_open() {
        // The same number of entries each time. The work may grow with the blocks, but not with the open
        // hours.
        for hours in [1, 100, 5_000, 20_000, 60_000] {
            let (steps_before, entries) = (open::steps(), 60_000);
            let made = pack(&scattered(hours, entries), None);
            let steps = open::steps() - steps_before;
            assert_eq!(ordinals(&made).len(), entries as usize);
            assert!(steps <= 4 * (entries as u64 + made.packed.len() as u64), "{hours} hours: {steps} steps");
        }
    }

    #[test]
    fn no_more_hours_are_open_than_a_few_thousand_and_the_longest_untouched_are_closed_first() {
        // Two lines per hour, in ascending or descending order: each hour is one block, although there are
        // far more hours than may be open.
        for direction in [1, -1] {
            let hours = 3 * MAX_OPEN_HOURS as i64;
            let entries: Vec<_> = (0..2 * hours)
                .map(|i| (START_MS + direction * (i / 2) * 3_600_000, format!("{{\"n\":{i}}}")))
                .collect();
            open::take_most_open();
            let made = pack(&entries, None);
            // One is opened before one is closed.
            assert_eq!(open::take_most_open(), MAX_OPEN_HOURS + 1);
            assert_eq!(made.packed.len() as i64, hours);
        }
    }

    #[test]
    fn pruning_in_between_changes_neither_bounds_nor_ids() {
        let entries = lines(30_000, 400);
        let before = START_MS + 5_000_000;
        let (whole, pruned) = (pack(&entries, None), pack(&entries, Some(before)));
        assert_eq!(whole.packed.len(), pruned.packed.len());
        let mut straddling = 0;
        for (old, new) in whole.packed.iter().zip(&pruned.packed) {
            let old = old.block.as_ref().unwrap();
            match &new.block {
                None => assert!(old.header.last_ms < before),
                Some(new) => {
                    assert_eq!(
                        (new.header.block_id, new.header.sort_key()),
                        (old.header.block_id, old.header.sort_key())
                    );
                    assert!(new.header.first_ms >= before);
                    straddling += usize::from(new.header.count < old.header.count);
                }
            }
        }
        assert_eq!(straddling, 1);
        assert_eq!((pruned.stored, pruned.pruned), (17_500, 12_500));
        assert_eq!(ordinals(&pruned), (12_500..30_000).collect::<Vec<_>>());
        assert_eq!(pruned.days.values().map(|day| day.levels.total()).sum::<i64>(), 17_500);
    }
}
