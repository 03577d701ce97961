//! Objects that are not read, or no further: why, and what becomes of them.

use std::collections::BTreeMap;

use logferry_core::ledger::claim::Ledger;
use logferry_core::ledger::row::{FileRow, MAX_ATTEMPTS, MAX_RUNS};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logfile::outcome::{FileCounts, Outcome, Reason, ReasonCode};
use logferry_core::model::app::App as RegisteredApp;
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::objects::ObjectStore;
use logferry_core::ports::usage::Usage;

use crate::{App, Held, Ingested, kept, retry};

/// Runs after which a refusal to read an object is taken for an answer: permissions take some minutes to
/// arrive everywhere after a deployment.
const DENIED_RUNS: u32 = 5;

impl<O: ObjectStore, B: BlockTable, L: Ledger + Usage, A: Apps, C: Clock> App<O, B, L, A, C> {
    /// The end of an object that cannot be read, unless a repeat may help.
    pub(crate) async fn refuse_unreadable(
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

    /// FAILED without being read, with what earlier runs have stored of it.
    pub(crate) async fn refuse(
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

    /// Has S3 delete the object when the days of the bucket's rule for refused ones are over.
    pub(crate) async fn let_expire(&self, held: &Held) -> Result<(), Fault> {
        let object = &held.lease.object;
        match retry::until(held.schedule.stop_at, || self.objects.mark_refused(object)).await {
            Err(fault) if !fault.retryable() => {
                tracing::warn!(file.key = %object.key, error.chain = %chain(&fault), "a refused object stays");
                Ok(())
            }
            marked => marked,
        }
    }
}

/// Why no run is to go through a file any more.
pub(crate) fn exhausted(row: &FileRow) -> Option<Reason> {
    let message = if row.attempt > MAX_ATTEMPTS {
        format!("{MAX_ATTEMPTS} runs in a row failed by themselves and got no further")
    } else if row.fence.is_multiple_of(MAX_RUNS) {
        format!("{} runs did not bring it to an end", row.fence)
    } else {
        return None;
    };
    Some(Reason { code: ReasonCode::AttemptsExhausted, message })
}

/// Why an object of this size is not read.
pub(crate) fn too_large(size_bytes: u64, max_bytes: u64) -> Option<Reason> {
    let message = || format!("{size_bytes} bytes, of {max_bytes} that are allowed");
    (size_bytes > max_bytes).then(|| Reason { code: ReasonCode::TooLarge, message: message() })
}

/// Why an object will never be read; `None` where a repeat may help.
pub(crate) fn unreadable(fault: &Fault) -> Option<Reason> {
    let (code, message) = match fault.class {
        FaultClass::NotFound => (ReasonCode::ObjectGone, "the object is not there any more"),
        FaultClass::Conflict => (ReasonCode::ObjectGone, "another object has taken its place"),
        FaultClass::Permanent => (ReasonCode::ObjectGone, "S3 does not know such a version of it"),
        FaultClass::Denied => (ReasonCode::AccessDenied, "reading it was refused"),
        FaultClass::RateLimited | FaultClass::Transient | FaultClass::Timeout => return None,
    };
    Some(Reason { code, message: format!("{message} ({})", fault.code) })
}
