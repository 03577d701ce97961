//! Refusal of objects: the reasons, and how they end.

use logferry_core::ledger::claim::Ledger;
use logferry_core::ledger::row::{FileRow, MAX_ATTEMPTS, MAX_RUNS};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logfile::outcome::{FileCounts, Outcome, Reason, ReasonCode};
use logferry_core::model::app::App;
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::objects::ObjectStore;
use logferry_core::ports::usage::Usage;

use crate::conclude::Ending;
use crate::{Held, Ingest, earlier_runs, retry};

/// Number of runs after which a denied read is final: permissions take some minutes to propagate after a
/// deployment.
const DENIED_RUNS: u32 = 5;

impl<O: ObjectStore, B: BlockTable, L: Ledger + Usage, A: Apps, C: Clock> Ingest<O, B, L, A, C> {
    /// Ends an object that cannot be read, unless a retry may help.
    pub(crate) async fn refuse_unreadable(
        &self,
        held: &Held,
        app: &App,
        fault: Fault,
    ) -> Result<Ending, Fault> {
        match unreadable(&fault) {
            Some(_) if fault.class == FaultClass::Denied && held.row.attempt < DENIED_RUNS => Err(fault),
            Some(reason) => self.refuse(held, Some(app), reason).await,
            None => Err(fault),
        }
    }

    /// Ends the file FAILED without reading it, counting what earlier runs have stored of it for `app`.
    pub(crate) async fn refuse(
        &self,
        held: &Held,
        app: Option<&App>,
        reason: Reason,
    ) -> Result<Ending, Fault> {
        let object = &held.lease.object;
        if reason.code.refuses_the_object() {
            self.let_expire(held).await?;
        }
        let outcome = match app {
            Some(app) if held.row.fence > 1 => {
                let stored = self.ledger.stored_so_far(object).await?;
                earlier_runs::outcome(&self.blocks, app, object, &stored, reason).await?
            }
            _ => {
                let counts = FileCounts::default();
                Outcome { reason: Some(reason), counts, ..Outcome::default() }
            }
        };
        Ok(Ending::Refused(outcome))
    }

    /// Tags the object, so that the bucket's lifecycle rule for refused objects deletes it.
    pub(crate) async fn let_expire(&self, held: &Held) -> Result<(), Fault> {
        let object = &held.lease.object;
        match retry::until(held.schedule.stop_at, || self.objects.mark_refused(object)).await {
            Err(fault) if !fault.retryable() => {
                tracing::warn!(file.key = %object.key, error.chain = %chain(&fault), "refused object could not be tagged");
                Ok(())
            }
            marked => marked,
        }
    }
}

/// Returns why no further run may read the file.
pub(crate) fn exhausted(row: &FileRow) -> Option<Reason> {
    let message = if row.attempt > MAX_ATTEMPTS {
        format!("{MAX_ATTEMPTS} consecutive runs failed without progress")
    } else if row.fence.is_multiple_of(MAX_RUNS) {
        format!("the file did not end within {} runs", row.fence)
    } else {
        return None;
    };
    Some(Reason { code: ReasonCode::AttemptsExhausted, message })
}

/// The reason for ending an object of a bucket that is not read: the template's bucket was another, or the
/// object is a local file.
pub(crate) fn in_another_bucket(bucket: &str) -> Reason {
    let message = format!("the object is in {bucket}, a bucket that is not read");
    Reason { code: ReasonCode::ObjectGone, message }
}

/// Returns why an object of this size is not read.
pub(crate) fn too_large(size_bytes: u64, max_bytes: u64) -> Option<Reason> {
    let message = || format!("the object has {size_bytes} bytes; the limit is {max_bytes}");
    (size_bytes > max_bytes).then(|| Reason { code: ReasonCode::TooLarge, message: message() })
}

/// Returns why an object can never be read; `None` if a retry may help.
pub(crate) fn unreadable(fault: &Fault) -> Option<Reason> {
    let (code, message) = match fault.class {
        FaultClass::NotFound => (ReasonCode::ObjectGone, "the object does not exist any more"),
        FaultClass::Conflict => (ReasonCode::ObjectGone, "the object was replaced by another version"),
        FaultClass::Permanent => (ReasonCode::ObjectGone, "S3 does not know this version of the object"),
        FaultClass::Denied => (ReasonCode::AccessDenied, "S3 denied access to the object"),
        FaultClass::RateLimited | FaultClass::Transient | FaultClass::Timeout => return None,
    };
    Some(Reason { code, message: format!("{message} ({})", fault.code) })
}
