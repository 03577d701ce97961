//! The `stats` table: counter rows.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, Update};
use logferry_domain::app::AppId;
use logferry_domain::fault::Fault;
use logferry_domain::ledger::DayCounts;
use logferry_domain::stats;
use logferry_domain::time::Day;
use logferry_ports::Stats;
use logferry_ports::stats::{CounterKey, CounterPage, CounterRow};

use crate::batch::delete_all;
use crate::faults::fault;
use crate::item::{Get, Item, key, levels_from, malformed, n, s};
use crate::table::Table;
use crate::transact::{self, transact};

/// Counters in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoStats {
    pub(crate) table: Table,
}

impl DynamoStats {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table) }
    }
}

fn key_from(item: &Item) -> Result<CounterKey, Fault> {
    let (day, epoch_ms, counter) = stats::parse_sort_key(item.text("sk")?).ok_or_else(|| malformed("sk"))?;
    Ok(CounterKey { day, epoch_ms, counter })
}

fn sort_key(key: &CounterKey) -> String {
    stats::sort_key(key.day, key.epoch_ms, key.counter)
}

impl Stats for DynamoStats {
    async fn newest(
        &self,
        app_id: &AppId,
        from: Day,
        to: Day,
        limit: u32,
        after: Option<CounterKey>,
    ) -> Result<CounterPage, Fault> {
        let answer = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(app_id.as_str()))
            .expression_attribute_values(":from", s(from.to_string()))
            // '~' sorts behind every epoch and counter of that day.
            .expression_attribute_values(":to", s(format!("{to}#~")))
            .set_exclusive_start_key(after.map(|after| key(app_id.as_str(), sort_key(&after))))
            .send()
            .await
            .map_err(|error| fault("Query", error))?;
        let row = |item: &Item| {
            let counts =
                DayCounts { levels: levels_from(item), bytes: item.number_opt("bytes").unwrap_or(0) };
            Ok(CounterRow { key: key_from(item)?, counts })
        };
        Ok(CounterPage {
            rows: answer.items.unwrap_or_default().iter().map(row).collect::<Result<_, Fault>>()?,
            next: answer.last_evaluated_key.as_ref().map(key_from).transpose()?,
            read_units: answer.consumed_capacity.and_then(|used| used.capacity_units).unwrap_or(0.0),
        })
    }

    async fn hide(&self, app_id: &AppId, epoch_ms: i64, day: Day, before_ms: i64) -> Result<(), Fault> {
        let hidden = (0..stats::COUNTERS).map(|counter| async move {
            let action = transact::update(
                Update::builder()
                    .table_name(&self.table.name)
                    .set_key(Some(key(app_id.as_str(), stats::sort_key(day, epoch_ms, counter))))
                    .condition_expression("attribute_not_exists(pruned_to) OR pruned_to < :before")
                    .update_expression("SET pruned_to = :before")
                    .expression_attribute_values(":before", n(before_ms)),
            )?;
            // A transaction of one: it waits for those that are just counting.
            transact(&self.table.client, &[action]).await
        });
        futures::future::try_join_all(hidden).await?;
        Ok(())
    }

    async fn remove(&self, app_id: &AppId, keys: &[CounterKey]) -> Result<(), Fault> {
        let keys = keys.iter().map(|counter| Ok(key(app_id.as_str(), sort_key(counter))));
        delete_all(&self.table.client, &self.table.name, keys).await
    }
}
