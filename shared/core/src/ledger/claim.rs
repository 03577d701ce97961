//! The `files` table: one row per object, with dependent rows.

use std::collections::BTreeSet;

use crate::ledger::checkpoint::Checkpoint;
use crate::ledger::grants::Grants;
use crate::ledger::row::{FileRow, FileStatus, StoredSoFar, UsedBy};
use crate::logfile::outcome::{FileCounts, Findings, Outcome};
use crate::logfile::quarantine::Quarantined;
use crate::model::app::AppId;
use crate::model::fault::Fault;
use crate::model::fingerprint::PackFingerprint;
use crate::model::object::ObjectRef;
use crate::model::time::Day;

/// A request to lease an object for ingestion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub object: ObjectRef,
    /// The app that owns the records; `None` without owner (the row will be FAILED).
    pub app_id: Option<AppId>,
    /// The key was issued by a grant. This claim uses the grant, unless another object already has.
    pub granted: bool,
    /// The object's ETag, if known.
    pub etag: Option<String>,
    pub size_bytes: u64,
    /// Packing fingerprint of this worker.
    pub packing: PackFingerprint,
    /// Random and new for each claim, so that a claim whose response was lost is recognized.
    pub claim_id: String,
    pub now_ms: i64,
    pub lease_until_ms: i64,
}

impl Claim {
    /// Returns the row that a first claim creates.
    #[must_use]
    pub fn first_row(&self) -> FileRow {
        FileRow {
            object: Some(self.object.clone()),
            bucket: self.object.bucket.clone(),
            key: self.object.key.clone(),
            app_id: self.app_id.clone(),
            status: FileStatus::Processing,
            fence: 1,
            attempt: 1,
            claim_id: self.claim_id.clone(),
            lease_until_ms: Some(self.lease_until_ms),
            due_at_ms: Some(self.lease_until_ms),
            url_expires_ms: None,
            checkpoint: Checkpoint::default(),
            packing: self.packing.clone(),
            counts: FileCounts::default(),
            size_bytes: Some(self.size_bytes),
            reason: None,
            findings: Findings::default(),
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
            processed_ms: None,
        }
    }

    /// Returns what the grant records about the object.
    #[must_use]
    pub fn used(&self) -> UsedBy {
        UsedBy {
            version: self.object.version.clone(),
            etag: self.etag.clone(),
            size_bytes: Some(self.size_bytes),
        }
    }

    /// Returns the row after this claim has taken it over.
    #[must_use]
    pub fn taken_over(&self, seen: &FileRow) -> FileRow {
        FileRow {
            status: FileStatus::Processing,
            fence: seen.fence + 1,
            attempt: seen.attempt + 1,
            claim_id: self.claim_id.clone(),
            lease_until_ms: Some(self.lease_until_ms),
            due_at_ms: Some(self.lease_until_ms),
            updated_ms: self.now_ms,
            ..seen.clone()
        }
    }
}

/// The result of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The caller holds the lease, with this row's fence.
    Yes(Box<FileRow>),
    /// Another worker holds the lease until then.
    Held { lease_until_ms: i64 },
    /// It is PENDING but not yet due: `sweep` will start it.
    NotDue { due_at_ms: i64 },
    /// It is in a terminal state.
    Done(FileStatus),
}

/// The lease under which a worker writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub object: ObjectRef,
    pub app_id: Option<AppId>,
    /// When the app was registered (ms); part of the counters' keys.
    pub registered_ms: i64,
    /// The app's watermark as known to this worker (ms): it neither stores nor counts older records.
    pub pruned_before_ms: Option<i64>,
    pub fence: u64,
    /// When the object was claimed (ms). Its bad records are kept as long as its row, counted from here.
    pub claimed_ms: i64,
    /// The checkpoint at which this worker started.
    pub checkpoint: Checkpoint,
}

/// Why a run released its object before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// The run itself, as far as known: it counts as an attempt.
    Itself,
    /// A throttled, failing or unresponsive service, or a change by another writer: it does not count as an
    /// attempt.
    Outside,
}

impl EndedBy {
    /// Classifies the fault that ended a run.
    #[must_use]
    pub fn of(fault: &Fault) -> Self {
        if fault.retryable() { Self::Outside } else { Self::Itself }
    }
}

/// The result of ending a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    Yes,
    /// The app's watermark was raised past records that this worker has counted. The row has not ended:
    /// read the object again and leave them out.
    Pruned,
}

/// The ledger. All writes are conditional on the fence and fail with `Conflict` if the lease was lost,
/// except `claim`, `note_hours` and `quarantine`. Those write the same data for any worker of the
/// object.
pub trait Ledger: Grants {
    /// Claims an object: a new one; or one that is PENDING and due; or one that is PROCESSING with an
    /// expired lease. The first row of a granted key is written together with the grant's record of its
    /// object ([`Grant::used`](super::row::Grant::used)). If the grant already records another object, the row is created and the
    /// grant does not change.
    ///
    /// # Errors
    /// The write failed. It may have been processed; then the lease expires by itself.
    fn claim(&self, claim: &Claim) -> impl Future<Output = Result<Claimed, Fault>> + Send;

    /// Returns what is stored of an object.
    ///
    /// # Errors
    /// The read failed.
    fn stored_so_far(&self, object: &ObjectRef) -> impl Future<Output = Result<StoredSoFar, Fault>> + Send;

    /// Records the hours (since the epoch) that will have blocks of the object, and their expiry. Must be
    /// called before the blocks are stored, so that they are found even if this worker dies.
    ///
    /// # Errors
    /// The write failed; retry.
    fn note_hours(
        &self,
        lease: &Lease,
        hours: &BTreeSet<i64>,
        expires_on: Day,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Restarts an object with another packing fingerprint, after all its earlier blocks were removed.
    /// Deletes its bad records and its checkpoint.
    ///
    /// # Errors
    /// `Conflict` if the lease was lost.
    fn restart(
        &self,
        lease: &Lease,
        packing: &PackFingerprint,
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Stores bad records of a file. Storing the same rows again has no effect.
    ///
    /// # Errors
    /// The write failed; retry.
    fn quarantine(
        &self,
        lease: &Lease,
        rows: &[Quarantined],
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Releases the object with its checkpoint: PENDING, due at `due_at_ms`. The number of attempts is
    /// reset if the run made progress. A run that ended because of an outside cause does not count as an
    /// attempt.
    ///
    /// # Errors
    /// `Conflict` if the lease was lost.
    fn release(
        &self,
        lease: &Lease,
        checkpoint: Checkpoint,
        by: EndedBy,
        due_at_ms: i64,
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Completes the row: COMPLETED or FAILED, and adds its counts to the stats, once. Does not count what a
    /// prune has hidden (see [`Stats::hide`](crate::logbook::counters::Stats::hide)).
    ///
    /// # Errors
    /// `Conflict` if the lease was lost. After any other error the call can be retried.
    fn finish(
        &self,
        lease: &Lease,
        outcome: &Outcome,
        now_ms: i64,
    ) -> impl Future<Output = Result<Finished, Fault>> + Send;
}
