//! The `checks` table in DynamoDB. Results are under `{app_id}#{target}` and their slot, with the hourly
//! sums of finished days under `day#{epoch}#{yyyy-mm-dd}`. States are under `{app_id}#state` and their
//! target. Counts of reports are under
//! `{app_id}#reports` and `{epoch}#{minute}`.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put as PutAction, ReturnValuesOnConditionCheckFailure, Update,
};
use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::model::time::Day;
use logferry_health_checks::redacted::public_part;
use logferry_health_checks::rows::{
    CheckKey, CheckRow, CheckTable, DaySums, HOURS_PER_DAY, Health, Recorded, ReportLimits, Tally, UrlState,
};

use crate::faults::fault;
use crate::item::{Get, Item, Put, key, malformed, n, s};
use crate::table::{Table, applied};
use crate::transact::{self, End, transact};

/// How long the sums of a day are kept: as long as status pages show them (s).
const SUMS_KEPT_SECS: i64 = 92 * 86_400;
/// No app was registered at this time.
const NO_EPOCH_MS: i64 = -1;
/// How long counts of reports are kept after their minute (s).
const REPORTS_KEPT_SECS: i64 = 3_600;

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

/// Letters sort after digits: a query for rows never returns sums.
fn day_key(registered_ms: i64, day: Day) -> String {
    format!("day#{registered_ms:013}#{day}")
}

/// No target is named `state` or `reports`: it is a URL or starts with `push:`.
fn state_partition(app_id: &AppId) -> String {
    format!("{app_id}#state")
}

/// One item per minute, with a counter for the app and one named after each job.
fn reports_key(row_key: &CheckKey, registered_ms: i64, minute: i64) -> Item {
    key(format!("{}#reports", row_key.app_id), format!("{registered_ms:013}#{minute}"))
}

fn sums_expire_at(day: Day) -> AttributeValue {
    n(day.end_ms().div_euclid(1000).saturating_add(SUMS_KEPT_SECS))
}

fn expires_at(expires_ms: i64) -> AttributeValue {
    n(expires_ms.div_euclid(1000))
}

/// Returns the item of a row.
#[must_use]
pub fn row_to_item(row: &CheckRow) -> Item {
    let mut item = key(partition(&row.key), slot(row.slot_ms));
    item.put("epoch", n(row.registered_ms));
    item.put("status", n(row.status));
    item.put("latency_ms", n(row.latency_ms));
    item.put("ok", AttributeValue::Bool(row.ok));
    item.put("checked_at", n(row.checked_at_ms));
    item.put("expires_at", expires_at(row.expires_ms()));
    item.put_some("skipped", row.skipped.then_some(AttributeValue::Bool(true)));
    item.put_some("error", row.error.as_deref().map(s));
    item.put_some("redirect_to", row.redirect_to.as_deref().map(s));
    item.put_some("certificate_expires", row.certificate_expires_ms.map(n));
    if !row.failed_conditions.is_empty() {
        item.put("failed_conditions", AttributeValue::L(row.failed_conditions.iter().map(s).collect()));
    }
    item
}

/// Parses the row of an item.
///
/// # Errors
/// The item is not one that [`row_to_item`] makes.
pub fn row_from_item(row_key: &CheckKey, item: &Item) -> Result<CheckRow, Fault> {
    let flag = |name: &str| item.get(name).and_then(|value| value.as_bool().ok()).copied();
    let failed = item.get("failed_conditions").and_then(|list| list.as_l().ok());
    Ok(CheckRow {
        key: row_key.clone(),
        slot_ms: item.text("sk")?.parse().map_err(|_| malformed("sk"))?,
        registered_ms: item.number("epoch")?,
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

/// One hour with checks: its number, checks, ok, answered, total, minimum and maximum milliseconds.
type StoredHour = (usize, u64, u64, u64, u64, Option<u32>, Option<u32>);

/// Returns the item of a day's sums. Hours without checks are omitted.
fn day_to_item(row_key: &CheckKey, registered_ms: i64, sums: &DaySums) -> Result<Item, Fault> {
    let mut item = key(partition(row_key), day_key(registered_ms, sums.day));
    item.put("revision", n(sums.revision));
    item.put("expires_at", sums_expire_at(sums.day));
    if let Some(hours) = &sums.hours {
        let checked = hours.iter().enumerate().filter(|(_, tally)| tally.checks > 0);
        let stored: Vec<StoredHour> = checked
            .map(|(hour, t)| (hour, t.checks, t.ok, t.answered, t.total_ms, t.min_ms, t.max_ms))
            .collect();
        let text = serde_json::to_string(&stored).map_err(|error| malformed("hours").with_source(error))?;
        item.put("hours", s(text));
    }
    Ok(item)
}

fn day_from_item(item: &Item) -> Result<DaySums, Fault> {
    let day = item.text("sk")?.rsplit('#').next().and_then(|day| day.parse().ok());
    let hours = match item.text_opt("hours") {
        None => None,
        Some(text) => {
            let stored: Vec<StoredHour> =
                serde_json::from_str(text).map_err(|error| malformed("hours").with_source(error))?;
            let mut hours = [Tally::default(); HOURS_PER_DAY];
            for (hour, checks, ok, answered, total_ms, min_ms, max_ms) in stored {
                *hours.get_mut(hour).ok_or_else(|| malformed("hours"))? =
                    Tally { checks, ok, answered, total_ms, min_ms, max_ms };
            }
            Some(hours)
        }
    };
    Ok(DaySums { day: day.ok_or_else(|| malformed("sk"))?, revision: item.number("revision")?, hours })
}

/// An unreadable state is treated as that of another app: the next run resets it, over its version, instead
/// of failing with all checks of the app.
fn state_from_item(item: &Item) -> Result<UrlState, Fault> {
    let read = |item: &Item| {
        serde_json::from_str(item.text("state")?).map_err(|error| malformed("state").with_source(error))
    };
    read(item).or_else(|fault: Fault| {
        let target = item.text("sk")?.to_owned();
        let public = public_part(&target);
        tracing::error!(error.chain = %chain(&fault), check.target = public, "unreadable state is reset");
        Ok(UrlState {
            target,
            registered_ms: NO_EPOCH_MS,
            health: Health::Unknown,
            since_ms: 0,
            ok_streak: 0,
            failure_streak: 0,
            last_slot_ms: None,
            recent: Vec::new(),
            pending: None,
            version: item.number("version")?,
        })
    })
}

/// Returns what a conditional put conflicts with, if it does.
fn in_the_way(error: &SdkError<PutItemError>) -> Option<Option<Item>> {
    match error.as_service_error()? {
        PutItemError::ConditionalCheckFailedException(refused) => Some(refused.item.clone()),
        _ => None,
    }
}

/// The condition for replacing a row: a skipped slot may be replaced by a result of its app, a row of an
/// earlier app with the same id by anything.
fn gives_way(row: &CheckRow) -> &'static str {
    if row.skipped {
        "attribute_not_exists(pk) OR epoch < :epoch"
    } else {
        "attribute_not_exists(pk) OR epoch < :epoch OR (epoch = :epoch AND skipped = :yes)"
    }
}

impl DynamoChecks {
    /// Writes the row and, in the same transaction, invalidates the sums that do not include it.
    async fn record_late(&self, row: &CheckRow) -> Result<Recorded, Fault> {
        let day = Day::of_ms(row.slot_ms);
        let mut put = PutAction::builder()
            .table_name(&self.table.name)
            .set_item(Some(row_to_item(row)))
            .condition_expression(gives_way(row))
            .expression_attribute_values(":epoch", n(row.registered_ms));
        if !row.skipped {
            put = put.expression_attribute_values(":yes", AttributeValue::Bool(true));
        }
        let void = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(key(partition(&row.key), day_key(row.registered_ms, day))))
            .update_expression("ADD revision :one REMOVE hours SET expires_at = :expires")
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":expires", sums_expire_at(day));
        match transact(&self.table.client, &[transact::put(put)?, transact::update(void)?]).await? {
            End::Done => Ok(Recorded::Stored),
            End::Condition(_) => {
                let first = self.history(&row.key, row.slot_ms, row.slot_ms, 1).await?.into_iter().next();
                let gone = || {
                    Fault::new(FaultClass::Transient, "TransactWriteItems", "the conflicting row has expired")
                };
                first.map(Recorded::Existing).ok_or_else(gone)
            }
        }
    }
}

impl CheckTable for DynamoChecks {
    async fn record(&self, row: &CheckRow) -> Result<Recorded, Fault> {
        if row.is_late() {
            return self.record_late(row).await;
        }
        let mut put = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(row_to_item(row)))
            .condition_expression(gives_way(row))
            .expression_attribute_values(":epoch", n(row.registered_ms))
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
            .range(&partition(row_key), slot(from_ms.max(0)), slot(to_ms.max(0)))
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

    async fn days(
        &self,
        row_key: &CheckKey,
        registered_ms: i64,
        first: Day,
        last: Day,
    ) -> Result<Vec<DaySums>, Fault> {
        if first > last {
            return Ok(Vec::new());
        }
        let items = self
            .table
            .range(&partition(row_key), day_key(registered_ms, first), day_key(registered_ms, last))
            .into_paginator()
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await
            .map_err(|error| fault("Query", error))?;
        items.iter().map(day_from_item).collect()
    }

    async fn save_day(&self, row_key: &CheckKey, registered_ms: i64, sums: &DaySums) -> Result<bool, Fault> {
        let condition = if sums.revision == 0 {
            "attribute_not_exists(pk) OR revision = :read"
        } else {
            "revision = :read"
        };
        let put = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(day_to_item(row_key, registered_ms, sums)?))
            .condition_expression(condition)
            .expression_attribute_values(":read", n(sums.revision));
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) if in_the_way(&error).is_some() => Ok(false),
            Err(error) => Err(fault("PutItem", error)),
        }
    }

    async fn count_report(
        &self,
        row_key: &CheckKey,
        registered_ms: i64,
        minute: i64,
        most: ReportLimits,
    ) -> Result<bool, Fault> {
        let update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(reports_key(row_key, registered_ms, minute)))
            .update_expression("ADD of_app :one, #job :one SET expires_at = :expires")
            .condition_expression(
                "(attribute_not_exists(of_app) OR of_app < :of_app) AND (attribute_not_exists(#job) OR #job < :of_job)",
            )
            .expression_attribute_names("#job", row_key.target.as_str())
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":of_app", n(most.of_app))
            .expression_attribute_values(":of_job", n(most.of_job))
            .expression_attribute_values(":expires", n(minute.saturating_mul(60).saturating_add(REPORTS_KEPT_SECS)));
        applied(update.send().await.map_err(|error| fault("UpdateItem", error)))
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
        item.put("expires_at", expires_at(state.expires_ms()));
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
    fn a_days_sums_read_back_from_an_item_of_less_than_a_kibibyte() {
        let row_key = CheckKey { app_id: "shop".parse().unwrap(), target: "push:job".to_owned() };
        let tally = |n: u64| Tally {
            checks: 12,
            ok: n % 13,
            answered: 12,
            total_ms: n * 5_000,
            min_ms: Some(7),
            max_ms: Some(9_999),
        };
        let mut hours = [Tally::default(); HOURS_PER_DAY];
        for (n, hour) in (0..).zip(hours.iter_mut().skip(1)) {
            *hour = tally(n);
        }
        for hours in [Some(hours), Some([Tally::default(); HOURS_PER_DAY]), None] {
            let sums = DaySums { day: Day(19_675), revision: 3, hours };
            let item = day_to_item(&row_key, 1_700_000_000_000, &sums).unwrap();
            assert_eq!(day_from_item(&item).unwrap(), sums);
            assert_eq!(item.text("sk").unwrap(), "day#1700000000000#2023-11-14");
            assert!(item.text_opt("hours").unwrap_or_default().len() < 900);
        }
    }

    #[test]
    fn an_unreadable_state_is_reset_over_its_version() {
        let mut item = key("shop#state".to_owned(), "https://shop.example/");
        item.put("state", s("{\"target\":"));
        item.put("version", n(7));
        let state = state_from_item(&item).unwrap();
        assert_eq!((state.target.as_str(), state.version), ("https://shop.example/", 7));
        assert_eq!((state.registered_ms, state.health), (NO_EPOCH_MS, Health::Unknown));
        item.remove("version");
        assert!(state_from_item(&item).is_err(), "nothing to write over");
    }

    #[test]
    fn a_row_reads_back_from_its_item_and_expires_30_days_after_its_slot_or_33_as_a_report() {
        for (target, kept_days, skipped, error, failed) in [
            ("push:job", 33, false, None, vec![]),
            (
                "https://shop.example/#",
                30,
                true,
                Some("dns: x does not resolve"),
                vec!["[STATUS] (0) == 200".to_owned()],
            ),
        ] {
            let row_key = CheckKey { app_id: "shop".parse().unwrap(), target: target.to_owned() };
            let row = CheckRow {
                key: row_key.clone(),
                slot_ms: 1_700_000_100_000,
                registered_ms: 5,
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
            assert_eq!(item.number::<i64>("expires_at").unwrap(), 1_700_000_100 + kept_days * 86_400);
            assert_eq!(
                (item.text("pk").unwrap(), item.text("sk").unwrap()),
                (format!("shop#{target}").as_str(), "1700000100000")
            );
        }
    }
}
