//! The end of a run: the only place that writes the end of an object's row.

use logferry_core::ledger::checkpoint::Checkpoint;
use logferry_core::ledger::claim::{EndedBy, Finished, Ledger};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logfile::outcome::Outcome;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::objects::ObjectStore;
use logferry_core::ports::usage::Usage;

use crate::{Held, Ingest, Ingested, retry};

/// How a run on a claimed object ended.
#[derive(Debug)]
pub enum Ending {
    /// The object was read to its end and stored; the checkpoint is final.
    Read(Outcome, Checkpoint),
    /// The object is not read, or not read further: this is its outcome.
    Refused(Outcome),
    /// The run stopped before the object's end: at the deadline, or by a fault. Everything up to the
    /// checkpoint is stored.
    Stopped { checkpoint: Checkpoint, by: EndedBy, fault: Option<Fault> },
}

impl<O: ObjectStore, B: BlockTable, L: Ledger + Usage, A: Apps, C: Clock> Ingest<O, B, L, A, C> {
    /// Writes the end of a run: COMPLETED or FAILED, or else PENDING.
    pub(crate) async fn conclude(
        &self,
        held: &Held,
        ending: Result<Ending, Fault>,
    ) -> Result<Ingested, Fault> {
        let (outcome, checkpoint, was_read) = match ending {
            Ok(Ending::Read(outcome, checkpoint)) => (outcome, checkpoint, true),
            Ok(Ending::Refused(outcome)) => (outcome, held.lease.checkpoint, false),
            Ok(Ending::Stopped { checkpoint, by, fault }) => {
                return self.release(held, checkpoint, by, fault).await;
            }
            Err(fault) => {
                return self.release(held, held.lease.checkpoint, EndedBy::of(&fault), Some(fault)).await;
            }
        };
        let finish = || self.ledger.finish(&held.lease, &outcome, self.clock.now_ms());
        match retry::until(held.give_up_at(), finish).await {
            Ok(Finished::Yes) => {}
            Ok(Finished::Pruned) => return self.release(held, checkpoint, EndedBy::Outside, None).await,
            Err(fault) if fault.class == FaultClass::Conflict => return Ok(Ingested::LeaseLost),
            Err(fault) => return self.release(held, checkpoint, EndedBy::of(&fault), Some(fault)).await,
        }
        if was_read {
            self.charge(&held.lease, &outcome).await;
            self.measure_warning(outcome.warning);
        }
        Ok(match outcome.reason {
            None => Ingested::Completed { counts: outcome.counts },
            Some(reason) => Ingested::Failed { reason, counts: outcome.counts },
        })
    }

    /// PENDING and due at once, so that a retry of the event can claim it. Returns `fault`, unless the
    /// lease was lost.
    async fn release(
        &self,
        held: &Held,
        checkpoint: Checkpoint,
        by: EndedBy,
        fault: Option<Fault>,
    ) -> Result<Ingested, Fault> {
        let end = fault.map_or(Ok(Ingested::Released { blocks: checkpoint.blocks }), Err);
        let now_ms = self.clock.now_ms();
        let release = || self.ledger.release(&held.lease, checkpoint, by, now_ms, now_ms);
        match retry::until(held.give_up_at(), release).await {
            Ok(()) => end,
            Err(fault) if fault.class == FaultClass::Conflict => Ok(Ingested::LeaseLost),
            // The lease expires by itself. The first fault matters more than this one.
            Err(fault) => end.and(Err(fault)),
        }
    }
}

impl Held {
    /// Ending the row may take longer than the work: the lease lasts until then.
    fn give_up_at(&self) -> tokio::time::Instant {
        self.schedule.stop_at + self.schedule.settle * 2
    }
}
