//! The ledger in DynamoDB: the `files` table, and the counters in `stats` that a terminal state changes in
//! the same transaction.

mod claim;
mod days;
mod finish;
mod keys;
pub(crate) mod quarantine;
mod row;

use std::collections::BTreeSet;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
pub(crate) use days::{counted_from, day_key, take};
pub use keys::{DUE_SHARDS, file_key, row_key};
pub(crate) use keys::{FAILED_SHARDS, due_shard, shard_name};
use keys::{file_pk, grant_key};
use logferry_core::ledger::checkpoint::Checkpoint;
use logferry_core::ledger::claim::{Claim, Claimed, EndedBy, Finished, Lease, Ledger};
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::{Claimable, FileRow, FileStatus, Grant, StoredSoFar, UsedBy};
use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::object::{ObjectRef, ObjectVersion};
use logferry_core::model::quota::{self, Exceeded, Quota};
use logferry_core::model::time::Day;
use logferry_core::ports::usage::{Usage, UsageDay};
use quarantine::quarantined_item;
use row::bad_expires_at;
pub use row::{FailedPlace, KEEP_FILES_MS, listed_at, row_from_item, row_to_item};
pub(crate) use row::{KEEP_DAYS, expires_at, failed_on, failed_prefix};

use crate::batch::write_all;
use crate::faults::fault;
use crate::item::{Get, Put, b, malformed, n, s};
use crate::table::Table;
use crate::usage::DynamoUsage;

/// The condition of a worker's writes: it still holds the lease.
const HELD: &str = "fence = :fence AND #status = :processing";

/// The ledger in two DynamoDB tables.
#[derive(Debug, Clone)]
pub struct DynamoLedger {
    files: Table,
    stats: String,
}

impl DynamoLedger {
    #[must_use]
    pub fn new(client: Client, files: impl Into<String>, stats: impl Into<String>) -> Self {
        Self { files: Table::new(client, files), stats: stats.into() }
    }

    /// The usage rows, in the same table as the counters.
    fn usage(&self) -> DynamoUsage {
        DynamoUsage::new(self.files.client.clone(), &self.stats)
    }

    /// An update of a file's row by the holder of its lease.
    fn held(&self, lease: &Lease) -> UpdateItemFluentBuilder {
        self.files
            .client
            .update_item()
            .table_name(&self.files.name)
            .set_key(Some(file_key(&lease.object)))
            .condition_expression(HELD)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":fence", n(lease.fence))
            .expression_attribute_values(":processing", s(FileStatus::Processing.as_str()))
    }
}

impl Grants for DynamoLedger {
    async fn grant(&self, grant: &Grant) -> Result<(), Fault> {
        let mut item = row_to_item(&grant.waiting_row());
        item.put("epoch", n(grant.registered_ms));
        item.put("expires_at", expires_at(grant.created_ms));
        if let Some((meeting, attendee)) = &grant.meeting {
            item.put("meeting_id", s(meeting));
            item.put("attendee_id", s(attendee));
        }
        self.files
            .client
            .put_item()
            .table_name(&self.files.name)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await
            .map_err(|error| fault("PutItem", error))?;
        Ok(())
    }

    async fn find_grant(&self, bucket: &str, object_key: &str) -> Result<Option<Grant>, Fault> {
        let Some(item) = self.files.get(grant_key(bucket, object_key)).await? else {
            return Ok(None);
        };
        let meeting = match (item.text_opt("meeting_id"), item.text_opt("attendee_id")) {
            (Some(meeting), Some(attendee)) => Some((meeting.to_owned(), attendee.to_owned())),
            _ => None,
        };
        let used = item.text_opt("used_by").map(|sk| {
            let version = ObjectVersion::from_stored(sk).ok_or_else(|| malformed("used_by"))?;
            let etag = item.text_opt("used_etag").map(str::to_owned);
            Ok(UsedBy { version, etag, size_bytes: item.number_opt("used_size") })
        });
        Ok(Some(Grant {
            bucket: bucket.to_owned(),
            key: object_key.to_owned(),
            app_id: item.text("app_id")?.parse().map_err(|_| malformed("app_id"))?,
            meeting,
            size_bytes: item.number_opt("size"),
            registered_ms: item.number("epoch")?,
            used: used.transpose()?,
            created_ms: item.number("created_ms")?,
            expires_ms: item.number("url_expires_ms")?,
        }))
    }

    async fn find_waiting(&self, bucket: &str, key: &str) -> Result<Option<FileRow>, Fault> {
        let item = self.files.get(grant_key(bucket, key)).await?;
        let waiting = item.filter(|item| item.text_opt("used_by").is_none());
        waiting.map(|item| row_from_item(&item)).transpose()
    }

    async fn find(&self, object: &ObjectRef) -> Result<Option<FileRow>, Fault> {
        self.files.get(file_key(object)).await?.map(|item| row_from_item(&item)).transpose()
    }
}

impl Ledger for DynamoLedger {
    async fn claim(&self, claim: &Claim) -> Result<Claimed, Fault> {
        // Most objects are new: try to insert first, then read.
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

    async fn stored_so_far(&self, object: &ObjectRef) -> Result<StoredSoFar, Fault> {
        self.stored_so_far_of(object).await
    }

    async fn note_hours(&self, lease: &Lease, hours: &BTreeSet<i64>, expires_on: Day) -> Result<(), Fault> {
        self.note(&lease.object, hours, expires_on).await
    }

    async fn restart(&self, lease: &Lease, packing: &PackFingerprint, now_ms: i64) -> Result<(), Fault> {
        self.forget_bad(&lease.object).await?;
        self.held(lease)
            .update_expression(
                "SET packing = :packing, checkpoint_blocks = :zero, checkpoint_quarantined = :zero, \
                 updated_ms = :now REMOVE checkpoint_beyond",
            )
            .expression_attribute_values(":packing", s(packing.as_str()))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":now", n(now_ms))
            .send()
            .await
            .map_err(|error| fault("UpdateItem", error))?;
        Ok(())
    }

    async fn quarantine(&self, lease: &Lease, rows: &[Quarantined]) -> Result<(), Fault> {
        let pk = file_pk(&lease.object.bucket, &lease.object.key);
        let sk = lease.object.version.to_stored();
        let requests = rows.iter().map(|row| {
            let mut item = quarantined_item(&pk, &sk, row);
            item.put("expires_at", bad_expires_at(lease.claimed_ms));
            let put = PutRequest::builder().set_item(Some(item)).build().map_err(|_| malformed("pk"))?;
            Ok(WriteRequest::builder().put_request(put).build())
        });
        write_all(&self.files.client, &self.files.name, requests.collect::<Result<_, Fault>>()?).await
    }

    async fn release(
        &self,
        lease: &Lease,
        checkpoint: Checkpoint,
        by: EndedBy,
        due_at_ms: i64,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let mut set = "SET #status = :pending, due_at = :due, checkpoint_blocks = :blocks, \
                       checkpoint_quarantined = :quarantined, updated_ms = :now"
            .to_owned();
        let mut remove = " REMOVE lease_until".to_owned();
        let mut update = self.held(lease);
        if checkpoint.is_beyond(&lease.checkpoint) {
            set.push_str(", attempt = :attempt");
            update = update.expression_attribute_values(":attempt", n(0));
        } else if by == EndedBy::Outside {
            set.push_str(", attempt = attempt - :one");
            update = update.expression_attribute_values(":one", n(1));
        }
        if checkpoint.beyond.is_empty() {
            remove.push_str(", checkpoint_beyond");
        } else {
            set.push_str(", checkpoint_beyond = :beyond");
            update = update.expression_attribute_values(":beyond", b(checkpoint.beyond.to_bytes()));
        }
        update
            .update_expression(set + &remove)
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

    async fn finish(&self, lease: &Lease, outcome: &Outcome, now_ms: i64) -> Result<Finished, Fault> {
        self.end(lease, outcome, now_ms).await
    }
}

impl Usage for DynamoLedger {
    async fn used(&self, of: &UsageDay) -> Result<quota::Used, Fault> {
        self.usage().used(of).await
    }

    async fn charge(
        &self,
        of: &UsageDay,
        more: quota::Used,
        quota: &Quota,
    ) -> Result<Option<Exceeded>, Fault> {
        self.usage().charge(of, more, quota).await
    }
}
