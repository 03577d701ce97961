//! `ingest`: one S3 object into blocks, exactly once.
//!
//! Event → key decoded → owner → claim under a fence → exactly that version, streamed → blocks and
//! bad records stored → COMPLETED or FAILED together with the counters. What is wrong with the
//! object ends in the ledger and the event counts as handled; what a repeat may mend is returned as
//! an error, after the object was given back. A duplicate event does nothing.

mod config;
pub mod events;
mod kept;
mod low_water;
pub mod owner;
pub mod pipeline;
mod retry;

use std::collections::BTreeMap;
use std::time::Duration;

pub use config::{Config, Settings};
use events::{Arrival, arrivals};
use logferry_domain::app::App as RegisteredApp;
use logferry_domain::fault::{Fault, FaultClass, chain};
use logferry_domain::intake::IntakeLimits;
use logferry_domain::ledger::{Checkpoint, FileCounts, FileRow, MAX_ATTEMPTS, Outcome, Reason, ReasonCode};
use logferry_domain::object::{ObjectRef, ObjectVersion};
use logferry_domain::packing::Packing;
use logferry_ports::ledger::{Claim, Claimed, Finished, Lease};
use logferry_ports::{Apps, BlockTable, Clock, Ledger, ObjectStore};
use logferry_service::metrics::{self, Emission};
use owner::{Ownership, ownership, unregistered};
use pipeline::{End, Job, Schedule, Written};
use tokio::time::Instant;
use ulid::Ulid;

/// So long before the deadline a run stops, so that it can still save how far it got (ms).
pub const STOP_AHEAD_MS: i64 = 20_000;

/// A lease ends so long after the invocation's own deadline (ms).
pub const LEASE_AFTER_DEADLINE_MS: i64 = 30_000;

/// The function with what it talks to.
#[derive(Debug)]
pub struct App<O, B, L, A, C> {
    pub objects: O,
    pub blocks: B,
    pub ledger: L,
    pub apps: A,
    pub clock: C,
    pub settings: Settings,
}

/// What became of an object.
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
    /// Time ran out, or the app was pruned meanwhile: PENDING and due, `sweep` starts it again.
    Released {
        blocks: u64,
    },
    /// Somebody else works on it or has ended it, or it waits for its time: nothing was done.
    Duplicate,
    /// This worker's lease was taken over; whoever did goes on.
    LeaseLost,
    /// No log, not our bucket, or not there any more.
    Ignored,
}

/// A row that this worker may write.
struct Held {
    row: FileRow,
    /// How this worker packs.
    packing: Packing,
    limits: IntakeLimits,
    lease: Lease,
    schedule: Schedule,
}

impl Held {
    /// The end is tried for longer than the work: the lease outlives it.
    fn give_up_at(&self) -> Instant {
        self.schedule.stop_at + self.schedule.settle * 2
    }
}

impl<O: ObjectStore, B: BlockTable, L: Ledger, A: Apps, C: Clock> App<O, B, L, A, C> {
    /// Takes in every object of an event, one after the other.
    ///
    /// # Errors
    /// The event is none, or for at least one object something failed that a repeat may mend.
    pub async fn handle(&self, event: &serde_json::Value, deadline_ms: i64) -> Result<Vec<Ingested>, Fault> {
        let arrivals = arrivals(event).map_err(|bad| {
            Fault::new(FaultClass::Permanent, "ingest", "not an event of objects").with_source(bad)
        })?;
        let mut ended = Vec::new();
        let mut failed = None;
        for arrival in arrivals {
            match self.take(&arrival, deadline_ms).await {
                Ok(ingested) => {
                    let what = serde_json::to_string(&ingested).unwrap_or_default();
                    tracing::info!(file.key = %arrival.key, file.result = %what, "object handled");
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

    /// Takes in one object.
    ///
    /// # Errors
    /// Something failed that a repeat may mend.
    pub async fn take(&self, arrival: &Arrival, deadline_ms: i64) -> Result<Ingested, Fault> {
        if arrival.bucket != self.settings.bucket {
            tracing::warn!(file.bucket = %arrival.bucket, "an object of another bucket");
            return Ok(Ingested::Ignored);
        }
        let remaining_ms = deadline_ms - self.clock.now_ms();
        if remaining_ms <= 0 {
            return Err(Fault::new(FaultClass::Timeout, "ingest", "no time is left"));
        }
        // A function with a short timeout gets on too, if by smaller steps.
        let ahead = Duration::from_millis(STOP_AHEAD_MS.min(remaining_ms / 2).unsigned_abs());
        let stop_at = Instant::now() + Duration::from_millis(remaining_ms.unsigned_abs()) - ahead;
        let schedule = Schedule { stop_at, settle: ahead / 2 };

        let grant = self.ledger.find_grant(&arrival.bucket, &arrival.key).await?;
        let mut owner = ownership(&arrival.key, grant.as_ref(), self.settings.chime_app.as_ref());
        if owner == Ownership::NoLog {
            return Ok(Ingested::Ignored);
        }
        let mut app = None;
        if let Ownership::App { app_id, .. } = &owner {
            app = self.apps.find(app_id).await?;
            if app.is_none() {
                owner = unregistered(app_id);
            }
        }

        let Some((object, size)) = self.identify(arrival).await? else {
            return Ok(Ingested::Ignored);
        };
        let epoch_ms = app.as_ref().map_or(0, |app| app.created_ms);
        let presigned = matches!(owner, Ownership::App { presigned: true, .. });
        let limits = self.settings.limits(presigned);
        let packing = Packing::of(&limits, &self.settings.redactor, epoch_ms);
        let claim = Claim {
            object: object.clone(),
            app_id: app.as_ref().map(|app| app.app_id.clone()),
            granted: grant.is_some(),
            size_bytes: *size.as_ref().unwrap_or(&0),
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
            object,
            app_id: claim.app_id,
            epoch_ms,
            pruned_before_ms: app.as_ref().and_then(|app| app.pruned_before_ms),
            fence: row.fence,
            claimed_ms: claim.now_ms,
            checkpoint: row.checkpoint,
        };
        let held = Held { row, packing, limits, lease, schedule };
        let app = match (owner, app) {
            (Ownership::App { .. }, Some(app)) => app,
            (Ownership::Refused(reason), _) => return self.refuse(held, None, reason).await,
            (Ownership::App { .. } | Ownership::NoLog, _) => return Ok(Ingested::Ignored),
        };
        if held.row.attempt > MAX_ATTEMPTS {
            let message = format!("{MAX_ATTEMPTS} runs in a row got no further");
            let reason = Reason { code: ReasonCode::AttemptsExhausted, message };
            return self.refuse(held, Some(&app), reason).await;
        }
        let max_bytes = self.settings.max_bytes(presigned);
        match size {
            Ok(size_bytes) => match too_large(size_bytes, max_bytes) {
                Some(reason) => self.refuse(held, Some(&app), reason).await,
                None => self.ingest(held, app, max_bytes).await,
            },
            Err(reason) => self.refuse(held, Some(&app), reason).await,
        }
    }

    /// Exactly which object it is, and its size or why it will never be read. `None` when even its
    /// version cannot be known any more.
    async fn identify(&self, arrival: &Arrival) -> Result<Option<(ObjectRef, Result<u64, Reason>)>, Fault> {
        let object =
            |version| ObjectRef { bucket: arrival.bucket.clone(), key: arrival.key.clone(), version };
        if let (Some(version), Some(size)) = (&arrival.version, arrival.size_bytes) {
            return Ok(Some((object(version.clone()), Ok(size))));
        }
        let id = match &arrival.version {
            Some(ObjectVersion::Id(id)) => Some(id.as_str()),
            Some(ObjectVersion::ETag(_)) | None => None,
        };
        match (self.objects.head(&arrival.bucket, &arrival.key, id).await, &arrival.version) {
            (Ok(meta), Some(version)) => Ok(Some((object(version.clone()), Ok(meta.size_bytes)))),
            (Ok(meta), None) => {
                let version = meta.version_id.map_or(ObjectVersion::ETag(meta.etag), ObjectVersion::Id);
                Ok(Some((object(version), Ok(meta.size_bytes))))
            }
            (Err(fault), version) => match (unreadable(&fault), version) {
                (None, _) => Err(fault),
                // The answer to a HEAD has no body that says why. Reading will tell, and the size.
                (Some(_), Some(version)) if fault.class == FaultClass::Permanent => {
                    Ok(Some((object(version.clone()), Ok(0))))
                }
                (Some(reason), Some(version)) => Ok(Some((object(version.clone()), Err(reason)))),
                (Some(_), None) => Ok(None),
            },
        }
    }

    async fn ingest(&self, mut held: Held, app: RegisteredApp, max_bytes: u64) -> Result<Ingested, Fault> {
        let opened = self.objects.open(&held.lease.object).await;
        let (meta, body) = match opened {
            Ok(opened) => opened,
            Err(fault) => match unreadable(&fault) {
                Some(reason) => return self.refuse(held, Some(&app), reason).await,
                None => return self.give_back(&held, held.lease.checkpoint, Err(fault)).await,
            },
        };
        if let Some(reason) = too_large(meta.size_bytes, max_bytes) {
            return self.refuse(held, Some(&app), reason).await;
        }
        if let Err(fault) = self.begin_anew_unless_packed_alike(&mut held, &app).await {
            return self.give_back(&held, held.lease.checkpoint, Err(fault)).await;
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
            End::OutOfTime(checkpoint) => {
                let released = Ingested::Released { blocks: checkpoint.blocks };
                self.give_back(&held, checkpoint, Ok(released)).await
            }
            End::Failed(fault, checkpoint) => self.give_back(&held, checkpoint, Err(fault)).await,
        }
    }

    /// Where earlier runs packed the object otherwise (before a deployment, or a change of the rules,
    /// or for an earlier app of this id), going on with theirs would store records twice or not at
    /// all: what they stored is removed, and this run begins at the beginning.
    async fn begin_anew_unless_packed_alike(
        &self,
        held: &mut Held,
        app: &RegisteredApp,
    ) -> Result<(), Fault> {
        if held.row.packing == held.packing {
            return Ok(());
        }
        let (lease, packing) = (&held.lease, &held.packing);
        let kept = self.ledger.kept(&lease.object).await?;
        kept::remove_other(&self.blocks, app, &lease.object, &kept, packing).await?;
        self.ledger.begin_anew(lease, packing, self.clock.now_ms()).await?;
        tracing::info!(file.key = %lease.object.key, "begun anew: it was packed otherwise before");
        held.lease.checkpoint = Checkpoint::default();
        Ok(())
    }

    /// FAILED without being read, with what earlier runs have stored of it.
    async fn refuse(
        &self,
        held: Held,
        app: Option<&RegisteredApp>,
        reason: Reason,
    ) -> Result<Ingested, Fault> {
        let object = &held.lease.object;
        let outcome = match app {
            Some(app) if held.row.fence > 1 => match self.ledger.kept(object).await {
                Ok(kept) => kept::outcome(&self.blocks, app, object, &kept, reason).await,
                Err(fault) => Err(fault),
            },
            _ => {
                let counts = FileCounts::default();
                Ok(Outcome { reason: Some(reason), counts, days: BTreeMap::new() })
            }
        };
        match outcome {
            Ok(outcome) => self.finish(&held, outcome, held.lease.checkpoint).await,
            Err(fault) => self.give_back(&held, held.lease.checkpoint, Err(fault)).await,
        }
    }

    /// `checkpoint`: how far it got, should it have to be gone on with.
    async fn finish(&self, held: &Held, outcome: Outcome, checkpoint: Checkpoint) -> Result<Ingested, Fault> {
        let until = held.give_up_at();
        let ended =
            retry::until(until, || self.ledger.finish(&held.lease, &outcome, self.clock.now_ms())).await;
        match ended {
            Ok(Finished::Pruned) => {
                let released = Ingested::Released { blocks: checkpoint.blocks };
                self.give_back(held, checkpoint, Ok(released)).await
            }
            Ok(Finished::Yes) => Ok(match outcome.reason {
                None => Ingested::Completed { counts: outcome.counts },
                Some(reason) => Ingested::Failed { reason, counts: outcome.counts },
            }),
            Err(fault) if fault.class == FaultClass::Conflict => Ok(Ingested::LeaseLost),
            Err(fault) => self.give_back(held, checkpoint, Err(fault)).await,
        }
    }

    /// PENDING and due at once, so that a repeat of the event can claim it. Answers `end`, unless
    /// the lease was lost.
    async fn give_back(
        &self,
        held: &Held,
        checkpoint: Checkpoint,
        end: Result<Ingested, Fault>,
    ) -> Result<Ingested, Fault> {
        let until = held.give_up_at();
        let now_ms = self.clock.now_ms();
        let released =
            retry::until(until, || self.ledger.release(&held.lease, checkpoint, now_ms, now_ms)).await;
        match released {
            Ok(()) => end,
            Err(fault) if fault.class == FaultClass::Conflict => Ok(Ingested::LeaseLost),
            // The lease runs out by itself. What led here matters more than this.
            Err(fault) => end.and(Err(fault)),
        }
    }

    fn measure(&self, ingested: &Ingested) {
        let emission = Emission::new(&self.settings.metrics_namespace);
        let (emission, counts) = match ingested {
            Ingested::Completed { counts } => (emission.value(metrics::FILES_COMPLETED, 1), counts),
            Ingested::Failed { counts, .. } => (emission.value(metrics::FILES_FAILED, 1), counts),
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

fn too_large(size_bytes: u64, max_bytes: u64) -> Option<Reason> {
    let message = || format!("{size_bytes} bytes, of {max_bytes} that are allowed");
    (size_bytes > max_bytes).then(|| Reason { code: ReasonCode::TooLarge, message: message() })
}

/// Why an object will never be read; `None` where a repeat may help.
fn unreadable(fault: &Fault) -> Option<Reason> {
    let (code, message) = match fault.class {
        FaultClass::NotFound => (ReasonCode::ObjectGone, "the object is not there any more"),
        FaultClass::Conflict => (ReasonCode::ObjectGone, "another object has taken its place"),
        FaultClass::Permanent => (ReasonCode::ObjectGone, "S3 does not know such a version of it"),
        FaultClass::Denied => (ReasonCode::AccessDenied, "reading it was refused"),
        FaultClass::RateLimited | FaultClass::Transient | FaultClass::Timeout => return None,
    };
    Some(Reason { code, message: message.to_owned() })
}
