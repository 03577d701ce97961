//! Reads records of one app, oldest first.
//!
//! A partition is sorted by the last record of its blocks, and a block never crosses an hour. The hours are
//! read one after another: of each the headers of its blocks, then the blocks in the order of their first records,
//! until no unread block can have a record that is older than those found.

use std::collections::BinaryHeap;

use tokio::time::Instant;

use crate::logbook::answer::{MAX_QUERY_BYTES, embedded_len};
use crate::logbook::block_cursor::HEADER_BYTES;
use crate::logbook::blocks::{BlockRange, BlockTable};
use crate::logbook::budget::Spending;
use crate::logbook::counters::Stats;
use crate::logbook::cursor::{self, Cursor, Position};
use crate::logbook::day_cursor::DayCursor;
use crate::logbook::newest::{ByPosition, Candidate};
use crate::logbook::question::{Cost, MAX_HELD_BYTES, Page, Query, QueryError, Range, open, render};
use crate::model::app::App;
use crate::model::block::{BlockHeader, Partition};
use crate::model::ids::{BlockId, SHARDS};
use crate::model::time::{Day, MS_PER_HOUR, hour_of_ms};

/// Headers per request: a Query returns at most 1 MB of items.
const HEADERS_AT_ONCE: u32 = 256;

/// Blocks fetched in parallel.
const BLOCKS_AT_ONCE: usize = 8;

/// The oldest of the offered records, limited by number and bytes.
struct Oldest {
    wanted: usize,
    bytes: usize,
    heap: BinaryHeap<ByPosition>,
    /// Records at and above this position were dropped, and others are not complete there.
    ceiling: Option<Position>,
}

impl Oldest {
    fn is_full(&self) -> bool {
        self.heap.len() >= self.wanted || self.ceiling.is_some()
    }

    fn may_take(&self, position: &Position) -> bool {
        let last = self.heap.peek().map(|ByPosition(candidate)| candidate.position);
        self.ceiling.is_none_or(|ceiling| *position < ceiling)
            && (self.heap.len() < self.wanted || last.is_some_and(|last| *position < last))
    }

    fn take(&mut self, candidate: Candidate) {
        self.bytes += candidate.raw.len();
        self.heap.push(ByPosition(candidate));
        while self.heap.len() > self.wanted {
            self.drop_last();
        }
        while self.bytes > MAX_HELD_BYTES && self.heap.len() > 1 {
            self.ceiling = self.drop_last();
        }
    }

    fn drop_last(&mut self) -> Option<Position> {
        let ByPosition(last) = self.heap.pop()?;
        self.bytes -= last.raw.len();
        Some(last.position)
    }
}

/// No record of the block is below this position.
fn lowest(header: &BlockHeader) -> Position {
    Position { timestamp_ms: header.first_ms, block_id: header.block_id, ordinal: 0 }
}

fn start_of(timestamp_ms: i64) -> Position {
    Position { timestamp_ms, block_id: BlockId([0; 16]), ordinal: 0 }
}

struct Search<'q> {
    query: &'q Query<'q>,
    app: &'q App,
    since_ms: i64,
    until_ms: i64,
    /// Earlier records were answered, or do not match.
    start: Position,
    spending: Spending,
    cost: Cost,
    found: Oldest,
}

/// Runs a query for the oldest records.
///
/// # Errors
/// [`QueryError`]; among others, the query is about several apps, or has an offset.
pub(crate) async fn oldest<T: BlockTable + Stats>(
    table: &T,
    query: &Query<'_>,
    after: Option<Cursor>,
    range: Range,
    question: &cursor::QuestionHash,
) -> Result<Page, QueryError> {
    let [app] = query.apps else { return Err(QueryError::OneAppOldestFirst) };
    if query.offset > 0 {
        return Err(QueryError::OffsetOldestFirst);
    }
    let since_ms = range.since_ms_of(app);
    let start = after.map_or(start_of(since_ms), |after| after.from);
    let mut search = Search {
        query,
        app,
        since_ms: since_ms.max(start.timestamp_ms),
        until_ms: range.until_ms,
        start,
        spending: Spending::of(&query.budget),
        cost: Cost::default(),
        found: Oldest { wanted: query.limit + 1, bytes: 0, heap: BinaryHeap::new(), ceiling: None },
    };
    let unread_at = search.run(table).await?;
    let stop = unread_at.into_iter().chain(search.found.ceiling).min();
    let mut page = Page { cost: search.cost, ..Page::default() };
    let mut next = stop;
    let mut answer_bytes = 0;
    for ByPosition(candidate) in search.found.heap.into_sorted_vec() {
        if stop.is_some_and(|stop| candidate.position >= stop) {
            break;
        }
        let text = render(&candidate, query);
        answer_bytes += embedded_len(&text);
        let is_long = answer_bytes > MAX_QUERY_BYTES && !page.records.is_empty();
        if page.records.len() == query.limit || is_long {
            next = Some(candidate.position);
            break;
        }
        page.records.push(text);
    }
    let cursor = next.map(|from| Cursor { below: from, from, asked_ms: range.asked_ms });
    page.cursor = cursor.map(|cursor| cursor::encode(&cursor, question));
    Ok(page)
}

impl Search<'_> {
    /// Finds records. Returns where reading stopped: everything below was inspected.
    async fn run<T: BlockTable + Stats>(&mut self, table: &T) -> Result<Option<Position>, QueryError> {
        if self.since_ms >= self.until_ms {
            return Ok(None);
        }
        let (first, last) = (Day::of_ms(self.since_ms), Day::of_ms(self.until_ms - 1));
        let mut counted = DayCursor::new(self.app, first, last, self.query.now_ms);
        let mut days = Vec::new();
        while let Some(day) = counted.peek(table).await? {
            counted.take();
            if self.query.filter.entry.may_be_in(&day.levels) {
                days.push(day.day);
            }
        }
        self.cost.pages += counted.pages;
        self.cost.units += counted.units;
        for day in days.into_iter().rev() {
            let from = hour_of_ms(self.since_ms.max(day.start_ms()));
            let to = hour_of_ms((self.until_ms - 1).min(day.end_ms()));
            for hour in from..=to {
                if self.found.is_full() {
                    return Ok(None);
                }
                let begin = start_of(hour * MS_PER_HOUR);
                if begin > self.start && self.spending.is_over(Instant::now()) {
                    return Ok(Some(begin));
                }
                if let Some(stopped) = self.read_hour(table, day, hour).await? {
                    return Ok(Some(stopped));
                }
            }
        }
        Ok(None)
    }

    async fn read_hour<T: BlockTable>(
        &mut self,
        table: &T,
        day: Day,
        hour: i64,
    ) -> Result<Option<Position>, QueryError> {
        let Some(mut headers) = self.headers(table, day, hour).await? else {
            // An hour is listed as a whole: without that, no record of it is certain.
            let begin = start_of(hour * MS_PER_HOUR);
            return if begin > self.start { Ok(Some(begin)) } else { Err(QueryError::HourTooLarge) };
        };
        headers.sort_unstable_by_key(lowest);
        for headers in headers.chunks(BLOCKS_AT_ONCE) {
            let Some(first) = headers.first().map(lowest).filter(|first| self.found.may_take(first)) else {
                break;
            };
            let now = Instant::now();
            if first > self.start && self.spending.is_over(now) {
                return Ok(Some(first));
            }
            // A cursor would not be further than this page's start.
            if self.spending.is_exhausted(now) {
                return Err(QueryError::HourTooLarge);
            }
            let wanted = headers.iter().filter(|header| self.found.may_take(&lowest(header)));
            let blocks = futures::future::join_all(wanted.map(|header| table.find(header))).await;
            for block in blocks {
                self.cost.pages += 1;
                // A missing block was removed, or has expired, since its header was read.
                let Some(stored) = block? else { continue };
                self.cost.data_bytes += stored.block.data.len();
                self.spending.read_bytes(stored.block.data.len());
                let opened = open(table, &stored, &mut self.cost, &mut self.spending).await?;
                let Some(payload) = opened else { continue };
                self.take(&payload, stored.block.header.block_id);
                tokio::task::yield_now().await;
            }
        }
        Ok(None)
    }

    /// Returns the headers of an hour's blocks that may have matches; `None` if the time or the read units are over
    /// first.
    async fn headers<T: BlockTable>(
        &mut self,
        table: &T,
        day: Day,
        hour: i64,
    ) -> Result<Option<Vec<BlockHeader>>, QueryError> {
        let range = |shard: u8| BlockRange {
            partition: Partition { app_id: self.app.app_id.clone(), day, shard },
            last_ms_from: self.since_ms.max(hour * MS_PER_HOUR),
            last_ms_to: (hour + 1) * MS_PER_HOUR - 1,
        };
        let mut unread: Vec<_> = (0..SHARDS).map(|shard| (range(shard), None)).collect();
        let mut headers = Vec::new();
        while !unread.is_empty() {
            if self.spending.is_exhausted(Instant::now()) {
                return Ok(None);
            }
            let reads =
                unread.iter().map(|(range, after)| table.headers(range, HEADERS_AT_ONCE, after.as_ref()));
            let read = self.spending.in_time(true, futures::future::try_join_all(reads)).await;
            let Some(pages) = read else { return Ok(None) };
            let mut next = Vec::new();
            for ((range, _), page) in unread.into_iter().zip(pages?) {
                self.cost.pages += 1;
                self.cost.blocks += u32::try_from(page.blocks.len()).unwrap_or(u32::MAX);
                self.cost.skipped += page.skipped();
                self.cost.units += page.read_units;
                self.cost.data_bytes += page.blocks.len() * HEADER_BYTES;
                self.spending.read_bytes(page.blocks.len() * HEADER_BYTES);
                self.spending.read_units(page.read_units);
                headers.extend(page.blocks.into_iter().map(|stored| stored.header));
                if page.next.is_some() {
                    next.push((range, page.next));
                }
            }
            unread = next;
        }
        headers.retain(|header| {
            let range = Range { since_ms: self.since_ms, until_ms: self.until_ms, asked_ms: 0 };
            !range.excludes(header, self.query, self.app)
        });
        Ok(Some(headers))
    }

    fn take(&mut self, payload: &crate::model::block::Payload, block_id: BlockId) {
        let filter = &self.query.filter.entry;
        if !filter.may_match_in(payload.text()) {
            return;
        }
        for index in 0..payload.len() {
            let entry = payload.entry(index);
            let position = Position { timestamp_ms: entry.timestamp_ms, block_id, ordinal: entry.ordinal };
            if !(self.since_ms..self.until_ms).contains(&entry.timestamp_ms)
                || position < self.start
                || !self.found.may_take(&position)
                || !filter.may_match(&entry)
            {
                continue;
            }
            let record = payload.record(index);
            if filter.holds(&record) {
                self.found.take(Candidate::of(&record, position, 0, true));
            }
        }
    }
}
