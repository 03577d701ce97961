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
mod pace;
pub mod pipeline;
mod retry;

use std::collections::BTreeMap;
use std::time::Duration;

pub use config::{Config, Settings};
use events::{Arrival, arrivals};
use logferry_domain::app::App as RegisteredApp;
use logferry_domain::fault::{Fault, FaultClass, chain};
use logferry_domain::intake::IntakeLimits;
use logferry_domain::ledger::{
    Checkpoint, FileCounts, FileRow, Grant, MAX_ATTEMPTS, MAX_RUNS, Outcome, Reason, ReasonCode, Used,
};
use logferry_domain::object::{ObjectMeta, ObjectRef, ObjectVersion};
use logferry_domain::packing::Packing;
use logferry_ports::ledger::{Claim, Claimed, EndedBy, Finished, Lease};
use logferry_ports::{Apps, BlockTable, Clock, Ledger, ObjectStore};
use logferry_service::metrics::{self, Emission};
use owner::{Ownership, is_older_than, of_an_earlier_app, ownership, unregistered};
use pipeline::{End, Job, Schedule, Written};
use tokio::time::Instant;
use ulid::Ulid;

/// So long before the deadline a run stops, so that it can still save how far it got (ms).
pub const STOP_AHEAD_MS: i64 = 20_000;

/// A lease ends so long after the invocation's own deadline (ms).
pub const LEASE_AFTER_DEADLINE_MS: i64 = 30_000;

/// While an app is younger than this, objects are asked when they were put before they are claimed for
/// it (ms): no event comes that late. <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
const YOUNG_APP_MS: i64 = 24 * 3_600_000;

/// Runs after which a refusal to read an object is taken for an answer: permissions take some minutes to
/// arrive everywhere after a deployment.
const DENIED_RUNS: u32 = 5;

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

/// An object, as far as it could be looked at.
struct Identified {
    object: ObjectRef,
    /// Or why it cannot be read.
    size: Result<u64, Fault>,
    etag: Option<String>,
    /// When it was put (ms), where S3 was asked.
    last_modified_ms: Option<i64>,
}

/// A row that this worker may write.
struct Held {
    row: FileRow,
    /// How this worker packs.
    packing: Packing,
    limits: IntakeLimits,
    /// Whose it is, a grant has told.
    granted: bool,
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

        let epoch_ms = app.as_ref().map_or(0, |app| app.created_ms);
        let presigned = matches!(owner, Ownership::App { presigned: true, .. });
        let limits = self.settings.limits(presigned);
        let packing = Packing::of(&limits, &self.settings.redactor, epoch_ms);
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
        // Claimed first for another registration of the app: nothing of it may come into this one.
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
                Err(fault) => return self.give_back(&held, held.lease.checkpoint, Err(fault)).await,
            }
        }
        let max_bytes = self.settings.max_bytes(presigned);
        match too_large(size_bytes, max_bytes) {
            Some(reason) => self.refuse(held, Some(&app), reason).await,
            None => self.ingest(held, app, max_bytes).await,
        }
    }

    /// Whether what was put then is older than the app that is registered now.
    fn is_too_old(&self, put_ms: i64, app: &RegisteredApp) -> bool {
        !self.settings.takes_older_objects && is_older_than(put_ms, app.created_ms)
    }

    /// The object that came with the grant's URL before this one, if there is any. The grant remembers
    /// the first in the transaction that made its row; so, after a claim, there is nothing left to race.
    async fn used_by_another(&self, grant: &Grant, held: &Held) -> Result<Option<Used>, Fault> {
        let mine = |used: &Used| used.version == held.lease.object.version;
        let used = match &grant.used {
            Some(used) => Some(used.clone()),
            None => {
                let (bucket, key) = (&grant.bucket, &grant.key);
                let again =
                    retry::until(held.schedule.stop_at, || self.ledger.find_grant(bucket, key)).await?;
                again.and_then(|grant| grant.used)
            }
        };
        Ok(used.filter(|used| !mine(used)))
    }

    /// The end of an object that came with a URL that had been used: the same bytes once more (a client whose
    /// answer was lost) have no effect, and others are refused.
    async fn end_second(
        &self,
        held: Held,
        app: &RegisteredApp,
        first: &Used,
        etag: Option<String>,
        size_bytes: u64,
    ) -> Result<Ingested, Fault> {
        if first.etag.is_some() && (&first.etag, first.size_bytes) == (&etag, Some(size_bytes)) {
            if let Err(fault) = self.let_expire(&held).await {
                return self.give_back(&held, held.lease.checkpoint, Err(fault)).await;
            }
            tracing::info!(file.key = %held.lease.object.key, "the same bytes came with this URL before");
            let outcome = Outcome { reason: None, counts: FileCounts::default(), days: BTreeMap::new() };
            return self.finish(&held, outcome, held.lease.checkpoint).await;
        }
        let message = "an object of other content came with the same URL before".to_owned();
        self.refuse(held, Some(app), Reason { code: ReasonCode::AlreadyUploaded, message }).await
    }

    /// Exactly which object it is, and what the event or S3 says of it; `look`: ask S3 in any case. `None` when
    /// even its version cannot be known any more.
    async fn identify(&self, arrival: &Arrival, look: bool) -> Result<Option<Identified>, Fault> {
        let identified = |version: &ObjectVersion, size, meta: Option<&ObjectMeta>| Identified {
            object: ObjectRef {
                bucket: arrival.bucket.clone(),
                key: arrival.key.clone(),
                version: version.clone(),
            },
            size,
            etag: meta.map(|meta| meta.etag.clone()).or_else(|| arrival.etag.clone()),
            last_modified_ms: meta.map(|meta| meta.last_modified_ms),
        };
        if let (Some(version), Some(size), false) = (&arrival.version, arrival.size_bytes, look) {
            return Ok(Some(identified(version, Ok(size), None)));
        }
        let id = match &arrival.version {
            Some(ObjectVersion::Id(id)) => Some(id.as_str()),
            Some(ObjectVersion::ETag(_)) | None => None,
        };
        let meta = match self.objects.head(&arrival.bucket, &arrival.key, id).await {
            Ok(meta) => meta,
            Err(fault) if unreadable(&fault).is_none() => return Err(fault),
            Err(fault) => {
                return Ok(arrival.version.as_ref().map(|version| match fault.class {
                    // The answer to a HEAD has no body that says why. Reading will tell, and the size.
                    FaultClass::Permanent => identified(version, Ok(0), None),
                    _ => identified(version, Err(fault), None),
                }));
            }
        };
        let version = match (&arrival.version, &meta.version_id) {
            (Some(version), _) => version.clone(),
            (None, Some(id)) => ObjectVersion::Id(id.clone()),
            (None, None) => ObjectVersion::ETag(meta.etag.clone()),
        };
        Ok(Some(identified(&version, Ok(meta.size_bytes), Some(&meta))))
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
            End::OutOfTime(by, checkpoint) => {
                let released = Ingested::Released { blocks: checkpoint.blocks };
                self.release(&held, checkpoint, by, Ok(released)).await
            }
            End::Failed(fault, by, checkpoint) => self.release(&held, checkpoint, by, Err(fault)).await,
        }
    }

    /// Where earlier runs packed the object otherwise (before a deployment, or a change of the rules),
    /// going on with theirs would store records twice or not at all: what they stored is removed, and
    /// this run begins at the beginning.
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

    /// The end of an object that cannot be read, unless a repeat may help.
    async fn refuse_unreadable(
        &self,
        held: Held,
        app: &RegisteredApp,
        fault: Fault,
    ) -> Result<Ingested, Fault> {
        match unreadable(&fault) {
            Some(_) if fault.class == FaultClass::Denied && held.row.attempt < DENIED_RUNS => {
                self.give_back(&held, held.lease.checkpoint, Err(fault)).await
            }
            Some(reason) => self.refuse(held, Some(app), reason).await,
            None => self.give_back(&held, held.lease.checkpoint, Err(fault)).await,
        }
    }

    /// Has S3 delete the object when the days of the bucket's rule for refused ones are over.
    async fn let_expire(&self, held: &Held) -> Result<(), Fault> {
        let object = &held.lease.object;
        match retry::until(held.schedule.stop_at, || self.objects.mark_refused(object)).await {
            Err(fault) if !fault.retryable() => {
                tracing::warn!(file.key = %object.key, error.chain = %chain(&fault), "a refused object stays");
                Ok(())
            }
            marked => marked,
        }
    }

    /// FAILED without being read, with what earlier runs have stored of it.
    async fn refuse(
        &self,
        held: Held,
        app: Option<&RegisteredApp>,
        reason: Reason,
    ) -> Result<Ingested, Fault> {
        let object = &held.lease.object;
        if reason.code.refuses_the_object()
            && let Err(fault) = self.let_expire(&held).await
        {
            return self.give_back(&held, held.lease.checkpoint, Err(fault)).await;
        }
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
                self.release(held, checkpoint, EndedBy::Outside, Ok(released)).await
            }
            Ok(Finished::Yes) => Ok(match outcome.reason {
                None => Ingested::Completed { counts: outcome.counts },
                Some(reason) => Ingested::Failed { reason, counts: outcome.counts },
            }),
            Err(fault) if fault.class == FaultClass::Conflict => Ok(Ingested::LeaseLost),
            Err(fault) => self.give_back(held, checkpoint, Err(fault)).await,
        }
    }

    /// Releases the object after a fault.
    async fn give_back(
        &self,
        held: &Held,
        checkpoint: Checkpoint,
        end: Result<Ingested, Fault>,
    ) -> Result<Ingested, Fault> {
        let by = end.as_ref().err().map_or(EndedBy::Itself, EndedBy::of);
        self.release(held, checkpoint, by, end).await
    }

    /// PENDING and due at once, so that a repeat of the event can claim it. Answers `end`, unless
    /// the lease was lost.
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

/// Why no run is to go through a file any more.
fn exhausted(row: &FileRow) -> Option<Reason> {
    let message = if row.attempt > MAX_ATTEMPTS {
        format!("{MAX_ATTEMPTS} runs in a row failed by themselves and got no further")
    } else if row.fence.is_multiple_of(MAX_RUNS) {
        format!("{} runs did not bring it to an end", row.fence)
    } else {
        return None;
    };
    Some(Reason { code: ReasonCode::AttemptsExhausted, message })
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
    Some(Reason { code, message: format!("{message} ({})", fault.code) })
}
