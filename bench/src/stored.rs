//! Ten million records in blocks, and a table in memory that returns them as DynamoDB does.

use std::collections::BTreeMap;
use std::sync::Mutex;

use logferry_core::logbook::blocks::{
    BlockPage, BlockPosition, BlockRange, BlockTable, HeaderPage, StoredBlock, StoredHeader,
};
use logferry_core::logbook::counters::{CounterKey, CounterPage, CounterRow, Stats};
use logferry_core::model::app::AppId;
use logferry_core::model::block::{Block, BlockBuilder, BlockHeader, BlockPlace, BlockSource};
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::expiry::{Expiring, NEVER};
use logferry_core::model::fault::Fault;
use logferry_core::model::ids::Seed;
use logferry_core::model::level::Level;
use logferry_core::model::record::{Entry, EntryKind, Marks};
use logferry_core::model::time::{Day, MS_PER_DAY, hour_of_ms};
use logferry_corpus::pino;

use crate::race::Failure;

/// The first day, 2025-04-01, and the number of days.
pub(crate) const FIRST_DAY_MS: i64 = 1_743_465_600_000;
pub(crate) const DAYS: i64 = 30;
/// Records per file, and raw bytes per block.
const FILE_RECORDS: u64 = 5_000;
const BLOCK_RAW_BYTES: usize = 390 * 1024;
/// One in this many records is an ERROR, or has the searched word.
const ERROR_EVERY: u64 = 1_000_000;
const WORD_EVERY: u64 = 20_000;
/// One in this many records has the `userId` that a query asks for.
const USER_EVERY: u64 = 100_000;
/// Number of distinct lines.
const LINES: u64 = 40_000;

/// Bytes of an item besides its data, and bytes per strongly consistent read unit.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
const ITEM_OVERHEAD_BYTES: usize = 360;
const READ_UNIT_BYTES: usize = 4096;

/// Blocks and counters in memory.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) blocks: BTreeMap<(String, String), Block>,
    days: BTreeMap<Day, DayCounts>,
    /// Headers of the read blocks, and their data.
    pub(crate) read: Mutex<Vec<(String, String)>>,
}

fn units(bytes: usize) -> f64 {
    bytes.div_ceil(READ_UNIT_BYTES) as f64
}

impl BlockTable for Memory {
    async fn put(&self, _: Vec<Block>) -> Result<Vec<Block>, Fault> {
        Ok(Vec::new())
    }

    async fn newest(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> Result<BlockPage, Fault> {
        let pk = range.partition.key();
        let from = (pk.clone(), format!("{:013}", range.last_ms_from));
        let to = match after {
            Some(after) => (pk, after.0.clone()),
            None => (pk, format!("{:013}#~", range.last_ms_to)),
        };
        let mut page = BlockPage::default();
        let mut bytes = 0;
        for (key, block) in self.blocks.range(from..to).rev() {
            bytes += block.data.len() + ITEM_OVERHEAD_BYTES;
            page.blocks.push(StoredBlock { block: block.clone(), extents: 0, whole: true });
            if let Ok(mut read) = self.read.lock() {
                read.push(key.clone());
            }
            // A Query returns at most `limit` items or 1 MB.
            if page.blocks.len() == limit as usize || bytes > 1024 * 1024 {
                page.next = Some(BlockPosition(key.1.clone()));
                break;
            }
        }
        page.read_units = units(bytes.max(1));
        Ok(page)
    }

    async fn remove(&self, _: &[StoredHeader]) -> Result<(), Fault> {
        Ok(())
    }

    async fn headers(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> Result<HeaderPage, Fault> {
        let page = BlockTable::newest(self, range, limit, after).await?;
        let header = |stored: StoredBlock| StoredHeader {
            header: stored.block.header,
            extents: stored.extents,
            pruned_to_ms: None,
        };
        Ok(HeaderPage {
            blocks: page.blocks.into_iter().map(header).collect(),
            unreadable: Vec::new(),
            next: page.next,
            read_units: page.read_units,
        })
    }

    async fn at(&self, place: &BlockPlace) -> Result<Option<StoredBlock>, Fault> {
        let block = self.blocks.get(&(place.partition.key(), place.sort_key())).cloned();
        Ok(block.map(|block| StoredBlock { block, extents: 0, whole: true }))
    }

    async fn with_extents(&self, _: &BlockHeader, first: Vec<u8>, _: u8) -> Result<Vec<u8>, Fault> {
        Ok(first)
    }
}

impl Stats for Memory {
    async fn newest(
        &self,
        _: &AppId,
        from: Day,
        to: Day,
        limit: u32,
        after: Option<CounterKey>,
    ) -> Result<CounterPage, Fault> {
        let days =
            self.days.range(from..=to).rev().filter(|(day, _)| after.is_none_or(|after| **day < after.day));
        let row = |(day, counts): (&Day, &DayCounts)| CounterRow {
            key: CounterKey { day: *day, registered_ms: 1, counter: 0 },
            counts: Expiring::one(NEVER, *counts),
        };
        let rows: Vec<_> = days.map(row).take(limit as usize).collect();
        let next = rows.last().filter(|_| rows.len() == limit as usize).map(|row| row.key);
        Ok(CounterPage { read_units: units(rows.len() * 120 + 1), rows, next })
    }

    async fn hide(&self, _: &AppId, _: i64, _: Day, _: i64, _: i64) -> Result<(), Fault> {
        Ok(())
    }

    async fn remove(&self, _: &AppId, _: &[CounterKey]) -> Result<(), Fault> {
        Ok(())
    }
}

/// Makes the records of one app: what [`pino`] writes, and a few that queries ask for.
pub(crate) fn fill(records: u64, app_id: &AppId) -> Result<Memory, Failure> {
    let mut text = Vec::new();
    pino::write(LINES, &mut text)?;
    let text = String::from_utf8(text)?;
    let lines: Vec<&str> = text.lines().collect();
    let mut memory = Memory::default();
    let mut builder = BlockBuilder::default();
    let span_ms = DAYS * MS_PER_DAY;
    let time_of = |i: u64| FIRST_DAY_MS + (i128::from(i) * i128::from(span_ms) / i128::from(records)) as i64;
    let mut hour = hour_of_ms(FIRST_DAY_MS);
    let mut seed = Seed::of(&[b"file 0"]);
    let mut flush = |builder: &mut BlockBuilder, seed: &Seed| -> Result<(), Failure> {
        let source = BlockSource {
            app_id,
            seed,
            format: "ndjson",
            source: "bench",
            registered_ms: 1,
            expires_at_secs: None,
        };
        for block in std::mem::take(builder).build(&source)? {
            let counts = memory.days.entry(block.header.day()).or_default();
            counts.levels += block.header.levels;
            memory.blocks.insert((block.header.partition().key(), block.header.sort_key()), block);
        }
        Ok(())
    };
    for i in 0..records {
        let timestamp_ms = time_of(i);
        let new_file = i % FILE_RECORDS == 0;
        if new_file || hour_of_ms(timestamp_ms) != hour || builder.raw_bytes() > BLOCK_RAW_BYTES {
            flush(&mut builder, &seed)?;
            hour = hour_of_ms(timestamp_ms);
        }
        if new_file {
            seed = Seed::of(&[format!("file {}", i / FILE_RECORDS).as_bytes()]);
        }
        let raw = if i % WORD_EVERY == WORD_EVERY / 2 {
            r#"{"level":30,"msg":"The needle in the haystack"}"#
        } else if i % USER_EVERY == USER_EVERY / 4 {
            r#"{"level":30,"msg":"paid","userId":"u-rare","res":{"statusCode":200}}"#
        } else {
            lines[(i % LINES) as usize]
        };
        let level = match i % ERROR_EVERY {
            500_000 => Level::Error,
            n if n % 9 == 0 => Level::Debug,
            n if n % 9 == 1 => Level::Warn,
            _ => Level::Info,
        };
        builder.push(&Entry {
            ordinal: i % FILE_RECORDS,
            timestamp_ms,
            level,
            kind: EntryKind::Json,
            timestamp_fallback: false,
            marks: Marks::NONE,
            raw,
        });
    }
    flush(&mut builder, &seed)?;
    Ok(memory)
}
