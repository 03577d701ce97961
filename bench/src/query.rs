//! Cost of queries over ten million records of one app: pages read, read units, CPU compared with the
//! decompression of the opened blocks alone.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::sync::Mutex;

use logferry_core::logbook::blocks::{
    BlockPage, BlockPosition, BlockRange, BlockTable, HeaderPage, StoredBlock, StoredHeader,
};
use logferry_core::logbook::budget::{Budget, MAX_DECOMPRESSED_BYTES, MAX_READ_BYTES};
use logferry_core::logbook::counters::{CounterKey, CounterPage, CounterRow, Stats};
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::query::{Cost, Order, Query, query};
use logferry_core::model::app::{App, AppId, FlushSetting};
use logferry_core::model::block::{Block, BlockBuilder, BlockHeader, BlockPlace, BlockSource};
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::entry_filter::EntryFilter;
use logferry_core::model::expiry::{Expiring, NEVER};
use logferry_core::model::fault::Fault;
use logferry_core::model::ids::Seed;
use logferry_core::model::level::Level;
use logferry_core::model::record::{Entry, EntryKind, Marks};
use logferry_core::model::time::{Day, MS_PER_DAY, MS_PER_HOUR, hour_of_ms};
use logferry_core::model::time_bound::TimeBound;

use crate::{cpu, pino};

/// The first day, 2025-04-01, and the number of days.
const FIRST_DAY_MS: i64 = 1_743_465_600_000;
const DAYS: i64 = 30;
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
struct Memory {
    blocks: BTreeMap<(String, String), Block>,
    days: BTreeMap<Day, DayCounts>,
    /// Headers of the read blocks, and their data.
    read: Mutex<Vec<(String, String)>>,
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
            unreadable: page.unreadable,
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

fn app() -> Result<App, Box<dyn Error>> {
    Ok(App {
        app_id: "bench".parse()?,
        name: "bench".to_owned(),
        registered_ms: 1,
        retention_days: None,
        pruned_before_ms: None,
        flush: FlushSetting::default(),
        health_checks: serde_json::Value::Null,
        alerts: Vec::new(),
    })
}

fn fill(records: u64, app_id: &AppId) -> Result<Memory, Box<dyn Error>> {
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
    let mut flush = |builder: &mut BlockBuilder, seed: &Seed| -> Result<(), Box<dyn Error>> {
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

/// Returns the records that a query finds on all its pages, and the cost.
async fn walk(
    memory: &Memory,
    app: &App,
    filter: &Filter,
    limit: usize,
) -> Result<(usize, u32, Cost), Box<dyn Error>> {
    let (mut found, mut requests, mut cost, mut cursor) = (0, 0, Cost::default(), None::<String>);
    loop {
        let question = Query {
            apps: std::slice::from_ref(app),
            merged: false,
            filter,
            order: Order::NewestFirst,
            limit: limit - found,
            offset: 0,
            cursor: cursor.as_deref(),
            raw: false,
            now_ms: 0,
            // Limited by bytes only: the speed of the machine must not matter.
            budget: Budget {
                read_bytes: MAX_READ_BYTES,
                decompressed_bytes: MAX_DECOMPRESSED_BYTES,
                stop_at: None,
            },
        };
        let page = query(memory, &question).await?;
        found += page.records.len();
        requests += 1;
        cost.pages += page.cost.pages;
        cost.blocks += page.cost.blocks;
        cost.opened += page.cost.opened;
        cost.data_bytes += page.cost.data_bytes;
        cost.units += page.cost.units;
        cursor = page.cursor;
        if found == limit || cursor.is_none() {
            return Ok((found, requests, cost));
        }
    }
}

/// Ten million records, or as many as requested, and four queries.
pub(crate) fn costs(records: u64) -> Result<(), Box<dyn Error>> {
    let app = app()?;
    let (fill_secs, memory) = cpu::timed(|| fill(records, &app.app_id))?;
    let memory = memory?;
    let bytes: usize = memory.blocks.values().map(|block| block.data.len()).sum();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n## queries: {records} records of one app in {DAYS} days")?;
    writeln!(
        out,
        "{} blocks, {:.0} MB compressed; made in {fill_secs:.0} CPU s",
        memory.blocks.len(),
        bytes as f64 / 1e6
    )?;
    let middle = FIRST_DAY_MS + DAYS / 2 * MS_PER_DAY;
    let any = Filter::default();
    let hour = Filter {
        since: Some(TimeBound::At(middle)),
        until: Some(TimeBound::At(middle + MS_PER_HOUR)),
        ..Filter::default()
    };
    let entry = |name: &str, value: &str| {
        EntryFilter::read([(name, value)]).map(|entry| Filter { entry, ..Filter::default() })
    };
    let rare = entry("level", "ERROR")?;
    let search = entry("search", "NEEDLE in the")?;
    let user = entry("field.userId", "u-rare")?;
    let slow = Filter { entry: entry("field.processingTimeMs", ">=100000")?.entry, ..hour.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    writeln!(
        out,
        "| question | found | requests | pages | blocks read | opened | MB read | read units | CPU ms | decompression alone, ms | ratio |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|")?;
    for (name, filter, limit) in [
        ("the newest 100", &any, 100),
        ("100 of an hour in the middle", &hour, 100),
        ("1,000 of that hour", &hour, 1_000),
        ("all of a level that is 1 in 1,000,000", &rare, 1_000),
        ("the newest 100 with a word that 1 in 20,000 has", &search, 100),
        ("100 of a userId that 1 in 100,000 has", &user, 100),
        ("an hour's records with a number that none has", &slow, 100),
    ] {
        if let Ok(mut read) = memory.read.lock() {
            read.clear();
        }
        let (found, requests, cost) = runtime.block_on(walk(&memory, &app, filter, limit))?;
        let opened = opened(&memory, filter, cost.opened as usize);
        // A thread's clock is coarse: fast work is repeated.
        let rounds = 1 + 1_000 / (1 + cost.opened);
        let (secs, walked) = cpu::timed(|| {
            (0..rounds).try_for_each(|_| runtime.block_on(walk(&memory, &app, filter, limit)).map(|_| ()))
        })?;
        walked?;
        let (alone, bytes) =
            cpu::timed(|| (0..rounds).map(|_| decompress(&opened)).sum::<Result<usize, _>>())?;
        bytes?;
        let (secs, alone) = (secs / f64::from(rounds), alone / f64::from(rounds));
        writeln!(
            out,
            "| {name} | {found} | {requests} | {} | {} | {} | {:.1} | {:.0} | {:.1} | {:.1} | {:.2} |",
            cost.pages,
            cost.blocks,
            cost.opened,
            cost.data_bytes as f64 / 1e6,
            cost.units,
            secs * 1e3,
            alone * 1e3,
            alone / secs,
        )?;
    }
    Ok(())
}

/// Returns as many of the read blocks as were opened.
fn opened<'m>(memory: &'m Memory, filter: &Filter, opened: usize) -> Vec<&'m Block> {
    let read = memory.read.lock().map(|read| read.clone()).unwrap_or_default();
    read.iter()
        .filter_map(|key| memory.blocks.get(key))
        .filter(|block| filter.entry.may_be_in(&block.header.levels))
        .filter(|block| filter.until.is_none_or(|until| block.header.first_ms < until.ms(0)))
        .take(opened)
        .collect()
}

fn decompress(blocks: &[&Block]) -> std::io::Result<usize> {
    blocks.iter().map(|block| zstd::bulk::decompress(&block.data, 8 << 20).map(|raw| raw.len())).sum()
}
