//! Reads records, newest first; `oldest.rs` reads them in the other order.
//!
//! The counters name the days. A day has four partitions, each sorted by the time of the last record of its
//! blocks. Blocks are read in that order over all partitions, and matching records are added to a set of
//! the newest records. Once the set is full and all unread records are older than its oldest, the result is
//! certain and reading stops. Memory holds the set, one decompressed block and a page of compressed blocks
//! per partition. With many partitions, it holds a header each and a few blocks in total.
//!
//! A query stops when its [budget](crate::logbook::budget::Budget) is spent. It then returns what is certain, and a cursor that always
//! makes progress.

use crate::logbook::blocks::{BlockRange, BlockTable};
use crate::logbook::counters::Stats;
use crate::model::app::App;
use crate::model::block::{BlockHeader, Partition, Payload};
use crate::model::fault::Fault;
use crate::model::ids::SHARDS;
use crate::model::time::{Day, MS_PER_HOUR, hour_of_ms};
use tokio::time::Instant;

use crate::logbook::answer::{MAX_QUERY_BYTES, embedded_len};
use crate::logbook::block_cursor::{BlockCursor, Head};
use crate::logbook::budget::Spending;
use crate::logbook::cursor::{Cursor, Position};
use crate::logbook::day_cursor::DayCursor;
use crate::logbook::newest::{Candidate, Newest};
use crate::logbook::oldest::oldest;
use crate::logbook::question::{MAX_HELD_BYTES, Range, open, render};
use crate::logbook::{block_cursor, cursor};

pub use crate::logbook::filter::Order;
pub use crate::logbook::question::{Cost, DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, Page, Query, QueryError};

/// Partitions read in parallel.
const READ_AT_ONCE: usize = 16;
/// Maximum number of days whose partitions are read together, if single days have few matches.
const MAX_DAYS_AT_ONCE: usize = 8;
/// Number of apps up to which blocks are read with data. For more apps, headers are read first.
const APPS_READ_WHOLE: usize = READ_AT_ONCE / SHARDS as usize;
/// Blocks in memory if headers are read first.
const BLOCKS_AT_ONCE: usize = 8;

/// Runs a query.
///
/// # Errors
/// [`QueryError::BadCursor`] for a cursor of another query.
pub async fn query<T: BlockTable + Stats>(table: &T, query: &Query<'_>) -> Result<Page, QueryError> {
    let scope = match (query.merged, query.apps) {
        (false, [app]) => Some(app.app_id.as_str()),
        _ => None,
    };
    let question = query.filter.question(scope, query.order);
    let mut after = match query.cursor {
        Some(text) => Some(cursor::decode(text, &question).ok_or(QueryError::BadCursor)?),
        None => None,
    };
    let asked_ms = after.map_or(query.now_ms, |after| after.asked_ms);
    let range = Range::of(query.filter, asked_ms);
    if query.order == Order::OldestFirst {
        return oldest(table, query, after, range, &question).await;
    }
    let mut spending = Spending::of(&query.budget);
    let mut cost = Cost::default();
    if query.offset > 0 {
        // Skipped records are found first and not kept: an offset must not hold thousands of entries in
        // memory.
        let search = Search::new(query, after, range, query.offset, 0);
        let skipped = search.run(table, &mut spending, &mut cost).await?;
        match skipped.found.last() {
            Some(last) if skipped.found.len() == query.offset => {
                after = Some(skipped.trail.cursor(last.position, asked_ms));
            }
            _ if skipped.unread_at.is_some() => return Err(QueryError::OffsetTooFar),
            _ => return Ok(Page { cost, ..Page::default() }),
        }
    }
    let search = Search::new(query, after, range, query.limit + 1, MAX_HELD_BYTES);
    let found = search.run(table, &mut spending, &mut cost).await?;
    let cursor_at = |position| cursor::encode(&found.trail.cursor(position, asked_ms), &question);
    Ok(page(query, &found, cursor_at, cost))
}

fn page(query: &Query<'_>, found: &Found, cursor_at: impl Fn(Position) -> String, cost: Cost) -> Page {
    let mut records = Vec::with_capacity(found.found.len().min(query.limit));
    let mut answer_bytes = 0;
    let mut last = None;
    let mut more_here = false;
    for candidate in &found.found {
        if records.len() == query.limit {
            more_here = true;
            break;
        }
        let text = render(candidate, query);
        let bytes = embedded_len(&text);
        if answer_bytes + bytes > MAX_QUERY_BYTES && !records.is_empty() {
            more_here = true;
            break;
        }
        answer_bytes += bytes;
        records.push(text);
        last = Some(candidate.position);
    }
    let next = match (more_here, found.cut) {
        (true, _) => last,
        (false, true) => last.max(found.unread_at),
        (false, false) => found.unread_at,
    };
    let cursor = next.map(cursor_at);
    Page { records, cursor, cost }
}

/// One pass: the newest `wanted` records below a position.
struct Search<'q> {
    query: &'q Query<'q>,
    after: Option<Cursor>,
    range: Range,
    wanted: usize,
    /// 0 if only positions are wanted.
    max_held_bytes: usize,
}

struct Found {
    found: Vec<Candidate>,
    /// More was found than could be held.
    cut: bool,
    /// Reading was stopped: not everything below was inspected.
    unread_at: Option<Position>,
    trail: Trail,
}

/// What a pass leaves for the next one to read.
#[derive(Debug, Default)]
struct Trail {
    /// Inspected blocks that may have more matches: their position, and the earliest time of such a record
    /// (ms).
    left: Vec<(Position, i64)>,
    /// All unread blocks are here or below.
    unread: Option<Position>,
}

impl Trail {
    fn cursor(&self, below: Position, asked_ms: i64) -> Cursor {
        let left = self.left.iter().filter(|(_, least_ms)| *least_ms <= below.timestamp_ms);
        let from = left.map(|(place, _)| *place).chain(self.unread).max().unwrap_or(below);
        Cursor { below, from, asked_ms }
    }
}

/// State of a running pass.
struct Progress<'p> {
    newest: Newest,
    trail: Trail,
    /// Reading may stop once everything unread is below: what this page must get past.
    start: Option<Position>,
    spending: &'p mut Spending,
    cost: &'p mut Cost,
    /// Blocks whose data is in memory.
    held: usize,
}

impl Progress<'_> {
    /// Whether a cursor at `bound` makes progress compared with the start of this page.
    fn is_further(&self, bound: Position) -> bool {
        self.start.is_some_and(|start| bound < start)
    }

    fn hold(&mut self, blocks: usize) {
        self.held += blocks;
        self.cost.most_held = self.cost.most_held.max(self.held);
    }
}

/// Where to read next.
enum NextRead {
    Cursors(Vec<BlockCursor>),
    /// The budget is spent: everything unread is below.
    Stopped(Position),
    End,
}

impl<'q> Search<'q> {
    fn new(
        query: &'q Query<'q>,
        after: Option<Cursor>,
        mut range: Range,
        wanted: usize,
        max_held_bytes: usize,
    ) -> Self {
        if let Some(after) = after {
            // Records with the same time as the position may still be below it.
            range.until_ms = range.until_ms.min(after.below.timestamp_ms.saturating_add(1));
        }
        Self { query, after, range, wanted, max_held_bytes }
    }

    fn since_ms(&self, app: &App) -> i64 {
        self.range.since_ms_of(app)
    }

    /// No block of a day with possible matches is above this position.
    fn top_of(&self, day: Day) -> Position {
        // A block never spans hours: blocks with a record before `until` end in its hour.
        let hour_end_ms = (hour_of_ms(self.range.until_ms - 1) + 1) * MS_PER_HOUR - 1;
        let top = Position::end_of(hour_end_ms.min(day.end_ms()));
        self.after.map_or(top, |after| top.min(after.from))
    }

    async fn run<T: BlockTable + Stats>(
        self,
        table: &T,
        spending: &mut Spending,
        cost: &mut Cost,
    ) -> Result<Found, Fault> {
        let held = if self.max_held_bytes == 0 { usize::MAX } else { self.max_held_bytes };
        let mut progress = Progress {
            newest: Newest::new(self.wanted, held),
            trail: Trail::default(),
            start: self.after.map(|after| after.below),
            spending,
            cost,
            held: 0,
        };
        let mut days: Vec<DayCursor<'_>> = self
            .query
            .apps
            .iter()
            .map(|app| (app, self.since_ms(app)))
            .map(|(app, since_ms)| match since_ms < self.range.until_ms {
                true => DayCursor::new(
                    app,
                    Day::of_ms(since_ms),
                    Day::of_ms(self.range.until_ms - 1),
                    self.query.now_ms,
                ),
                false => DayCursor::new(app, Day(1), Day(0), self.query.now_ms),
            })
            .collect();
        let mut first_page = block_cursor::FIRST_PAGE;
        let mut day_count = 1;
        let unread_at = loop {
            let mut cursors =
                match self.next_cursors(table, &mut days, &mut progress, day_count, first_page).await? {
                    NextRead::Cursors(cursors) => cursors,
                    NextRead::Stopped(position) => break Some(position),
                    NextRead::End => break None,
                };
            let stopped = self.read(table, &mut cursors, &mut progress).await?;
            progress.trail.unread =
                cursors.iter().filter_map(BlockCursor::bound).chain(progress.trail.unread).max();
            if stopped.is_some() {
                break stopped;
            }
            progress.held = 0;
            first_page = cursors.iter().map(BlockCursor::limit).max().unwrap_or(first_page);
            day_count = (day_count * 2).min(MAX_DAYS_AT_ONCE);
        };
        for day in &days {
            progress.cost.pages += day.pages;
            progress.cost.units += day.units;
        }
        let (mut found, cut) = progress.newest.finish();
        if let Some(unread) = unread_at {
            // Among those below, others may not have been read.
            found.retain(|candidate| candidate.position >= unread);
        }
        Ok(Found { unread_at, cut, found, trail: progress.trail })
    }

    /// Returns the partitions of the next days that have records, for all apps. Empty if the result is
    /// certain without them.
    async fn next_cursors<S: Stats>(
        &self,
        stats: &S,
        days: &mut [DayCursor<'_>],
        progress: &mut Progress<'_>,
        day_count: usize,
        first_page: u32,
    ) -> Result<NextRead, Fault> {
        let mut cursors = Vec::new();
        let mut taken = 0;
        while taken < day_count && cursors.len() < READ_AT_ONCE * 2 {
            // Usually all but one already know their newest day.
            let mut newest: Option<Day> = None;
            for chunk in days.chunks_mut(READ_AT_ONCE) {
                let peeks = chunk.iter_mut().map(|days| days.peek(stats));
                for day in futures::future::try_join_all(peeks).await?.into_iter().flatten() {
                    newest = newest.max(Some(day.day));
                }
            }
            let Some(day) = newest.filter(|day| progress.newest.may_take_time(day.end_ms())) else { break };
            let top = self.top_of(day);
            progress.start.get_or_insert(top);
            if progress.is_further(top) && progress.spending.is_over(Instant::now()) && cursors.is_empty() {
                return Ok(NextRead::Stopped(top));
            }
            let before = cursors.len();
            for (app, days) in days.iter_mut().enumerate() {
                let here = days.peek(stats).await?.filter(|here| here.day == day);
                let Some(counted) = here else { continue };
                days.take();
                if self.query.filter.entry.may_be_in(&counted.levels) {
                    self.push_cursors(&mut cursors, day, app, first_page);
                }
            }
            taken += usize::from(cursors.len() > before);
        }
        Ok(if cursors.is_empty() { NextRead::End } else { NextRead::Cursors(cursors) })
    }

    fn push_cursors(&self, cursors: &mut Vec<BlockCursor>, day: Day, app: usize, first_page: u32) {
        let asked = &self.query.apps[app];
        let headers_first = self.query.apps.len() > APPS_READ_WHOLE;
        let top = self.top_of(day);
        let last_ms_from = self.since_ms(asked).max(day.start_ms());
        if top.timestamp_ms < last_ms_from {
            return;
        }
        for shard in 0..SHARDS {
            let range = BlockRange {
                partition: Partition { app_id: asked.app_id.clone(), day, shard },
                last_ms_from,
                last_ms_to: top.timestamp_ms,
            };
            cursors.push(BlockCursor::new(range, top, app, first_page, headers_first));
        }
    }

    /// Reads blocks in order of their last records until the rest cannot matter. `Some` if the budget is
    /// spent; everything not inspected is below.
    async fn read<T: BlockTable>(
        &self,
        table: &T,
        cursors: &mut [BlockCursor],
        progress: &mut Progress<'_>,
    ) -> Result<Option<Position>, Fault> {
        loop {
            let top = cursors.iter().enumerate().filter_map(|(i, cursor)| Some((cursor.bound()?, i))).max();
            let Some((bound, index)) = top.filter(|(bound, _)| progress.newest.may_take_below(bound)) else {
                return Ok(None);
            };
            let further = progress.is_further(bound);
            let asked = &self.query.apps[cursors[index].app];
            if cursors[index].read.front().is_some_and(|head| self.excludes(head.header(), asked)) {
                if let Some(Head::Block(_)) = cursors[index].read.pop_front() {
                    progress.held -= 1;
                }
                continue;
            }
            // Blocks that were read are inspected, unless the time is over.
            let must_read = !matches!(cursors[index].read.front(), Some(Head::Block(_)));
            let now = Instant::now();
            let over =
                if must_read { progress.spending.is_over(now) } else { progress.spending.is_late(now) };
            if further && over {
                return Ok(Some(bound));
            }
            let read = match cursors[index].read.pop_front() {
                Some(Head::Block(stored)) => {
                    self.open(table, &stored, cursors[index].app, progress).await?;
                    progress.held -= 1;
                    // Lets other tasks run between two blocks.
                    tokio::task::yield_now().await;
                    continue;
                }
                Some(header) => {
                    cursors[index].read.push_front(header);
                    self.fetch_blocks(table, cursors, progress, further).await?
                }
                None => self.fetch_pages(table, cursors, progress, further).await?,
            };
            if !read {
                return Ok(Some(bound));
            }
        }
    }

    /// Reads the next page of partitions without unread blocks. `false` if the time was over first, which
    /// only counts if the page may stop.
    async fn fetch_pages<T: BlockTable>(
        &self,
        table: &T,
        cursors: &mut [BlockCursor],
        progress: &mut Progress<'_>,
        may_stop: bool,
    ) -> Result<bool, Fault> {
        let newest = &progress.newest;
        let waiting = cursors
            .iter_mut()
            .filter(|cursor| {
                cursor.is_dry() && cursor.bound().is_some_and(|bound| newest.may_take_below(&bound))
            })
            .take(READ_AT_ONCE)
            .map(|cursor| cursor.fetch(table));
        let Some(pages) = progress.spending.in_time(may_stop, futures::future::join_all(waiting)).await
        else {
            return Ok(false);
        };
        for page in pages {
            let page = page?;
            progress.cost.pages += 1;
            progress.cost.blocks += u32::try_from(page.blocks).unwrap_or(u32::MAX);
            progress.cost.skipped += page.unreadable;
            progress.cost.data_bytes += page.bytes;
            progress.cost.units += page.units;
            progress.spending.read_bytes(page.bytes);
            progress.hold(page.held);
        }
        Ok(true)
    }

    /// Fetches the blocks of the next headers. `false` as in [`Search::fetch_pages`].
    async fn fetch_blocks<T: BlockTable>(
        &self,
        table: &T,
        cursors: &mut [BlockCursor],
        progress: &mut Progress<'_>,
        may_stop: bool,
    ) -> Result<bool, Fault> {
        let mut next: Vec<_> = cursors
            .iter()
            .enumerate()
            .filter_map(|(index, cursor)| match cursor.read.front()? {
                Head::Header(stored) => Some((cursor.bound()?, index, stored.header.clone())),
                Head::Block(_) => None,
            })
            .filter(|(bound, index, header)| {
                progress.newest.may_take_below(bound)
                    && !self.excludes(header, &self.query.apps[cursors[*index].app])
            })
            .collect();
        next.sort_unstable_by_key(|(bound, ..)| std::cmp::Reverse(*bound));
        // One more may come before the waiting ones: it is inspected next.
        next.truncate((BLOCKS_AT_ONCE - 1).saturating_sub(progress.held).max(1));
        let waiting = next.iter().map(|(_, _, header)| table.find(header));
        let Some(blocks) = progress.spending.in_time(may_stop, futures::future::join_all(waiting)).await
        else {
            return Ok(false);
        };
        for ((_, index, _), block) in next.into_iter().zip(blocks) {
            let block = block?;
            progress.cost.pages += 1;
            cursors[index].read.pop_front();
            // A missing block was removed, or has expired, since its header was read.
            let Some(stored) = block else { continue };
            let bytes = stored.block.data.len();
            progress.cost.data_bytes += bytes;
            progress.spending.read_bytes(bytes);
            progress.hold(1);
            cursors[index].read.push_front(Head::Block(Box::new(stored)));
        }
        Ok(true)
    }

    /// Whether a block has no matches, by its header alone.
    fn excludes(&self, header: &BlockHeader, app: &App) -> bool {
        self.range.excludes(header, self.query, app)
    }

    async fn open<T: BlockTable>(
        &self,
        table: &T,
        stored: &crate::logbook::blocks::StoredBlock,
        app: usize,
        progress: &mut Progress<'_>,
    ) -> Result<(), Fault> {
        let header = &stored.block.header;
        let opened = open(table, stored, progress.cost, progress.spending).await?;
        let Some(payload) = opened else { return Ok(()) };
        if let Some(least_ms) = self.take(&payload, header, app, &mut progress.newest) {
            progress.trail.left.push((block_cursor::place(header), least_ms));
        }
        Ok(())
    }

    /// Adds possible matches. Returns the earliest time of a record that this or a later page may need.
    fn take(&self, payload: &Payload, header: &BlockHeader, app: usize, newest: &mut Newest) -> Option<i64> {
        let since_ms = self.since_ms(&self.query.apps[app]);
        let filter = &self.query.filter.entry;
        if !filter.may_match_in(payload.text()) {
            return None;
        }
        let reads_entries = filter.reads_entries();
        let mut least_ms = None::<i64>;
        // Newest first, so that the set fills with records that stay.
        for index in (0..payload.len()).rev() {
            let entry = payload.entry(index);
            let in_time = (since_ms..self.range.until_ms).contains(&entry.timestamp_ms);
            if !in_time || !filter.has_level(entry.level) {
                continue;
            }
            let wanted_later = Some(least_ms.map_or(entry.timestamp_ms, |ms| ms.min(entry.timestamp_ms)));
            if !newest.may_take_time(entry.timestamp_ms) {
                least_ms = wanted_later;
                continue;
            }
            let block_id = header.block_id;
            let position = Position { timestamp_ms: entry.timestamp_ms, block_id, ordinal: entry.ordinal };
            if self.after.is_some_and(|after| position >= after.below) {
                continue;
            }
            if !newest.may_take(&position) {
                least_ms = wanted_later;
                continue;
            }
            if reads_entries && !filter.may_match(&entry) {
                continue;
            }
            let record = payload.record(index);
            if reads_entries && !filter.holds(&record) {
                continue;
            }
            least_ms = wanted_later;
            newest.take(Candidate::of(&record, position, app, self.max_held_bytes > 0));
        }
        least_ms
    }
}
