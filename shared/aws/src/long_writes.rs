//! Long writes in the `stats` table: one in as many rows as its entries need. The first row says how
//! far it is; once that row is gone the write is whole.

use aws_sdk_dynamodb::types::{Delete, TransactWriteItem, Update};
use logferry_core::logbook::records::{LongWrite, Step};
use logferry_core::model::app::AppId;
use logferry_core::model::block::MAX_ITEM_DATA_BYTES;
use logferry_core::model::fault::Fault;
use logferry_core::model::ids::{Seed, WriteId};

use crate::item::{Get, Item, Put, b, key, malformed, n, s};
use crate::transact;

/// The partition of an app's long writes.
pub(crate) fn partition(app_id: &AppId) -> String {
    format!("{app_id}#write")
}

fn row_key(app_id: &AppId, write_id: WriteId, index: usize) -> Item {
    key(partition(app_id), format!("{write_id}#{index:02}"))
}

/// The rows of a long write, the first of them first.
pub(crate) fn to_items(write: &LongWrite) -> Vec<Item> {
    let write_id = write.seed.write_id();
    let chunks: Vec<&[u8]> = write.entries.chunks(MAX_ITEM_DATA_BYTES).collect();
    let row = |(index, chunk): (usize, &&[u8])| {
        let mut item = row_key(&write.app_id, write_id, index);
        item.put("data", b(chunk.to_vec()));
        item.put("expires_at", n(write.expires_at_secs));
        if index == 0 {
            item.put("rows", n(chunks.len()));
            item.put("epoch", n(write.epoch_ms));
            item.put("seed", b(write.seed.0.to_vec()));
            item.put("arrived_ms", n(write.arrived_ms));
            item.put_some("request_id", write.request_id.as_deref().map(s));
            item.put("retention_days", n(write.retention_days));
            item.put("next_part", n(write.next_part));
        }
        item
    };
    chunks.iter().enumerate().map(row).collect()
}

/// The long write of these rows, in the order of their keys; `None` when one of them is gone.
pub(crate) fn from_items(app_id: &AppId, items: &[Item]) -> Result<Option<LongWrite>, Fault> {
    let Some(first) = items.first().filter(|item| item.contains_key("rows")) else { return Ok(None) };
    if first.number::<usize>("rows")? != items.len() {
        return Ok(None);
    }
    let seed = first.get("seed").and_then(|value| value.as_b().ok());
    let seed = seed.and_then(|blob| blob.as_ref().try_into().ok()).ok_or_else(|| malformed("seed"))?;
    let mut entries = Vec::new();
    for item in items {
        let data = item.get("data").and_then(|value| value.as_b().ok()).ok_or_else(|| malformed("data"))?;
        entries.extend_from_slice(data.as_ref());
    }
    Ok(Some(LongWrite {
        app_id: app_id.clone(),
        epoch_ms: first.number("epoch")?,
        seed: Seed(seed),
        arrived_ms: first.number("arrived_ms")?,
        request_id: first.text_opt("request_id").map(str::to_owned),
        retention_days: first.number("retention_days")?,
        entries,
        next_part: first.number("next_part")?,
        expires_at_secs: first.number("expires_at")?,
    }))
}

/// What makes a part be stored once: the write goes on to its next part, or is at its end.
pub(crate) fn step(table: &str, app_id: &AppId, step: &Step) -> Result<TransactWriteItem, Fault> {
    let first = row_key(app_id, step.write_id, 0);
    if step.last {
        return transact::delete(
            Delete::builder()
                .table_name(table)
                .set_key(Some(first))
                .condition_expression("next_part = :part")
                .expression_attribute_values(":part", n(step.part)),
        );
    }
    transact::update(
        Update::builder()
            .table_name(table)
            .set_key(Some(first))
            .condition_expression("next_part = :part")
            .update_expression("SET next_part = :next")
            .expression_attribute_values(":part", n(step.part))
            .expression_attribute_values(":next", n(step.part + 1)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_write_reads_back_from_its_rows() {
        let write = LongWrite {
            app_id: "app".parse().unwrap(),
            epoch_ms: 5,
            seed: Seed([9; 32]),
            arrived_ms: 7,
            request_id: Some("r".to_owned()),
            retention_days: 30,
            entries: (0..MAX_ITEM_DATA_BYTES * 2 + 3).map(|i| (i % 251) as u8).collect(),
            next_part: 4,
            expires_at_secs: 8,
        };
        let items = to_items(&write);
        assert_eq!(items.len(), 3);
        assert_eq!(from_items(&write.app_id, &items).unwrap(), Some(write.clone()));
        assert_eq!(from_items(&write.app_id, &items[..2]).unwrap(), None);
        assert_eq!(from_items(&write.app_id, &items[1..]).unwrap(), None);
        assert_eq!(from_items(&write.app_id, &[]).unwrap(), None);
    }
}
