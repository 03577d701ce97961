//! The ledger and the counters that it moves.

use std::collections::BTreeMap;

use logferry_domain::app::AppId;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::ledger::{
    Checkpoint, Claimable, DayCounts, FileCounts, FileRow, FileStatus, Grant, Outcome, Quarantined,
};
use logferry_domain::object::ObjectRef;
use logferry_domain::time::Day;
use logferry_ports::Ledger;
use logferry_ports::ledger::{Claim, Claimed, Lease};

use super::{SimCloud, State};
use crate::contract::ledger::CountedDays;

pub(super) type FileKey = (String, String, String);

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) row: FileRow,
    pub(super) quarantined: BTreeMap<u64, Quarantined>,
    /// What was counted into the statistics for each day.
    counted: BTreeMap<Day, DayCounts>,
    /// Whose fence ended it.
    ended_by: Option<u64>,
}

pub(super) fn file_key(object: &ObjectRef) -> FileKey {
    (object.bucket.clone(), object.key.clone(), object.version.as_str().to_owned())
}

fn conflict(operation: &'static str) -> Fault {
    Fault::new(FaultClass::Conflict, operation, "ConditionalCheckFailedException")
}

impl State {
    /// The file, if the lease on it still holds.
    fn held(&mut self, lease: &Lease, operation: &'static str) -> Result<&mut File, Fault> {
        let file = self.files.get_mut(&file_key(&lease.object)).ok_or_else(|| conflict(operation))?;
        let holds = file.row.fence == lease.fence && file.row.status == FileStatus::Processing;
        if holds { Ok(file) } else { Err(conflict(operation)) }
    }
}

impl CountedDays for SimCloud {
    async fn counted(&self, app_id: &AppId, epoch_ms: i64) -> BTreeMap<Day, i64> {
        self.counted_days(app_id, epoch_ms)
    }
}

impl Ledger for SimCloud {
    async fn grant(&self, grant: &Grant) -> Result<(), Fault> {
        self.call("PutItem", |state| {
            let key = (grant.bucket.clone(), grant.key.clone());
            if state.grants.contains_key(&key) {
                return Err(conflict("PutItem"));
            }
            state.grants.insert(key, grant.clone());
            Ok(())
        })
    }

    async fn find_grant(&self, bucket: &str, key: &str) -> Result<Option<Grant>, Fault> {
        self.call("GetItem", |state| Ok(state.grants.get(&(bucket.to_owned(), key.to_owned())).cloned()))
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, Fault> {
        self.call("TransactWriteItems", |state| {
            let file = state.files.entry(file_key(&claim.object)).or_insert_with(|| File {
                row: FileRow {
                    object: Some(claim.object.clone()),
                    bucket: claim.object.bucket.clone(),
                    key: claim.object.key.clone(),
                    app_id: claim.app_id.clone(),
                    status: FileStatus::Pending,
                    fence: 0,
                    attempt: 0,
                    claim_id: String::new(),
                    lease_until_ms: None,
                    due_at_ms: None,
                    checkpoint: Checkpoint::default(),
                    counts: FileCounts::default(),
                    size_bytes: Some(claim.size_bytes),
                    reason: None,
                    created_ms: claim.now_ms,
                    updated_ms: claim.now_ms,
                    processed_ms: None,
                },
                quarantined: BTreeMap::new(),
                counted: BTreeMap::new(),
                ended_by: None,
            });
            let row = &mut file.row;
            if row.claim_id == claim.claim_id && row.status == FileStatus::Processing {
                return Ok(Claimed::Yes(Box::new(row.clone())));
            }
            match row.claimable(claim.now_ms) {
                Claimable::Done(status) => return Ok(Claimed::Done(status)),
                Claimable::Held(lease_until_ms) => return Ok(Claimed::Held { lease_until_ms }),
                Claimable::NotDue(due_at_ms) => return Ok(Claimed::NotDue { due_at_ms }),
                Claimable::Yes => {}
            }
            row.status = FileStatus::Processing;
            row.fence += 1;
            row.attempt += 1;
            row.claim_id.clone_from(&claim.claim_id);
            row.lease_until_ms = Some(claim.lease_until_ms);
            row.due_at_ms = Some(claim.lease_until_ms);
            row.updated_ms = claim.now_ms;
            Ok(Claimed::Yes(Box::new(row.clone())))
        })
    }

    async fn find(&self, object: &ObjectRef) -> Result<Option<FileRow>, Fault> {
        self.call("GetItem", |state| Ok(state.files.get(&file_key(object)).map(|file| file.row.clone())))
    }

    async fn quarantine(&self, lease: &Lease, records: &[Quarantined]) -> Result<(), Fault> {
        self.call("BatchWriteItem", |state| {
            let file =
                state.files.get_mut(&file_key(&lease.object)).ok_or_else(|| conflict("BatchWriteItem"))?;
            file.quarantined.extend(records.iter().map(|record| (record.ordinal, record.clone())));
            Ok(())
        })
    }

    async fn release(
        &self,
        lease: &Lease,
        checkpoint: Checkpoint,
        due_at_ms: i64,
        now_ms: i64,
    ) -> Result<(), Fault> {
        self.call("UpdateItem", |state| {
            let row = &mut state.held(lease, "UpdateItem")?.row;
            row.status = FileStatus::Pending;
            row.lease_until_ms = None;
            row.due_at_ms = Some(due_at_ms);
            row.checkpoint = checkpoint;
            row.updated_ms = now_ms;
            Ok(())
        })
    }

    async fn finish(&self, lease: &Lease, outcome: &Outcome, now_ms: i64) -> Result<(), Fault> {
        self.call("TransactWriteItems", |state| {
            if state
                .files
                .get(&file_key(&lease.object))
                .is_some_and(|file| file.ended_by == Some(lease.fence))
            {
                return Ok(());
            }
            let file = state.held(lease, "TransactWriteItems")?;
            let before = std::mem::replace(&mut file.counted, outcome.days.clone());
            file.row.status =
                if outcome.reason.is_some() { FileStatus::Failed } else { FileStatus::Completed };
            file.row.reason.clone_from(&outcome.reason);
            file.row.counts = outcome.counts;
            file.row.lease_until_ms = None;
            file.row.due_at_ms = None;
            file.row.updated_ms = now_ms;
            file.row.processed_ms = Some(now_ms);
            file.ended_by = Some(lease.fence);
            let Some(app_id) = &lease.app_id else {
                assert!(outcome.days.is_empty(), "records without an app");
                return Ok(());
            };
            let days: std::collections::BTreeSet<_> =
                before.keys().chain(outcome.days.keys()).copied().collect();
            for day in days {
                let of = |days: &BTreeMap<Day, DayCounts>| days.get(&day).copied().unwrap_or_default();
                let change = of(&outcome.days) - of(&before);
                let counter = state.stats.entry((app_id.clone(), lease.epoch_ms, day)).or_default();
                counter.levels += change.levels;
                counter.bytes += change.bytes;
            }
            Ok(())
        })
    }
}
