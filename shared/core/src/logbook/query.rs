//! Reading records, newest first.
//!
//! Days come from the counters, blocks from four partitions a day, each sorted by the time of its
//! last record. Blocks are taken in that order over all partitions, and the records that pass go
//! into a set of the newest so many. Once the set is full and all that is unread is older than the
//! set's oldest, the answer is certain: nothing else is read. At any time the set, one decompressed
//! block and a page of compressed ones per partition are all that is in memory; where the partitions
//! are many, a header each, and a few blocks in all.
//!
//! A query stops once its [`Budget`] is spent, with what is certain and a cursor that is further than
//! the one it was given, whatever the budget.

use crate::logbook::blocks::{BlockRange, BlockTable};
use crate::logbook::counters::Stats;
use crate::model::app::App;
use crate::model::block::{BlockHeader, Partition, Payload};
use crate::model::fault::Fault;
use crate::model::ids::SHARDS;
use crate::model::record_view::LogRecord;
use crate::model::time::{Day, EARLIEST_MS, LATEST_MS, MS_PER_HOUR, hour_of_ms};
use tokio::time::Instant;

use crate::logbook::answer::{MAX_QUERY_BYTES, embedded_len, shortened};
use crate::logbook::block_cursor::{Feed, Head};
use crate::logbook::budget::{Budget, Spending};
use crate::logbook::cursor::{Cursor, Position};
use crate::logbook::day_cursor::Days;
use crate::logbook::filter::{Filter, Matcher};
use crate::logbook::newest::{Best, Candidate};
use crate::logbook::{block_cursor, cursor};

/// The most records of one answer.
pub const MAX_LIMIT: usize = 1_000;
pub const DEFAULT_LIMIT: usize = 100;
/// The most records that an offset skips; a cursor goes further.
pub const MAX_OFFSET: usize = 10_000;

/// What the entries of an answer in the making may hold (bytes).
const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;

/// Partitions read at once.
const READ_AT_ONCE: usize = 16;
/// Days whose partitions are read together when one by one they yield little.
const MOST_DAYS_AHEAD: usize = 8;
/// Apps up to which blocks are read whole; of more, headers are read first.
const APPS_READ_WHOLE: usize = READ_AT_ONCE / SHARDS as usize;
/// Blocks held at once where headers are read first.
const BLOCKS_AT_ONCE: usize = 8;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The app, or all of them.
    pub apps: &'a [App],
    /// All apps are asked: entries name theirs.
    pub merged: bool,
    pub filter: &'a Filter,
    pub limit: usize,
    pub offset: usize,
    pub cursor: Option<&'a str>,
    /// With `rawData`.
    pub raw: bool,
    pub now_ms: i64,
    pub budget: Budget,
}

/// A page of an answer.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    /// Each a JSON object.
    pub records: Vec<String>,
    /// `None`: there is nothing behind this page.
    pub cursor: Option<String>,
    pub cost: Cost,
}

/// What a query has read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Query and GetItem requests.
    pub pages: u32,
    /// Blocks of which at least the header was read.
    pub blocks: u32,
    /// Blocks that were decompressed.
    pub opened: u32,
    /// Blocks that might have held records of the answer and could not be read.
    pub skipped: u32,
    /// The most blocks whose data was in memory at once.
    pub most_held: usize,
    /// Compressed data and headers.
    pub data_bytes: usize,
    pub decompressed_bytes: usize,
    pub units: f64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("the cursor is not one of this query")]
    BadCursor,
    /// What it skips is more than a query reads: a cursor gets there.
    #[error("the offset skips more than one query reads")]
    OffsetTooFar,
    #[error("the records could not be read")]
    Fault(#[from] Fault),
}

/// Answers a query.
///
/// # Errors
/// [`QueryError::BadCursor`] for a cursor that is not of this question.
pub async fn query<T: BlockTable + Stats>(table: &T, query: &Query<'_>) -> Result<Page, QueryError> {
    let scope = match (query.merged, query.apps) {
        (false, [app]) => Some(app.app_id.as_str()),
        _ => None,
    };
    let question = query.filter.question(scope);
    let mut after = match query.cursor {
        Some(text) => Some(cursor::decode(text, &question).ok_or(QueryError::BadCursor)?),
        None => None,
    };
    let mut spending = Spending::of(&query.budget);
    let mut cost = Cost::default();
    if query.offset > 0 {
        // The skipped are found first and not kept: an offset must not hold thousands of entries.
        let search = Search::new(query, after, query.offset, 0);
        let skipped = search.run(table, &mut spending, &mut cost).await?;
        match skipped.found.last() {
            Some(last) if skipped.found.len() == query.offset => {
                after = Some(skipped.trail.cursor(last.position));
            }
            _ if skipped.unread_at.is_some() => return Err(QueryError::OffsetTooFar),
            _ => return Ok(Page { cost, ..Page::default() }),
        }
    }
    let search = Search::new(query, after, query.limit + 1, MAX_HELD_BYTES);
    let found = search.run(table, &mut spending, &mut cost).await?;
    Ok(page(query, &found, &question, cost))
}

fn page(query: &Query<'_>, found: &Found, question: &cursor::QuestionHash, cost: Cost) -> Page {
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
    let cursor = next.map(|position| cursor::encode(&found.trail.cursor(position), question));
    Page { records, cursor, cost }
}

fn render(candidate: &Candidate, query: &Query<'_>) -> String {
    let stored = candidate.stored();
    let app_id = query.merged.then(|| &query.apps[candidate.app].app_id);
    let mut out = Vec::with_capacity(candidate.raw.len() * (1 + usize::from(query.raw)) + 160);
    LogRecord::read(&stored).write_json(&mut out, app_id, query.raw);
    let text = String::from_utf8(out).unwrap_or_default();
    if embedded_len(&text) <= MAX_QUERY_BYTES {
        return text;
    }
    // A megabyte of control characters is six when written as JSON: more than any answer holds.
    shortened(&stored, app_id, MAX_QUERY_BYTES)
}

/// One pass: the newest `wanted` records below a position.
struct Search<'q> {
    query: &'q Query<'q>,
    matcher: Matcher<'q>,
    after: Option<Cursor>,
    /// No record of this time or later counts (ms).
    until_ms: i64,
    wanted: usize,
    /// 0: only positions are wanted.
    max_held_bytes: usize,
}

struct Found {
    found: Vec<Candidate>,
    /// More was found than could be held.
    cut: bool,
    /// Reading was stopped: not all below was looked at.
    unread_at: Option<Position>,
    trail: Trail,
}

/// What a pass leaves for the next one to read.
#[derive(Debug, Default)]
struct Trail {
    /// Blocks that were looked into and may hold more of the answer: their place, and the least time
    /// of such a record (ms).
    left: Vec<(Position, i64)>,
    /// All unread blocks are here or below.
    unread: Option<Position>,
}

impl Trail {
    fn cursor(&self, below: Position) -> Cursor {
        let left = self.left.iter().filter(|(_, least_ms)| *least_ms <= below.timestamp_ms);
        let from = left.map(|(place, _)| *place).chain(self.unread).max().unwrap_or(below);
        Cursor { below, from }
    }
}

/// What changes while a pass goes on.
struct Progress<'p> {
    best: Best,
    trail: Trail,
    /// Reading may stop once all that is unread is below: what this page must get past.
    start: Option<Position>,
    spending: &'p mut Spending,
    cost: &'p mut Cost,
    /// Blocks whose data is in memory.
    held: usize,
}

impl Progress<'_> {
    /// Whether a cursor at `bound` would be further than where this page began.
    fn is_further(&self, bound: Position) -> bool {
        self.start.is_some_and(|start| bound < start)
    }

    fn hold(&mut self, blocks: usize) {
        self.held += blocks;
        self.cost.most_held = self.cost.most_held.max(self.held);
    }
}

/// Where to read next.
enum Ahead {
    Feeds(Vec<Feed>),
    /// The budget is spent: all that is unread is below.
    Stopped(Position),
    End,
}

impl<'q> Search<'q> {
    fn new(query: &'q Query<'q>, after: Option<Cursor>, wanted: usize, max_held_bytes: usize) -> Self {
        let until_ms = query.filter.until_ms.unwrap_or(LATEST_MS).min(LATEST_MS);
        // Records of the position's own time may still be below it.
        let until_ms =
            after.map_or(until_ms, |after| until_ms.min(after.below.timestamp_ms.saturating_add(1)));
        Self { query, matcher: query.filter.matcher(), after, until_ms, wanted, max_held_bytes }
    }

    /// Records of an app that are older are not there (ms).
    fn since_ms(&self, app: &App) -> i64 {
        let since = self.query.filter.since_ms.unwrap_or(EARLIEST_MS).max(EARLIEST_MS);
        app.pruned_before_ms.map_or(since, |pruned| pruned.max(since))
    }

    /// No block of a day that may hold something of the answer is above.
    fn top_of(&self, day: Day) -> Position {
        // A block never crosses an hour: those that hold a record before `until` end in its hour.
        let hour_end_ms = (hour_of_ms(self.until_ms - 1) + 1) * MS_PER_HOUR - 1;
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
            best: Best::new(self.wanted, held),
            trail: Trail::default(),
            start: self.after.map(|after| after.below),
            spending,
            cost,
            held: 0,
        };
        let mut days: Vec<Days<'_>> = self
            .query
            .apps
            .iter()
            .map(|app| (app, self.since_ms(app)))
            .map(|(app, since_ms)| match since_ms < self.until_ms {
                true => {
                    Days::new(app, Day::of_ms(since_ms), Day::of_ms(self.until_ms - 1), self.query.now_ms)
                }
                false => Days::new(app, Day(1), Day(0), self.query.now_ms),
            })
            .collect();
        let mut first_page = block_cursor::FIRST_PAGE;
        let mut ahead = 1;
        let unread_at = loop {
            let mut feeds = match self.next_feeds(table, &mut days, &mut progress, ahead, first_page).await? {
                Ahead::Feeds(feeds) => feeds,
                Ahead::Stopped(position) => break Some(position),
                Ahead::End => break None,
            };
            let stopped = self.read(table, &mut feeds, &mut progress).await?;
            progress.trail.unread = feeds.iter().filter_map(Feed::bound).chain(progress.trail.unread).max();
            if stopped.is_some() {
                break stopped;
            }
            progress.held = 0;
            first_page = feeds.iter().map(Feed::limit).max().unwrap_or(first_page);
            ahead = (ahead * 2).min(MOST_DAYS_AHEAD);
        };
        for day in &days {
            progress.cost.pages += day.pages;
            progress.cost.units += day.units;
        }
        let (mut found, cut) = progress.best.finish();
        if let Some(unread) = unread_at {
            // Among those below there may be others that were not read.
            found.retain(|candidate| candidate.position >= unread);
        }
        Ok(Found { unread_at, cut, found, trail: progress.trail })
    }

    /// The partitions of the next few days that have records, of whichever app; none when the
    /// answer is certain without.
    async fn next_feeds<S: Stats>(
        &self,
        stats: &S,
        days: &mut [Days<'_>],
        progress: &mut Progress<'_>,
        ahead: usize,
        first_page: u32,
    ) -> Result<Ahead, Fault> {
        let mut feeds = Vec::new();
        let mut taken = 0;
        while taken < ahead && feeds.len() < READ_AT_ONCE * 2 {
            // Usually all but one know their newest day already.
            let mut newest: Option<Day> = None;
            for chunk in days.chunks_mut(READ_AT_ONCE) {
                let peeks = chunk.iter_mut().map(|days| days.peek(stats));
                for day in futures::future::try_join_all(peeks).await?.into_iter().flatten() {
                    newest = newest.max(Some(day.day));
                }
            }
            let Some(day) = newest.filter(|day| progress.best.may_take_time(day.end_ms())) else { break };
            let top = self.top_of(day);
            progress.start.get_or_insert(top);
            if progress.is_further(top) && progress.spending.is_over(Instant::now()) && feeds.is_empty() {
                return Ok(Ahead::Stopped(top));
            }
            let before = feeds.len();
            for (app, days) in days.iter_mut().enumerate() {
                let here = days.peek(stats).await?.filter(|here| here.day == day);
                let Some(counted) = here else { continue };
                days.take();
                if self.query.filter.may_be_in(&counted.levels) {
                    self.push_feeds(&mut feeds, day, app, first_page);
                }
            }
            taken += usize::from(feeds.len() > before);
        }
        Ok(if feeds.is_empty() { Ahead::End } else { Ahead::Feeds(feeds) })
    }

    fn push_feeds(&self, feeds: &mut Vec<Feed>, day: Day, app: usize, first_page: u32) {
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
            feeds.push(Feed::new(range, top, app, first_page, headers_first));
        }
    }

    /// Reads blocks in the order of their last records until the rest cannot matter. `Some`: the
    /// budget is spent, and all that was not looked at is below.
    async fn read<T: BlockTable>(
        &self,
        table: &T,
        feeds: &mut [Feed],
        progress: &mut Progress<'_>,
    ) -> Result<Option<Position>, Fault> {
        loop {
            let top = feeds.iter().enumerate().filter_map(|(i, feed)| Some((feed.bound()?, i))).max();
            let Some((bound, index)) = top.filter(|(bound, _)| progress.best.may_take_below(bound)) else {
                return Ok(None);
            };
            let further = progress.is_further(bound);
            let asked = &self.query.apps[feeds[index].app];
            if feeds[index].read.front().is_some_and(|head| self.excludes(head.header(), asked)) {
                if let Some(Head::Block(_)) = feeds[index].read.pop_front() {
                    progress.held -= 1;
                }
                continue;
            }
            // What has been read is worth looking into, unless there is no time.
            let must_read = !matches!(feeds[index].read.front(), Some(Head::Block(_)));
            let now = Instant::now();
            let over =
                if must_read { progress.spending.is_over(now) } else { progress.spending.is_late(now) };
            if further && over {
                return Ok(Some(bound));
            }
            let read = match feeds[index].read.pop_front() {
                Some(Head::Block(stored)) => {
                    self.open(table, &stored, feeds[index].app, progress).await?;
                    progress.held -= 1;
                    // Others have their turn between two blocks.
                    tokio::task::yield_now().await;
                    continue;
                }
                Some(header) => {
                    feeds[index].read.push_front(header);
                    self.fetch_blocks(table, feeds, progress, further).await?
                }
                None => self.fetch_pages(table, feeds, progress, further).await?,
            };
            if !read {
                return Ok(Some(bound));
            }
        }
    }

    /// Reads the next page of partitions of which no block is left. `false`: the time was over first,
    /// which only counts where the page may stop.
    async fn fetch_pages<T: BlockTable>(
        &self,
        table: &T,
        feeds: &mut [Feed],
        progress: &mut Progress<'_>,
        may_stop: bool,
    ) -> Result<bool, Fault> {
        let best = &progress.best;
        let waiting = feeds
            .iter_mut()
            .filter(|feed| feed.is_dry() && feed.bound().is_some_and(|bound| best.may_take_below(&bound)))
            .take(READ_AT_ONCE)
            .map(|feed| feed.fetch(table));
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

    /// Fetches the blocks of the next few headers. `false` as [`Search::fetch_pages`].
    async fn fetch_blocks<T: BlockTable>(
        &self,
        table: &T,
        feeds: &mut [Feed],
        progress: &mut Progress<'_>,
        may_stop: bool,
    ) -> Result<bool, Fault> {
        let mut next: Vec<_> = feeds
            .iter()
            .enumerate()
            .filter_map(|(index, feed)| match feed.read.front()? {
                Head::Header(stored) => Some((feed.bound()?, index, stored.header.clone())),
                Head::Block(_) => None,
            })
            .filter(|(bound, index, header)| {
                progress.best.may_take_below(bound)
                    && !self.excludes(header, &self.query.apps[feeds[*index].app])
            })
            .collect();
        next.sort_unstable_by_key(|(bound, ..)| std::cmp::Reverse(*bound));
        // One more may come before those that wait: it is the next to be looked into.
        next.truncate((BLOCKS_AT_ONCE - 1).saturating_sub(progress.held).max(1));
        let waiting = next.iter().map(|(_, _, header)| table.find(header));
        let Some(blocks) = progress.spending.in_time(may_stop, futures::future::join_all(waiting)).await
        else {
            return Ok(false);
        };
        for ((_, index, _), block) in next.into_iter().zip(blocks) {
            let block = block?;
            progress.cost.pages += 1;
            feeds[index].read.pop_front();
            // One that is gone was removed, or its time was over, since its header was read.
            let Some(stored) = block else { continue };
            let bytes = stored.block.data.len();
            progress.cost.data_bytes += bytes;
            progress.spending.read_bytes(bytes);
            progress.hold(1);
            feeds[index].read.push_front(Head::Block(Box::new(stored)));
        }
        Ok(true)
    }

    /// Whether nothing of a block can be in the answer, by its header alone.
    fn excludes(&self, header: &BlockHeader, app: &App) -> bool {
        header.epoch_ms != app.created_ms
            || header.first_ms >= self.until_ms
            || header.last_ms < self.since_ms(app)
            || header.expires_at_secs.is_some_and(|at| at <= self.query.now_ms.div_euclid(1000))
            || !self.query.filter.may_be_in(&header.levels)
    }

    async fn open<T: BlockTable>(
        &self,
        table: &T,
        stored: &crate::logbook::blocks::StoredBlock,
        app: usize,
        progress: &mut Progress<'_>,
    ) -> Result<(), Fault> {
        let header = &stored.block.header;
        if !stored.whole {
            progress.cost.pages += 1;
        }
        let Some(payload) = table.payload(stored).await? else {
            progress.cost.skipped += 1;
            return Ok(());
        };
        progress.cost.opened += 1;
        progress.cost.decompressed_bytes += payload.bytes();
        progress.spending.decompressed_bytes(payload.bytes());
        if let Some(least_ms) = self.take(&payload, header, app, &mut progress.best) {
            progress.trail.left.push((block_cursor::place(header), least_ms));
        }
        Ok(())
    }

    /// Takes what may be in the answer. Returns the least time of what this or a later page may want.
    fn take(&self, payload: &Payload, header: &BlockHeader, app: usize, best: &mut Best) -> Option<i64> {
        let since_ms = self.since_ms(&self.query.apps[app]);
        let reads_entries = self.matcher.reads_entries();
        let mut least_ms = None::<i64>;
        // Newest first, so that the set fills with what will stay.
        for index in (0..payload.len()).rev() {
            let entry = payload.entry(index);
            let in_time = (since_ms..self.until_ms).contains(&entry.timestamp_ms);
            if !in_time || !self.matcher.has_level(entry.level) {
                continue;
            }
            let wanted_later = Some(least_ms.map_or(entry.timestamp_ms, |ms| ms.min(entry.timestamp_ms)));
            if !best.may_take_time(entry.timestamp_ms) {
                least_ms = wanted_later;
                continue;
            }
            let block_id = header.block_id;
            let position = Position { timestamp_ms: entry.timestamp_ms, block_id, ordinal: entry.ordinal };
            if self.after.is_some_and(|after| position >= after.below) {
                continue;
            }
            if !best.may_take(&position) {
                least_ms = wanted_later;
                continue;
            }
            if reads_entries && !self.matcher.may_match(&entry) {
                continue;
            }
            let record = payload.record(index);
            if reads_entries && !self.matcher.matches(&LogRecord::read(&record)) {
                continue;
            }
            least_ms = wanted_later;
            best.take(Candidate {
                position,
                id: record.id,
                app,
                level: entry.level,
                kind: entry.kind,
                timestamp_fallback: entry.timestamp_fallback,
                raw: if self.max_held_bytes == 0 { String::new() } else { entry.raw.to_owned() },
            });
        }
        least_ms
    }
}
