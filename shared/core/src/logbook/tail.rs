//! Reads records of one app in the order of their arrival: those of each block once, however late they are.
//!
//! The log of arrivals names the blocks. A block that is gone, or that belongs to no record of the query by its level or
//! time, is skipped. Filters and the [budget](crate::logbook::budget::Budget) are those of other queries.

use tokio::time::Instant;

use crate::logbook::answer::{MAX_QUERY_BYTES, embedded_len};
use crate::logbook::arrival_cursor::{self, ArrivalCursor};
use crate::logbook::blocks::{BlockTable, StoredBlock};
use crate::logbook::budget::Spending;
use crate::logbook::filter::Order;
use crate::logbook::question::{Cost, Query, Range, open, render_record, units};
use crate::model::app::App;
use crate::model::block::BlockPlace;
use crate::model::fault::Fault;
use crate::model::time::rfc3339_ms;
use crate::model::time_bound::TimeBound;
use crate::ports::arrivals::{ARRIVAL_BYTES, ArrivalLog, ArrivalLogId, ArrivalRow, KEEP_MS};

/// Rows per read.
const ROWS: u32 = 100;

/// Blocks read in parallel.
const BLOCKS_AT_ONCE: usize = 8;

/// Bytes of a row besides its arrivals.
const ROW_BYTES: usize = 128;

/// Bytes of a block's item besides its data.
const ITEM_BYTES: usize = 256;

/// Where a tail begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// With what arrives from now on.
    Now,
    /// With what has arrived since.
    Time(TimeBound),
    /// After an earlier page.
    Cursor(String),
}

impl After {
    /// Parses `now`, a time as [`TimeBound`] does, or else takes the text as a cursor.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match (text, TimeBound::parse(text)) {
            ("now", _) => Self::Now,
            (_, Ok(bound)) => Self::Time(bound),
            (_, Err(_)) => Self::Cursor(text.to_owned()),
        }
    }
}

/// A page of a tail.
#[derive(Debug, PartialEq)]
pub struct TailPage {
    /// One JSON object per record.
    pub records: Vec<String>,
    /// Where the next page begins.
    pub cursor: String,
    /// Whether more has arrived already.
    pub more: bool,
    pub cost: Cost,
}

/// Why a tail fails.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("the cursor is none of this query")]
    BadCursor,
    /// Arrivals between the cursor and now may be deleted.
    #[error("arrivals are kept for a day only")]
    TooOld,
    #[error("arrivals can only be read of one app")]
    OneApp,
    #[error("the arrivals could not be read")]
    Fault(#[from] Fault),
}

/// A block that may have records of the page.
struct Named<'r> {
    row: &'r ArrivalRow,
    index: u32,
    place: BlockPlace,
}

struct Tail<'q, T, L> {
    table: &'q T,
    log: &'q L,
    query: &'q Query<'q>,
    app: &'q App,
    id: ArrivalLogId,
    range: Range,
    at: ArrivalCursor,
    spending: Spending,
    records: Vec<String>,
    bytes: usize,
    cost: Cost,
    /// Whether this page has got past its beginning.
    moved: bool,
}

/// Reads what arrived after. The order, the offset and the cursor of `query` are not used.
///
/// # Errors
/// [`TailError`]
pub async fn tail<T: BlockTable, L: ArrivalLog>(
    table: &T,
    log: &L,
    query: &Query<'_>,
    after: &After,
) -> Result<TailPage, TailError> {
    let ([app], false) = (query.apps, query.merged) else { return Err(TailError::OneApp) };
    let question = query.filter.question(Some(app.app_id.as_str()), Order::default());
    let id = ArrivalLogId { app_id: app.app_id.clone(), registered_ms: app.registered_ms };
    let at = match after {
        After::Now => newest(log, &id, query.now_ms).await?,
        After::Time(bound) => since(log, &id, bound.ms(query.now_ms), query.now_ms).await?,
        After::Cursor(text) => arrival_cursor::decode(text, &question).ok_or(TailError::BadCursor)?,
    };
    if query.now_ms.saturating_sub(at.seen_ms) > KEEP_MS {
        return Err(TailError::TooOld);
    }
    let mut tail = Tail {
        table,
        log,
        query,
        app,
        id,
        range: Range::of(query.filter, query.now_ms),
        at,
        spending: Spending::of(&query.budget),
        records: Vec::new(),
        bytes: 0,
        cost: Cost::default(),
        moved: false,
    };
    let more = match after {
        After::Now => false,
        After::Time(_) | After::Cursor(_) => tail.run().await?,
    };
    if !more {
        tail.at.seen_ms = tail.at.seen_ms.max(query.now_ms);
    }
    let cursor = arrival_cursor::encode(&tail.at, &question);
    Ok(TailPage { records: tail.records, cursor, more, cost: tail.cost })
}

/// Returns the end of the log.
async fn newest<L: ArrivalLog>(log: &L, id: &ArrivalLogId, now_ms: i64) -> Result<ArrivalCursor, Fault> {
    let newest = log.newest(id, None, 1).await?;
    Ok(newest.first().map_or(ArrivalCursor::start(now_ms), |row| ArrivalCursor::after(row, now_ms)))
}

/// Finds the end of the rows that were written before a time: numbers and times of rows rise together.
async fn since<L: ArrivalLog>(
    log: &L,
    id: &ArrivalLogId,
    since_ms: i64,
    now_ms: i64,
) -> Result<ArrivalCursor, TailError> {
    if since_ms < now_ms - KEEP_MS {
        return Err(TailError::TooOld);
    }
    let mut end = ArrivalCursor::start(now_ms);
    let mut below = log.newest(id, None, 1).await?.first().map_or(0, |row| row.number);
    while end.number < below {
        let middle = end.number + (below - end.number) / 2;
        match log.from(id, middle + 1, 1).await?.first() {
            Some(row) if row.at_ms < since_ms => end = ArrivalCursor::after(row, now_ms),
            _ => below = middle,
        }
    }
    Ok(end)
}

impl<T: BlockTable, L: ArrivalLog> Tail<'_, T, L> {
    /// Fills the page. Returns whether there is more.
    async fn run(&mut self) -> Result<bool, Fault> {
        let mut rows = self.first_rows().await?;
        loop {
            if self.read(&rows).await? {
                return Ok(true);
            }
            let Some(last) = rows.get(ROWS as usize - 1) else { return Ok(false) };
            if self.is_full() {
                return Ok(true);
            }
            rows = self.rows(last.number + 1).await?;
        }
    }

    async fn rows(&mut self, from: u64) -> Result<Vec<ArrivalRow>, Fault> {
        let rows = self.log.from(&self.id, from, ROWS).await?;
        self.cost.pages += 1;
        let bytes = rows.iter().map(|row| ROW_BYTES + row.arrivals.len() * ARRIVAL_BYTES).sum();
        self.cost.data_bytes += bytes;
        self.cost.units += units(bytes);
        self.spending.read_bytes(bytes);
        Ok(rows)
    }

    /// Returns rows from the cursor on. Where its row is gone, numbers may be used again, so all rows are read.
    async fn first_rows(&mut self) -> Result<Vec<ArrivalRow>, Fault> {
        let rows = self.rows(self.at.number).await?;
        let is_same = |row: &ArrivalRow| (row.generation, row.number) == (self.at.generation, self.at.number);
        if self.at.number == 0 || rows.first().is_some_and(is_same) {
            return Ok(rows);
        }
        self.rows(0).await
    }

    /// Whether the page ends before the next block.
    fn is_full(&self) -> bool {
        self.records.len() >= self.query.limit || self.moved && self.spending.is_over(Instant::now())
    }

    /// Reads the blocks of rows. Returns whether the page ends before their end.
    async fn read(&mut self, rows: &[ArrivalRow]) -> Result<bool, Fault> {
        let named: Vec<Named<'_>> = rows.iter().flat_map(|row| self.named(row)).collect();
        for named in named.chunks(BLOCKS_AT_ONCE) {
            if self.is_full() {
                return Ok(true);
            }
            let blocks = named.iter().map(|named| self.table.at(&named.place));
            let blocks = futures::future::try_join_all(blocks).await?;
            for (named, block) in named.iter().zip(blocks) {
                if self.is_full() {
                    return Ok(true);
                }
                self.at.enter(named.row, named.index);
                self.cost.pages += 1;
                let item_bytes = block.as_ref().map_or(0, |stored| ITEM_BYTES + stored.block.data.len());
                self.cost.units += units(item_bytes);
                // A missing block was removed, or has expired, since it arrived.
                if let Some(stored) = block
                    && self.take(named.row, &stored).await?
                {
                    return Ok(true);
                }
                self.at.leave();
                self.moved = true;
                tokio::task::yield_now().await;
            }
        }
        if let Some(row) = rows.last() {
            self.moved |= (row.generation, row.number) > (self.at.generation, self.at.number);
            self.at = self.at.max_after(row);
        }
        Ok(false)
    }

    /// Returns the unread blocks of a row that may have matches.
    fn named<'r>(&self, row: &'r ArrivalRow) -> Vec<Named<'r>> {
        let since_ms = self.range.since_ms_of(self.app);
        let unread = (0..).zip(&row.arrivals).skip(self.at.read_blocks_of(row));
        let wanted = unread.filter(|(_, arrival)| {
            arrival.last_ms >= since_ms && self.query.filter.entry.may_be_in(&arrival.levels.counts())
        });
        let app_id = &self.app.app_id;
        wanted.map(|(index, arrival)| Named { row, index, place: arrival.place(app_id) }).collect()
    }

    /// Adds the matching records of a block. Returns whether the page is full before its end.
    async fn take(&mut self, row: &ArrivalRow, stored: &StoredBlock) -> Result<bool, Fault> {
        let header = &stored.block.header;
        self.cost.blocks += 1;
        self.cost.data_bytes += stored.block.data.len();
        self.spending.read_bytes(stored.block.data.len());
        if self.range.excludes(header, self.query, self.app) {
            return Ok(false);
        }
        let opened = open(self.table, stored, &mut self.cost, &mut self.spending).await?;
        let Some(payload) = opened else { return Ok(false) };
        if !self.query.filter.entry.may_match_in(payload.text()) {
            return Ok(false);
        }
        let arrived = format!(",\"arrived_at\":\"{}\"}}", rfc3339_ms(row.at_ms));
        let filter = &self.query.filter.entry;
        let times = self.range.since_ms_of(self.app)..self.range.until_ms;
        for index in 0..payload.len() {
            let entry = payload.entry(index);
            if entry.ordinal < self.at.ordinal
                || !times.contains(&entry.timestamp_ms)
                || !filter.may_match(&entry)
            {
                continue;
            }
            let record = payload.record(index);
            if !filter.holds(&record) {
                continue;
            }
            let mut text = render_record(&record, None, self.query.raw);
            text.pop();
            text.push_str(&arrived);
            let bytes = embedded_len(&text);
            let is_long = self.bytes + bytes > MAX_QUERY_BYTES && !self.records.is_empty();
            if self.records.len() == self.query.limit || is_long {
                self.at.ordinal = record.entry.ordinal;
                return Ok(true);
            }
            self.bytes += bytes;
            self.records.push(text);
        }
        Ok(false)
    }
}
