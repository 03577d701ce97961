//! The ledger in DynamoDB: the `files` table, and the counters in `stats` that a terminal state
//! moves in the same transaction.
//!
//! Exactly-once counting: under each file hangs a row per day with what was counted for it. A
//! transaction moves the counters by the difference to that row and replaces it. A run that died
//! between two transactions, or a redrive, finds the rows and adds only what is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Put as PutAction, PutRequest, TransactWriteItem, Update, WriteRequest,
};
use logferry_domain::app::AppId;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::ledger::{
    Checkpoint, Claimable, DayCounts, FileCounts, FileRow, FileStatus, Grant, Outcome, Quarantined, Reason,
    ReasonCode,
};
use logferry_domain::object::{ObjectRef, ObjectVersion};
use logferry_domain::stats;
use logferry_domain::time::Day;
use logferry_ports::Ledger;
use logferry_ports::ledger::{Claim, Claimed, Lease};

use crate::blocks::MAX_BATCH_ITEMS;
use crate::faults::fault;
use crate::files::quarantined_item;
use crate::item::{Get, Item, Put, key, level_name, levels_from, malformed, n, s};

/// Days in one transaction: two writes a day and one for the file, of 100.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const DAYS_PER_TRANSACTION: usize = 49;

/// How often a transaction that lost against another is repeated, and the first pause.
const CONFLICT_ATTEMPTS: u32 = 8;
const CONFLICT_PAUSE: Duration = Duration::from_millis(20);

/// How often a batch's unprocessed rows are repeated.
const BATCH_ATTEMPTS: u32 = 8;

/// Partitions of the index of what is due.
pub const DUE_SHARDS: u8 = 4;

/// How long an unused grant and an ended file stay in the ledger (days).
const KEEP_DAYS: i64 = 90;

/// The ledger in two DynamoDB tables.
#[derive(Debug, Clone)]
pub struct DynamoLedger {
    client: Client,
    files: String,
    stats: String,
}

fn file_pk(bucket: &str, object_key: &str) -> String {
    format!("{bucket}/{object_key}")
}

fn file_sk(version: &ObjectVersion) -> String {
    match version {
        ObjectVersion::Id(id) => format!("v#{id}"),
        ObjectVersion::ETag(etag) => format!("v#etag:{etag}"),
    }
}

/// The key of an object's row.
#[must_use]
pub fn file_key(object: &ObjectRef) -> Item {
    key(file_pk(&object.bucket, &object.key), file_sk(&object.version))
}

/// The key of a row: an object's, or a grant's.
#[must_use]
pub fn row_key(row: &FileRow) -> Item {
    match &row.object {
        Some(object) => file_key(object),
        None => key(file_pk(&row.bucket, &row.key), "grant"),
    }
}

pub(crate) fn due_shard(object_key: &str) -> String {
    let sum = object_key.bytes().fold(0u8, u8::wrapping_add);
    (sum % DUE_SHARDS).to_string()
}

fn expires_at(now_ms: i64) -> AttributeValue {
    n(now_ms / 1000 + KEEP_DAYS * 86_400)
}

enum TransactionEnd {
    Done,
    /// A condition failed: the index of the action.
    Condition(usize),
}

impl DynamoLedger {
    #[must_use]
    pub fn new(client: Client, files: impl Into<String>, stats: impl Into<String>) -> Self {
        Self { client, files: files.into(), stats: stats.into() }
    }

    async fn get(&self, item_key: Item) -> Result<Option<Item>, Fault> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.files)
            .set_key(Some(item_key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| fault("GetItem", error))?;
        Ok(answer.item)
    }

    /// Repeats a transaction that only lost against a concurrent one.
    async fn transact(&self, actions: &[TransactWriteItem]) -> Result<TransactionEnd, Fault> {
        let mut pause = CONFLICT_PAUSE;
        let mut attempt = 1;
        loop {
            let sent =
                self.client.transact_write_items().set_transact_items(Some(actions.to_vec())).send().await;
            let error = match sent {
                Ok(_) => return Ok(TransactionEnd::Done),
                Err(error) => error,
            };
            let reasons = cancellation_codes(&error);
            if let Some(index) = reasons.iter().position(|code| code == "ConditionalCheckFailed") {
                return Ok(TransactionEnd::Condition(index));
            }
            let passing = !reasons.is_empty()
                && reasons.iter().all(|code| {
                    matches!(
                        code.as_str(),
                        "None" | "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"
                    )
                });
            if !passing || attempt == CONFLICT_ATTEMPTS {
                let mut fault = fault("TransactWriteItems", error);
                if passing {
                    fault.class = FaultClass::Transient;
                }
                return Err(fault);
            }
            attempt += 1;
            tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
            pause *= 2;
        }
    }

    async fn first_claim(&self, claim: &Claim) -> Result<Option<FileRow>, Fault> {
        let row = FileRow {
            object: Some(claim.object.clone()),
            bucket: claim.object.bucket.clone(),
            key: claim.object.key.clone(),
            app_id: claim.app_id.clone(),
            status: FileStatus::Processing,
            fence: 1,
            attempt: 1,
            claim_id: claim.claim_id.clone(),
            lease_until_ms: Some(claim.lease_until_ms),
            due_at_ms: Some(claim.lease_until_ms),
            checkpoint: Checkpoint::default(),
            counts: FileCounts::default(),
            size_bytes: Some(claim.size_bytes),
            reason: None,
            created_ms: claim.now_ms,
            updated_ms: claim.now_ms,
            processed_ms: None,
        };
        let put = PutAction::builder()
            .table_name(&self.files)
            .set_item(Some(row_to_item(&row)))
            .condition_expression("attribute_not_exists(pk)");
        let mut actions = vec![action_put(put)?];
        if claim.granted {
            let used = Update::builder()
                .table_name(&self.files)
                .set_key(Some(key(file_pk(&claim.object.bucket, &claim.object.key), "grant")))
                .condition_expression("attribute_exists(pk)")
                .update_expression("SET used_by = :v REMOVE listed_at, due_shard, due_at")
                .expression_attribute_values(":v", s(file_sk(&claim.object.version)));
            actions.push(action_update(used)?);
        }
        match self.transact(&actions).await? {
            TransactionEnd::Done => Ok(Some(row)),
            TransactionEnd::Condition(0) => Ok(None),
            // The grant expired meanwhile: whose it is has been read, the row stands alone.
            TransactionEnd::Condition(_) => match self.transact(&actions[..1]).await? {
                TransactionEnd::Done => Ok(Some(row)),
                TransactionEnd::Condition(_) => Ok(None),
            },
        }
    }

    /// Takes over a row that is still as `seen`; `None` when it is not.
    async fn take_over(&self, claim: &Claim, seen: &FileRow) -> Result<Option<FileRow>, Fault> {
        let answer = self
            .client
            .update_item()
            .table_name(&self.files)
            .set_key(Some(file_key(&claim.object)))
            .condition_expression("fence = :seen AND #status = :status")
            .update_expression(
                "SET #status = :processing, fence = :fence, attempt = :attempt, claim_id = :claim, \
                 lease_until = :lease, due_at = :lease, updated_ms = :now",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":seen", n(seen.fence))
            .expression_attribute_values(":status", s(seen.status.as_str()))
            .expression_attribute_values(":processing", s(FileStatus::Processing.as_str()))
            .expression_attribute_values(":fence", n(seen.fence + 1))
            .expression_attribute_values(":attempt", n(seen.attempt + 1))
            .expression_attribute_values(":claim", s(&claim.claim_id))
            .expression_attribute_values(":lease", n(claim.lease_until_ms))
            .expression_attribute_values(":now", n(claim.now_ms))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew)
            .send()
            .await
            .map_err(|error| fault("UpdateItem", error));
        match answer {
            Ok(answer) => row_from_item(&answer.attributes.unwrap_or_default()).map(Some),
            Err(fault) if fault.class == FaultClass::Conflict => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn counted_days(&self, object: &ObjectRef) -> Result<BTreeMap<Day, (u64, DayCounts)>, Fault> {
        let prefix = format!("{}#day#", file_sk(&object.version));
        let items = self
            .client
            .query()
            .table_name(&self.files)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
            .expression_attribute_values(":pk", s(file_pk(&object.bucket, &object.key)))
            .expression_attribute_values(":sk", s(&prefix))
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .map_err(|error| fault("Query", error))?;
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
        let row = PutAction::builder().table_name(&self.files).set_item(Some(item));
        let row = match change.seen_fence {
            None => row.condition_expression("attribute_not_exists(pk)"),
            Some(fence) => {
                row.condition_expression("fence = :seen").expression_attribute_values(":seen", n(fence))
            }
        };
        let counter = stats::counter_of(&lease.object.seed());
        let mut update = Update::builder()
            .table_name(&self.stats)
            .set_key(Some(key(app_id.as_str(), stats::sort_key(change.day, lease.epoch_ms, counter))))
            .update_expression(
                "ADD debug :debug, info :info, warn :warn, #error :error, records :records, bytes :bytes",
            )
            .expression_attribute_names("#error", "error")
            .expression_attribute_values(":records", n(change.delta.levels.total()))
            .expression_attribute_values(":bytes", n(change.delta.bytes));
        for (level, count) in change.delta.levels.iter() {
            update = update.expression_attribute_values(format!(":{}", level_name(level)), n(count));
        }
        Ok([action_put(row)?, action_update(update)?])
    }

    fn terminal_action(
        &self,
        lease: &Lease,
        outcome: &Outcome,
        now_ms: i64,
    ) -> Result<TransactWriteItem, Fault> {
        let status = if outcome.reason.is_some() { FileStatus::Failed } else { FileStatus::Completed };
        let mut update = Update::builder()
            .table_name(&self.files)
            .set_key(Some(file_key(&lease.object)))
            .condition_expression("fence = :fence AND #status = :processing")
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
        action_update(update)
    }

    fn fence_check(&self, lease: &Lease) -> Result<TransactWriteItem, Fault> {
        let check = ConditionCheck::builder()
            .table_name(&self.files)
            .set_key(Some(file_key(&lease.object)))
            .condition_expression("fence = :fence AND #status = :processing")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":fence", n(lease.fence))
            .expression_attribute_values(":processing", s(FileStatus::Processing.as_str()))
            .build()
            .map_err(|error| unbuildable(&error))?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    /// Whether this very lease has ended the file already: its answer was lost.
    async fn ended_by(&self, lease: &Lease) -> Result<bool, Fault> {
        let row = self.find(&lease.object).await?;
        Ok(row.is_some_and(|row| row.fence == lease.fence && row.status.is_terminal()))
    }
}

struct DayChange {
    day: Day,
    now: DayCounts,
    delta: DayCounts,
    seen_fence: Option<u64>,
}

impl Ledger for DynamoLedger {
    async fn grant(&self, grant: &Grant) -> Result<(), Fault> {
        let mut item = key(file_pk(&grant.bucket, &grant.key), "grant");
        item.put("app_id", s(grant.app_id.as_str()));
        item.put("listed_at", s(format!("{:013}#{}", grant.created_ms, grant.key)));
        item.put("bucket", s(&grant.bucket));
        item.put("key", s(&grant.key));
        item.put("status", s(FileStatus::Pending.as_str()));
        item.put("created_ms", n(grant.created_ms));
        item.put("updated_ms", n(grant.created_ms));
        item.put("url_expires_ms", n(grant.expires_ms));
        item.put("due_shard", s(due_shard(&grant.key)));
        item.put("due_at", n(grant.expires_ms));
        item.put("expires_at", expires_at(grant.created_ms));
        item.put_some("size", grant.size_bytes.map(n));
        if let Some((meeting, attendee)) = &grant.meeting {
            item.put("meeting_id", s(meeting));
            item.put("attendee_id", s(attendee));
        }
        self.client
            .put_item()
            .table_name(&self.files)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await
            .map_err(|error| fault("PutItem", error))?;
        Ok(())
    }

    async fn find_grant(&self, bucket: &str, object_key: &str) -> Result<Option<Grant>, Fault> {
        let Some(item) = self.get(key(file_pk(bucket, object_key), "grant")).await? else {
            return Ok(None);
        };
        let meeting = match (item.text_opt("meeting_id"), item.text_opt("attendee_id")) {
            (Some(meeting), Some(attendee)) => Some((meeting.to_owned(), attendee.to_owned())),
            _ => None,
        };
        Ok(Some(Grant {
            bucket: bucket.to_owned(),
            key: object_key.to_owned(),
            app_id: item.text("app_id")?.parse().map_err(|_| malformed("app_id"))?,
            meeting,
            size_bytes: item.number_opt("size"),
            created_ms: item.number("created_ms")?,
            expires_ms: item.number("url_expires_ms")?,
        }))
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, Fault> {
        // Most objects are new: try that first, then look.
        for _ in 0..3 {
            if let Some(row) = self.first_claim(claim).await? {
                return Ok(Claimed::Yes(Box::new(row)));
            }
            let Some(seen) = self.find(&claim.object).await? else {
                continue;
            };
            if seen.claim_id == claim.claim_id && seen.status == FileStatus::Processing {
                return Ok(Claimed::Yes(Box::new(seen)));
            }
            match seen.claimable(claim.now_ms) {
                Claimable::Done(status) => return Ok(Claimed::Done(status)),
                Claimable::Held(lease_until_ms) => return Ok(Claimed::Held { lease_until_ms }),
                Claimable::NotDue(due_at_ms) => return Ok(Claimed::NotDue { due_at_ms }),
                Claimable::Yes => {
                    if let Some(row) = self.take_over(claim, &seen).await? {
                        return Ok(Claimed::Yes(Box::new(row)));
                    }
                }
            }
        }
        Err(Fault::new(FaultClass::Transient, "claim", "the row keeps changing"))
    }

    async fn find(&self, object: &ObjectRef) -> Result<Option<FileRow>, Fault> {
        self.get(file_key(object)).await?.map(|item| row_from_item(&item)).transpose()
    }

    async fn quarantine(&self, lease: &Lease, rows: &[Quarantined]) -> Result<(), Fault> {
        let pk = file_pk(&lease.object.bucket, &lease.object.key);
        let sk = file_sk(&lease.object.version);
        for chunk in rows.chunks(MAX_BATCH_ITEMS) {
            let mut requests = Vec::with_capacity(chunk.len());
            for row in chunk {
                let mut item = quarantined_item(&pk, &sk, row);
                item.put("expires_at", expires_at(lease.claimed_ms));
                let put = PutRequest::builder().set_item(Some(item)).build().map_err(|e| unbuildable(&e))?;
                requests.push(WriteRequest::builder().put_request(put).build());
            }
            let mut pause = CONFLICT_PAUSE;
            for attempt in 1.. {
                let answer = self
                    .client
                    .batch_write_item()
                    .request_items(&self.files, std::mem::take(&mut requests))
                    .send()
                    .await
                    .map_err(|error| fault("BatchWriteItem", error))?;
                requests = answer.unprocessed_items.unwrap_or_default().into_values().flatten().collect();
                if requests.is_empty() {
                    break;
                }
                if attempt == BATCH_ATTEMPTS {
                    return Err(Fault::new(FaultClass::RateLimited, "BatchWriteItem", "UnprocessedItems"));
                }
                tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
                pause *= 2;
            }
        }
        Ok(())
    }

    async fn release(
        &self,
        lease: &Lease,
        checkpoint: Checkpoint,
        due_at_ms: i64,
        now_ms: i64,
    ) -> Result<(), Fault> {
        self.client
            .update_item()
            .table_name(&self.files)
            .set_key(Some(file_key(&lease.object)))
            .condition_expression("fence = :fence AND #status = :processing")
            .update_expression(
                "SET #status = :pending, due_at = :due, checkpoint_blocks = :blocks, \
                 checkpoint_quarantined = :quarantined, updated_ms = :now REMOVE lease_until",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":fence", n(lease.fence))
            .expression_attribute_values(":processing", s(FileStatus::Processing.as_str()))
            .expression_attribute_values(":pending", s(FileStatus::Pending.as_str()))
            .expression_attribute_values(":due", n(due_at_ms))
            .expression_attribute_values(":blocks", n(checkpoint.blocks))
            .expression_attribute_values(":quarantined", n(checkpoint.quarantined))
            .expression_attribute_values(":now", n(now_ms))
            .send()
            .await
            .map_err(|error| fault("UpdateItem", error))?;
        Ok(())
    }

    async fn finish(&self, lease: &Lease, outcome: &Outcome, now_ms: i64) -> Result<(), Fault> {
        for _ in 0..CONFLICT_ATTEMPTS {
            let counted = self.counted_days(&lease.object).await?;
            let changes = day_changes(&counted, &outcome.days);
            if lease.app_id.is_none() && !changes.is_empty() {
                return Err(Fault::new(FaultClass::Permanent, "finish", "records without an app"));
            }
            if self.finish_with(lease, outcome, now_ms, &changes).await? {
                return Ok(());
            }
        }
        Err(Fault::new(FaultClass::Transient, "finish", "the counted days keep changing"))
    }
}

impl DynamoLedger {
    /// `false`: a day row was not as read, read again.
    async fn finish_with(
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
            match self.transact(&actions).await? {
                TransactionEnd::Done => {}
                TransactionEnd::Condition(0) if self.ended_by(lease).await? => return Ok(true),
                TransactionEnd::Condition(0) => {
                    return Err(Fault::new(FaultClass::Conflict, "finish", "the lease was lost"));
                }
                TransactionEnd::Condition(_) => return Ok(false),
            }
        }
        Ok(true)
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

fn cancellation_codes<R>(error: &SdkError<TransactWriteItemsError, R>) -> Vec<String> {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled
            .cancellation_reasons()
            .iter()
            .map(|reason| reason.code().unwrap_or("None").to_owned())
            .collect(),
        _ => Vec::new(),
    }
}

fn unbuildable(error: &(dyn std::error::Error + 'static)) -> Fault {
    Fault::new(FaultClass::Permanent, "building a request", error.to_string())
}

fn action_put(put: aws_sdk_dynamodb::types::builders::PutBuilder) -> Result<TransactWriteItem, Fault> {
    Ok(TransactWriteItem::builder().put(put.build().map_err(|e| unbuildable(&e))?).build())
}

fn action_update(
    update: aws_sdk_dynamodb::types::builders::UpdateBuilder,
) -> Result<TransactWriteItem, Fault> {
    Ok(TransactWriteItem::builder().update(update.build().map_err(|e| unbuildable(&e))?).build())
}

/// A row as an item.
#[must_use]
pub fn row_to_item(row: &FileRow) -> Item {
    let mut item = row_key(row);
    item.put("bucket", s(&row.bucket));
    item.put("key", s(&row.key));
    item.put("status", s(row.status.as_str()));
    item.put("fence", n(row.fence));
    item.put("attempt", n(row.attempt));
    item.put("claim_id", s(&row.claim_id));
    item.put("created_ms", n(row.created_ms));
    item.put("updated_ms", n(row.updated_ms));
    item.put("checkpoint_blocks", n(row.checkpoint.blocks));
    item.put("checkpoint_quarantined", n(row.checkpoint.quarantined));
    item.put_some("size", row.size_bytes.map(n));
    item.put_some("lease_until", row.lease_until_ms.map(n));
    item.put_some("processed_ms", row.processed_ms.map(n));
    if let Some(app_id) = &row.app_id {
        item.put("app_id", s(app_id.as_str()));
        item.put("listed_at", s(format!("{:013}#{}", row.created_ms, row.key)));
    }
    if let Some(due_at_ms) = row.due_at_ms {
        item.put("due_at", n(due_at_ms));
        item.put("due_shard", s(due_shard(&row.key)));
    }
    item
}

/// Reads a row: an object's, or a grant that waits for its object.
///
/// # Errors
/// An attribute is not as we write it.
pub fn row_from_item(item: &Item) -> Result<FileRow, Fault> {
    let (bucket, object_key) = (item.text("bucket")?.to_owned(), item.text("key")?.to_owned());
    let version = item.text("sk")?.strip_prefix("v#").map(|version| match version.strip_prefix("etag:") {
        Some(etag) => ObjectVersion::ETag(etag.to_owned()),
        None => ObjectVersion::Id(version.to_owned()),
    });
    let reason = match item.text_opt("reason_code") {
        None => None,
        Some(code) => Some(Reason {
            code: ReasonCode::parse(code).ok_or_else(|| malformed("reason_code"))?,
            message: item.text_opt("reason_message").unwrap_or_default().to_owned(),
        }),
    };
    let app_id = item.text_opt("app_id").map(|id| id.parse().map_err(|_| malformed("app_id"))).transpose()?;
    Ok(FileRow {
        object: version.map(|version| ObjectRef { bucket: bucket.clone(), key: object_key.clone(), version }),
        bucket,
        key: object_key,
        app_id,
        status: FileStatus::parse(item.text("status")?).ok_or_else(|| malformed("status"))?,
        fence: item.number_opt("fence").unwrap_or(0),
        attempt: item.number_opt("attempt").unwrap_or(0),
        claim_id: item.text_opt("claim_id").unwrap_or_default().to_owned(),
        lease_until_ms: item.number_opt("lease_until"),
        due_at_ms: item.number_opt("due_at"),
        checkpoint: Checkpoint {
            blocks: item.number_opt("checkpoint_blocks").unwrap_or(0),
            quarantined: item.number_opt("checkpoint_quarantined").unwrap_or(0),
        },
        counts: FileCounts {
            ok: item.number_opt("records_ok").unwrap_or(0),
            quarantined: item.number_opt("records_quarantined").unwrap_or(0),
            pruned: item.number_opt("records_pruned").unwrap_or(0),
            bytes: item.number_opt("bytes_read").unwrap_or(0),
        },
        size_bytes: item.number_opt("size"),
        reason,
        created_ms: item.number("created_ms")?,
        updated_ms: item.number("updated_ms")?,
        processed_ms: item.number_opt("processed_ms"),
    })
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

    #[test]
    fn a_row_reads_back_from_its_item() {
        let row = FileRow {
            object: Some(ObjectRef {
                bucket: "b".to_owned(),
                key: "logs/app/x y".to_owned(),
                version: ObjectVersion::ETag("abc".to_owned()),
            }),
            bucket: "b".to_owned(),
            key: "logs/app/x y".to_owned(),
            app_id: Some("app".parse().unwrap()),
            status: FileStatus::Processing,
            fence: 2,
            attempt: 2,
            claim_id: "c".to_owned(),
            lease_until_ms: Some(7),
            due_at_ms: Some(7),
            checkpoint: Checkpoint { blocks: 3, quarantined: 1 },
            counts: FileCounts::default(),
            size_bytes: Some(10),
            reason: None,
            created_ms: 1,
            updated_ms: 2,
            processed_ms: None,
        };
        assert_eq!(row_from_item(&row_to_item(&row)).unwrap(), row);
    }
}
