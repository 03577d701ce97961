//! Ends a file and updates its counters.
//!
//! Exactly-once counting: each file has a row per day with its counts. A transaction changes the counters
//! by the difference to that row and replaces the row. A run that died between two transactions, or a
//! redrive, finds the rows and adds only the missing counts. A prune subtracts from the counters and from
//! the row.

use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem, Update};
use logferry_core::ledger::claim::{Finished, Lease};
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::FileStatus;
use logferry_core::logbook::counter_keys;
use logferry_core::logfile::outcome::Outcome;
use logferry_core::model::app::AppId;
use logferry_core::model::counted::{DayChange, day_changes};
use logferry_core::model::fault::{Fault, FaultClass};

use super::keys::file_key;
use super::row::{FailedPlace, expires_at};
use super::{DynamoLedger, HELD, days};
use crate::item::{n, s};
use crate::transact::{self, Count, End, transact_counting};

/// Days per transaction: two writes per day and one for the file, of at most 100.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const DAYS_PER_TRANSACTION: usize = 49;

/// Maximum attempts to end a file while its counts change.
const ATTEMPTS: u32 = 8;

impl DynamoLedger {
    pub(super) async fn end(&self, lease: &Lease, outcome: &Outcome, now_ms: i64) -> Result<Finished, Fault> {
        for _ in 0..ATTEMPTS {
            let counted = self.counted_days(&lease.object).await?;
            let changes = day_changes(&counted, &outcome.days, lease.registered_ms, lease.pruned_before_ms);
            if lease.app_id.is_none() && !changes.is_empty() {
                return Err(Fault::new(FaultClass::Permanent, "finish", "the file has records but no app"));
            }
            if let Some(finished) = self.end_with(lease, outcome, now_ms, &changes).await? {
                return Ok(finished);
            }
        }
        Err(Fault::new(FaultClass::Transient, "finish", "the counted days keep changing"))
    }

    /// `None` if a day row has changed since it was read: read again.
    async fn end_with(
        &self,
        lease: &Lease,
        outcome: &Outcome,
        now_ms: i64,
        changes: &[DayChange],
    ) -> Result<Option<Finished>, Fault> {
        let mut chunks: Vec<_> = changes.chunks(DAYS_PER_TRANSACTION).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        let last = chunks.len() - 1;
        for (index, chunk) in chunks.into_iter().enumerate() {
            let mut actions = vec![if index == last {
                self.terminal_action(lease, outcome, now_ms)?
            } else {
                self.fence_check(lease)?
            }];
            let mut counts = Vec::new();
            if let Some(app_id) = &lease.app_id {
                for change in chunk {
                    actions.push(days::replace(&self.files.name, &lease.object, change)?);
                }
                let changed = chunk.iter().filter(|change| !change.delta.is_empty());
                counts.extend(changed.map(|change| self.count(lease, app_id, change)));
            }
            let counters_from = actions.len();
            match transact_counting(&self.files.client, actions, &counts).await? {
                End::Done => {}
                End::Condition(0) if self.ended_by(lease).await? => return Ok(Some(Finished::Yes)),
                End::Condition(0) => {
                    return Err(Fault::new(FaultClass::Conflict, "finish", "the lease was lost"));
                }
                // The file's own counts come before the counters.
                End::Condition(index) if index < counters_from => return Ok(None),
                End::Condition(_) => return Ok(Some(Finished::Pruned)),
            }
        }
        Ok(Some(Finished::Yes))
    }

    /// Returns what a change adds to the counters.
    fn count<'a>(&'a self, lease: &Lease, app_id: &'a AppId, change: &'a DayChange) -> Count<'a> {
        Count {
            table: &self.stats,
            app_id,
            registered_ms: lease.registered_ms,
            counter: counter_keys::counter_of(&lease.object.seed()),
            day: change.day,
            counts: &change.delta,
            // Fails if a prune has hidden records that this worker counts.
            first_ms: Some(lease.pruned_before_ms.unwrap_or(0)),
        }
    }

    fn terminal_action(
        &self,
        lease: &Lease,
        outcome: &Outcome,
        now_ms: i64,
    ) -> Result<TransactWriteItem, Fault> {
        let status = if outcome.reason.is_some() { FileStatus::Failed } else { FileStatus::Completed };
        let mut update = Update::builder()
            .table_name(&self.files.name)
            .set_key(Some(file_key(&lease.object)))
            .condition_expression(HELD)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":fence", n(lease.fence))
            .expression_attribute_values(":processing", s(FileStatus::Processing.as_str()))
            .expression_attribute_values(":status", s(status.as_str()))
            .expression_attribute_values(":ok", n(outcome.counts.ok))
            .expression_attribute_values(":quarantined", n(outcome.counts.quarantined))
            .expression_attribute_values(":pruned", n(outcome.counts.pruned))
            .expression_attribute_values(":bytes", n(outcome.counts.bytes))
            .expression_attribute_values(":now", n(now_ms))
            .expression_attribute_values(":expires", expires_at(now_ms));
        let failed = FailedPlace::of_object(lease.app_id.as_ref(), &lease.object, now_ms);
        let set = "SET #status = :status, records_ok = :ok, records_quarantined = :quarantined, \
                   records_pruned = :pruned, bytes_read = :bytes, updated_ms = :now, processed_ms = :now, \
                   expires_at = :expires, kinds = :kinds";
        let findings = outcome.findings();
        update = update.expression_attribute_values(":kinds", s(findings.kinds_text()));
        let (set, remove) = match findings.warning {
            Some(warning) => {
                update = update.expression_attribute_values(":warning", s(warning.as_str()));
                (format!("{set}, warning = :warning"), "")
            }
            None => (set.to_owned(), ", warning"),
        };
        update = match &outcome.reason {
            None => update.update_expression(format!(
                "{set} REMOVE lease_until, due_at, due_shard, checkpoint_beyond, reason_code, \
                 reason_message{remove}"
            )),
            Some(reason) => update
                .update_expression(format!(
                    "{set}, reason_code = :code, reason_message = :message, failed_on = :failed_on, \
                     failed_at = :failed_at REMOVE lease_until, due_at, due_shard, checkpoint_beyond{remove}"
                ))
                .expression_attribute_values(":failed_on", s(failed.failed_on))
                .expression_attribute_values(":failed_at", s(failed.failed_at))
                .expression_attribute_values(":code", s(reason.code.as_str()))
                .expression_attribute_values(":message", s(&reason.message)),
        };
        transact::update(update)
    }

    fn fence_check(&self, lease: &Lease) -> Result<TransactWriteItem, Fault> {
        transact::check(
            ConditionCheck::builder()
                .table_name(&self.files.name)
                .set_key(Some(file_key(&lease.object)))
                .condition_expression(HELD)
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":fence", n(lease.fence))
                .expression_attribute_values(":processing", s(FileStatus::Processing.as_str())),
        )
    }

    /// Whether this lease has already ended the file and the response was lost.
    async fn ended_by(&self, lease: &Lease) -> Result<bool, Fault> {
        let row = self.find(&lease.object).await?;
        Ok(row.is_some_and(|row| row.fence == lease.fence && row.status.is_terminal()))
    }
}
