//! Lists of the ledger, by app and by key.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use logferry_domain::app::AppId;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::ledger::{FileRow, FileStatus};
use logferry_domain::object::ObjectRef;
use logferry_domain::quarantine::{BadRecord, QuarantineReason, Quarantined};
use logferry_ports::Files;
use logferry_ports::files::{FilePage, FilePosition, QuarantinePage};

use crate::faults::fault;
use crate::item::{Get, Item, Put, key, malformed, n, s};
use crate::ledger::{due_shard, file_key, row_from_item};
use crate::table::applied;

/// Files in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoFiles {
    client: Client,
    table: String,
}

impl DynamoFiles {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }
}

/// What an index page begins behind, as a text: `listed_at`, `pk` and `sk`.
fn position_of(item: &Item) -> Result<FilePosition, Fault> {
    let parts = [item.text("listed_at")?, item.text("pk")?, item.text("sk")?];
    Ok(FilePosition(serde_json::Value::from(parts.to_vec()).to_string()))
}

fn start_key(app_id: &AppId, position: &FilePosition) -> Result<Item, Fault> {
    let bad = |_| Fault::new(FaultClass::Permanent, "Query", "bad position");
    let [listed_at, pk, sk]: [String; 3] = serde_json::from_str(&position.0).map_err(bad)?;
    let mut item = key(pk, sk);
    item.insert("listed_at".to_owned(), s(listed_at));
    item.insert("app_id".to_owned(), s(app_id.as_str()));
    Ok(item)
}

/// Where a row of the quarantine stands: under its file, in the order of the ordinals.
fn quarantine_sk(file_sk: &str, ordinal: u64) -> String {
    format!("{file_sk}#q#{ordinal:012}")
}

/// A row of the quarantine as an item under the file with these keys.
pub(crate) fn quarantined_item(pk: &str, file_sk: &str, row: &Quarantined) -> Item {
    let mut item = key(pk, quarantine_sk(file_sk, row.ordinal));
    item.put("ordinal", n(row.ordinal));
    item.put("last_ordinal", n(row.last_ordinal));
    item.put("count", n(row.count));
    item.put("reason", s(row.reason.as_str()));
    let reasons = row.reasons.iter().map(|(reason, count)| (reason.as_str().to_owned(), n(*count)));
    item.put("reasons", AttributeValue::M(reasons.collect()));
    item.put("start", n(row.start));
    item.put("end", n(row.end));
    item.put("sample", s(&row.sample));
    item
}

fn quarantined_from(item: &Item) -> Result<Quarantined, Fault> {
    let reason_of = |name: &str| QuarantineReason::parse(name).ok_or_else(|| malformed("reason"));
    let bad = BadRecord {
        ordinal: item.number("ordinal")?,
        reason: reason_of(item.text("reason")?)?,
        start: item.number("start")?,
        end: item.number("end")?,
    };
    let mut row = Quarantined::single(bad, item.text("sample")?);
    if let Some(AttributeValue::M(reasons)) = item.get("reasons") {
        row.last_ordinal = item.number("last_ordinal")?;
        row.count = item.number("count")?;
        let known = QuarantineReason::ALL.into_iter();
        row.reasons =
            known.filter_map(|reason| Some((reason, reasons.number_opt(reason.as_str())?))).collect();
    }
    Ok(row)
}

impl Files for DynamoFiles {
    async fn of_app(
        &self,
        app_id: &AppId,
        since_ms: i64,
        status: Option<FileStatus>,
        limit: u32,
        after: Option<&FilePosition>,
    ) -> Result<FilePage, Fault> {
        let mut start = after.map(|position| start_key(app_id, position)).transpose()?;
        let limit = limit as usize;
        let mut page = FilePage::default();
        loop {
            let mut query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name("by_app")
                .scan_index_forward(false)
                .key_condition_expression("app_id = :app AND listed_at >= :since")
                .expression_attribute_values(":app", s(app_id.as_str()))
                .expression_attribute_values(":since", s(format!("{since_ms:013}")))
                .set_exclusive_start_key(start.take());
            if let Some(status) = status {
                query = query
                    .filter_expression("#status = :status")
                    .expression_attribute_names("#status", "status")
                    .expression_attribute_values(":status", s(status.as_str()));
            }
            let answer = query.send().await.map_err(|error| fault("Query", error))?;
            for item in answer.items.unwrap_or_default() {
                if page.rows.len() == limit {
                    return Ok(page);
                }
                page.rows.push(row_from_item(&item)?);
                page.next = (page.rows.len() == limit).then(|| position_of(&item)).transpose()?;
            }
            match answer.last_evaluated_key {
                Some(last) if page.rows.len() < limit => start = Some(last),
                Some(_) => return Ok(page),
                None => {
                    page.next = None;
                    return Ok(page);
                }
            }
        }
    }

    async fn of_key(&self, bucket: &str, object_key: &str) -> Result<Vec<FileRow>, Fault> {
        let items = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            // Only the file's own rows have one; what hangs under them has none. A key that was
            // used is told by its object's row.
            .filter_expression("attribute_exists(#status) AND attribute_not_exists(used_by)")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":pk", s(format!("{bucket}/{object_key}")))
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .map_err(|error| fault("Query", error))?;
        let mut rows = items.iter().map(row_from_item).collect::<Result<Vec<_>, _>>()?;
        rows.sort_by_key(|row| std::cmp::Reverse(row.created_ms));
        Ok(rows)
    }

    async fn quarantined(
        &self,
        object: &ObjectRef,
        limit: u32,
        after: Option<u64>,
    ) -> Result<QuarantinePage, Fault> {
        let own = file_key(object);
        let (pk, file_sk) = (own.text("pk")?, own.text("sk")?);
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", s(pk))
            .expression_attribute_values(":prefix", s(format!("{file_sk}#q#")))
            .set_exclusive_start_key(after.map(|ordinal| key(pk, quarantine_sk(file_sk, ordinal))))
            .send()
            .await
            .map_err(|error| fault("Query", error))?;
        let rows =
            answer.items.unwrap_or_default().iter().map(quarantined_from).collect::<Result<Vec<_>, _>>()?;
        let next = answer.last_evaluated_key.and_then(|_| rows.last()).map(|last| last.ordinal);
        Ok(QuarantinePage { rows, next })
    }

    async fn redrive(&self, row: &FileRow, now_ms: i64) -> Result<bool, Fault> {
        let Some(object) = &row.object else { return Ok(false) };
        let sent = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(file_key(object)))
            .condition_expression("fence = :fence AND #status = :was")
            .update_expression(
                "SET #status = :pending, fence = :next, attempt = :zero, checkpoint_blocks = :zero, \
                 checkpoint_quarantined = :zero, due_at = :now, due_shard = :shard, updated_ms = :now \
                 REMOVE checkpoint_beyond, reason_code, reason_message, processed_ms, expires_at, lease_until",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":fence", n(row.fence))
            .expression_attribute_values(":next", n(row.fence + 1))
            .expression_attribute_values(":was", s(row.status.as_str()))
            .expression_attribute_values(":pending", s(FileStatus::Pending.as_str()))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":now", n(now_ms))
            .expression_attribute_values(":shard", s(due_shard(&object.key)))
            .send()
            .await;
        applied(sent.map_err(|error| fault("UpdateItem", error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_of_its_app_whatever_it_says() {
        let mut item = key("b/k", "v#1");
        item.insert("listed_at".to_owned(), s("0000000000001#k"));
        let position = position_of(&item).unwrap();
        let start = start_key(&"app".parse().unwrap(), &position).unwrap();
        assert_eq!(
            (start.text_opt("app_id"), start.text_opt("sk"), start.text_opt("listed_at")),
            (Some("app"), Some("v#1"), Some("0000000000001#k"))
        );
        assert!(start_key(&"app".parse().unwrap(), &FilePosition("[]".to_owned())).is_err());
    }
}
