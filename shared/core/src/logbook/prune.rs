//! Removes records: those that a watermark hides, or all that a deleted app has stored.
//!
//! Readers honour the watermark, or the app's absence, at once. Blocks and counters follow. A job row
//! stores the remaining work until a pass finds nothing more, and a last pass also finds nothing. The last
//! pass runs when no writer with the old watermark can still be running. Days before the watermark's day
//! lose their blocks, then their counters as a whole. On the watermark's own day, counting of older records
//! is forbidden first. Then each block is removed together with its counts. A block that extends past the
//! watermark stays; only its older records are subtracted. Records that their file has not counted are not
//! subtracted, because they never will be counted. The counters are therefore exact as soon as a pass has
//! finished.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::logbook::blocks::{BlockPosition, BlockRange, BlockTable, StoredHeader};
use crate::logbook::counters::{CounterKey, Stats};
use crate::logbook::records::{CountedIn, CountedRemoval, Records, Removal, Removed};
use crate::model::app::App;
use crate::model::block::Partition;
use crate::model::day_counts::DayCounts;
use crate::model::fault::{Fault, chain};
use crate::model::ids::SHARDS;
use crate::model::time::{Day, EARLIEST_MS, LATEST_MS, MS_PER_HOUR, hour_of_ms};
use crate::ports::app_admin::{AppAdmin, Job, JobKind};
use futures::stream::{self, StreamExt};
use tokio::time::Instant;

/// How long a worker holds a job (ms).
const HOLD_MS: i64 = 5 * 60_000;
/// When the last pass is due (ms): a Lambda function runs for 15 minutes at most.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const SETTLE_MS: i64 = 16 * 60_000;

/// Maximum blocks that a request, or one turn of a job in a sweep, removes. A counted block costs more.
pub const BUDGET: u32 = 3_000;
const COUNTED_COST: u32 = 8;

/// Maximum time of a turn of a job in a sweep.
const TURN_TIME: Duration = Duration::from_secs(15);

/// Jobs of a sweep that run concurrently.
const JOBS_AT_ONCE: usize = 4;

/// Maximum attempts for a block if the counts of its file keep changing.
const ATTEMPTS: u32 = 8;

/// Headers per page, and counter rows per page.
const HEADER_PAGE: u32 = 100;
const COUNTER_PAGE: u32 = 1_000;

/// The progress of a removal when the request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Records removed.
    pub deleted: u64,
    /// `false` if some records are only hidden yet; `sweep` removes them.
    pub complete: bool,
}

/// The results of due removal jobs in a sweep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Removals {
    /// Turns of jobs.
    pub turns: u32,
    /// Jobs that found nothing more.
    pub complete: u32,
    /// Jobs whose turn failed. They are due again when their hold expires.
    pub failed: u32,
    /// Jobs for which there was no time.
    pub left: u32,
}

/// Hides everything older than `before_ms` and removes what it can within its budget and until `until`.
/// Records in the future are not hidden but removed, if their whole block is before `before_ms`: more
/// records with such times may be written later. `None` if there is no such app.
///
/// # Errors
/// The job could not be stored; retry the call.
pub async fn prune<B: BlockTable + Stats + Records>(
    apps: &impl AppAdmin,
    book: &B,
    app: &App,
    before_ms: i64,
    now_ms: i64,
    until: Instant,
) -> Result<Option<Pruned>, Fault> {
    let job = Job {
        app_id: app.app_id.clone(),
        registered_ms: app.registered_ms,
        kind: JobKind::Prune,
        before_ms: before_ms.min(now_ms),
        future_bound_ms: (before_ms > now_ms).then_some(before_ms),
        due_ms: now_ms + HOLD_MS,
        deleted: 0,
        last_pass: false,
    };
    let Some(job) = apps.prune(&job).await? else { return Ok(None) };
    Ok(Some(begin(apps, book, job, now_ms, until).await))
}

/// Deletes an app. Its records are hidden from readers at once. `None` if it was already deleted.
///
/// # Errors
/// The app could not be deleted; retry the call.
pub async fn delete<B: BlockTable + Stats + Records>(
    apps: &impl AppAdmin,
    book: &B,
    app: &App,
    now_ms: i64,
    until: Instant,
) -> Result<Option<Pruned>, Fault> {
    let job = Job {
        app_id: app.app_id.clone(),
        registered_ms: app.registered_ms,
        kind: JobKind::Delete,
        before_ms: LATEST_MS,
        future_bound_ms: None,
        due_ms: now_ms + HOLD_MS,
        deleted: 0,
        last_pass: false,
    };
    if !apps.delete(app, &job).await? {
        return Ok(None);
    }
    Ok(Some(begin(apps, book, job, now_ms, until).await))
}

/// Runs the first turn of a new job. A failure affects only the job: the records are already hidden, and
/// `sweep` removes the rest.
async fn begin<B: BlockTable + Stats + Records>(
    apps: &impl AppAdmin,
    book: &B,
    job: Job,
    now_ms: i64,
    until: Instant,
) -> Pruned {
    match work(apps, book, job, now_ms, until).await {
        Ok((job, complete)) => Pruned { deleted: job.deleted, complete },
        Err(fault) => {
            tracing::warn!(error.chain = %chain(&fault), "first turn of a removal failed");
            Pruned { deleted: 0, complete: false }
        }
    }
}

/// Runs the due jobs in turn until all are finished or until `until`. A failing job does not stop the others.
///
/// # Errors
/// The jobs could not be read. Unfinished work is due again later.
pub async fn go_on<B: BlockTable + Stats + Records>(
    apps: &impl AppAdmin,
    book: &B,
    now_ms: i64,
    until: Instant,
) -> Result<Removals, Fault> {
    let mut removals = Removals::default();
    let mut jobs = apps.jobs().await?;
    jobs.retain(|job| job.due_ms <= now_ms);
    // The job that has waited longest comes first.
    jobs.sort_by_key(|job| job.due_ms);
    while !jobs.is_empty() && Instant::now() < until {
        let turns = jobs.drain(..).map(|job| turn(apps, book, job, now_ms, until)).collect::<Vec<_>>();
        let mut turns = stream::iter(turns).buffer_unordered(JOBS_AT_ONCE);
        while let Some(end) = turns.next().await {
            removals.turns += u32::from(!matches!(end, Turn::NoTime(_) | Turn::Held));
            match end {
                Turn::NoTime(job) | Turn::More(job) => jobs.push(job),
                Turn::Complete => removals.complete += 1,
                Turn::Failed => removals.failed += 1,
                Turn::Held => {}
            }
        }
    }
    removals.left = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    Ok(removals)
}

/// How a turn of a job ended.
enum Turn {
    Complete,
    /// Its budget is spent.
    More(Job),
    /// It was not started: the time is over.
    NoTime(Job),
    Failed,
    /// Another worker holds it.
    Held,
}

async fn turn<B: BlockTable + Stats + Records>(
    apps: &impl AppAdmin,
    book: &B,
    job: Job,
    now_ms: i64,
    until: Instant,
) -> Turn {
    if Instant::now() >= until {
        return Turn::NoTime(job);
    }
    let until = until.min(Instant::now() + TURN_TIME);
    let held = Job { due_ms: now_ms + HOLD_MS, ..job.clone() };
    let worked = match apps.save_job(&held, job.due_ms).await {
        Ok(true) => work(apps, book, held, now_ms, until).await,
        Ok(false) => return Turn::Held,
        Err(fault) => Err(fault),
    };
    match worked {
        Ok((_, true)) => Turn::Complete,
        Ok((job, false)) => Turn::More(job),
        Err(fault) => {
            tracing::warn!(
                app.id = %job.app_id, job.kind = job.kind.as_str(), error.chain = %chain(&fault),
                "removal failed; retried later"
            );
            Turn::Failed
        }
    }
}

/// Runs one pass of a job that the caller holds. Afterwards the job is finished, or due later.
async fn work<B: BlockTable + Stats + Records>(
    apps: &impl AppAdmin,
    book: &B,
    mut job: Job,
    now_ms: i64,
    until: Instant,
) -> Result<(Job, bool), Fault> {
    let held_until = job.due_ms;
    let mut pass = Pass { book, job: &job, budget: BUDGET, now_ms, until, deleted: 0 };
    let complete = pass.run().await?;
    job.deleted += pass.deleted;
    if complete && job.last_pass {
        apps.end_job(&job, held_until).await?;
        return Ok((job, true));
    }
    job.last_pass = complete;
    if complete {
        // Records in the future are not hidden, so that those written since this pass stay.
        job.future_bound_ms = None;
    }
    job.due_ms = if complete { now_ms + SETTLE_MS } else { now_ms };
    apps.save_job(&job, held_until).await?;
    Ok((job, complete))
}

/// A day according to its counters.
#[derive(Debug, Default)]
struct CountedDay {
    counters: Vec<CounterKey>,
    /// Records that have not expired.
    records: i64,
}

struct Pass<'a, B> {
    book: &'a B,
    job: &'a Job,
    budget: u32,
    now_ms: i64,
    until: Instant,
    deleted: u64,
}

impl<B: BlockTable + Stats + Records> Pass<'_, B> {
    /// `false` if the budget or the time is spent.
    async fn run(&mut self) -> Result<bool, Fault> {
        let (app_id, before_ms) = (&self.job.app_id, self.job.before_ms);
        let last = Day::of_ms(before_ms - 1);
        if last.end_ms() >= before_ms {
            self.book.hide(app_id, self.job.registered_ms, last, before_ms, self.now_ms).await?;
        }
        for (day, counted) in self.days(Day::of_ms(self.end_ms() - 1)).await? {
            if day.end_ms() < self.job.before_ms {
                // If all records have expired or are removed, there is nothing to search.
                if counted.records != 0 && !self.empty(day).await? {
                    return Ok(false);
                }
                Stats::remove(self.book, &self.job.app_id, &counted.counters).await?;
                continue;
            }
            for shard in 0..SHARDS {
                let partition = Partition { app_id: self.job.app_id.clone(), day, shard };
                if !self.trim(partition).await? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Blocks that end before this time are removed as a whole (ms).
    fn end_ms(&self) -> i64 {
        self.job.future_bound_ms.unwrap_or(self.job.before_ms)
    }

    fn is_spent(&self) -> bool {
        self.budget == 0 || Instant::now() >= self.until
    }

    /// Returns the days of the job's app with counters, and the counters.
    async fn days(&self, last: Day) -> Result<BTreeMap<Day, CountedDay>, Fault> {
        let mut days: BTreeMap<Day, CountedDay> = BTreeMap::new();
        let (first, mut after) = (Day::of_ms(EARLIEST_MS), None);
        if last < first {
            return Ok(days);
        }
        loop {
            let page = Stats::newest(self.book, &self.job.app_id, first, last, COUNTER_PAGE, after).await?;
            for row in page.rows.iter().filter(|row| row.key.registered_ms == self.job.registered_ms) {
                let day = days.entry(row.key.day).or_default();
                day.counters.push(row.key);
                day.records += row.counts.alive(self.now_ms).levels.total();
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(days),
            }
        }
    }

    /// Removes all of the app's blocks of a day, page by page, from its partitions concurrently.
    async fn empty(&mut self, day: Day) -> Result<bool, Fault> {
        let whole = |shard| {
            let partition = Partition { app_id: self.job.app_id.clone(), day, shard };
            (BlockRange { partition, last_ms_from: day.start_ms(), last_ms_to: day.end_ms() }, None)
        };
        let mut ranges: Vec<(BlockRange, Option<BlockPosition>)> = (0..SHARDS).map(whole).collect();
        while !ranges.is_empty() {
            if self.is_spent() {
                return Ok(false);
            }
            let book = self.book;
            let pages = ranges.iter().map(|(range, after)| book.headers(range, HEADER_PAGE, after.as_ref()));
            let pages = futures::future::try_join_all(pages).await?;
            let mut own = Vec::new();
            let mut more = Vec::new();
            for ((range, _), page) in ranges.into_iter().zip(pages) {
                own.extend(
                    page.blocks.into_iter().filter(|it| it.header.registered_ms == self.job.registered_ms),
                );
                more.extend(page.next.map(|next| (range, Some(next))));
            }
            ranges = more;
            let mut records = 0;
            for stored in &own {
                records += match stored.pruned_to_ms {
                    None => u64::from(stored.header.count),
                    // Its older records were already counted as removed.
                    Some(from) => total(&self.counts(stored, Some(from), LATEST_MS).await?),
                };
            }
            BlockTable::remove(self.book, &own).await?;
            self.deleted += records;
            self.budget = self.budget.saturating_sub(u32::try_from(own.len()).unwrap_or(u32::MAX));
        }
        Ok(true)
    }

    /// Removes the records older than the watermark from a partition of the watermark's day.
    async fn trim(&mut self, partition: Partition) -> Result<bool, Fault> {
        let (before_ms, end_ms) = (self.job.before_ms, self.end_ms());
        // A block never spans hours: blocks with older records end in the hour of the last older record.
        let hour_end_ms = (hour_of_ms(end_ms - 1) + 1) * MS_PER_HOUR - 1;
        let range = BlockRange {
            last_ms_from: partition.day.start_ms(),
            last_ms_to: hour_end_ms.min(partition.day.end_ms()),
            partition,
        };
        let mut after = None;
        loop {
            let page = self.book.headers(&range, HEADER_PAGE, after.as_ref()).await?;
            for stored in page.blocks {
                let header = &stored.header;
                let nothing_older =
                    header.first_ms >= before_ms || stored.pruned_to_ms.is_some_and(|from| from >= before_ms);
                if header.registered_ms != self.job.registered_ms || header.last_ms >= end_ms && nothing_older
                {
                    continue;
                }
                if self.is_spent() || !self.take(&stored).await? {
                    return Ok(false);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(true),
            }
        }
    }

    /// Removes the records older than the watermark from a block. `false` if the counts of its file keep
    /// changing.
    async fn take(&mut self, stored: &StoredHeader) -> Result<bool, Fault> {
        let (header, before_ms, end_ms) = (&stored.header, self.job.before_ms, self.end_ms());
        self.budget = self.budget.saturating_sub(COUNTED_COST);
        let to_ms = if header.last_ms < end_ms { end_ms } else { before_ms };
        for _ in 0..ATTEMPTS {
            let (counted_in, from_ms) = self.counted(stored, to_ms).await?;
            let removal = match header.last_ms {
                last_ms if last_ms < before_ms => Removal::Block,
                // A writer that counts the file leaves out older records and counts the others.
                _ if counted_in == CountedIn::Nowhere => return Ok(true),
                last_ms if last_ms < end_ms => Removal::Block,
                _ => Removal::Before { was_ms: stored.pruned_to_ms, to_ms },
            };
            let counts = self.counts(stored, from_ms, to_ms).await?;
            let (header, extents) = (header.clone(), stored.extents);
            let removal = CountedRemoval { header, extents, removal, counts, counted_in };
            match self.book.remove_counted(&removal).await? {
                Removed::CountDiffers => {}
                Removed::BlockDiffers => return Ok(true),
                Removed::Yes => {
                    self.deleted += total(&counts);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Returns where the records of a block older than `to_ms` are counted, and from which time on.
    async fn counted(&self, stored: &StoredHeader, to_ms: i64) -> Result<(CountedIn, Option<i64>), Fault> {
        let header = &stored.header;
        let Some(file) = &header.file else { return Ok((CountedIn::Counters, stored.pruned_to_ms)) };
        let counted = self.book.counted(&file.object, header.day()).await?;
        let known = |from_ms: Option<i64>| from_ms.is_some_and(|from| from >= to_ms);
        let counted =
            counted.filter(|row| row.registered_ms == self.job.registered_ms && !known(row.from_ms));
        Ok(match counted {
            Some(row) => (CountedIn::File { revision: row.revision }, stored.pruned_to_ms.max(row.from_ms)),
            None => (CountedIn::Nowhere, stored.pruned_to_ms),
        })
    }

    /// Returns the counts of a block in a time range; nothing if the block does not exist.
    async fn counts(
        &self,
        stored: &StoredHeader,
        from_ms: Option<i64>,
        to_ms: i64,
    ) -> Result<DayCounts, Fault> {
        match self.book.find(&stored.header).await? {
            Some(stored) => BlockTable::counts(self.book, &stored, from_ms, Some(to_ms)).await,
            None => Ok(DayCounts::default()),
        }
    }
}

fn total(counts: &DayCounts) -> u64 {
    u64::try_from(counts.levels.total()).unwrap_or(0)
}
