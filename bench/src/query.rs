//! Cost of queries over ten million records of one app: blocks opened, read units, and CPU compared with the
//! decompression of the opened blocks alone.

use std::hint::black_box;

use logferry_core::logbook::budget::{Budget, MAX_DECOMPRESSED_BYTES, MAX_READ_BYTES};
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::histogram::{self, Question};
use logferry_core::logbook::query::{Cost, Order, Query, query};
use logferry_core::model::app::App;
use logferry_core::model::block::Block;
use logferry_core::model::entry_filter::EntryFilter;
use logferry_core::model::time::{MS_PER_DAY, MS_PER_HOUR};
use logferry_core::model::time_bound::TimeBound;
use tokio::runtime::Runtime;

use crate::clock::timed;
use crate::function;
use crate::race::{Contender, Failure, race};
use crate::report::{Report, Row, Table};
use crate::stored::{DAYS, FIRST_DAY_MS, Memory, fill};

/// A question with few opened blocks is asked this often in a round, since the clock of CPU time is coarse.
const OPENED_PER_ROUND: u32 = 1_000;

/// Returns the records that a query finds on all its pages, the pages, and their cost.
async fn walk(
    memory: &Memory,
    app: &App,
    filter: &Filter,
    limit: usize,
) -> Result<(usize, u32, Cost), Failure> {
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
                ..Budget::UNLIMITED
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

/// A question of a user.
struct Asked {
    name: &'static str,
    filter: Filter,
    limit: usize,
}

fn questions() -> Result<Vec<Asked>, Failure> {
    let middle = FIRST_DAY_MS + DAYS / 2 * MS_PER_DAY;
    let hour = |entry| Filter {
        entry,
        since: Some(TimeBound::At(middle)),
        until: Some(TimeBound::At(middle + MS_PER_HOUR)),
    };
    let entry = |pairs: &[(&str, &str)]| EntryFilter::read(pairs.iter().copied());
    let all = |pairs: &[(&str, &str)]| entry(pairs).map(|entry| Filter { entry, ..Filter::default() });
    let asked = |name, filter, limit| Asked { name, filter, limit };
    Ok(vec![
        asked("the newest 100", Filter::default(), 100),
        asked("100 of an hour in the middle", hour(EntryFilter::default()), 100),
        asked("1,000 of that hour", hour(EntryFilter::default()), 1_000),
        asked("a level that 1 in 1,000,000 has", all(&[("level", "ERROR")])?, 1_000),
        asked("search: a word that 1 in 20,000 has", all(&[("search", "NEEDLE in the")])?, 100),
        asked(
            "search_in=all: the same word",
            all(&[("search", "NEEDLE in the"), ("search_in", "all")])?,
            100,
        ),
        asked("field.userId that 1 in 100,000 has", all(&[("field.userId", "u-rare")])?, 100),
        asked(
            "an hour, a number that none has",
            hour(entry(&[("field.processingTimeMs", ">=100000")])?),
            100,
        ),
    ])
}

/// Ten million records, or as many as requested.
pub(crate) fn costs(report: &mut Report, records: u64, rounds: u32) -> Result<(), Failure> {
    let app = function::app()?;
    let (filling, memory) = timed(|| fill(records, &app.app_id));
    let memory = memory?;
    let bytes: usize = memory.blocks.values().map(|block| block.data.len()).sum();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut rows = Vec::new();
    for asked in questions()? {
        rows.push(ask(&runtime, &memory, &app, &asked, rounds)?);
    }
    report.add(Table {
        id: "queries",
        title: format!(
            "Queries: {records} records in {DAYS} days, {} blocks, {:.0} MB compressed (made in {:.0} CPU s)",
            memory.blocks.len(),
            bytes as f64 / 1e6,
            filling.cpu
        ),
        columns: vec![
            "found",
            "requests",
            "blocks read",
            "opened",
            "MB raw",
            "read units",
            "CPU ms",
            "zstd alone, ms",
            "of zstd",
        ],
        rows,
    })?;
    counts(report, &runtime, &memory, &app, rounds)
}

fn ask(runtime: &Runtime, memory: &Memory, app: &App, asked: &Asked, rounds: u32) -> Result<Row, Failure> {
    let Asked { name, filter, limit } = asked;
    if let Ok(mut read) = memory.read.lock() {
        read.clear();
    }
    let (found, requests, cost) = runtime.block_on(walk(memory, app, filter, *limit))?;
    let opened = opened(memory, filter, cost.opened as usize);
    let raw_bytes = decompress(&opened)?;
    let times = 1 + OPENED_PER_ROUND / (1 + cost.opened);
    let mut contenders = [
        Contender::new(*name, || {
            (0..times).try_for_each(|_| runtime.block_on(walk(memory, app, filter, *limit)).map(|_| ()))
        }),
        Contender::new("decompression alone", || {
            (0..times).try_for_each(|_| {
                decompress(&opened).map(|bytes| {
                    black_box(bytes);
                })
            })
        }),
    ];
    let [whole, alone] = race(rounds, &mut contenders)?[..] else { return Err("two contenders".into()) };
    let [whole, alone] = [whole, alone].map(|time| time.cpu / f64::from(times) * 1e3);
    Ok(Row::new(
        *name,
        [
            found as f64,
            f64::from(requests),
            f64::from(cost.blocks),
            f64::from(cost.opened),
            raw_bytes as f64 / 1e6,
            cost.units.round(),
            whole,
            alone,
            alone / whole,
        ],
    ))
}

/// Counts per level and bucket over all days, as the console's histogram asks for them.
fn counts(
    report: &mut Report,
    runtime: &Runtime,
    memory: &Memory,
    app: &App,
    rounds: u32,
) -> Result<(), Failure> {
    let (since_ms, until_ms) = (FIRST_DAY_MS, FIRST_DAY_MS + DAYS * MS_PER_DAY);
    let (any, errors) = (Filter::default(), EntryFilter::read([("level", "ERROR")])?);
    let errors = Filter { entry: errors, ..Filter::default() };
    let count = |name: &'static str, filter, since_ms| {
        Contender::new(name, move || {
            let question = Question {
                apps: std::slice::from_ref(app),
                filter,
                since_ms,
                until_ms,
                bucket_ms: histogram::width_ms(since_ms, until_ms),
                now_ms: until_ms,
                budget: Budget::UNLIMITED,
            };
            black_box(runtime.block_on(histogram::count(memory, &question))?);
            Ok(())
        })
    };
    let mut contenders = [
        count("30 days", &any, since_ms),
        count("30 days, a level", &errors, since_ms),
        count("the last day", &any, until_ms - MS_PER_DAY),
    ];
    let times = race(rounds, &mut contenders)?;
    report.add(Table {
        id: "counts",
        title: "Histograms over the same records".to_owned(),
        columns: vec!["CPU ms"],
        rows: contenders
            .iter()
            .zip(times)
            .map(|(contender, time)| Row::new(&contender.name, [time.cpu * 1e3]))
            .collect(),
    })?;
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

fn decompress(blocks: &[&Block]) -> Result<usize, Failure> {
    blocks.iter().map(|block| Ok(zstd::bulk::decompress(&block.data, 8 << 20)?.len())).sum()
}
