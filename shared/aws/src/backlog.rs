//! The ledger's index of due rows.

use aws_sdk_dynamodb::Client;
use logferry_domain::fault::Fault;
use logferry_domain::ledger::{FileRow, FileStatus, Reason};
use logferry_ports::Backlog;

use crate::faults::fault;
use crate::item::{Item, n, s};
use crate::ledger::{DUE_SHARDS, FailedPlace, expires_at, row_from_item, row_key};
use crate::table::applied;

/// Due rows in the `files` table.
#[derive(Debug, Clone)]
pub struct DynamoBacklog {
    client: Client,
    files: String,
}

impl DynamoBacklog {
    #[must_use]
    pub fn new(client: Client, files: impl Into<String>) -> Self {
        Self { client, files: files.into() }
    }
}

impl Backlog for DynamoBacklog {
    fn shards(&self) -> u8 {
        DUE_SHARDS
    }

    async fn due(&self, shard: u8, now_ms: i64, limit: u32) -> Result<Vec<FileRow>, Fault> {
        let answer = self
            .client
            .query()
            .table_name(&self.files)
            .index_name("by_due")
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", s(shard.to_string()))
            .expression_attribute_values(":now", n(now_ms))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| fault("Query", error))?;
        answer.items.unwrap_or_default().iter().map(row_from_item).collect()
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
}

impl DynamoBacklog {
    /// An update under the condition that status, fence and due time are as read.
    fn unchanged(
        &self,
        row: &FileRow,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        let key: Item = row_key(row);
        let update = self
            .client
            .update_item()
            .table_name(&self.files)
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
