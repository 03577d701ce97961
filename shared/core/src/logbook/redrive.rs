//! Starting files over: those of a key, or all of an app, or of all apps, that ended in one way.
//!
//! A request goes on for as long as it may; what it leaves is a job, which a sweep goes on with from
//! where it stopped. Each file is started over by itself, under the condition that it is as it was
//! read: to do so twice changes nothing.

use std::time::Duration;

use crate::ledger::files::{FilePage, FilePosition, Files};
use crate::ledger::row::{FileRow, FileStatus};
use crate::model::fault::{Fault, chain};
use crate::ports::app_admin::{AppAdmin, RedriveJob};
use crate::ports::apps::Apps;
use futures::stream::{self, StreamExt};
use tokio::time::Instant;

/// Files read at once, and started over at once.
const PAGE: u32 = 100;
const AT_ONCE: usize = 16;

/// How long whoever works on a job holds it (ms).
const HOLD_MS: i64 = 5 * 60_000;

/// How long a turn of a job in a sweep takes at most.
const TURN_TIME: Duration = Duration::from_secs(15);

/// What a request has done by the time it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Files started over.
    pub redriven: u64,
    /// Files looked at.
    pub seen: u64,
    /// `false`: a sweep goes on with it.
    pub complete: bool,
}

/// What a sweep did with the jobs that were due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Redrives {
    /// Files started over.
    pub redriven: u64,
    /// Jobs that are through.
    pub complete: u32,
    /// Jobs whose turn failed; they are due again when nobody holds them any more.
    pub failed: u32,
    /// Jobs that time was too short for.
    pub left: u32,
}

/// Starts over what a job names, until `until`, and leaves the job where that is not all.
///
/// # Errors
/// A call failed; the same call may be repeated.
pub async fn redrive(
    apps: &impl AppAdmin,
    files: &impl Files,
    bucket: &str,
    mut job: RedriveJob,
    now_ms: i64,
    until: Instant,
) -> Result<Redriven, Fault> {
    let done = work(files, bucket, &mut job, now_ms, until).await?;
    if !done.complete {
        job.due_ms = now_ms;
        apps.leave_redrive(&job).await?;
    }
    Ok(done)
}

/// Goes on with the jobs that are due, in turn, until all are through or `until`. A job that fails
/// stops no other.
///
/// # Errors
/// The jobs could not be read.
pub async fn go_on<A: AppAdmin>(
    apps: &A,
    files: &impl Files,
    bucket: &str,
    now_ms: i64,
    until: Instant,
) -> Result<Redrives, Fault> {
    let mut all = Redrives::default();
    let mut jobs = apps.redrives().await?;
    jobs.retain(|job| job.due_ms <= now_ms);
    jobs.sort_by_key(|job| job.due_ms);
    while !jobs.is_empty() && Instant::now() < until {
        let mut more = Vec::new();
        for job in jobs {
            if Instant::now() >= until {
                more.push(job);
                continue;
            }
            let until = until.min(Instant::now() + TURN_TIME);
            match turn(apps, files, bucket, job.clone(), now_ms, until).await {
                Ok((_, None)) => {}
                Ok((after, Some(done))) => {
                    all.redriven += done.redriven;
                    all.complete += u32::from(done.complete);
                    more.extend((!done.complete).then_some(after));
                }
                Err(fault) => {
                    all.failed += 1;
                    tracing::warn!(
                        app.id = job.app_id.as_ref().map(tracing::field::display),
                        error.chain = %chain(&fault), "a redrive failed and is tried again later"
                    );
                }
            }
        }
        jobs = more;
    }
    all.left = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    Ok(all)
}

/// One turn of a job; `None`: somebody else is at it.
async fn turn<A: AppAdmin>(
    apps: &A,
    files: &impl Files,
    bucket: &str,
    mut job: RedriveJob,
    now_ms: i64,
    until: Instant,
) -> Result<(RedriveJob, Option<Redriven>), Fault> {
    let was_due_ms = job.due_ms;
    job.due_ms = now_ms + HOLD_MS;
    if !apps.save_redrive(&job, was_due_ms).await? {
        return Ok((job, None));
    }
    let held_until = job.due_ms;
    let done = match is_there(apps, &job).await? {
        true => work(files, bucket, &mut job, now_ms, until).await?,
        false => Redriven { complete: true, ..Redriven::default() },
    };
    if done.complete {
        apps.end_redrive(&job, held_until).await?;
    } else {
        job.due_ms = now_ms;
        apps.save_redrive(&job, held_until).await?;
    }
    Ok((job, Some(done)))
}

/// Whether the app is still the one whose files are to be started over.
async fn is_there<A: Apps>(apps: &A, job: &RedriveJob) -> Result<bool, Fault> {
    let Some(app_id) = &job.app_id else { return Ok(true) };
    Ok(apps.find(app_id).await?.is_some_and(|app| app.created_ms == job.epoch_ms))
}

async fn work(
    files: &impl Files,
    bucket: &str,
    job: &mut RedriveJob,
    now_ms: i64,
    until: Instant,
) -> Result<Redriven, Fault> {
    let mut done = Redriven::default();
    while !done.complete && Instant::now() < until {
        let page = page(files, bucket, job, now_ms).await?;
        let own: Vec<_> = page.rows.into_iter().filter(|row| is_of(row, job)).collect();
        done.seen += own.len() as u64;
        let wanted: Vec<_> = own.into_iter().filter(|row| fits(row, job)).collect();
        let restarts: Vec<_> = wanted.iter().map(|row| files.redrive(row, now_ms)).collect();
        let mut restarts = stream::iter(restarts).buffer_unordered(AT_ONCE);
        while let Some(redriven) = restarts.next().await {
            done.redriven += u64::from(redriven?);
        }
        done.complete = page.next.is_none();
        job.after = page.next.map(|next| next.0);
    }
    Ok(done)
}

async fn page(files: &impl Files, bucket: &str, job: &RedriveJob, now_ms: i64) -> Result<FilePage, Fault> {
    let after = job.after.clone().map(FilePosition);
    let after = after.as_ref();
    match (&job.key, &job.app_id, job.status) {
        (Some(key), ..) => files.of_key(bucket, key, PAGE, after).await,
        (None, Some(app_id), FileStatus::Completed | FileStatus::Pending | FileStatus::Processing) => {
            files.of_app(app_id, job.epoch_ms, Some(job.status), PAGE, after).await
        }
        (None, app_id, _) => files.failed(app_id.as_ref(), job.epoch_ms, now_ms, PAGE, after).await,
    }
}

/// Whether a file is one of those that may be started over for whoever asked.
fn is_of(row: &FileRow, job: &RedriveJob) -> bool {
    job.app_id.is_none() || row.app_id == job.app_id && row.created_ms >= job.epoch_ms
}

fn fits(row: &FileRow, job: &RedriveJob) -> bool {
    let code = row.reason.as_ref().map(|reason| reason.code);
    row.status == job.status && (job.reason.is_none() || job.reason == code)
}
