//! The end of a file and its counters.
//!
//! Exactly-once counting: under each file hangs a row per day with what was counted for it. A
//! transaction moves the counters by the difference to that row and replaces it. A run that died
//! between two transactions, or a redrive, finds the rows and adds only what is missing.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{ConditionCheck, Put as PutAction, TransactWriteItem, Update};
use logferry_domain::app::AppId;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::ledger::{DayCounts, FileStatus, Outcome};
use logferry_domain::object::ObjectRef;
use logferry_domain::stats;
use logferry_domain::time::Day;
use logferry_ports::Ledger;
use logferry_ports::ledger::Lease;

use super::row::{expires_at, file_key, file_pk, file_sk};
use super::{DynamoLedger, HELD};
use crate::item::{Get, Put, key, level_name, levels_from, malformed, n, s};
use crate::transact::{self, End, transact};

/// Days in one transaction: two writes a day and one for the file, of 100.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const DAYS_PER_TRANSACTION: usize = 49;

/// How often an end begins anew because what was counted has changed.
const ATTEMPTS: u32 = 8;

struct DayChange {
    day: Day,
    now: DayCounts,
    delta: DayCounts,
    seen_fence: Option<u64>,
}

impl DynamoLedger {
    pub(super) async fn end(&self, lease: &Lease, outcome: &Outcome, now_ms: i64) -> Result<(), Fault> {
        for _ in 0..ATTEMPTS {
            let counted = self.counted_days(&lease.object).await?;
            let changes = day_changes(&counted, &outcome.days);
            if lease.app_id.is_none() && !changes.is_empty() {
                return Err(Fault::new(FaultClass::Permanent, "finish", "records without an app"));
            }
            if self.end_with(lease, outcome, now_ms, &changes).await? {
                return Ok(());
            }
        }
        Err(Fault::new(FaultClass::Transient, "finish", "the counted days keep changing"))
    }

    /// `false`: a day row was not as read, read again.
    async fn end_with(
        &self,
        lease: &Lease,
        outcome: &Outcome,
        now_ms: i64,
        changes: &[DayChange],
    ) -> Result<bool, Fault> {
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
            if let Some(app_id) = &lease.app_id {
                for change in chunk {
                    actions.extend(self.day_actions(lease, app_id, change)?);
                }
            }
            match transact(&self.files.client, &actions).await? {
                End::Done => {}
                End::Condition(0) if self.ended_by(lease).await? => return Ok(true),
                End::Condition(0) => {
                    return Err(Fault::new(FaultClass::Conflict, "finish", "the lease was lost"));
                }
                End::Condition(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn counted_days(&self, object: &ObjectRef) -> Result<BTreeMap<Day, (u64, DayCounts)>, Fault> {
        let prefix = format!("{}#day#", file_sk(&object.version));
        let items = self.files.below(&file_pk(&object.bucket, &object.key), &prefix).await?;
        items
            .iter()
            .map(|item| {
                let day = item.text("sk")?.strip_prefix(&prefix).and_then(|day| day.parse().ok());
                let counts = DayCounts { levels: levels_from(item), bytes: item.number("bytes")? };
                Ok((day.ok_or_else(|| malformed("sk"))?, (item.number("fence")?, counts)))
            })
            .collect()
    }

    fn day_actions(
        &self,
        lease: &Lease,
        app_id: &AppId,
        change: &DayChange,
    ) -> Result<[TransactWriteItem; 2], Fault> {
        let (pk, sk) = (file_pk(&lease.object.bucket, &lease.object.key), file_sk(&lease.object.version));
        let mut item = key(pk, format!("{sk}#day#{}", change.day));
        item.put("fence", n(lease.fence));
        item.put("bytes", n(change.now.bytes));
        for (level, count) in change.now.levels.iter() {
            item.put(level_name(level), n(count));
        }
        let row = PutAction::builder().table_name(&self.files.name).set_item(Some(item));
        let row = match change.seen_fence {
            None => row.condition_expression("attribute_not_exists(pk)"),
            Some(fence) => {
                row.condition_expression("fence = :seen").expression_attribute_values(":seen", n(fence))
            }
        };
        let counter = stats::counter_of(&lease.object.seed());
        let count = transact::count(&self.stats, app_id, lease.epoch_ms, counter, change.day, &change.delta)?;
        Ok([transact::put(row)?, count])
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
        let set = "SET #status = :status, records_ok = :ok, records_quarantined = :quarantined, \
                   records_pruned = :pruned, bytes_read = :bytes, updated_ms = :now, processed_ms = :now, \
                   expires_at = :expires";
        update = match &outcome.reason {
            None => update.update_expression(format!(
                "{set} REMOVE lease_until, due_at, due_shard, reason_code, reason_message"
            )),
            Some(reason) => update
                .update_expression(format!(
                    "{set}, reason_code = :code, reason_message = :message REMOVE lease_until, due_at, due_shard"
                ))
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

    /// Whether this very lease has ended the file already: its answer was lost.
    async fn ended_by(&self, lease: &Lease) -> Result<bool, Fault> {
        let row = self.find(&lease.object).await?;
        Ok(row.is_some_and(|row| row.fence == lease.fence && row.status.is_terminal()))
    }
}

/// What must change so that exactly `wanted` is counted.
fn day_changes(
    counted: &BTreeMap<Day, (u64, DayCounts)>,
    wanted: &BTreeMap<Day, DayCounts>,
) -> Vec<DayChange> {
    let mut days: Vec<Day> = counted.keys().chain(wanted.keys()).copied().collect();
    days.sort_unstable();
    days.dedup();
    days.into_iter()
        .map(|day| {
            let (seen_fence, was) = match counted.get(&day) {
                Some((fence, counts)) => (Some(*fence), *counts),
                None => (None, DayCounts::default()),
            };
            let now = wanted.get(&day).copied().unwrap_or_default();
            DayChange { day, now, delta: now - was, seen_fence }
        })
        .filter(|change| !change.delta.is_zero())
        .collect()
}

#[cfg(test)]
mod tests {
    use logferry_domain::record::LevelCounts;

    use super::*;

    fn counts(info: i64) -> DayCounts {
        DayCounts { levels: LevelCounts::new(0, info, 0, 0), bytes: info * 10 }
    }

    #[test]
    fn only_the_difference_to_what_was_counted_is_added() {
        let counted =
            BTreeMap::from([(Day(1), (3, counts(5))), (Day(2), (3, counts(7))), (Day(3), (3, counts(1)))]);
        let wanted = BTreeMap::from([(Day(1), counts(5)), (Day(2), counts(9)), (Day(4), counts(2))]);
        let changes = day_changes(&counted, &wanted);
        let deltas: Vec<_> =
            changes.iter().map(|c| (c.day.0, c.delta.levels.total(), c.delta.bytes, c.seen_fence)).collect();
        assert_eq!(deltas, [(2, 2, 20, Some(3)), (3, -1, -10, Some(3)), (4, 2, 20, None)]);
    }
}
