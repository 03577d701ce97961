//! The `stats` table: counter rows.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, Update};
use logferry_core::logbook::counter_keys;
use logferry_core::logbook::counters::{CounterKey, CounterPage, CounterRow, Stats};
use logferry_core::model::app::AppId;
use logferry_core::model::fault::Fault;
use logferry_core::model::time::Day;

use crate::batch::delete_all;
use crate::faults::fault;
use crate::item::{Get, Item, expiring_from, key, malformed, n};
use crate::table::Table;
use crate::transact::{self, transact};

/// How long a row without counts keeps a prune's watermark (s): longer than a worker that does not know the
/// prune can run.
const KEEP_HIDDEN_SECS: i64 = 8 * 86_400;

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
    let (day, registered_ms, counter) =
        counter_keys::parse_sort_key(item.text("sk")?).ok_or_else(|| malformed("sk"))?;
    Ok(CounterKey { day, registered_ms, counter })
}

fn sort_key(key: &CounterKey) -> String {
    counter_keys::sort_key(key.day, key.registered_ms, key.counter)
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
            // '~' sorts after every epoch and counter of that day.
            .range(app_id.as_str(), from.to_string(), format!("{to}#~"))
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .set_exclusive_start_key(after.map(|after| key(app_id.as_str(), sort_key(&after))))
            .send()
            .await
            .map_err(|error| fault("Query", error))?;
        let row = |item: &Item| Ok(CounterRow { key: key_from(item)?, counts: expiring_from(item) });
        Ok(CounterPage {
            rows: answer.items.unwrap_or_default().iter().map(row).collect::<Result<_, Fault>>()?,
            next: answer.last_evaluated_key.as_ref().map(key_from).transpose()?,
            read_units: answer.consumed_capacity.and_then(|used| used.capacity_units).unwrap_or(0.0),
        })
    }

    async fn hide(
        &self,
        app_id: &AppId,
        registered_ms: i64,
        day: Day,
        before_ms: i64,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let hidden = (0..counter_keys::COUNTERS).map(|counter| async move {
            let action = transact::update(
                Update::builder()
                    .table_name(&self.table.name)
                    .set_key(Some(key(app_id.as_str(), counter_keys::sort_key(day, registered_ms, counter))))
                    .condition_expression("attribute_not_exists(pruned_to) OR pruned_to < :before")
                    // A row with counts is kept longer.
                    .update_expression(
                        "SET pruned_to = :before, expires_at = if_not_exists(expires_at, :expires)",
                    )
                    .expression_attribute_values(":before", n(before_ms))
                    .expression_attribute_values(":expires", n(now_ms / 1000 + KEEP_HIDDEN_SECS)),
            )?;
            // A transaction of one item: it conflicts with running transactions of writers that count.
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
