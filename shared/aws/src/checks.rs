//! The `checks` table in DynamoDB: results under `{app_id}#{target}` and their slot, states under
//! `{app_id}#state` and their target.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use logferry_domain::app::AppId;
use logferry_domain::fault::Fault;
use logferry_ports::CheckTable;
use logferry_ports::checks::{CheckKey, CheckRow, Recorded, UrlState};

use crate::faults::fault;
use crate::item::{Get, Item, Put, key, malformed, n, s};
use crate::table::Table;

/// How long rows and states stay.
const KEPT_SECS: i64 = 30 * 86_400;

/// Check results in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoChecks {
    table: Table,
}

impl DynamoChecks {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table) }
    }
}

fn partition(key: &CheckKey) -> String {
    format!("{}#{}", key.app_id, key.target)
}

fn slot(slot_ms: i64) -> String {
    format!("{slot_ms:013}")
}

/// No target is called `state`: it is a URL or begins with `push:`.
fn state_partition(app_id: &AppId) -> String {
    format!("{app_id}#state")
}

fn expires_at(ms: i64) -> AttributeValue {
    n(ms.div_euclid(1000).saturating_add(KEPT_SECS))
}

/// The item of a row.
#[must_use]
pub fn row_to_item(row: &CheckRow) -> Item {
    let mut item = key(partition(&row.key), slot(row.slot_ms));
    item.put("epoch", n(row.epoch_ms));
    item.put("status", n(row.status));
    item.put("latency_ms", n(row.latency_ms));
    item.put("ok", AttributeValue::Bool(row.ok));
    item.put("checked_at", n(row.checked_at_ms));
    item.put("expires_at", expires_at(row.slot_ms));
    item.put_some("skipped", row.skipped.then_some(AttributeValue::Bool(true)));
    item.put_some("error", row.error.as_deref().map(s));
    item.put_some("redirect_to", row.redirect_to.as_deref().map(s));
    item.put_some("certificate_expires", row.certificate_expires_ms.map(n));
    if !row.failed_conditions.is_empty() {
        item.put("failed_conditions", AttributeValue::L(row.failed_conditions.iter().map(s).collect()));
    }
    item
}

/// The row of an item.
///
/// # Errors
/// The item is not one that [`row_to_item`] makes.
pub fn row_from_item(row_key: &CheckKey, item: &Item) -> Result<CheckRow, Fault> {
    let flag = |name: &str| item.get(name).and_then(|value| value.as_bool().ok()).copied();
    let failed = item.get("failed_conditions").and_then(|list| list.as_l().ok());
    Ok(CheckRow {
        key: row_key.clone(),
        slot_ms: item.text("sk")?.parse().map_err(|_| malformed("sk"))?,
        epoch_ms: item.number("epoch")?,
        status: item.number("status")?,
        latency_ms: item.number("latency_ms")?,
        ok: flag("ok").ok_or_else(|| malformed("ok"))?,
        skipped: flag("skipped").unwrap_or(false),
        error: item.text_opt("error").map(str::to_owned),
        failed_conditions: failed
            .into_iter()
            .flatten()
            .filter_map(|text| text.as_s().ok())
            .cloned()
            .collect(),
        redirect_to: item.text_opt("redirect_to").map(str::to_owned),
        certificate_expires_ms: item.number_opt("certificate_expires"),
        checked_at_ms: item.number("checked_at")?,
    })
}

fn state_from_item(item: &Item) -> Result<UrlState, Fault> {
    serde_json::from_str(item.text("state")?).map_err(|error| malformed("state").with_source(error))
}

/// What stands in the way of a conditional put, where something does.
fn in_the_way(error: &SdkError<PutItemError>) -> Option<Option<Item>> {
    match error.as_service_error()? {
        PutItemError::ConditionalCheckFailedException(refused) => Some(refused.item.clone()),
        _ => None,
    }
}

impl CheckTable for DynamoChecks {
    async fn record(&self, row: &CheckRow) -> Result<Recorded, Fault> {
        // a skipped slot gives way to a result; a row of an earlier app of this id to anything
        let condition = if row.skipped {
            "attribute_not_exists(pk) OR epoch <> :epoch"
        } else {
            "attribute_not_exists(pk) OR epoch <> :epoch OR skipped = :yes"
        };
        let mut put = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(row_to_item(row)))
            .condition_expression(condition)
            .expression_attribute_values(":epoch", n(row.epoch_ms))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if !row.skipped {
            put = put.expression_attribute_values(":yes", AttributeValue::Bool(true));
        }
        match put.send().await {
            Ok(_) => Ok(Recorded::Stored),
            Err(error) => match in_the_way(&error) {
                Some(Some(item)) => Ok(Recorded::Existing(row_from_item(&row.key, &item)?)),
                Some(None) | None => Err(fault("PutItem", error)),
            },
        }
    }

    async fn history(
        &self,
        row_key: &CheckKey,
        from_ms: i64,
        to_ms: i64,
        limit: usize,
    ) -> Result<Vec<CheckRow>, Fault> {
        if from_ms > to_ms {
            return Ok(Vec::new());
        }
        let mut pages = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(partition(row_key)))
            .expression_attribute_values(":from", s(slot(from_ms.max(0))))
            .expression_attribute_values(":to", s(slot(to_ms.max(0))))
            .scan_index_forward(false)
            .limit(i32::try_from(limit.min(1000)).unwrap_or(1000))
            .into_paginator()
            .items()
            .send();
        let mut rows = Vec::new();
        while rows.len() < limit {
            let Some(item) = pages.next().await else { break };
            rows.push(row_from_item(row_key, &item.map_err(|error| fault("Query", error))?)?);
        }
        Ok(rows)
    }

    async fn states(&self, app_id: &AppId) -> Result<Vec<UrlState>, Fault> {
        let items = self.table.partition(&state_partition(app_id)).await?;
        items.iter().map(state_from_item).collect()
    }

    async fn save_state(&self, app_id: &AppId, state: &UrlState) -> Result<bool, Fault> {
        let text = serde_json::to_string(state).map_err(|error| malformed("state").with_source(error))?;
        let mut item = key(state_partition(app_id), state.target.as_str());
        item.put("state", s(text));
        item.put("version", n(state.version));
        item.put("expires_at", expires_at(state.last_slot_ms.unwrap_or(state.since_ms)));
        let before = state.version.saturating_sub(1);
        let condition =
            if before == 0 { "attribute_not_exists(pk) OR version = :before" } else { "version = :before" };
        let put = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(item))
            .condition_expression(condition)
            .expression_attribute_values(":before", n(before));
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) if in_the_way(&error).is_some() => Ok(false),
            Err(error) => Err(fault("PutItem", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_from_its_item_and_expires_30_days_after_its_slot() {
        let row_key =
            CheckKey { app_id: "shop".parse().unwrap(), target: "https://shop.example/#".to_owned() };
        for (skipped, error, failed) in [
            (false, None, vec![]),
            (true, Some("dns: x does not resolve"), vec!["[STATUS] (0) == 200".to_owned()]),
        ] {
            let row = CheckRow {
                key: row_key.clone(),
                slot_ms: 1_700_000_100_000,
                epoch_ms: 5,
                status: 200,
                latency_ms: 12,
                ok: !skipped,
                skipped,
                error: error.map(str::to_owned),
                failed_conditions: failed,
                redirect_to: Some("https://elsewhere.example/".to_owned()),
                certificate_expires_ms: Some(1_800_000_000_000),
                checked_at_ms: 1_700_000_101_234,
            };
            let item = row_to_item(&row);
            assert_eq!(row_from_item(&row_key, &item).unwrap(), row);
            assert_eq!(item.number::<i64>("expires_at").unwrap(), 1_700_000_100 + 30 * 86_400);
            assert_eq!(
                (item.text("pk").unwrap(), item.text("sk").unwrap()),
                ("shop#https://shop.example/#", "1700000100000")
            );
        }
    }
}
