//! Logs of arrivals in the `files` table: `pk` = `arrivals#{app_id}#{epoch}`, `sk` = `{number:012}` with `generation`,
//! `at` and `blocks`. They are not in `logs`, because its stream would report them.

use aws_sdk_dynamodb::Client;
use logferry_core::model::fault::Fault;
use logferry_core::ports::arrivals::{ArrivalLog, ArrivalLogId, ArrivalRow, BlockArrival, STORED_MS};

use crate::faults::fault;
use crate::item::{Get, Item, Put, b, key, malformed, n};
use crate::table::{Table, applied};

/// Above every number.
const LAST: &str = "~";

/// Logs of arrivals in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoArrivals {
    table: Table,
}

impl DynamoArrivals {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table) }
    }

    async fn read(
        &self,
        log: &ArrivalLogId,
        from: String,
        to: String,
        forward: bool,
        limit: u32,
    ) -> Result<Vec<ArrivalRow>, Fault> {
        let query = self.table.range(&partition_key(log), from, to).scan_index_forward(forward);
        let answer = query.limit(i32::try_from(limit).unwrap_or(i32::MAX)).send().await;
        let items = answer.map_err(|error| fault("Query", error))?.items.unwrap_or_default();
        items.iter().map(from_item).collect()
    }
}

fn partition_key(log: &ArrivalLogId) -> String {
    format!("arrivals#{}#{:013}", log.app_id, log.registered_ms)
}

fn sort_key(number: u64) -> String {
    format!("{number:012}")
}

fn to_item(log: &ArrivalLogId, row: &ArrivalRow) -> Item {
    let mut item = key(partition_key(log), sort_key(row.number));
    item.put("generation", n(row.generation));
    item.put("at", n(row.at_ms));
    item.put("blocks", b(BlockArrival::to_bytes(&row.arrivals)));
    item.put("expires_at", n((row.at_ms + STORED_MS) / 1000));
    item
}

fn from_item(item: &Item) -> Result<ArrivalRow, Fault> {
    let blocks = item.get("blocks").and_then(|blocks| blocks.as_b().ok());
    let arrivals = blocks.and_then(|blocks| BlockArrival::from_bytes(blocks.as_ref()));
    Ok(ArrivalRow {
        number: item.text("sk")?.parse().map_err(|_| malformed("sk"))?,
        generation: item.number("generation")?,
        at_ms: item.number("at")?,
        arrivals: arrivals.ok_or_else(|| malformed("blocks"))?,
    })
}

impl ArrivalLog for DynamoArrivals {
    async fn from(&self, log: &ArrivalLogId, number: u64, limit: u32) -> Result<Vec<ArrivalRow>, Fault> {
        self.read(log, sort_key(number), LAST.to_owned(), true, limit).await
    }

    async fn newest(
        &self,
        log: &ArrivalLogId,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ArrivalRow>, Fault> {
        let to = below.map_or_else(|| LAST.to_owned(), |below| sort_key(below.saturating_sub(1)));
        self.read(log, sort_key(0), to, false, limit).await
    }

    async fn append(&self, log: &ArrivalLogId, row: &ArrivalRow) -> Result<bool, Fault> {
        let put = self.table.client.put_item().table_name(&self.table.name).set_item(Some(to_item(log, row)));
        let put = put.condition_expression("attribute_not_exists(pk)").send().await;
        applied(put.map_err(|error| fault("PutItem", error)))
    }
}
