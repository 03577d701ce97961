//! Counts the records of a range of time, per bucket and level.
//!
//! A block never spans hours, and its header has its counts: a block within one bucket is counted without
//! its data, and of a block in several buckets only the times and levels are decompressed. The newest records
//! are counted first. When the [`Budget`] is spent, the counts of older records are missing, and the answer
//! says from which time on it is complete.
//!
//! Nothing is cached, not even hours that are over: late files, redrives, prunes, erasures and expiry change
//! them, and nothing that is cheaper to read than the headers says that none of these has happened. The
//! counters, which a cache could compare, change only when a file has ended, after its first blocks can be
//! found.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use futures::stream::{self, StreamExt as _};
use tokio::time::Instant;

use crate::logbook::blocks::{BlockPosition, BlockRange, BlockTable, StoredHeader};
use crate::logbook::budget::Budget;
use crate::logbook::counters::Stats;
use crate::logbook::day_cursor::DayCursor;
use crate::logbook::filter::Filter;
use crate::logbook::question::units;
use crate::model::app::App;
use crate::model::block::{BlockHeader, BlockTimes, Partition, Payload};
use crate::model::fault::Fault;
use crate::model::ids::SHARDS;
use crate::model::level::{Level, LevelCounts};
use crate::model::time::{Day, MS_PER_HOUR, hour_of_ms};

/// Maximum number of buckets in a response.
pub const MAX_BUCKETS: i64 = 200;
/// Buckets of a response if their width is not given, at most.
pub const DEFAULT_BUCKETS: i64 = 75;

/// Widths of buckets (ms) to choose from: those that people count in.
const WIDTHS_MS: [i64; 16] = [
    1_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    604_800_000,
];

/// Ranges of blocks, and counters of apps, that are read in parallel.
const READ_AT_ONCE: usize = 16;
/// Headers of a page: DynamoDB returns at most 1 MB of whole items, however few attributes are asked for.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html>
const PAGE: u32 = 1_000;
/// Records of an app's day from which on its hours are read in parallel.
const SPLIT_DAY: i64 = 50_000;

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub apps: &'a [App],
    /// Its times are not used.
    pub filter: &'a Filter,
    /// Included (ms).
    pub since_ms: i64,
    /// Excluded (ms).
    pub until_ms: i64,
    /// Buckets begin at multiples of their width (ms), which is at least 1.
    pub bucket_ms: i64,
    pub now_ms: i64,
    /// Its bytes to be read are not used: the read units have those of blocks, too.
    pub budget: Budget,
}

/// The counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Every bucket of the range, oldest first: its beginning (ms) and its counts.
    pub buckets: Vec<(i64, LevelCounts)>,
    /// Records before this time (ms) are not counted yet. `None`: all are counted.
    pub complete_from_ms: Option<i64>,
    /// Blocks that could not be read.
    pub skipped: u32,
    pub read_units: f64,
}

/// Returns the smallest width (ms) with which a range has no more than [`DEFAULT_BUCKETS`] buckets.
#[must_use]
pub fn width_ms(since_ms: i64, until_ms: i64) -> i64 {
    let fits = |width: &&i64| bucket_count(since_ms, until_ms, **width) <= DEFAULT_BUCKETS;
    let widest = WIDTHS_MS[WIDTHS_MS.len() - 1];
    // Beyond the widest one, multiples of it.
    let beyond = || widest * ((until_ms - since_ms) / (widest * (DEFAULT_BUCKETS - 1)) + 1);
    WIDTHS_MS.iter().find(fits).copied().unwrap_or_else(beyond)
}

/// Returns the number of buckets that a range touches.
#[must_use]
pub fn bucket_count(since_ms: i64, until_ms: i64, width_ms: i64) -> i64 {
    if since_ms >= until_ms {
        return 0;
    }
    (until_ms - 1).div_euclid(width_ms) - since_ms.div_euclid(width_ms) + 1
}

/// Counts records.
///
/// # Errors
/// The tables could not be read.
pub async fn count<T: BlockTable + Stats>(table: &T, question: &Question<'_>) -> Result<Histogram, Fault> {
    let mut counting = Counting::new(question);
    let mut days: Vec<DayCursor<'_>> = question
        .apps
        .iter()
        .map(|app| {
            let since_ms = counting.since_ms(app);
            let (from, to) = match since_ms < question.until_ms {
                true => (Day::of_ms(since_ms), Day::of_ms(question.until_ms - 1)),
                false => (Day(1), Day(0)),
            };
            DayCursor::new(app, from, to, question.now_ms)
        })
        .collect();
    let mut complete_from_ms = None;
    let mut counted_from_ms = question.until_ms;
    'days: loop {
        let mut newest = None;
        for (index, chunk) in days.chunks_mut(READ_AT_ONCE).enumerate() {
            // Any of the other apps may have records of the next day.
            if index > 0 && counting.is_late() {
                complete_from_ms = Some(counted_from_ms);
                break 'days;
            }
            let peeks = chunk.iter_mut().map(|cursor| cursor.peek(table));
            for here in try_join_all(peeks).await?.into_iter().flatten() {
                newest = newest.max(Some(here.day));
            }
        }
        let Some(day) = newest else { break };
        if counting.is_over() {
            complete_from_ms = Some(day.next().start_ms());
            break;
        }
        let mut of_day = Vec::new();
        for (app, cursor) in days.iter_mut().enumerate() {
            let Some(here) = cursor.peek(table).await?.filter(|here| here.day == day) else { continue };
            cursor.take();
            if question.filter.entry.may_be_in(&here.levels) {
                of_day.push((app, here.levels.total()));
            }
        }
        complete_from_ms = counting.day(table, day, &of_day).await?;
        counted_from_ms = complete_from_ms.unwrap_or_else(|| day.start_ms());
        counting.keep(counted_from_ms);
        if complete_from_ms.is_some() {
            break;
        }
    }
    counting.read_units += days.iter().map(|cursor| cursor.units).sum::<f64>();
    let within = complete_from_ms.map(|from| from.min(question.until_ms));
    Ok(counting.finish(within.filter(|from| *from > question.since_ms)))
}

/// Part of a partition: where its blocks end.
struct Piece {
    app: usize,
    range: BlockRange,
}

struct Counting<'q> {
    question: &'q Question<'q>,
    /// By number of the bucket.
    counts: BTreeMap<i64, LevelCounts>,
    /// The counts of the day that is being read, by hour and number of the bucket. If the day is cut off, those
    /// of its older hours do not count.
    reading: BTreeMap<(i64, i64), LevelCounts>,
    skipped: u32,
    read_units: f64,
    decompressed_bytes: usize,
    /// Whether an hour of all apps is counted: until then only the time limits, so that each answer gets
    /// further.
    has_counted: bool,
}

impl<'q> Counting<'q> {
    fn new(question: &'q Question<'q>) -> Self {
        let (counts, reading) = (BTreeMap::new(), BTreeMap::new());
        Self {
            question,
            counts,
            reading,
            skipped: 0,
            read_units: 0.0,
            decompressed_bytes: 0,
            has_counted: false,
        }
    }

    /// Older records of an app are hidden (ms).
    fn since_ms(&self, app: &App) -> i64 {
        app.pruned_before_ms.map_or(self.question.since_ms, |pruned| pruned.max(self.question.since_ms))
    }

    fn is_over(&self) -> bool {
        let budget = &self.question.budget;
        let has_read =
            self.read_units >= budget.read_units || self.decompressed_bytes >= budget.decompressed_bytes;
        has_read && self.has_counted || self.is_late()
    }

    fn is_late(&self) -> bool {
        self.question.budget.stop_at.is_some_and(|stop_at| Instant::now() >= stop_at)
    }

    /// Reads a day: apps with few records as a whole, then the hours of the others, newest first. Returns
    /// the time (ms) before which not all records were read, if any.
    async fn day<T: BlockTable>(
        &mut self,
        table: &T,
        day: Day,
        apps: &[(usize, i64)],
    ) -> Result<Option<i64>, Fault> {
        let (whole, split): (Vec<_>, Vec<_>) =
            apps.iter().copied().partition(|(_, records)| *records < SPLIT_DAY);
        let pieces: Vec<_> = whole
            .into_iter()
            .flat_map(|(app, _)| self.pieces(app, day, day.start_ms(), day.end_ms()))
            .collect();
        if !self.read(table, pieces).await? {
            return Ok(Some(day.next().start_ms()));
        }
        if split.is_empty() {
            self.has_counted |= !apps.is_empty();
            return Ok(None);
        }
        let last_hour_ms = hour_of_ms(self.question.until_ms - 1) * MS_PER_HOUR;
        let mut hour_ms = last_hour_ms.min(day.end_ms() - MS_PER_HOUR + 1);
        while hour_ms >= day.start_ms() {
            // Some hours at once: one alone has few partitions to read in parallel. The first one is alone: it
            // is read whatever it takes.
            let together = match self.has_counted {
                true => (READ_AT_ONCE / (SHARDS as usize * split.len())).max(1),
                false => 1,
            };
            let mut pieces = Vec::new();
            let top_ms = hour_ms + MS_PER_HOUR;
            for _ in 0..together {
                for (app, _) in &split {
                    pieces.extend(self.pieces(*app, day, hour_ms, hour_ms + MS_PER_HOUR - 1));
                }
                hour_ms -= MS_PER_HOUR;
                if hour_ms < day.start_ms() {
                    break;
                }
            }
            if !self.read(table, pieces).await? {
                return Ok(Some(top_ms));
            }
            self.has_counted = true;
        }
        Ok(None)
    }

    /// Counts what was read of a day from an hour on, and drops the rest.
    fn keep(&mut self, from_ms: i64) {
        let mut read = std::mem::take(&mut self.reading);
        for ((_, bucket), counts) in read.split_off(&(hour_of_ms(from_ms), i64::MIN)) {
            *self.counts.entry(bucket).or_default() += counts;
        }
    }

    /// The partitions of an app's day, from a time to another (ms, included), if records of the range may
    /// be there.
    fn pieces(&self, app: usize, day: Day, from_ms: i64, to_ms: i64) -> Vec<Piece> {
        let asked = &self.question.apps[app];
        let last_ms_from = self.since_ms(asked).max(from_ms);
        // A block with a record before `until` ends in its hour.
        let last_hour = hour_of_ms(self.question.until_ms - 1);
        let last_ms_to = to_ms.min((last_hour + 1) * MS_PER_HOUR - 1);
        if last_ms_from > last_ms_to {
            return Vec::new();
        }
        let partition = |shard| Partition { app_id: asked.app_id.clone(), day, shard };
        (0..SHARDS)
            .map(|shard| Piece {
                app,
                range: BlockRange { partition: partition(shard), last_ms_from, last_ms_to },
            })
            .collect()
    }

    /// Reads some pieces; `false` if the limits were reached first.
    async fn read<T: BlockTable>(&mut self, table: &T, pieces: Vec<Piece>) -> Result<bool, Fault> {
        let mut waiting: Vec<(Piece, Option<BlockPosition>)> =
            pieces.into_iter().map(|piece| (piece, None)).collect();
        while !waiting.is_empty() {
            if self.is_over() {
                return Ok(false);
            }
            let rest = waiting.split_off(waiting.len().min(READ_AT_ONCE));
            let reads =
                waiting.iter().map(|(piece, after)| table.headers(&piece.range, PAGE, after.as_ref()));
            let pages = try_join_all(reads).await?;
            let mut next = Vec::new();
            let mut opened = Vec::new();
            for ((piece, _), page) in waiting.into_iter().zip(pages) {
                self.read_units += page.read_units;
                self.skipped += page.skipped();
                for stored in page.blocks {
                    if !self.counted_by_header(&stored.header, piece.app) {
                        opened.push((piece.app, stored));
                    }
                }
                if page.next.is_some() {
                    next.push((piece, page.next));
                }
            }
            if !self.open(table, &opened).await? {
                return Ok(false);
            }
            next.extend(rest);
            waiting = next;
        }
        Ok(true)
    }

    /// Whether a block is counted, or has nothing to count, by its header alone.
    fn counted_by_header(&mut self, header: &BlockHeader, app: usize) -> bool {
        let question = self.question;
        let asked = &question.apps[app];
        let since_ms = self.since_ms(asked);
        let expired = header.expires_at_secs.is_some_and(|at| at <= question.now_ms.div_euclid(1000));
        if header.registered_ms != asked.registered_ms
            || header.first_ms >= question.until_ms
            || header.last_ms < since_ms
            || expired
            || !question.filter.entry.may_be_in_block(header)
        {
            return true;
        }
        let bucket = header.first_ms.div_euclid(question.bucket_ms);
        let is_within = since_ms <= header.first_ms
            && header.last_ms < question.until_ms
            && bucket == header.last_ms.div_euclid(question.bucket_ms);
        if !is_within || self.question.filter.entry.reads_entries() {
            return false;
        }
        // A block never spans hours.
        let counts = self.reading.entry((hour_of_ms(header.first_ms), bucket)).or_default();
        for (level, records) in
            header.levels.iter().filter(|(level, _)| self.question.filter.entry.has_level(*level))
        {
            counts.add(level, records);
        }
        true
    }

    /// Counts the entries of blocks; `false` if the limits were reached first.
    async fn open<T: BlockTable>(
        &mut self,
        table: &T,
        opened: &[(usize, StoredHeader)],
    ) -> Result<bool, Fault> {
        let reads =
            opened.iter().map(|(app, stored)| async move { (*app, table.find(&stored.header).await) });
        let mut blocks = stream::iter(reads.collect::<Vec<_>>()).buffered(READ_AT_ONCE);
        while let Some((app, block)) = blocks.next().await {
            // A missing block was removed, or has expired, since its header was read.
            let Some(stored) = block? else { continue };
            self.read_units += units(stored.block.data.len());
            match self.question.filter.entry.reads_entries() {
                true => self.count_entries(table.payload(&stored).await?, app),
                // The times come first, even of a block with extents.
                false => self.count_times(BlockTimes::decode(&stored.block.data).ok(), app),
            }
            if self.is_over() {
                return Ok(false);
            }
            // Lets other tasks run between two blocks.
            tokio::task::yield_now().await;
        }
        Ok(true)
    }

    /// Counts the entries that the filter finds; `None`: the block cannot be read.
    fn count_entries(&mut self, payload: Option<Payload>, app: usize) {
        let Some(payload) = payload else {
            self.skipped += 1;
            return;
        };
        self.decompressed_bytes += payload.bytes();
        let filter = &self.question.filter.entry;
        if !filter.may_match_in(payload.text()) {
            return;
        }
        for index in 0..payload.len() {
            let entry = payload.entry(index);
            let counts = self.is_asked_for(app, entry.timestamp_ms, entry.level)
                && filter.may_match(&entry)
                && filter.holds(&payload.record(index));
            if counts {
                self.count_one(entry.timestamp_ms, entry.level);
            }
        }
    }

    /// Counts entries by their times and levels alone; `None`: the block cannot be read.
    fn count_times(&mut self, times: Option<BlockTimes>, app: usize) {
        let Some(times) = times else {
            self.skipped += 1;
            return;
        };
        self.decompressed_bytes += times.bytes;
        for (time_ms, level) in times.entries {
            if self.is_asked_for(app, time_ms, level) {
                self.count_one(time_ms, level);
            }
        }
    }

    fn is_asked_for(&self, app: usize, time_ms: i64, level: Level) -> bool {
        let since_ms = self.since_ms(&self.question.apps[app]);
        (since_ms..self.question.until_ms).contains(&time_ms) && self.question.filter.entry.has_level(level)
    }

    fn count_one(&mut self, time_ms: i64, level: Level) {
        let bucket = time_ms.div_euclid(self.question.bucket_ms);
        self.reading.entry((hour_of_ms(time_ms), bucket)).or_default().count(level);
    }

    fn finish(self, complete_from_ms: Option<i64>) -> Histogram {
        let Question { since_ms, until_ms, bucket_ms, .. } = *self.question;
        let first = since_ms.div_euclid(bucket_ms);
        let buckets = (first..first + bucket_count(since_ms, until_ms, bucket_ms))
            .map(|bucket| (bucket * bucket_ms, self.counts.get(&bucket).copied().unwrap_or_default()))
            .collect();
        Histogram { buckets, complete_from_ms, skipped: self.skipped, read_units: self.read_units }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_of_buckets_fits_the_range() {
        for (range_ms, width) in [
            (1_000, 1_000),
            (15 * 60_000, 15_000),
            (MS_PER_HOUR, 60_000),
            (24 * MS_PER_HOUR, 1_800_000),
            (7 * 24 * MS_PER_HOUR, 10_800_000),
            (30 * 24 * MS_PER_HOUR, 43_200_000),
        ] {
            let since = 1_700_000_000_123;
            assert_eq!(width_ms(since, since + range_ms), width, "{range_ms}");
        }
        for days in [1, 400, 4_000, 40_000] {
            let (since, until) = (0, days * 24 * MS_PER_HOUR);
            assert!(bucket_count(since, until, width_ms(since, until)) <= DEFAULT_BUCKETS, "{days} days");
        }
    }

    #[test]
    fn buckets_begin_at_multiples_of_their_width() {
        assert_eq!(bucket_count(0, 10, 10), 1);
        assert_eq!(bucket_count(9, 11, 10), 2);
        assert_eq!(bucket_count(5, 5, 10), 0);
        assert_eq!(bucket_count(-5, 5, 10), 2);
    }
}
