//! The `files` table: one row per object, and what hangs under it.

use std::collections::BTreeSet;

use crate::ledger::checkpoint::Checkpoint;
use crate::ledger::row::{FileRow, FileStatus, Grant, Kept, Used};
use crate::logfile::outcome::{FileCounts, Outcome};
use crate::logfile::quarantine::Quarantined;
use crate::model::app::AppId;
use crate::model::fault::Fault;
use crate::model::fingerprint::Packing;
use crate::model::object::ObjectRef;
use crate::model::time::Day;

/// A wish to work on an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub object: ObjectRef,
    /// Whose records they are; `None` when nobody owns them (the row will be FAILED).
    pub app_id: Option<AppId>,
    /// The key was handed out by a grant, which this claim uses up unless another object has.
    pub granted: bool,
    /// Of the object, where it is known.
    pub etag: Option<String>,
    pub size_bytes: u64,
    /// How this worker packs.
    pub packing: Packing,
    /// Random and fresh for each attempt to claim, so that a claim whose answer was lost is known again.
    pub claim_id: String,
    pub now_ms: i64,
    pub lease_until_ms: i64,
}

impl Claim {
    /// The row that a first claim makes.
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
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
            processed_ms: None,
        }
    }

    /// What the grant remembers of the object.
    #[must_use]
    pub fn used(&self) -> Used {
        Used {
            version: self.object.version.clone(),
            etag: self.etag.clone(),
            size_bytes: Some(self.size_bytes),
        }
    }

    /// The row as it is when this claim has taken it over.
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

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The caller holds the lease, under this row's fence.
    Yes(Box<FileRow>),
    /// Another worker's lease lives until then.
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
    /// When the app was registered; marks the stats (ms).
    pub epoch_ms: i64,
    /// The app's watermark as this worker knows it: it stores and counts nothing older (ms).
    pub pruned_before_ms: Option<i64>,
    pub fence: u64,
    /// When the object was claimed (ms): from here on its bad records are kept as long as its row.
    pub claimed_ms: i64,
    /// Where this worker began.
    pub checkpoint: Checkpoint,
}

/// What made a run give its object back before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// Itself, as far as anybody knows: it counts as an attempt.
    Itself,
    /// A service that was throttled, failing or silent, or somebody else's change: no attempt.
    Outside,
}

impl EndedBy {
    /// By the fault that a run ended with.
    #[must_use]
    pub fn of(fault: &Fault) -> Self {
        if fault.retryable() { Self::Outside } else { Self::Itself }
    }
}

/// What became of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    Yes,
    /// The app's watermark was raised meanwhile, over records that this worker has counted: nothing
    /// has ended. Go through the object again and leave them out.
    Pruned,
}

/// The ledger. Every write but `grant`, `claim`, `note_hours` and `quarantine` carries the fence in its
/// condition and fails with `Conflict` when the lease was lost; those write what any worker of the
/// object would.
pub trait Ledger: Send + Sync {
    /// Binds a key to an app before its URL is handed out.
    ///
    /// # Errors
    /// `Conflict` when the key was handed out before.
    fn grant(&self, grant: &Grant) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Whose a key is.
    ///
    /// # Errors
    /// The read failed.
    fn find_grant(
        &self,
        bucket: &str,
        key: &str,
    ) -> impl Future<Output = Result<Option<Grant>, Fault>> + Send;

    /// Claims an object: new; or PENDING and due; or PROCESSING with an expired lease. The first row
    /// of a granted key is made together with the grant's note of its object ([`Grant::used`]); where
    /// another object is noted there, the row is made and the note stays.
    ///
    /// # Errors
    /// The write failed; it may have been carried out, and then the lease runs out by itself.
    fn claim(&self, claim: &Claim) -> impl Future<Output = Result<Claimed, Fault>> + Send;

    /// The row of an object.
    ///
    /// # Errors
    /// The read failed.
    fn find(&self, object: &ObjectRef) -> impl Future<Output = Result<Option<FileRow>, Fault>> + Send;

    /// What is kept of an object.
    ///
    /// # Errors
    /// The read failed.
    fn kept(&self, object: &ObjectRef) -> impl Future<Output = Result<Kept, Fault>> + Send;

    /// Notes in which hours (since the epoch) blocks of the object will be, and when they expire. To be
    /// called before they are stored, so that whatever becomes of this worker, they are found.
    ///
    /// # Errors
    /// The write failed; repeat it.
    fn note_hours(
        &self,
        lease: &Lease,
        hours: &BTreeSet<i64>,
        expires_on: Day,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Begins an object anew by another packing, after all blocks of the earlier one are gone:
    /// forgets its bad records and how far it got.
    ///
    /// # Errors
    /// `Conflict` when the lease was lost.
    fn restart(
        &self,
        lease: &Lease,
        packing: &Packing,
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Keeps rows of bad records under their file. The same rows again change nothing.
    ///
    /// # Errors
    /// The write failed; repeat it.
    fn quarantine(
        &self,
        lease: &Lease,
        rows: &[Quarantined],
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Gives the object back with how far it got: PENDING, due at `due_at_ms`. Attempts are counted
    /// from here when it got further than it was; a run that was ended from outside is none.
    ///
    /// # Errors
    /// `Conflict` when the lease was lost.
    fn release(
        &self,
        lease: &Lease,
        checkpoint: Checkpoint,
        by: EndedBy,
        due_at_ms: i64,
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Ends the object's way: COMPLETED or FAILED, and what it adds to the stats, once. Counts
    /// nothing that a prune has hidden (see [`Stats::hide`](crate::logbook::counters::Stats::hide)).
    ///
    /// # Errors
    /// `Conflict` when the lease was lost. After any other error the same call may be repeated.
    fn finish(
        &self,
        lease: &Lease,
        outcome: &Outcome,
        now_ms: i64,
    ) -> impl Future<Output = Result<Finished, Fault>> + Send;
}
