//! `ingest`: turns an S3 object into blocks, exactly once.
//!
//! 1. Parse the event and decode the key.
//! 2. Identify the object and determine its owner.
//! 3. Claim the object under a fence.
//! 4. Stream exactly the claimed version; store its blocks and quarantined records.
//! 5. Conclude: set the row to COMPLETED or FAILED, together with the counters.
//!
//! Problems of the object are recorded in the ledger, and the event counts as handled. Errors that a retry
//! may fix are returned after the object was released, so that Lambda retries the event. A duplicate event
//! has no effect.
//!
//! Deliveries of CloudWatch Logs are no objects: see [`subscription`].

mod conclude;
mod config;
mod earlier_runs;
pub mod events;
mod identify;
pub mod log_groups;
mod low_water;
mod owner;
mod pace;
pub mod pipeline;
mod quota;
mod refusal;
mod report;
mod retry;
mod second;
pub mod subscription;

use std::time::Duration;

pub use conclude::Ending;
pub use config::{Config, Settings};
use events::{Arrival, messages};
use identify::Candidate;
use logferry_core::ledger::checkpoint::Checkpoint;
use logferry_core::ledger::claim::{Claim, Claimed, Lease, Ledger};
use logferry_core::ledger::row::FileRow;
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logfile::fingerprint::fingerprint;
use logferry_core::logfile::outcome::{FileCounts, Reason};
use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::app::App;
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::objects::ObjectStore;
use logferry_core::ports::usage::Usage;
use owner::{Owner, of_an_earlier_app};
use pipeline::{Job, Schedule};
use refusal::{exhausted, in_another_bucket, too_large};
use tokio::time::Instant;
use ulid::Ulid;

/// How long before the deadline a run stops, so that it can still save its checkpoint (ms).
pub const STOP_BEFORE_DEADLINE_MS: i64 = 20_000;

/// How long after the invocation's own deadline a lease ends (ms).
pub const LEASE_AFTER_DEADLINE_MS: i64 = 30_000;

/// The function and its ports.
#[derive(Debug)]
pub struct Ingest<O, B, L, A, C> {
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
    /// Not a log, deleted, or in another bucket and not in the ledger.
    Ignored,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub ended: Vec<Ingested>,
    /// Of a batch of SQS: the messages to be delivered again.
    pub failed_messages: Option<Vec<FailedMessage>>,
}

/// A message as a mapping with `ReportBatchItemFailures` expects it.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedMessage {
    pub item_identifier: String,
}

impl serde::Serialize for Answer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.failed_messages {
            Some(failed) => serializer.collect_map([("batchItemFailures", failed)]),
            None => self.ended.serialize(serializer),
        }
    }
}

/// A claimed object: its ledger row may be written by this worker.
struct Held {
    row: FileRow,
    /// Packing fingerprint of this run.
    packing: PackFingerprint,
    limits: IntakeLimits,
    /// Whether a grant names the owner.
    granted: bool,
    lease: Lease,
    schedule: Schedule,
}

impl<O: ObjectStore, B: BlockTable, L: Ledger + Usage, A: Apps, C: Clock> Ingest<O, B, L, A, C> {
    /// Ingests every object of an event and returns what Lambda expects: for a batch of SQS the messages that
    /// failed, else what became of the objects.
    ///
    /// # Errors
    /// If the event is of another kind, and for at least one object of it a call failed in a way that a retry
    /// may fix, or a part of it cannot be parsed. All others are handled by then.
    pub async fn answer(&self, event: &serde_json::Value, deadline_ms: i64) -> Result<Answer, Fault> {
        let mut answer = Answer { ended: Vec::new(), failed_messages: None };
        let mut failed = None;
        for message in messages(event) {
            let mut fault = message.bad.map(|bad| {
                Fault::new(FaultClass::Permanent, "ingest", "the event cannot be parsed").with_source(bad)
            });
            if let Some(fault) = &fault {
                tracing::error!(message.id, error.chain = %chain(fault), "message not read");
            }
            for arrival in &message.arrivals {
                // Boxed, as is the work below: the compiler limits how deep futures nest.
                match Box::pin(self.take(arrival, deadline_ms)).await {
                    Ok(ingested) => {
                        report::log(arrival.key.as_str(), &ingested);
                        self.measure(&ingested);
                        answer.ended.push(ingested);
                    }
                    Err(taken) => {
                        tracing::error!(file.key = %arrival.key, error.chain = %chain(&taken), "object not ingested");
                        fault = Some(taken);
                    }
                }
            }
            match message.id {
                Some(id) => {
                    let failed = answer.failed_messages.get_or_insert_default();
                    failed.extend(fault.map(|_| FailedMessage { item_identifier: id }));
                }
                None => failed = failed.or(fault),
            }
        }
        failed.map_or(Ok(answer), Err)
    }

    /// Handles every object of an event that is no batch of SQS.
    ///
    /// # Errors
    /// As [`Ingest::answer`].
    pub async fn handle(&self, event: &serde_json::Value, deadline_ms: i64) -> Result<Vec<Ingested>, Fault> {
        self.answer(event, deadline_ms).await.map(|answer| answer.ended)
    }

    /// Handles one object.
    ///
    /// # Errors
    /// If a call failed in a way that a retry may fix.
    pub async fn take(&self, arrival: &Arrival, deadline_ms: i64) -> Result<Ingested, Fault> {
        let schedule = self.schedule(deadline_ms)?;
        let elsewhere = arrival.bucket != self.settings.bucket;
        let candidate = match elsewhere {
            true => self.known_elsewhere(arrival, schedule.stop_at).await?,
            false => self.candidate(arrival, schedule.stop_at).await?,
        };
        let Some(candidate) = candidate else {
            return Ok(Ingested::Ignored);
        };
        let lease_until_ms = deadline_ms + LEASE_AFTER_DEADLINE_MS;
        let Some(mut held) = self.claim(&candidate, schedule, lease_until_ms).await? else {
            return Ok(Ingested::Duplicate);
        };
        let ending = match elsewhere {
            true => self.refuse(&held, candidate.owner.app(), in_another_bucket(&arrival.bucket)).await,
            false => Box::pin(self.work(&mut held, candidate)).await,
        };
        self.conclude(&held, ending).await
    }

    fn schedule(&self, deadline_ms: i64) -> Result<Schedule, Fault> {
        let remaining_ms = deadline_ms - self.clock.now_ms();
        if remaining_ms <= 0 {
            return Err(Fault::new(FaultClass::Timeout, "ingest", "the deadline has passed"));
        }
        // A function with a short timeout makes progress too, in smaller steps.
        let reserve = Duration::from_millis(STOP_BEFORE_DEADLINE_MS.min(remaining_ms / 2).unsigned_abs());
        let stop_at = Instant::now() + Duration::from_millis(remaining_ms.unsigned_abs()) - reserve;
        Ok(Schedule { stop_at, settle: reserve / 2 })
    }

    /// Claims the object; `None` if another worker has it or has ended it, or if it is not yet due.
    async fn claim(
        &self,
        candidate: &Candidate,
        schedule: Schedule,
        lease_until_ms: i64,
    ) -> Result<Option<Held>, Fault> {
        let app = candidate.owner.app();
        let registered_ms = app.map_or(0, |app| app.registered_ms);
        let limits = self.settings.limits(candidate.owner.is_presigned());
        let retention_days = app.map_or(self.settings.default_retention_days, |app| self.retention_days(app));
        let packing = fingerprint(&limits, &self.settings.redactor, registered_ms, retention_days);
        let claim = Claim {
            object: candidate.object.clone(),
            app_id: app.map(|app| app.app_id.clone()),
            granted: candidate.grant.is_some(),
            etag: candidate.etag.clone(),
            size_bytes: *candidate.size.as_ref().unwrap_or(&0),
            packing: packing.clone(),
            claim_id: Ulid::generate().to_string(),
            now_ms: self.clock.now_ms(),
            lease_until_ms,
        };
        let row = match retry::until(schedule.stop_at, || self.ledger.claim(&claim)).await? {
            Claimed::Yes(row) => *row,
            Claimed::Held { .. } | Claimed::NotDue { .. } | Claimed::Done(_) => return Ok(None),
        };
        let lease = Lease {
            object: claim.object,
            app_id: claim.app_id,
            registered_ms,
            pruned_before_ms: app.and_then(|app| app.pruned_before_ms),
            fence: row.fence,
            claimed_ms: claim.now_ms,
            checkpoint: row.checkpoint,
        };
        Ok(Some(Held { row, packing, limits, granted: claim.granted, lease, schedule }))
    }

    /// Works on a claimed object. `Err` if a call failed before the object was read.
    async fn work(&self, held: &mut Held, candidate: Candidate) -> Result<Ending, Fault> {
        let (app, presigned) = match candidate.owner {
            Owner::App { app, presigned } => (app, presigned),
            Owner::Refused(reason) => return self.refuse(held, None, reason).await,
        };
        // First claimed for an earlier registration of the app: none of it may be stored for this one.
        if held.row.packing.registered_ms().is_some_and(|claimed_for| claimed_for != app.registered_ms) {
            return self.refuse(held, None, of_an_earlier_app(&app.app_id)).await;
        }
        if let Some(reason) = exhausted(&held.row) {
            return self.refuse(held, Some(&app), reason).await;
        }
        let size_bytes = match candidate.size {
            Ok(size_bytes) => size_bytes,
            Err(fault) => return self.refuse_unreadable(held, &app, fault).await,
        };
        if let Some(grant) = &candidate.grant
            && let Some(first) = self.used_by_another(grant, held).await?
        {
            return self.refuse_second(held, &app, &first, candidate.etag, size_bytes).await;
        }
        // A file that an earlier run has started is not refused halfway.
        let over_quota = candidate.over_quota.filter(|_| held.lease.checkpoint == Checkpoint::default());
        let max_bytes = self.settings.max_bytes(presigned);
        match too_large(size_bytes, max_bytes).or(over_quota) {
            Some(reason) => self.refuse(held, Some(&app), reason).await,
            None => self.read(held, app, max_bytes).await,
        }
    }

    async fn read(&self, held: &mut Held, app: App, max_bytes: u64) -> Result<Ending, Fault> {
        let object = &held.lease.object;
        let (meta, body) = match retry::until(held.schedule.stop_at, || self.objects.open(object)).await {
            Ok(opened) => opened,
            Err(fault) => return self.refuse_unreadable(held, &app, fault).await,
        };
        if !held.granted && self.is_older(meta.last_modified_ms, &app) {
            return self.refuse(held, None, of_an_earlier_app(&app.app_id)).await;
        }
        if let Some(reason) = too_large(meta.size_bytes, max_bytes) {
            return self.refuse(held, Some(&app), reason).await;
        }
        self.restart_if_repacked(held, &app).await?;
        let job = Job {
            object: held.lease.object.clone(),
            retention_days: self.retention_days(&app),
            app,
            meta,
            limits: held.limits,
            redactor: self.settings.redactor.clone(),
            lease: held.lease.clone(),
            packing: held.packing.clone(),
            checkpoint: held.lease.checkpoint,
        };
        let (ending, written) = pipeline::run(body, &job, &self.blocks, &self.ledger, held.schedule).await;
        self.measure_writes(written);
        Ok(ending)
    }

    /// Removes what earlier runs stored if they packed the object differently (before a deployment, or a
    /// change of the rules), and restarts it: resuming would store records twice or not at all.
    async fn restart_if_repacked(&self, held: &mut Held, app: &App) -> Result<(), Fault> {
        if held.row.packing == held.packing {
            return Ok(());
        }
        let (lease, packing) = (&held.lease, &held.packing);
        let stored = self.ledger.stored_so_far(&lease.object).await?;
        earlier_runs::remove_other(&self.blocks, app, &lease.object, &stored, packing).await?;
        self.ledger.restart(lease, packing, self.clock.now_ms()).await?;
        tracing::info!(file.key = %lease.object.key, "restarted: it was packed differently before");
        held.lease.checkpoint = Checkpoint::default();
        Ok(())
    }

    fn retention_days(&self, app: &App) -> u32 {
        app.retention_days.unwrap_or(self.settings.default_retention_days)
    }
}
