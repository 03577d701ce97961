//! Erases the records that match a filter: in blocks, in the counters, and in the objects that they came
//! from.
//!
//! A job goes through the partitions of its time range. For a block with matching records it removes the
//! object first, so that the file cannot be ingested again, and then rewrites the block and changes the
//! counters in one transaction. An object that it may not remove is noted as not reached. A block that was
//! rewritten has no match any more: a pass that is repeated after a crash does nothing twice. Blocks of files
//! in progress are left, and the pass is repeated. When a pass has left nothing, one more pass finds what
//! writers stored that were running at that time.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::try_join_all;
use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use crate::ledger::files::Files;
use crate::logbook::blocks::{BlockPosition, BlockRange, BlockTable, StoredHeader};
use crate::logbook::counters::Stats;
use crate::logbook::day_cursor::DayCursor;
use crate::logbook::records::{CountedIn, CountedRemoval, Erased, Records, Removal, Removed, Rewritten};
use crate::model::app::App;
use crate::model::block::{BlockHeader, Partition, Payload};
use crate::model::day_counts::DayCounts;
use crate::model::entry_filter::EntryFilter;
use crate::model::fault::{Fault, FaultClass, chain};
use crate::model::ids::SHARDS;
use crate::model::level::LevelCounts;
use crate::model::object::{ObjectRef, ObjectVersion};
use crate::model::record::Marks;
use crate::model::time::{Day, MS_PER_HOUR, hour_of_ms};
use crate::ports::apps::Apps;
use crate::ports::erasures::{ErasePosition, Erasure, Erasures};
use crate::ports::objects::ObjectEraser;

/// Maximum range of time of an erasure (days).
pub const MAX_DAYS: i64 = 3_660;

/// How long a worker holds a job (ms).
const HOLD_MS: i64 = 5 * 60_000;
/// Pause before a pass is repeated that has left blocks (ms).
const REPEAT_MS: i64 = 5 * 60_000;
/// When the last pass is due (ms): a Lambda function runs for 15 minutes at most.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const SETTLE_MS: i64 = 16 * 60_000;
/// Maximum time of a turn of a job.
const TURN_TIME: Duration = Duration::from_secs(15);
/// Jobs that are worked on concurrently.
const JOBS_AT_ONCE: usize = 4;
/// Headers per page.
const HEADER_PAGE: u32 = 100;
/// Objects not reached whose keys a job notes. Of further ones it notes the bucket.
const MAX_KEYS_NOT_REACHED: usize = 100;
/// Maximum attempts for a block if the counts of its file keep changing.
const ATTEMPTS: u32 = 8;

/// What a job looks for.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub app: &'a App,
    pub filter: &'a EntryFilter,
    pub since_ms: i64,
    pub until_ms: i64,
}

/// What an erasure would erase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preview {
    pub records: u64,
    pub blocks: u64,
    pub objects: u64,
    /// Blocks that cannot be read.
    pub unreadable: u64,
    /// `false` if the time was over before the end of the range.
    pub complete: bool,
}

/// The results of the erasures of a sweep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Erasing {
    /// Turns of jobs.
    pub turns: u32,
    /// Jobs that were completed.
    pub complete: u32,
    /// Jobs whose turn failed. They are due again when their hold expires.
    pub failed: u32,
}

/// What a worker needs.
#[derive(Debug)]
pub struct Eraser<'a, A, B, F, O> {
    pub apps: &'a A,
    pub book: &'a B,
    pub files: &'a F,
    pub objects: &'a O,
    /// Objects of other buckets are not reached.
    pub bucket: &'a str,
    pub now_ms: i64,
}

/// A job during a turn.
struct Turn {
    job: Erasure,
    /// The job as it is stored.
    stored: Erasure,
    /// Objects that this turn has dealt with.
    objects: HashSet<ObjectRef>,
}

impl Wanted<'_> {
    /// Whether a block may have a match, according to its header.
    fn may_be_in(&self, header: &BlockHeader) -> bool {
        header.registered_ms == self.app.registered_ms
            && header.first_ms < self.until_ms
            && header.last_ms >= self.since_ms
            && self.filter.may_be_in_block(header)
    }

    /// Returns the positions of the matching entries.
    fn matching(&self, payload: &Payload) -> HashSet<usize> {
        if !self.filter.may_match_in(payload.text()) {
            return HashSet::new();
        }
        let in_range = |ms: i64| (self.since_ms..self.until_ms).contains(&ms);
        let matches = |index: usize| {
            let entry = payload.entry(index);
            in_range(entry.timestamp_ms)
                && self.filter.may_match(&entry)
                && self.filter.holds(&payload.record(index))
        };
        (0..payload.len()).filter(|&index| matches(index)).collect()
    }

    fn days(&self) -> std::ops::RangeInclusive<i32> {
        Day::of_ms(self.since_ms).0..=Day::of_ms(self.until_ms - 1).0
    }

    /// The blocks of a partition that may have records in the range of time.
    fn range(&self, partition: Partition) -> BlockRange {
        // A block never spans hours: one that ends after the range ends in the hour of the range's end.
        let hour_end_ms = (hour_of_ms(self.until_ms - 1) + 1) * MS_PER_HOUR - 1;
        let day = partition.day;
        BlockRange {
            last_ms_from: self.since_ms.max(day.start_ms()),
            last_ms_to: hour_end_ms.min(day.end_ms()),
            partition,
        }
    }
}

/// Counts what an erasure would erase, until `until`.
///
/// # Errors
/// A read failed.
pub async fn preview<B: BlockTable + Stats>(
    book: &B,
    wanted: &Wanted<'_>,
    now_ms: i64,
    until: Instant,
) -> Result<Preview, Fault> {
    let (mut preview, mut objects) = (Preview::default(), HashSet::new());
    let (first, last) = wanted.days().into_inner();
    let mut days = DayCursor::new(wanted.app, Day(first), Day(last), now_ms);
    while let Some(counted) = days.peek(book).await? {
        days.take();
        let partition = |shard| Partition { app_id: wanted.app.app_id.clone(), day: counted.day, shard };
        let mut unread: Vec<_> = (0..SHARDS).map(|shard| (wanted.range(partition(shard)), None)).collect();
        while !unread.is_empty() {
            if Instant::now() >= until {
                return Ok(preview);
            }
            let reads = unread.iter().map(|(range, after)| book.headers(range, HEADER_PAGE, after.as_ref()));
            let pages = try_join_all(reads).await?;
            let mut next = Vec::new();
            for ((range, _), page) in unread.into_iter().zip(pages) {
                preview.unreadable += page.unreadable.len() as u64;
                for stored in page.blocks.iter().filter(|stored| wanted.may_be_in(&stored.header)) {
                    let Some(block) = book.find(&stored.header).await? else { continue };
                    let Some(payload) = book.payload(&block).await? else {
                        preview.unreadable += 1;
                        continue;
                    };
                    let matching = wanted.matching(&payload).len() as u64;
                    preview.records += matching;
                    preview.blocks += u64::from(matching > 0);
                    if matching > 0
                        && let Some(file) = &stored.header.file
                    {
                        preview.objects += u64::from(objects.insert(file.object.clone()));
                    }
                    if Instant::now() >= until {
                        return Ok(preview);
                    }
                }
                if page.next.is_some() {
                    next.push((range, page.next));
                }
            }
            unread = next;
        }
    }
    Ok(Preview { complete: true, ..preview })
}

impl<A, B, F, O> Eraser<'_, A, B, F, O>
where
    A: Apps + Erasures,
    B: BlockTable + Records,
    F: Files,
    O: ObjectEraser,
{
    /// Works on the due jobs in turn until none is due or until `until`. A failing job does not stop the
    /// others.
    ///
    /// # Errors
    /// The jobs could not be read.
    pub async fn go_on(&self, until: Instant) -> Result<Erasing, Fault> {
        let mut erasing = Erasing::default();
        let mut jobs = self.apps.erasures().await?;
        jobs.retain(|job| job.due_ms <= self.now_ms);
        jobs.sort_by_key(|job| job.due_ms);
        while !jobs.is_empty() && Instant::now() < until {
            let turns = jobs.drain(..).map(|job| self.turn(job, until)).collect::<Vec<_>>();
            let mut turns = stream::iter(turns).buffer_unordered(JOBS_AT_ONCE);
            while let Some(turn) = turns.next().await {
                erasing.turns += 1;
                match turn {
                    Ok(Some(job)) if job.completed_ms.is_some() => erasing.complete += 1,
                    Ok(Some(job)) if job.due_ms <= self.now_ms => jobs.push(job),
                    Ok(_) => {}
                    Err(fault) => {
                        tracing::warn!(error.chain = %chain(&fault), "erasure failed; retried later");
                        erasing.failed += 1;
                    }
                }
            }
        }
        Ok(erasing)
    }

    /// Works on a job for a bounded time. `None` if another worker holds it.
    async fn turn(&self, job: Erasure, until: Instant) -> Result<Option<Erasure>, Fault> {
        let until = until.min(Instant::now() + TURN_TIME);
        let held = Erasure { due_ms: self.now_ms + HOLD_MS, ..job.clone() };
        if !self.apps.save_erasure(&held, job.due_ms).await? {
            return Ok(None);
        }
        let mut turn = Turn { job: held.clone(), stored: held, objects: HashSet::new() };
        let app = self.apps.find(&job.key.app_id).await?;
        match app.filter(|app| app.registered_ms == job.key.registered_ms) {
            Some(app) => self.pass(&app, &mut turn, until).await?,
            // The app is deleted, and its records with it.
            None => turn.job.completed_ms = Some(self.now_ms),
        }
        let Turn { mut job, stored, .. } = turn;
        if job.completed_ms.is_some() {
            job.filter.values_mut().for_each(String::clear);
        }
        self.apps.save_erasure(&job, stored.due_ms).await?;
        Ok(Some(job))
    }

    /// Continues the pass of a job, and sets when the job is due again.
    async fn pass(&self, app: &App, turn: &mut Turn, until: Instant) -> Result<(), Fault> {
        let job = &mut turn.job;
        let unreadable = |_| Fault::new(FaultClass::Permanent, "erasure", "its filter cannot be read");
        let filter = EntryFilter::read(&job.filter).map_err(unreadable)?;
        let wanted = Wanted { app, filter: &filter, since_ms: job.since_ms, until_ms: job.until_ms };
        let begin = ErasePosition { day: Day(*wanted.days().start()), shard: 0, after: None };
        if job.position.is_none() {
            (job.left, job.unreadable) = (0, 0);
        }
        let mut at = job.position.take().unwrap_or(begin);
        while at.day.0 <= *wanted.days().end() {
            if Instant::now() >= until {
                (turn.job.position, turn.job.due_ms) = (Some(at), self.now_ms);
                return Ok(());
            }
            let partition = Partition { app_id: app.app_id.clone(), day: at.day, shard: at.shard };
            let mut after = at.after.take().map(BlockPosition);
            let page = self.book.headers(&wanted.range(partition), HEADER_PAGE, after.as_ref()).await?;
            for stored in page.blocks.iter().filter(|stored| wanted.may_be_in(&stored.header)) {
                if Instant::now() >= until {
                    // The next turn continues after the last block, and counts what is below it.
                    let job = &mut turn.job;
                    let passed =
                        page.unreadable.iter().filter(|&at| after.as_ref().is_some_and(|after| at > after));
                    job.unreadable += passed.count() as u64;
                    at.after = after.map(|position| position.0);
                    (job.position, job.due_ms) = (Some(at), self.now_ms);
                    return Ok(());
                }
                self.erase_in(&wanted, stored, turn).await?;
                after = Some(stored.position());
            }
            turn.job.unreadable += page.unreadable.len() as u64;
            at = match page.next {
                Some(next) => ErasePosition { after: Some(next.0), ..at },
                None if at.shard + 1 < SHARDS => ErasePosition { shard: at.shard + 1, after: None, ..at },
                None => ErasePosition { day: at.day.next(), shard: 0, after: None },
            };
        }
        let job = &mut turn.job;
        if job.left > 0 {
            (job.last_pass, job.due_ms) = (false, self.now_ms + REPEAT_MS);
        } else if job.last_pass {
            job.completed_ms = Some(self.now_ms);
        } else {
            (job.last_pass, job.due_ms) = (true, self.now_ms + SETTLE_MS);
        }
        Ok(())
    }

    /// Erases the matching records of a block, and its object.
    async fn erase_in(
        &self,
        wanted: &Wanted<'_>,
        stored: &StoredHeader,
        turn: &mut Turn,
    ) -> Result<(), Fault> {
        let header = &stored.header;
        let job = &mut turn.job;
        let Some(block) = self.book.find(header).await? else { return Ok(()) };
        if block.block.header.count != header.count {
            job.left += 1;
            return Ok(());
        }
        let Some(payload) = self.book.payload(&block).await? else {
            job.unreadable += 1;
            return Ok(());
        };
        let matching = wanted.matching(&payload);
        if matching.is_empty() {
            return Ok(());
        }
        if let Some(file) = &header.file {
            if self.is_in_progress(&file.object).await? {
                job.left += 1;
                return Ok(());
            }
            if turn.objects.insert(file.object.clone()) {
                self.remove(&file.object, turn).await?;
            }
        }
        let job = &mut turn.job;
        // A prune removes the block as a whole, and the counters of its day.
        if wanted.app.pruned_before_ms.is_some_and(|pruned| header.day().end_ms() < pruned) {
            job.left += 1;
            return Ok(());
        }
        let rewritten = rewrite(&payload, &matching)?;
        for _ in 0..ATTEMPTS {
            let (counted_in, from_ms) = self.counted(wanted, stored).await?;
            let counts = counts_of(&payload, &matching, from_ms);
            let counted_in = if counts == DayCounts::default() { CountedIn::Nowhere } else { counted_in };
            let removal = CountedRemoval {
                header: header.clone(),
                extents: stored.extents,
                removal: Removal::Erase(Erased {
                    was_count: header.count,
                    was_pruned_ms: stored.pruned_to_ms,
                    left: rewritten.clone(),
                }),
                counts,
                counted_in,
            };
            match self.book.remove_counted(&removal).await? {
                Removed::Yes => {
                    job.records += matching.len() as u64;
                    job.blocks += 1;
                    return Ok(());
                }
                Removed::BlockDiffers => break,
                Removed::CountDiffers => {}
            }
        }
        job.left += 1;
        Ok(())
    }

    /// Removes an object, or notes that it is not reached: durably, because its block will not match any
    /// more.
    async fn remove(&self, object: &ObjectRef, turn: &mut Turn) -> Result<(), Fault> {
        let own = object.bucket == self.bucket;
        match if own { self.objects.erase(object).await } else { Err(elsewhere()) } {
            Ok(removed) => turn.job.objects += u64::from(removed),
            Err(fault) if fault.retryable() => return Err(fault),
            Err(fault) => {
                tracing::warn!(
                    file.bucket = %object.bucket, file.key = %object.key, error.chain = %chain(&fault),
                    "an erasure does not reach an object"
                );
                let not_reached = &mut turn.job.not_reached;
                let name = match not_reached.len() < MAX_KEYS_NOT_REACHED {
                    true => format!("{}/{}", object.bucket, object.key),
                    false => object.bucket.clone(),
                };
                if not_reached.insert(name) {
                    let noted = Erasure { not_reached: not_reached.clone(), ..turn.stored.clone() };
                    if !self.apps.save_erasure(&noted, noted.due_ms).await? {
                        return Err(Fault::new(
                            FaultClass::Conflict,
                            "erasure",
                            "another worker has the job",
                        ));
                    }
                    turn.stored = noted;
                }
            }
        }
        Ok(())
    }

    /// Whether an object is being ingested, or waits for it.
    async fn is_in_progress(&self, object: &ObjectRef) -> Result<bool, Fault> {
        let version = match &object.version {
            ObjectVersion::Id(version) | ObjectVersion::ETag(version) => version,
        };
        let rows = self.files.of_version(&object.bucket, &object.key, version).await?;
        Ok(rows.iter().any(|row| !row.status.is_terminal()))
    }

    /// Returns where the records of a block are counted, and from which time on.
    async fn counted(
        &self,
        wanted: &Wanted<'_>,
        stored: &StoredHeader,
    ) -> Result<(CountedIn, Option<i64>), Fault> {
        let header = &stored.header;
        let Some(file) = &header.file else { return Ok((CountedIn::Counters, stored.pruned_to_ms)) };
        let counted = self.book.counted(&file.object, header.day()).await?;
        Ok(match counted.filter(|row| row.registered_ms == wanted.app.registered_ms) {
            Some(row) => (CountedIn::File { revision: row.revision }, stored.pruned_to_ms.max(row.from_ms)),
            None => (CountedIn::Nowhere, stored.pruned_to_ms),
        })
    }
}

fn elsewhere() -> Fault {
    Fault::new(FaultClass::Denied, "DeleteObject", "it is in another bucket")
}

/// Returns a block without some entries; `None` if none is left.
fn rewrite(payload: &Payload, erased: &HashSet<usize>) -> Result<Option<Rewritten>, Fault> {
    if erased.len() == payload.len() {
        return Ok(None);
    }
    let unpacked = |error| {
        Fault::new(FaultClass::Permanent, "rewriting a block", "it cannot be packed").with_source(error)
    };
    let data = payload.without(erased).map_err(unpacked)?;
    let mut rewritten = Rewritten { data, count: 0, levels: LevelCounts::default(), unknown_levels: 0 };
    for (_, entry) in payload.entries().enumerate().filter(|(index, _)| !erased.contains(index)) {
        rewritten.count += 1;
        rewritten.levels.count(entry.level);
        rewritten.unknown_levels += u32::from(entry.marks.has(Marks::LEVEL_UNKNOWN));
    }
    Ok(Some(rewritten))
}

/// Counts those of these entries that are not before `from_ms`.
fn counts_of(payload: &Payload, indexes: &HashSet<usize>, from_ms: Option<i64>) -> DayCounts {
    let mut counts = DayCounts::default();
    for entry in indexes.iter().map(|&index| payload.entry(index)) {
        if from_ms.is_none_or(|from| entry.timestamp_ms >= from) {
            counts.levels.count(entry.level);
            counts.bytes += i64::try_from(entry.raw.len()).unwrap_or(0);
        }
    }
    counts
}
