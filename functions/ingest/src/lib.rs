//! `ingest`: turns an S3 object into blocks, exactly once.
//!
//! 1. Parse the event and decode the key.
//! 2. Determine the owner.
//! 3. Claim the object under a fence.
//! 4. Stream exactly the claimed version; store its blocks and bad records.
//! 5. Set the row to COMPLETED or FAILED, together with the counters.
//!
//! Problems of the object are recorded in the ledger, and the event counts as handled. Errors that a retry
//! may fix are returned after the object was released, so that Lambda retries the event. A duplicate event
//! has no effect.

mod config;
pub mod events;
mod identify;
mod kept;
mod low_water;
pub mod owner;
mod pace;
pub mod pipeline;
mod quota;
mod refusal;
mod retry;
mod second;

use std::time::Duration;

pub use config::{Config, Settings};
use events::{Arrival, arrivals};
use logferry_core::ledger::checkpoint::Checkpoint;
use logferry_core::ledger::claim::{Claim, Claimed, EndedBy, Finished, Lease, Ledger};
use logferry_core::ledger::row::FileRow;
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logfile::fingerprint::fingerprint;
use logferry_core::logfile::outcome::{FileCounts, Outcome, Reason};
use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::app::App as RegisteredApp;
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::model::fingerprint::Packing;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::objects::ObjectStore;
use logferry_core::ports::usage::Usage;
use logferry_service::metrics::{self, Emission};
use owner::{Ownership, is_older_than, of_an_earlier_app, ownership, unregistered};
use pipeline::{End, Job, Schedule, Written};
use refusal::{exhausted, too_large};
use tokio::time::Instant;
use ulid::Ulid;

/// How long before the deadline a run stops, to have time to save its checkpoint (ms).
pub const STOP_BEFORE_DEADLINE_MS: i64 = 20_000;

/// How long after the invocation's deadline a lease ends (ms).
pub const LEASE_AFTER_DEADLINE_MS: i64 = 30_000;

/// For apps younger than this, S3 is asked for an object's LastModified before the object is claimed (ms).
/// Lambda delivers no event later than that.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
const YOUNG_APP_MS: i64 = 24 * 3_600_000;

/// The function with its ports.
#[derive(Debug)]
pub struct App<O, B, L, A, C> {
    pub objects: O,
    pub blocks: B,
    pub ledger: L,
    pub apps: A,
    pub clock: C,
    pub settings: Settings,
}

/// The result of handling one object.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Ingested {
    Completed {
        counts: FileCounts,
    },
    Failed {
        reason: Reason,
        counts: FileCounts,
    },
    /// The deadline came first, or the app was pruned meanwhile. The row is PENDING and due; `sweep`
    /// restarts it.
    Released {
        blocks: u64,
    },
    /// Another worker holds the object or has ended it, or the object is not due yet. Nothing was done.
    Duplicate,
    /// Another worker took over the lease and continues.
    LeaseLost,
    /// Not a log, not in our bucket, or deleted.
    Ignored,
}

/// A claimed object: its ledger row may be written by this worker.
struct Held {
    row: FileRow,
    /// Packing fingerprint of this run.
    packing: Packing,
    limits: IntakeLimits,
    /// Whether a grant names the owner.
    granted: bool,
    lease: Lease,
    schedule: Schedule,
}

impl Held {
    /// Ending the row may take longer than the work: the lease lasts until then.
    fn give_up_at(&self) -> Instant {
        self.schedule.stop_at + self.schedule.settle * 2
    }
}

impl<O: ObjectStore, B: BlockTable, L: Ledger + Usage, A: Apps, C: Clock> App<O, B, L, A, C> {
    /// Handles every object of an event, one after the other.
    ///
    /// # Errors
    /// If the event cannot be parsed, or if any object failed in a way that a retry may fix.
    pub async fn handle(&self, event: &serde_json::Value, deadline_ms: i64) -> Result<Vec<Ingested>, Fault> {
        let arrivals = arrivals(event).map_err(|bad| {
            Fault::new(FaultClass::Permanent, "ingest", "the event cannot be parsed").with_source(bad)
        })?;
        let mut ended = Vec::new();
        let mut failed = None;
        for arrival in arrivals {
            match self.take(&arrival, deadline_ms).await {
                Ok(ingested) => {
                    log(arrival.key.as_str(), &ingested);
                    self.measure(&ingested);
                    ended.push(ingested);
                }
                Err(fault) => {
                    tracing::error!(file.key = %arrival.key, error.chain = %chain(&fault), "object not ingested");
                    failed = Some(fault);
                }
            }
        }
        failed.map_or(Ok(ended), Err)
    }

    /// Handles one object.
    ///
    /// # Errors
    /// If a call failed in a way that a retry may fix.
    pub async fn take(&self, arrival: &Arrival, deadline_ms: i64) -> Result<Ingested, Fault> {
        if arrival.bucket != self.settings.bucket {
            tracing::warn!(file.bucket = %arrival.bucket, "object in an unexpected bucket");
            return Ok(Ingested::Ignored);
        }
        let remaining_ms = deadline_ms - self.clock.now_ms();
        if remaining_ms <= 0 {
            return Err(Fault::new(FaultClass::Timeout, "ingest", "the deadline has passed"));
        }
        // A function with a short timeout also makes progress, in smaller steps.
        let reserve = Duration::from_millis(STOP_BEFORE_DEADLINE_MS.min(remaining_ms / 2).unsigned_abs());
        let stop_at = Instant::now() + Duration::from_millis(remaining_ms.unsigned_abs()) - reserve;
        let schedule = Schedule { stop_at, settle: reserve / 2 };

        let (bucket, key) = (&arrival.bucket, &arrival.key);
        let grant = retry::until(stop_at, || self.ledger.find_grant(bucket, key)).await?;
        let mut owner = ownership(key, grant.as_ref(), self.settings.chime_app.as_ref());
        if owner == Ownership::NoLog {
            return Ok(Ingested::Ignored);
        }
        let mut app = None;
        if let Ownership::App { app_id, .. } = &owner {
            app = retry::until(stop_at, || self.apps.find(app_id)).await?;
            if app.is_none() {
                owner = unregistered(app_id);
            }
        }
        let young = |app: &RegisteredApp| self.clock.now_ms() - app.created_ms < YOUNG_APP_MS;
        let look = match &grant {
            Some(_) => arrival.etag.is_none(),
            None => app.as_ref().is_some_and(young),
        };
        let Some(found) = retry::until(stop_at, || self.identify(arrival, look)).await? else {
            return Ok(Ingested::Ignored);
        };
        if let Some(now) = &app {
            let other = match &grant {
                Some(grant) => grant.epoch_ms != now.created_ms,
                None => found.last_modified_ms.is_some_and(|put_ms| self.is_too_old(put_ms, now)),
            };
            if other {
                owner = Ownership::Refused(of_an_earlier_app(&now.app_id));
                app = None;
            }
        }
        let over_quota = match (&app, &found.size) {
            (Some(app), Ok(size_bytes)) => self.over_quota(&self.usage_today(app), *size_bytes).await?,
            (None, _) | (_, Err(_)) => None,
        };
        let epoch_ms = app.as_ref().map_or(0, |app| app.created_ms);
        let presigned = matches!(owner, Ownership::App { presigned: true, .. });
        let limits = self.settings.limits(presigned);
        let retention_days = app.as_ref().and_then(|app| app.retention_days);
        let retention_days = retention_days.unwrap_or(self.settings.retention_days_default);
        let packing = fingerprint(&limits, &self.settings.redactor, epoch_ms, retention_days);
        let claim = Claim {
            object: found.object.clone(),
            app_id: app.as_ref().map(|app| app.app_id.clone()),
            granted: grant.is_some(),
            etag: found.etag.clone(),
            size_bytes: *found.size.as_ref().unwrap_or(&0),
            packing: packing.clone(),
            claim_id: Ulid::generate().to_string(),
            now_ms: self.clock.now_ms(),
            lease_until_ms: deadline_ms + LEASE_AFTER_DEADLINE_MS,
        };
        let row = match retry::until(stop_at, || self.ledger.claim(&claim)).await? {
            Claimed::Yes(row) => *row,
            Claimed::Held { .. } | Claimed::NotDue { .. } | Claimed::Done(_) => {
                return Ok(Ingested::Duplicate);
            }
        };
        let lease = Lease {
            object: found.object,
            app_id: claim.app_id,
            epoch_ms,
            pruned_before_ms: app.as_ref().and_then(|app| app.pruned_before_ms),
            fence: row.fence,
            claimed_ms: claim.now_ms,
            checkpoint: row.checkpoint,
        };
        let held = Held { row, packing, limits, granted: grant.is_some(), lease, schedule };
        let app = match (owner, app) {
            (Ownership::App { .. }, Some(app)) => app,
            (Ownership::Refused(reason), _) => return self.refuse(held, None, reason).await,
            (Ownership::App { .. } | Ownership::NoLog, _) => return Ok(Ingested::Ignored),
        };
        // Claimed for an earlier registration of the app: its records must not go to this one.
        if held.row.packing.epoch_ms().is_some_and(|claimed_for| claimed_for != epoch_ms) {
            return self.refuse(held, None, of_an_earlier_app(&app.app_id)).await;
        }
        if let Some(reason) = exhausted(&held.row) {
            return self.refuse(held, Some(&app), reason).await;
        }
        let size_bytes = match found.size {
            Ok(size_bytes) => size_bytes,
            Err(fault) => return self.refuse_unreadable(held, &app, fault).await,
        };
        if let Some(grant) = &grant {
            match self.used_by_another(grant, &held).await {
                Ok(None) => {}
                Ok(Some(first)) => return self.end_second(held, &app, &first, found.etag, size_bytes).await,
                Err(fault) => {
                    return self.release_after_fault(&held, held.lease.checkpoint, Err(fault)).await;
                }
            }
        }
        let max_bytes = self.settings.max_bytes(presigned);
        // A file that an earlier run began is not refused because of the quota.
        let over_quota = over_quota.filter(|_| held.lease.checkpoint == Checkpoint::default());
        match too_large(size_bytes, max_bytes).or(over_quota) {
            Some(reason) => self.refuse(held, Some(&app), reason).await,
            None => {
                let usage = self.usage_today(&app);
                let ended = self.ingest(held, app, max_bytes).await?;
                self.charge(&usage, &ended).await;
                Ok(ended)
            }
        }
    }

    /// Whether an object put at `put_ms` is older than the registered app.
    fn is_too_old(&self, put_ms: i64, app: &RegisteredApp) -> bool {
        !self.settings.takes_older_objects && is_older_than(put_ms, app.created_ms)
    }

    async fn ingest(&self, mut held: Held, app: RegisteredApp, max_bytes: u64) -> Result<Ingested, Fault> {
        let object = &held.lease.object;
        let (meta, body) = match retry::until(held.schedule.stop_at, || self.objects.open(object)).await {
            Ok(opened) => opened,
            Err(fault) => return self.refuse_unreadable(held, &app, fault).await,
        };
        if !held.granted && self.is_too_old(meta.last_modified_ms, &app) {
            return self.refuse(held, None, of_an_earlier_app(&app.app_id)).await;
        }
        if let Some(reason) = too_large(meta.size_bytes, max_bytes) {
            return self.refuse(held, Some(&app), reason).await;
        }
        if let Err(fault) = self.restart_if_repacked(&mut held, &app).await {
            return self.release_after_fault(&held, held.lease.checkpoint, Err(fault)).await;
        }
        let job = Job {
            object: held.lease.object.clone(),
            retention_days: app.retention_days.unwrap_or(self.settings.retention_days_default),
            app,
            meta,
            limits: held.limits,
            redactor: self.settings.redactor.clone(),
            lease: held.lease.clone(),
            packing: held.packing.clone(),
            checkpoint: held.lease.checkpoint,
        };
        let (end, written) = pipeline::run(body, &job, &self.blocks, &self.ledger, held.schedule).await;
        self.measure_writes(written);
        match end {
            End::Whole(outcome, checkpoint) => self.finish(&held, outcome, checkpoint).await,
            End::OutOfTime(by, checkpoint) => {
                let released = Ingested::Released { blocks: checkpoint.blocks };
                self.release(&held, checkpoint, by, Ok(released)).await
            }
            End::Failed(fault, by, checkpoint) => self.release(&held, checkpoint, by, Err(fault)).await,
        }
    }

    /// Restarts the file if earlier runs packed it differently (before a deployment or a change of the
    /// rules). Resuming from their blocks would store records twice or lose them. The stored blocks are
    /// removed, and this run reads the object from its beginning.
    async fn restart_if_repacked(&self, held: &mut Held, app: &RegisteredApp) -> Result<(), Fault> {
        if held.row.packing == held.packing {
            return Ok(());
        }
        let (lease, packing) = (&held.lease, &held.packing);
        let kept = self.ledger.kept(&lease.object).await?;
        kept::remove_other(&self.blocks, app, &lease.object, &kept, packing).await?;
        self.ledger.restart(lease, packing, self.clock.now_ms()).await?;
        tracing::info!(file.key = %lease.object.key, "restarted: the packing fingerprint has changed");
        held.lease.checkpoint = Checkpoint::default();
        Ok(())
    }

    /// `checkpoint`: the progress to save if the file has to be resumed.
    async fn finish(&self, held: &Held, outcome: Outcome, checkpoint: Checkpoint) -> Result<Ingested, Fault> {
        let until = held.give_up_at();
        let ended =
            retry::until(until, || self.ledger.finish(&held.lease, &outcome, self.clock.now_ms())).await;
        match ended {
            Ok(Finished::Pruned) => {
                let released = Ingested::Released { blocks: checkpoint.blocks };
                self.release(held, checkpoint, EndedBy::Outside, Ok(released)).await
            }
            Ok(Finished::Yes) => Ok(match outcome.reason {
                None => Ingested::Completed { counts: outcome.counts },
                Some(reason) => Ingested::Failed { reason, counts: outcome.counts },
            }),
            Err(fault) if fault.class == FaultClass::Conflict => Ok(Ingested::LeaseLost),
            Err(fault) => self.release_after_fault(held, checkpoint, Err(fault)).await,
        }
    }

    /// Releases the object after a fault.
    async fn release_after_fault(
        &self,
        held: &Held,
        checkpoint: Checkpoint,
        end: Result<Ingested, Fault>,
    ) -> Result<Ingested, Fault> {
        let by = end.as_ref().err().map_or(EndedBy::Itself, EndedBy::of);
        self.release(held, checkpoint, by, end).await
    }

    /// Makes the row PENDING and due at once, so that a retry of the event can claim it. Returns `end`,
    /// unless the lease was lost.
    async fn release(
        &self,
        held: &Held,
        checkpoint: Checkpoint,
        by: EndedBy,
        end: Result<Ingested, Fault>,
    ) -> Result<Ingested, Fault> {
        let until = held.give_up_at();
        let now_ms = self.clock.now_ms();
        let released =
            retry::until(until, || self.ledger.release(&held.lease, checkpoint, by, now_ms, now_ms)).await;
        match released {
            Ok(()) => end,
            Err(fault) if fault.class == FaultClass::Conflict => Ok(Ingested::LeaseLost),
            // The lease expires by itself. The fault that led here is more important than this one.
            Err(fault) => end.and(Err(fault)),
        }
    }

    fn measure(&self, ingested: &Ingested) {
        let emission = Emission::new(&self.settings.metrics_namespace);
        let (emission, counts) = match ingested {
            Ingested::Completed { counts } => (emission.value(metrics::FILES_COMPLETED, 1), counts),
            Ingested::Failed { reason, counts } => {
                let metric =
                    if reason.code.is_senders() { metrics::FILES_REFUSED } else { metrics::FILES_FAILED };
                (emission.value(metric, 1), counts)
            }
            Ingested::Released { .. } | Ingested::Duplicate | Ingested::LeaseLost | Ingested::Ignored => {
                return;
            }
        };
        emission
            .value(metrics::RECORDS_STORED, counts.ok)
            .value(metrics::RECORDS_QUARANTINED, counts.quarantined)
            .value(metrics::BYTES_DECOMPRESSED, counts.bytes)
            .emit(self.clock.now_ms());
    }

    fn measure_writes(&self, written: Written) {
        Emission::new(&self.settings.metrics_namespace)
            .value(metrics::BLOCKS_WRITTEN, written.blocks)
            .emit(self.clock.now_ms());
    }
}

/// Writes a log line for the object. A FAILED file is logged at every log level.
fn log(key: &str, ingested: &Ingested) {
    let result = match ingested {
        Ingested::Failed { reason, counts } => {
            tracing::warn!(
                file.key = key,
                reason.code = reason.code.as_str(),
                reason.message = %reason.message,
                records.stored = counts.ok,
                records.quarantined = counts.quarantined,
                "file FAILED"
            );
            return;
        }
        Ingested::Completed { counts } => {
            tracing::info!(
                file.key = key,
                records.stored = counts.ok,
                records.quarantined = counts.quarantined,
                "file COMPLETED"
            );
            return;
        }
        Ingested::Released { .. } => "released",
        Ingested::Duplicate => "duplicate",
        Ingested::LeaseLost => "lease lost",
        Ingested::Ignored => "ignored",
    };
    tracing::info!(file.key = key, file.result = result, "object handled");
}
