//! Redrives files: those of a key, of an app, or of all apps, that ended in one way.
//!
//! A request redrives until its time is over. The rest becomes a job, which `sweep` resumes at its
//! position. Each file is redriven separately, on condition that it has not changed since it was read, so
//! redriving it twice has no effect.

use std::time::Duration;

use crate::ledger::files::{FilePage, FilePosition, Files, Owner};
use crate::ledger::row::{FileRow, FileStatus};
use crate::model::fault::{Fault, chain};
use crate::ports::app_admin::{AppAdmin, RedriveJob};
use crate::ports::apps::Apps;
use futures::stream::{self, StreamExt};
use tokio::time::Instant;

/// Files per page, and files redriven in parallel.
const PAGE: u32 = 100;
const AT_ONCE: usize = 16;

/// How long a worker holds a job (ms).
const HOLD_MS: i64 = 5 * 60_000;

/// Maximum time of a turn of a job in a sweep.
const TURN_TIME: Duration = Duration::from_secs(15);

/// The progress of a redrive when the request is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Files redriven.
    pub redriven: u64,
    /// Files read.
    pub seen: u64,
    /// `false` if `sweep` resumes it.
    pub complete: bool,
}

/// The results of due redrive jobs in a sweep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Redrives {
    /// Files redriven.
    pub redriven: u64,
    /// Finished jobs.
    pub complete: u32,
    /// Jobs whose turn failed. They are due again when their hold expires.
    pub failed: u32,
    /// Jobs for which there was no time.
    pub left: u32,
}

/// Redrives the files of a job until `until`, and stores the job if files are left.
///
/// # Errors
/// A call failed; retry the call.
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

/// Runs the due jobs in turn until all are finished or until `until`. A failing job does not stop the
/// others.
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
                        error.chain = %chain(&fault), "redrive failed; retried later"
                    );
                }
            }
        }
        jobs = more;
    }
    all.left = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    Ok(all)
}

/// Runs one turn of a job; `None` if another worker holds it.
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

/// Whether the app is still the one whose files are to be redriven.
async fn is_there<A: Apps>(apps: &A, job: &RedriveJob) -> Result<bool, Fault> {
    let Some(app_id) = &job.app_id else { return Ok(true) };
    Ok(apps.find(app_id).await?.is_some_and(|app| app.registered_ms == job.registered_ms))
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
        let own = page.rows.into_iter().filter(|row| owner(job).is_none_or(|owner| owner.owns(row)));
        let own: Vec<_> = own.collect();
        done.seen += own.len() as u64;
        // Objects of other buckets cannot be read.
        let wanted: Vec<_> = own.into_iter().filter(|row| row.bucket == bucket && fits(row, job)).collect();
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
        (Some(key), ..) => files.of_key(bucket, key, owner(job), PAGE, after).await,
        (None, Some(app_id), FileStatus::Completed | FileStatus::Pending | FileStatus::Processing) => {
            files.of_app(app_id, job.registered_ms, Some(job.status), PAGE, after).await
        }
        (None, app_id, _) => files.failed(app_id.as_ref(), job.registered_ms, now_ms, PAGE, after).await,
    }
}

/// The app whose files alone the job may redrive.
fn owner(job: &RedriveJob) -> Option<Owner<'_>> {
    job.app_id.as_ref().map(|app_id| Owner { app_id, registered_ms: job.registered_ms })
}

fn fits(row: &FileRow, job: &RedriveJob) -> bool {
    let code = row.reason.as_ref().map(|reason| reason.code);
    row.status == job.status && (job.reason.is_none() || job.reason == code)
}
