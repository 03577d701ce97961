//! The ledger and the counters that it moves.

use std::collections::{BTreeMap, BTreeSet};

use logferry_domain::app::AppId;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::ledger::{
    Checkpoint, Claimable, DayCounts, FileRow, FileStatus, Grant, Outcome, Quarantined,
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

/// Days in one transaction: few, so that a file of some days takes several. (DynamoDB takes 49.)
const DAYS_PER_TRANSACTION: usize = 4;

/// A URL that was handed out, and its place among the rows that are due.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    grant: Grant,
    pub(super) row: FileRow,
    pub(super) used: bool,
}

impl Granted {
    fn new(grant: &Grant) -> Self {
        Self { grant: grant.clone(), row: grant.waiting_row(), used: false }
    }
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
            state.grants.insert(key, Granted::new(grant));
            Ok(())
        })
        .await
    }

    async fn find_grant(&self, bucket: &str, key: &str) -> Result<Option<Grant>, Fault> {
        self.call("GetItem", |state| {
            let granted = state.grants.get(&(bucket.to_owned(), key.to_owned()));
            Ok(granted.map(|granted| granted.grant.clone()))
        })
        .await
    }

    // As the adapter: a first claim, else a look and a conditional update, each a call of its own.
    async fn claim(&self, claim: &Claim) -> Result<Claimed, Fault> {
        for _ in 0..3 {
            if let Some(row) = self.first_claim(claim).await? {
                return Ok(Claimed::Yes(Box::new(row)));
            }
            let Some(seen) = self.find(&claim.object).await? else { continue };
            if seen.claim_id == claim.claim_id && seen.status == FileStatus::Processing {
                return Ok(Claimed::Yes(Box::new(seen)));
            }
            match seen.claimable(claim.now_ms) {
                Claimable::Done(status) => return Ok(Claimed::Done(status)),
                Claimable::Held(lease_until_ms) => return Ok(Claimed::Held { lease_until_ms }),
                Claimable::NotDue(due_at_ms) => return Ok(Claimed::NotDue { due_at_ms }),
                Claimable::Yes => {}
            }
            if let Some(row) = self.take_over(claim, &seen).await? {
                return Ok(Claimed::Yes(Box::new(row)));
            }
        }
        Err(Fault::new(FaultClass::Transient, "claim", "the row keeps changing"))
    }

    async fn find(&self, object: &ObjectRef) -> Result<Option<FileRow>, Fault> {
        self.call("GetItem", |state| Ok(state.files.get(&file_key(object)).map(|file| file.row.clone())))
            .await
    }

    async fn quarantine(&self, lease: &Lease, records: &[Quarantined]) -> Result<(), Fault> {
        self.call("BatchWriteItem", |state| {
            let file =
                state.files.get_mut(&file_key(&lease.object)).ok_or_else(|| conflict("BatchWriteItem"))?;
            file.quarantined.extend(records.iter().map(|record| (record.ordinal, record.clone())));
            Ok(())
        })
        .await
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
        .await
    }

    // As the adapter: what was counted is read, then come as many transactions as the days need, each
    // under the fence and the condition that the day rows are as read.
    async fn finish(&self, lease: &Lease, outcome: &Outcome, now_ms: i64) -> Result<(), Fault> {
        let key = file_key(&lease.object);
        let counted = self
            .call("Query", |state| Ok(state.files.get(&key).map(|file| file.counted.clone())))
            .await?
            .unwrap_or_default();
        let days: BTreeSet<Day> = counted.keys().chain(outcome.days.keys()).copied().collect();
        let changed = |day: &Day| {
            let of = |days: &BTreeMap<Day, DayCounts>| days.get(day).copied().unwrap_or_default();
            let delta = of(&outcome.days) - of(&counted);
            (!delta.is_zero()).then(|| (*day, counted.get(day).copied(), of(&outcome.days), delta))
        };
        let changes: Vec<_> = days.iter().filter_map(changed).collect();
        assert!(lease.app_id.is_some() || changes.is_empty(), "records without an app");
        let chunks = changes.len().div_ceil(DAYS_PER_TRANSACTION).max(1);
        for number in 1..=chunks {
            let from = (number - 1) * DAYS_PER_TRANSACTION;
            let chunk = &changes[from..changes.len().min(from + DAYS_PER_TRANSACTION)];
            self.call("TransactWriteItems", |state| {
                let file = state.files.get_mut(&key).ok_or_else(|| conflict("TransactWriteItems"))?;
                if file.ended_by == Some(lease.fence) {
                    return Ok(());
                }
                if file.row.fence != lease.fence || file.row.status != FileStatus::Processing {
                    return Err(conflict("TransactWriteItems"));
                }
                if chunk.iter().any(|(day, was, ..)| file.counted.get(day) != was.as_ref()) {
                    return Err(Fault::new(FaultClass::Transient, "TransactWriteItems", "a day has changed"));
                }
                if number == chunks {
                    file.end(lease.fence, outcome, now_ms);
                }
                for (day, _, now, delta) in chunk {
                    file.counted.insert(*day, *now);
                    let Some(app_id) = &lease.app_id else { continue };
                    let counter = state.stats.entry((app_id.clone(), lease.epoch_ms, *day)).or_default();
                    counter.levels += delta.levels;
                    counter.bytes += delta.bytes;
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

impl SimCloud {
    async fn first_claim(&self, claim: &Claim) -> Result<Option<FileRow>, Fault> {
        self.call("TransactWriteItems", |state| {
            let key = file_key(&claim.object);
            if state.files.contains_key(&key) {
                return Ok(None);
            }
            if claim.granted
                && let Some(granted) =
                    state.grants.get_mut(&(claim.object.bucket.clone(), claim.object.key.clone()))
            {
                granted.row.due_at_ms = None;
                granted.used = true;
            }
            let row = claim.first_row();
            let file = File {
                row: row.clone(),
                quarantined: BTreeMap::new(),
                counted: BTreeMap::new(),
                ended_by: None,
            };
            state.files.insert(key, file);
            Ok(Some(row))
        })
        .await
    }

    async fn take_over(&self, claim: &Claim, seen: &FileRow) -> Result<Option<FileRow>, Fault> {
        self.call("UpdateItem", |state| {
            let file = state.files.get_mut(&file_key(&claim.object));
            let Some(file) = file.filter(|f| f.row.fence == seen.fence && f.row.status == seen.status) else {
                return Ok(None);
            };
            file.row = claim.taken_over(seen);
            Ok(Some(file.row.clone()))
        })
        .await
    }
}

impl File {
    fn end(&mut self, fence: u64, outcome: &Outcome, now_ms: i64) {
        let row = &mut self.row;
        row.status = if outcome.reason.is_some() { FileStatus::Failed } else { FileStatus::Completed };
        row.reason.clone_from(&outcome.reason);
        row.counts = outcome.counts;
        row.lease_until_ms = None;
        row.due_at_ms = None;
        row.updated_ms = now_ms;
        row.processed_ms = Some(now_ms);
        self.ended_by = Some(fence);
    }
}
