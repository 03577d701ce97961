//! The ledger, and the counters that it changes.

use std::collections::{BTreeMap, BTreeSet};

use logferry_aws::ledger::row_to_item;
use logferry_core::ledger::checkpoint::Checkpoint;
use logferry_core::ledger::claim::{Claim, Claimed, EndedBy, Finished, Lease, Ledger};
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::{Claimable, FileRow, FileStatus, Grant, StoredSoFar};
use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::model::app::AppId;
use logferry_core::model::counted::{Counted, DayChange, day_changes};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::object::ObjectRef;
use logferry_core::model::time::{Day, MS_PER_HOUR};

use super::backlog::Indexed;
use super::{SimCloud, State, file_key};
use crate::contract::ledger::CountedDays;

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) row: FileRow,
    pub(super) quarantined: BTreeMap<u64, Quarantined>,
    pub(super) days: BTreeMap<Day, FileDay>,
    /// The fence of the run that ended it.
    ended_by: Option<u64>,
    pub(super) indexed: Indexed,
}

/// A day of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct FileDay {
    hours: BTreeSet<i64>,
    pub(super) counted: Option<Counted>,
    /// When the blocks of that day expire.
    pub(super) expires_on: Option<Day>,
}

/// Days per transaction: few, so that a file with some days needs several and can die in between. (DynamoDB
/// allows 49; the contract's file of very many days has more.)
const DAYS_PER_TRANSACTION: usize = 4;

/// An issued URL, and its place among the due rows.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    pub(super) grant: Grant,
    pub(super) row: FileRow,
    pub(super) indexed: Indexed,
}

impl Granted {
    fn new(grant: &Grant) -> Self {
        Self { grant: grant.clone(), row: grant.waiting_row(), indexed: Indexed::default() }
    }
}

fn conflict(operation: &'static str) -> Fault {
    Fault::new(FaultClass::Conflict, operation, "ConditionalCheckFailedException")
}

/// Maximum length of a partition key, and of a sort key of a table or index (bytes).
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const MAX_PK_BYTES: usize = 2_048;
const MAX_SK_BYTES: usize = 1_024;

/// Checks that DynamoDB would accept a row's keys.
pub(super) fn check_keys(row: &FileRow) {
    for (name, value) in row_to_item(row) {
        let most = match name.as_str() {
            "pk" | "app_id" | "due_shard" | "failed_on" => MAX_PK_BYTES,
            "sk" | "listed_at" | "failed_at" => MAX_SK_BYTES,
            _ => continue,
        };
        let length = value.as_s().map_or(0, String::len);
        assert!((1..=most).contains(&length), "{name} of {length} bytes");
    }
}

impl State {
    /// Returns the file if the lease still holds.
    fn held(&mut self, lease: &Lease, operation: &'static str) -> Result<&mut File, Fault> {
        let file = self.files.get_mut(&file_key(&lease.object)).ok_or_else(|| conflict(operation))?;
        let holds = file.row.fence == lease.fence && file.row.status == FileStatus::Processing;
        if holds { Ok(file) } else { Err(conflict(operation)) }
    }
}

impl CountedDays for SimCloud {
    async fn counted(&self, app_id: &AppId, registered_ms: i64) -> BTreeMap<Day, i64> {
        self.counted_days(app_id, registered_ms)
    }
}

impl Grants for SimCloud {
    async fn grant(&self, grant: &Grant) -> Result<(), Fault> {
        self.call("PutItem", |state| {
            let key = (grant.bucket.clone(), grant.key.clone());
            if state.grants.contains_key(&key) {
                return Err(conflict("PutItem"));
            }
            let granted = Granted::new(grant);
            check_keys(&granted.row);
            state.grants.insert(key, granted);
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

    async fn find_waiting(&self, bucket: &str, key: &str) -> Result<Option<FileRow>, Fault> {
        self.call("GetItem", |state| {
            let granted = state.grants.get(&(bucket.to_owned(), key.to_owned()));
            let waiting = granted.filter(|granted| granted.grant.used.is_none());
            Ok(waiting.map(|granted| granted.row.clone()))
        })
        .await
    }

    async fn find(&self, object: &ObjectRef) -> Result<Option<FileRow>, Fault> {
        self.call("GetItem", |state| Ok(state.files.get(&file_key(object)).map(|file| file.row.clone())))
            .await
    }
}

impl Ledger for SimCloud {
    // Like the adapter: a first claim, else a read and a conditional update, each a separate call.
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

    async fn stored_so_far(&self, object: &ObjectRef) -> Result<StoredSoFar, Fault> {
        self.call("Query", |state| {
            let Some(file) = state.files.get(&file_key(object)) else { return Ok(StoredSoFar::default()) };
            let hours = file.days.values().flat_map(|day| &day.hours).copied().collect();
            Ok(StoredSoFar { hours, quarantined: file.quarantined.values().map(|row| row.count).sum() })
        })
        .await
    }

    async fn note_hours(&self, lease: &Lease, hours: &BTreeSet<i64>, expires_on: Day) -> Result<(), Fault> {
        self.call("UpdateItem", |state| {
            let file = state.files.get_mut(&file_key(&lease.object)).ok_or_else(|| conflict("UpdateItem"))?;
            for &hour in hours {
                let day = file.days.entry(Day::of_ms(hour * MS_PER_HOUR)).or_default();
                day.hours.insert(hour);
                day.expires_on = Some(expires_on);
            }
            Ok(())
        })
        .await
    }

    async fn restart(&self, lease: &Lease, packing: &PackFingerprint, now_ms: i64) -> Result<(), Fault> {
        self.call("BatchWriteItem", |state| {
            if let Some(file) = state.files.get_mut(&file_key(&lease.object)) {
                file.quarantined.clear();
            }
            Ok(())
        })
        .await?;
        self.call("UpdateItem", |state| {
            let row = &mut state.held(lease, "UpdateItem")?.row;
            row.packing = packing.clone();
            row.checkpoint = Checkpoint::default();
            row.updated_ms = now_ms;
            Ok(())
        })
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
        by: EndedBy,
        due_at_ms: i64,
        now_ms: i64,
    ) -> Result<(), Fault> {
        self.call("UpdateItem", |state| {
            let row = &mut state.held(lease, "UpdateItem")?.row;
            row.status = FileStatus::Pending;
            row.lease_until_ms = None;
            row.due_at_ms = Some(due_at_ms);
            if checkpoint.is_beyond(&lease.checkpoint) {
                row.attempt = 0;
            } else if by == EndedBy::Outside {
                row.attempt -= 1;
            }
            row.checkpoint = checkpoint;
            row.updated_ms = now_ms;
            Ok(())
        })
        .await
    }

    // Like the adapter: reads the counts, then runs as many transactions as the days need, each on
    // condition of the fence, of unchanged counts and of no hidden records.
    async fn finish(&self, lease: &Lease, outcome: &Outcome, now_ms: i64) -> Result<Finished, Fault> {
        let key = file_key(&lease.object);
        let counted = self
            .call("Query", |state| Ok(state.files.get(&key).map(File::counted).unwrap_or_default()))
            .await?;
        let changes = day_changes(&counted, &outcome.days, lease.registered_ms, lease.pruned_before_ms);
        assert!(lease.app_id.is_some() || changes.is_empty(), "the file has records but no app");
        let mut chunks: Vec<&[DayChange]> = changes.chunks(DAYS_PER_TRANSACTION).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        let last = chunks.len() - 1;
        for (number, chunk) in chunks.into_iter().enumerate() {
            let finished = self
                .call("TransactWriteItems", |state| {
                    state.count_days(lease, chunk, (number == last).then_some((outcome, now_ms)))
                })
                .await?;
            if finished == Finished::Pruned {
                return Ok(Finished::Pruned);
            }
        }
        Ok(Finished::Yes)
    }
}

impl State {
    /// One transaction of an end; the last one has the outcome.
    fn count_days(
        &mut self,
        lease: &Lease,
        changes: &[DayChange],
        end: Option<(&Outcome, i64)>,
    ) -> Result<Finished, Fault> {
        let file =
            self.files.get_mut(&file_key(&lease.object)).ok_or_else(|| conflict("TransactWriteItems"))?;
        if file.ended_by == Some(lease.fence) {
            return Ok(Finished::Yes);
        }
        if file.row.fence != lease.fence || file.row.status != FileStatus::Processing {
            return Err(conflict("TransactWriteItems"));
        }
        let revision = |day: &Day| file.days.get(day)?.counted.as_ref().map(|counted| counted.revision);
        if changes.iter().any(|change| revision(&change.day) != change.seen) {
            return Err(Fault::new(FaultClass::Transient, "TransactWriteItems", "a day has changed"));
        }
        let Some(app_id) = &lease.app_id else {
            if let Some((outcome, now_ms)) = end {
                file.end(lease.fence, outcome, now_ms);
            }
            return Ok(Finished::Yes);
        };
        let known_ms = lease.pruned_before_ms.unwrap_or(0);
        let hidden = |day: Day| self.hidden.get(&(app_id.clone(), lease.registered_ms, day)).copied();
        if changes.iter().any(|change| hidden(change.day) > Some(known_ms)) {
            return Ok(Finished::Pruned);
        }
        for change in changes {
            let day = file.days.entry(change.day).or_default();
            day.expires_on = change.now.counts.last().or(day.expires_on);
            day.counted = Some(change.now.clone());
        }
        if let Some((outcome, now_ms)) = end {
            file.end(lease.fence, outcome, now_ms);
        }
        for change in changes.iter().filter(|change| !change.delta.is_empty()) {
            self.count(app_id, lease.registered_ms, change.day, &change.delta);
        }
        Ok(Finished::Yes)
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
                // If another object has used the key, the row is created and the grant does not change.
                granted.grant.used.get_or_insert_with(|| claim.used());
            }
            let row = claim.first_row();
            check_keys(&row);
            let file = File {
                row: row.clone(),
                quarantined: BTreeMap::new(),
                days: BTreeMap::new(),
                ended_by: None,
                indexed: Indexed::default(),
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
    fn counted(&self) -> BTreeMap<Day, Counted> {
        self.days.iter().filter_map(|(day, own)| Some((*day, own.counted.clone()?))).collect()
    }

    fn end(&mut self, fence: u64, outcome: &Outcome, now_ms: i64) {
        let row = &mut self.row;
        row.status = if outcome.reason.is_some() { FileStatus::Failed } else { FileStatus::Completed };
        row.reason.clone_from(&outcome.reason);
        row.counts = outcome.counts;
        row.findings = outcome.findings();
        row.lease_until_ms = None;
        row.due_at_ms = None;
        row.updated_ms = now_ms;
        row.processed_ms = Some(now_ms);
        check_keys(row);
        self.ended_by = Some(fence);
    }
}
