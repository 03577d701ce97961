//! Usage rows in the `stats` table, separate from the counters: `usage#{app_id}` + `{epoch}#{day}` with
//! `bytes`, `records` and `files`.

use aws_sdk_dynamodb::Client;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::quota::{Exceeded, Measure, Quota, Used};
use logferry_core::ports::usage::{Usage, UsageDay};

use crate::faults::fault;
use crate::item::{Get, Item, key, n};
use crate::table::{Table, applied};

/// How long a row is kept (s): until the month after its own is over.
const KEEP_SECS: i64 = 62 * 86_400;

/// Usage in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoUsage {
    table: Table,
}

impl DynamoUsage {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table) }
    }
}

fn row_key(of: &UsageDay) -> Item {
    key(format!("usage#{}", of.app_id), format!("{:013}#{}", of.registered_ms, of.day))
}

impl Usage for DynamoUsage {
    async fn used(&self, of: &UsageDay) -> Result<Used, Fault> {
        let item = self.table.get(row_key(of)).await?.unwrap_or_default();
        let number = |measure: Measure| item.number_opt(measure.as_str()).unwrap_or(0);
        Ok(Used {
            bytes: number(Measure::Bytes),
            records: number(Measure::Records),
            files: number(Measure::Files),
        })
    }

    async fn charge(&self, of: &UsageDay, more: Used, quota: &Quota) -> Result<Option<Exceeded>, Fault> {
        // More than a whole day's quota: the condition below cannot express this for a missing row.
        if let Some(exceeded) = quota.exceeded(of.day, Used::default(), more) {
            return Ok(Some(exceeded));
        }
        let mut update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(row_key(of)))
            .update_expression(
                "ADD #bytes :bytes, #records :records, #files :files SET expires_at = :expires",
            )
            .expression_attribute_values(":expires", n(of.day.end_ms() / 1000 + KEEP_SECS));
        let mut conditions = Vec::new();
        for measure in Measure::ALL {
            let (name, added) = (measure.as_str(), more.of(measure));
            // Placeholders, because some of the names are reserved words.
            update = update
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), n(added));
            let Some(limit) = quota.limit(measure).filter(|_| added > 0) else { continue };
            conditions.push(format!("(attribute_not_exists(#{name}) OR #{name} <= :most_{name})"));
            update = update.expression_attribute_values(format!(":most_{name}"), n(limit - added));
        }
        if !conditions.is_empty() {
            update = update.condition_expression(conditions.join(" AND "));
        }
        if applied(update.send().await.map_err(|error| fault("UpdateItem", error)))? {
            return Ok(None);
        }
        let used = self.used(of).await?;
        // Usage only grows: if the condition failed, this comparison fails too, unless the row has expired.
        let gone = || Fault::new(FaultClass::Transient, "UpdateItem", "the usage row has expired");
        quota.exceeded(of.day, used, more).map(Some).ok_or_else(gone)
    }
}
