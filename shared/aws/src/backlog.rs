//! The ledger's index of due rows.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::Client;
use logferry_core::ledger::backlog::{Backlog, DuePage, DuePosition, Queue};
use logferry_core::ledger::row::{FileRow, FileStatus};
use logferry_core::logfile::outcome::Reason;
use logferry_core::model::fault::Fault;
use logferry_core::model::object::ObjectRef;

use crate::batch::get_all;
use crate::faults::fault;
use crate::item::{Get, Item, Put, key, n, s};
use crate::ledger::{DUE_SHARDS, FailedPlace, expires_at, file_key, row_from_item, row_key, shard_name};
use crate::table::{Table, applied};

/// Rows per page of the index. They have some hundred bytes each: far below the 1 MB of a response.
const PAGE: i32 = 200;

/// Due rows in the `files` table.
#[derive(Debug, Clone)]
pub struct DynamoBacklog {
    table: Table,
}

impl DynamoBacklog {
    #[must_use]
    pub fn new(client: Client, files: impl Into<String>) -> Self {
        Self { table: Table::new(client, files) }
    }
}

impl Backlog for DynamoBacklog {
    fn shards(&self) -> u8 {
        DUE_SHARDS
    }

    async fn due(
        &self,
        queue: Queue,
        shard: u8,
        now_ms: i64,
        after: Option<&DuePosition>,
    ) -> Result<DuePage, Fault> {
        let shard = shard_name(queue, shard);
        let start = after.map(|after| {
            let mut start = key(&after.pk, &after.sk);
            start.put("due_at", n(after.due_at_ms));
            start.put("due_shard", s(&shard));
            start
        });
        let answer = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name("by_due")
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", s(&shard))
            .expression_attribute_values(":now", n(now_ms))
            .set_exclusive_start_key(start)
            .limit(PAGE)
            .send()
            .await
            .map_err(|error| fault("Query", error))?;
        let next = answer.last_evaluated_key.map(|last| {
            let (pk, sk) = (last.text("pk")?.to_owned(), last.text("sk")?.to_owned());
            Ok::<_, Fault>(DuePosition { due_at_ms: last.number("due_at")?, pk, sk })
        });
        let rows = answer.items.unwrap_or_default();
        let rows = rows.iter().map(row_from_item).collect::<Result<_, _>>()?;
        Ok(DuePage { rows, next: next.transpose()? })
    }

    async fn postpone(&self, row: &FileRow, due_at_ms: i64) -> Result<bool, Fault> {
        let update = self
            .unchanged(row)
            .update_expression("SET due_at = :due")
            .expression_attribute_values(":due", n(due_at_ms));
        applied(update.send().await.map_err(|error| fault("UpdateItem", error)))
    }

    async fn give_up(&self, row: &FileRow, reason: &Reason, now_ms: i64) -> Result<bool, Fault> {
        let place = FailedPlace::new(row, now_ms);
        let update = self
            .unchanged(row)
            .update_expression(
                "SET #status = :failed, reason_code = :code, reason_message = :message, \
                 updated_ms = :now, processed_ms = :now, expires_at = :expires, failed_on = :failed_on, \
                 failed_at = :failed_at REMOVE due_at, due_shard, lease_until",
            )
            .expression_attribute_values(":expires", expires_at(now_ms))
            .expression_attribute_values(":failed_on", s(place.failed_on))
            .expression_attribute_values(":failed_at", s(place.failed_at))
            .expression_attribute_values(":failed", s(FileStatus::Failed.as_str()))
            .expression_attribute_values(":code", s(reason.code.as_str()))
            .expression_attribute_values(":message", s(&reason.message))
            .expression_attribute_values(":now", n(now_ms));
        applied(update.send().await.map_err(|error| fault("UpdateItem", error)))
    }

    async fn unknown(&self, objects: Vec<ObjectRef>) -> Result<Vec<ObjectRef>, Fault> {
        let place = |item: &Item| Some((item.text_opt("pk")?.to_owned(), item.text_opt("sk")?.to_owned()));
        let keys = objects.iter().map(file_key).collect();
        let known = get_all(&self.table.client, &self.table.name, keys, "pk, sk").await?;
        let known: BTreeSet<_> = known.iter().filter_map(place).collect();
        let is_unknown = |object: &ObjectRef| place(&file_key(object)).is_none_or(|at| !known.contains(&at));
        Ok(objects.into_iter().filter(is_unknown).collect())
    }
}

impl DynamoBacklog {
    /// An update on condition that status, fence and due time are unchanged.
    fn unchanged(
        &self,
        row: &FileRow,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        let key: Item = row_key(row);
        let update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(key))
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", s(row.status.as_str()))
            .expression_attribute_values(":was_due", n(row.due_at_ms.unwrap_or_default()));
        if row.object.is_some() {
            update
                .condition_expression("#status = :status AND due_at = :was_due AND fence = :fence")
                .expression_attribute_values(":fence", n(row.fence))
        } else {
            update.condition_expression("#status = :status AND due_at = :was_due")
        }
    }
}
