//! Reading records, newest first.
//!
//! Days come from the counters, blocks from four partitions a day, each sorted by the time of its
//! last record. Blocks are taken in that order over all partitions, and the records that pass go
//! into a set of the newest so many. Once the set is full and all that is unread is older than the
//! set's oldest, the answer is certain: nothing else is read. At any time the set, one decompressed
//! block and a page of compressed ones per partition are all that is in memory.

use futures::stream::{FuturesUnordered, StreamExt};
use logferry_domain::app::App;
use logferry_domain::block::{Block, BlockHeader, Partition, Payload, SHARDS};
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::log_record::LogRecord;
use logferry_domain::time::{Day, EARLIEST_MS, LATEST_MS, MS_PER_HOUR, hour_of_ms};
use logferry_ports::blocks::BlockRange;
use logferry_ports::{BlockTable, Stats};

use crate::answer::{MAX_QUERY_BYTES, embedded_len, shortened};
use crate::best::{Best, Candidate};
use crate::cursor::{self, Position};
use crate::days::Days;
use crate::feed::{self, Feed};
use crate::filter::{Filter, Matcher};

/// The most records of one answer.
pub const MAX_LIMIT: usize = 1_000;
pub const DEFAULT_LIMIT: usize = 100;
/// The most records that an offset skips; a cursor goes further.
pub const MAX_OFFSET: usize = 10_000;

/// Compressed bytes that one query reads at most before it answers with what is certain, and a
/// cursor to go on with.
pub const MAX_READ_BYTES: usize = 96 * 1024 * 1024;

/// What the entries of an answer in the making may hold (bytes).
const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;

/// Partitions read at once.
const READ_AT_ONCE: usize = 16;
/// Days whose partitions are read together when one by one they yield little.
const MOST_DAYS_AHEAD: usize = 8;

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
    /// [`MAX_READ_BYTES`], or less in tests.
    pub max_read_bytes: usize,
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
    /// Query requests.
    pub pages: u32,
    pub blocks: u32,
    /// Blocks that were decompressed.
    pub opened: u32,
    pub data_bytes: usize,
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
    let mut below = match query.cursor {
        Some(text) => Some(cursor::decode(text, &question).ok_or(QueryError::BadCursor)?),
        None => None,
    };
    let mut cost = Cost::default();
    if query.offset > 0 {
        // The skipped are found first and not kept: an offset must not hold thousands of entries.
        let skipped = Search::new(query, below, query.offset, 0).run(table, &mut cost).await?;
        match skipped.found.last() {
            Some(last) if skipped.found.len() == query.offset => below = Some(last.position),
            _ if skipped.unread_at.is_some() => return Err(QueryError::OffsetTooFar),
            _ => return Ok(Page { cost, ..Page::default() }),
        }
    }
    let found = Search::new(query, below, query.limit + 1, MAX_HELD_BYTES).run(table, &mut cost).await?;
    Ok(page(query, found, &question, cost))
}

fn page(query: &Query<'_>, found: Found, question: &cursor::QuestionHash, cost: Cost) -> Page {
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
    Page { records, cursor: next.map(|position| cursor::encode(&position, question)), cost }
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
    below: Option<Position>,
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
}

impl<'q> Search<'q> {
    fn new(query: &'q Query<'q>, below: Option<Position>, wanted: usize, max_held_bytes: usize) -> Self {
        let until_ms = query.filter.until_ms.unwrap_or(LATEST_MS).min(LATEST_MS);
        // Records of the position's own time may still be below it.
        let until_ms = below.map_or(until_ms, |below| until_ms.min(below.timestamp_ms.saturating_add(1)));
        Self { query, matcher: query.filter.matcher(), below, until_ms, wanted, max_held_bytes }
    }

    /// Records of an app that are older are not there (ms).
    fn since_ms(&self, app: &App) -> i64 {
        let since = self.query.filter.since_ms.unwrap_or(EARLIEST_MS).max(EARLIEST_MS);
        app.pruned_before_ms.map_or(since, |pruned| pruned.max(since))
    }

    async fn run<T: BlockTable + Stats>(self, table: &T, cost: &mut Cost) -> Result<Found, Fault> {
        let held = if self.max_held_bytes == 0 { usize::MAX } else { self.max_held_bytes };
        let mut best = Best::new(self.wanted, held);
        let mut days: Vec<Days<'_>> = self
            .query
            .apps
            .iter()
            .map(|app| (app, self.since_ms(app)))
            .map(|(app, since_ms)| match since_ms < self.until_ms {
                true => Days::new(app, Day::of_ms(since_ms), Day::of_ms(self.until_ms - 1)),
                false => Days::new(app, Day(1), Day(0)),
            })
            .collect();
        let mut budget = self.query.max_read_bytes;
        let mut first_page = feed::FIRST_PAGE;
        let mut ahead = 1;
        let mut unread_at = None;
        loop {
            let mut feeds = self.next_feeds(table, &mut days, &best, ahead, first_page).await?;
            if feeds.is_empty() {
                break;
            }
            unread_at = self.read(table, &mut feeds, &mut best, &mut budget, cost).await?;
            if unread_at.is_some() {
                break;
            }
            first_page = feeds.iter().map(Feed::limit).max().unwrap_or(first_page);
            ahead = (ahead * 2).min(MOST_DAYS_AHEAD);
        }
        for day in &days {
            cost.pages += day.pages;
            cost.units += day.units;
        }
        let (mut found, cut) = best.finish();
        if let Some(unread) = unread_at {
            // Among those below there may be others that were not read.
            found.retain(|candidate| candidate.position >= unread);
        }
        Ok(Found { unread_at, cut, found })
    }

    /// The partitions of the next few days that have records, of whichever app; none when the
    /// answer is certain without.
    async fn next_feeds<S: Stats>(
        &self,
        stats: &S,
        days: &mut [Days<'_>],
        best: &Best,
        ahead: usize,
        first_page: u32,
    ) -> Result<Vec<Feed>, Fault> {
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
            let Some(day) = newest.filter(|day| best.may_take_time(day.end_ms())) else { break };
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
        Ok(feeds)
    }

    fn push_feeds(&self, feeds: &mut Vec<Feed>, day: Day, app: usize, first_page: u32) {
        let asked = &self.query.apps[app];
        // A block never crosses an hour: those that hold a record before `until` end in its hour.
        let hour_end_ms = (hour_of_ms(self.until_ms - 1) + 1) * MS_PER_HOUR - 1;
        for shard in 0..SHARDS {
            let range = BlockRange {
                partition: Partition { app_id: asked.app_id.clone(), day, shard },
                last_ms_from: self.since_ms(asked).max(day.start_ms()),
                last_ms_to: hour_end_ms.min(day.end_ms()),
            };
            feeds.push(Feed::new(range, app, first_page));
        }
    }

    /// Reads blocks in the order of their last records until the rest cannot matter. `Some`: the
    /// budget is spent, and not all below was looked at.
    async fn read<T: BlockTable>(
        &self,
        table: &T,
        feeds: &mut [Feed],
        best: &mut Best,
        budget: &mut usize,
        cost: &mut Cost,
    ) -> Result<Option<Position>, Fault> {
        loop {
            let top = feeds.iter().enumerate().filter_map(|(i, feed)| Some((feed.bound()?, i))).max();
            let Some((bound, index)) = top.filter(|(bound, _)| best.may_take_below(bound)) else {
                return Ok(None);
            };
            if !feeds[index].is_dry() {
                if let Some(block) = feeds[index].pop() {
                    let app = feeds[index].app;
                    self.open(&block, app, best, cost)?;
                }
                continue;
            }
            // A cursor must get further than the one that it follows.
            if *budget == 0 && self.below.is_none_or(|below| bound < below) {
                return Ok(Some(bound));
            }
            let mut waiting: FuturesUnordered<_> = feeds
                .iter_mut()
                .filter(|feed| feed.is_dry() && feed.bound().is_some_and(|bound| best.may_take_below(&bound)))
                .take(READ_AT_ONCE)
                .map(|feed| feed.fetch(table))
                .collect();
            while let Some(page) = waiting.next().await {
                let page = page?;
                cost.pages += 1;
                cost.blocks += u32::try_from(page.blocks).unwrap_or(u32::MAX);
                cost.data_bytes += page.data_bytes;
                cost.units += page.units;
                *budget = budget.saturating_sub(page.data_bytes);
            }
        }
    }

    /// Whether nothing of a block can be in the answer, by its header alone.
    fn passes_over(&self, header: &BlockHeader, app: &App) -> bool {
        header.epoch_ms != app.created_ms
            || header.first_ms >= self.until_ms
            || header.last_ms < self.since_ms(app)
            || header.expires_at_secs.is_some_and(|at| at <= self.query.now_ms.div_euclid(1000))
            || !self.query.filter.may_be_in(&header.levels)
    }

    fn open(&self, block: &Block, app: usize, best: &mut Best, cost: &mut Cost) -> Result<(), Fault> {
        let asked = &self.query.apps[app];
        if self.passes_over(&block.header, asked) {
            return Ok(());
        }
        cost.opened += 1;
        let payload = Payload::decode(&block.data).map_err(|error| {
            Fault::new(FaultClass::Permanent, "reading a block", "the block is damaged").with_source(error)
        })?;
        let since_ms = self.since_ms(asked);
        let reads_entries = self.matcher.reads_entries();
        // Newest first, so that the set fills with what will stay.
        for index in (0..payload.len()).rev() {
            let entry = payload.entry(index);
            let in_time = (since_ms..self.until_ms).contains(&entry.timestamp_ms);
            if !in_time || !self.matcher.has_level(entry.level) || !best.may_take_time(entry.timestamp_ms) {
                continue;
            }
            if reads_entries && !self.matcher.may_match(&entry) {
                continue;
            }
            let block_id = block.header.block_id;
            let position = Position { timestamp_ms: entry.timestamp_ms, block_id, ordinal: entry.ordinal };
            if self.below.is_some_and(|below| position >= below) || !best.may_take(&position) {
                continue;
            }
            let record = payload.record(index);
            if reads_entries && !self.matcher.matches(&LogRecord::read(&record)) {
                continue;
            }
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
        Ok(())
    }
}
