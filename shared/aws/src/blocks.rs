//! The `logs` table in DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{PutRequest, ReturnConsumedCapacity, WriteRequest};
use futures::stream::{self, StreamExt};
use logferry_core::logbook::blocks::{
    BlockPage, BlockPosition, BlockRange, BlockTable, HeaderPage, StoredBlock, StoredHeader,
};
use logferry_core::model::block::{Block, BlockHeader, BlockPlace, HeaderItem, MAX_ITEM_DATA_BYTES};
use logferry_core::model::fault::{Fault, FaultClass};

use crate::batch::{MAX_BATCH_BYTES, MAX_BATCH_ITEMS};
use crate::block_item::{block_from_item, block_to_items, header_from_item, item_keys, joined};
use crate::faults::fault;
use crate::item::{Get, Item, key, n, s};
use crate::table::{Table, applied};

/// Blocks removed in parallel.
const REMOVALS: usize = 16;

/// Blocks in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoBlocks {
    table: Table,
}

impl DynamoBlocks {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table) }
    }

    /// Returns the items of a range, newest first, strongly consistent.
    fn newest_first(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> QueryFluentBuilder {
        let pk = range.partition.key();
        let from = format!("{:013}", range.last_ms_from);
        // '~' sorts after every block id and extent of that millisecond.
        let to = format!("{:013}#~", range.last_ms_to);
        self.table
            .range(&pk, from, to)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .set_exclusive_start_key(after.map(|position| key(&pk, &position.0)))
    }

    /// Sends one request. Returns the unprocessed items.
    async fn batch(&self, items: Vec<Item>) -> Result<Vec<Item>, Fault> {
        let mut requests = Vec::with_capacity(items.len());
        for item in items {
            let put = PutRequest::builder().set_item(Some(item)).build().map_err(|error| {
                Fault::new(FaultClass::Permanent, "BatchWriteItem", "no item").with_source(error)
            })?;
            requests.push(WriteRequest::builder().put_request(put).build());
        }
        let answer = self
            .table
            .client
            .batch_write_item()
            .request_items(&self.table.name, requests)
            .send()
            .await
            .map_err(|error| fault("BatchWriteItem", error))?;
        let left = answer.unprocessed_items.unwrap_or_default().into_values().flatten();
        Ok(left.filter_map(|request| request.put_request).map(|put| put.item).collect())
    }
}

impl DynamoBlocks {
    /// Removes one block, unless it was replaced by another.
    async fn remove_one(&self, stored: &StoredHeader) -> Result<(), Fault> {
        let header = &stored.header;
        let delete = |key| self.table.client.delete_item().table_name(&self.table.name).set_key(Some(key));
        for (index, key) in item_keys(header, stored.extents).enumerate() {
            let request = delete(key);
            let request = match (index, &header.file) {
                (0, None) => request.condition_expression("epoch = :epoch AND attribute_not_exists(packing)"),
                (0, Some(file)) => request
                    .condition_expression("epoch = :epoch AND packing = :packing")
                    .expression_attribute_values(":packing", s(file.packing.as_str())),
                _ => request,
            };
            let request = match index {
                0 => request.expression_attribute_values(":epoch", n(header.registered_ms)),
                _ => request,
            };
            if !applied(request.send().await.map_err(|error| fault("DeleteItem", error)))? {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl BlockTable for DynamoBlocks {
    async fn remove(&self, blocks: &[StoredHeader]) -> Result<(), Fault> {
        let removals: Vec<_> = blocks.iter().map(|stored| self.remove_one(stored)).collect();
        let mut removals = stream::iter(removals).buffer_unordered(REMOVALS);
        while let Some(removed) = removals.next().await {
            removed?;
        }
        Ok(())
    }

    async fn put(&self, blocks: Vec<Block>) -> Result<Vec<Block>, Fault> {
        let mut left = Vec::new();
        let mut batch: Vec<Item> = Vec::new();
        let mut by_key: HashMap<(String, String), Block> = HashMap::new();
        let mut batch_bytes = 0;
        for block in blocks {
            let mut items = block_to_items(&block);
            let extents = items.split_off(1);
            // A reader that finds the block must find its extents.
            if !extents.is_empty() && !self.batch(extents).await?.is_empty() {
                left.push(block);
                continue;
            }
            if batch.len() == MAX_BATCH_ITEMS || batch_bytes + block.data.len() > MAX_BATCH_BYTES {
                take_left(self.batch(std::mem::take(&mut batch)).await?, &mut by_key, &mut left);
                batch_bytes = 0;
            }
            batch_bytes += block.data.len().min(MAX_ITEM_DATA_BYTES);
            batch.append(&mut items);
            by_key.insert((block.header.partition().key(), block.header.sort_key()), block);
        }
        if !batch.is_empty() {
            take_left(self.batch(batch).await?, &mut by_key, &mut left);
        }
        Ok(left)
    }

    async fn newest(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> Result<BlockPage, Fault> {
        let answer =
            self.newest_first(range, limit, after).send().await.map_err(|error| fault("Query", error))?;
        let mut page = BlockPage {
            read_units: answer.consumed_capacity.and_then(|used| used.capacity_units).unwrap_or(0.0),
            ..BlockPage::default()
        };
        // Newest first means that a block's extents come before it, the last one first.
        let mut extents: Vec<Item> = Vec::new();
        for mut item in answer.items.unwrap_or_default() {
            let Ok(found) = block_from_item(&mut item) else {
                page.unreadable += 1;
                continue;
            };
            let Some((mut block, count)) = found else {
                extents.push(item);
                continue;
            };
            let mut own = std::mem::take(&mut extents);
            own.reverse();
            let whole = count == 0 || {
                let joined = joined(&block.header, &block.data, own, count);
                joined.map(|data| block.data = data).is_some()
            };
            block.data.shrink_to_fit();
            page.blocks.push(StoredBlock { block, extents: count, whole });
        }
        page.next = position(answer.last_evaluated_key.as_ref())?;
        Ok(page)
    }

    async fn headers(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> Result<HeaderPage, Fault> {
        let answer = self
            .newest_first(range, limit, after)
            .projection_expression(
                "pk, sk, first_ms, last_ms, #count, levels, unknown_levels, #format, #source, epoch, expires_at, extents, \
                 pruned_to, version, packing",
            )
            .expression_attribute_names("#count", "count")
            .expression_attribute_names("#format", "format")
            .expression_attribute_names("#source", "source")
            .send()
            .await
            .map_err(|error| fault("Query", error))?;
        let mut page = HeaderPage {
            read_units: answer.consumed_capacity.and_then(|used| used.capacity_units).unwrap_or(0.0),
            ..HeaderPage::default()
        };
        for item in answer.items.unwrap_or_default() {
            match header_from_item(&item) {
                Ok(Some(HeaderItem { header, extents, pruned_to_ms })) => {
                    page.blocks.push(StoredHeader { header, extents, pruned_to_ms });
                }
                Ok(None) => {}
                Err(_) => page.unreadable.push(BlockPosition(item.text("sk")?.to_owned())),
            }
        }
        page.next = position(answer.last_evaluated_key.as_ref())?;
        Ok(page)
    }

    async fn at(&self, place: &BlockPlace) -> Result<Option<StoredBlock>, Fault> {
        let item = self.table.get(key(place.partition.key(), place.sort_key())).await?;
        let found = item.and_then(|mut item| block_from_item(&mut item).ok().flatten());
        Ok(found.map(|(block, extents)| StoredBlock { block, extents, whole: extents == 0 }))
    }

    async fn with_extents(
        &self,
        header: &BlockHeader,
        first: Vec<u8>,
        extents: u8,
    ) -> Result<Vec<u8>, Fault> {
        let sk = format!("{}#", header.sort_key());
        let items = self.table.below(&header.partition().key(), &sk).await?;
        joined(header, &first, items, extents)
            .ok_or_else(|| Fault::new(FaultClass::NotFound, "Query", "an extent of a block is missing"))
    }
}

/// Returns where a listing that ended with this key continues.
fn position(last: Option<&Item>) -> Result<Option<BlockPosition>, Fault> {
    last.map(|last| Ok(BlockPosition(last.text("sk")?.to_owned()))).transpose()
}

fn take_left(unprocessed: Vec<Item>, by_key: &mut HashMap<(String, String), Block>, left: &mut Vec<Block>) {
    for item in unprocessed {
        if let (Some(pk), Some(sk)) = (item.text_opt("pk"), item.text_opt("sk")) {
            left.extend(by_key.remove(&(pk.to_owned(), sk.to_owned())));
        }
    }
}
