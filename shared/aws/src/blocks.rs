//! The `logs` table in DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{PutRequest, ReturnConsumedCapacity, WriteRequest};
use futures::stream::{self, StreamExt};
use logferry_core::logbook::blocks::{
    BlockPage, BlockPosition, BlockRange, BlockTable, HeaderPage, StoredBlock, StoredHeader,
};
use logferry_core::model::block::{Block, BlockHeader, FileBlock, MAX_ITEM_DATA_BYTES, Partition, sort_key};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::fingerprint::Packing;
use logferry_core::model::ids::BlockId;
use logferry_core::model::level::LevelCounts;
use logferry_core::model::object::ObjectRef;

use crate::batch::{MAX_BATCH_BYTES, MAX_BATCH_ITEMS};
use crate::faults::fault;
use crate::item::{Get, Item, Put, b, key, levels_from, levels_to_map, malformed, n, s};
use crate::ledger::{file_sk, version_from_sk};
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
        self.table
            .client
            .query()
            .table_name(&self.table.name)
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(&pk))
            .expression_attribute_values(":from", s(format!("{:013}", range.last_ms_from)))
            // '~' sorts after every block id and extent of that millisecond.
            .expression_attribute_values(":to", s(format!("{:013}#~", range.last_ms_to)))
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

/// Returns the items of a block: its own first, then its extents.
#[must_use]
pub fn block_to_items(block: &Block) -> Vec<Item> {
    let header = &block.header;
    let (pk, sk) = (header.partition().key(), header.sort_key());
    let mut chunks = block.data.chunks(MAX_ITEM_DATA_BYTES);
    let first = chunks.next().unwrap_or_default();
    let mut item = key(&pk, &sk);
    item.put("first_ms", n(header.first_ms));
    item.put("last_ms", n(header.last_ms));
    item.put("count", n(header.count));
    item.put("levels", levels_to_map(&header.levels));
    item.put("format", s(&header.format));
    item.put("source", s(&header.source));
    item.put("epoch", n(header.epoch_ms));
    if let Some(file) = &header.file {
        item.put("version", s(file_sk(&file.object.version)));
        item.put("packing", s(file.packing.as_str()));
    }
    item.put("data", b(first.to_vec()));
    let expires_at = header.expires_at_secs.map(n);
    item.put_some("expires_at", expires_at.clone());
    let mut items = vec![item];
    for (index, chunk) in (1..).zip(chunks) {
        let mut extent = key(&pk, format!("{sk}#{index:02}"));
        extent.put("data", b(chunk.to_vec()));
        extent.put_some("expires_at", expires_at.clone());
        items.push(extent);
    }
    if items.len() > 1 {
        let extents = items.len() - 1;
        items[0].put("extents", n(extents));
    }
    items
}

/// Parses a block's header, its own data and the number of its extents; `None` for an extent.
///
/// # Errors
/// An attribute is not as we write it.
pub fn block_from_item(item: &mut Item) -> Result<Option<(Block, u8)>, Fault> {
    if !item.contains_key("count") {
        return Ok(None);
    }
    let partition = Partition::parse(item.text("pk")?).ok_or_else(|| malformed("pk"))?;
    let (_, id) = item.text("sk")?.split_once('#').ok_or_else(|| malformed("sk"))?;
    let block_id = BlockId::parse(id).ok_or_else(|| malformed("sk"))?;
    let levels = match item.get("levels").map(|value| value.as_m()) {
        Some(Ok(map)) => levels_from(map),
        _ => LevelCounts::default(),
    };
    let data = match item.remove("data") {
        Some(aws_sdk_dynamodb::types::AttributeValue::B(blob)) => blob.into_inner(),
        _ => return Err(malformed("data")),
    };
    let file = item.text_opt("version").map(|version| file_block(item, version)).transpose()?;
    let header = BlockHeader {
        app_id: partition.app_id,
        block_id,
        first_ms: item.number("first_ms")?,
        last_ms: item.number("last_ms")?,
        count: item.number("count")?,
        levels,
        format: item.text("format")?.to_owned(),
        source: item.text("source")?.to_owned(),
        epoch_ms: item.number("epoch")?,
        expires_at_secs: item.number_opt("expires_at"),
        file,
    };
    let extents = item.number_opt("extents").unwrap_or(0);
    Ok(Some((Block { header, data }, extents)))
}

fn file_block(item: &Item, version: &str) -> Result<Box<FileBlock>, Fault> {
    let place = item.text("source")?.strip_prefix("s3://").and_then(|source| source.split_once('/'));
    let (bucket, object_key) = place.ok_or_else(|| malformed("source"))?;
    let version = version_from_sk(version).ok_or_else(|| malformed("version"))?;
    Ok(Box::new(FileBlock {
        object: ObjectRef { bucket: bucket.to_owned(), key: object_key.to_owned(), version },
        packing: Packing::from_stored(item.text("packing")?),
    }))
}

/// Returns the keys of a block's items: its own first, so that a reader never finds a block without its
/// extents.
pub(crate) fn item_keys(header: &BlockHeader, extents: u8) -> impl Iterator<Item = Item> {
    let (pk, sk) = (header.partition().key(), header.sort_key());
    (0..=extents).map(move |index| match index {
        0 => key(&pk, &sk),
        _ => key(&pk, format!("{sk}#{index:02}")),
    })
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
                0 => request.expression_attribute_values(":epoch", n(header.epoch_ms)),
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
                "pk, sk, first_ms, last_ms, #count, levels, #format, #source, epoch, expires_at, extents, pruned_to, \
                 version, packing",
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
        for mut item in answer.items.unwrap_or_default() {
            let pruned_to_ms = item.number_opt("pruned_to");
            item.put("data", b(Vec::new()));
            match block_from_item(&mut item) {
                Ok(Some((block, extents))) => {
                    page.blocks.push(StoredHeader { header: block.header, extents, pruned_to_ms });
                }
                Ok(None) => {}
                Err(_) => page.unreadable += 1,
            }
        }
        page.next = position(answer.last_evaluated_key.as_ref())?;
        Ok(page)
    }

    async fn find(&self, header: &BlockHeader) -> Result<Option<StoredBlock>, Fault> {
        let item = self.table.get(key(header.partition().key(), header.sort_key())).await?;
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

/// Joins the data with that of the extents; `None` unless there are exactly this many, in order.
fn joined(header: &BlockHeader, first: &[u8], extents: Vec<Item>, count: u8) -> Option<Vec<u8>> {
    if extents.len() != usize::from(count) {
        return None;
    }
    let mut data = first.to_vec();
    let sk = sort_key(header.last_ms, &header.block_id);
    for (index, mut extent) in (1..).zip(extents) {
        let index: u32 = index;
        if extent.text_opt("sk") != Some(&format!("{sk}#{index:02}")) {
            return None;
        }
        match extent.remove("data") {
            Some(aws_sdk_dynamodb::types::AttributeValue::B(blob)) => data.extend_from_slice(blob.as_ref()),
            _ => return None,
        }
    }
    Some(data)
}

fn take_left(unprocessed: Vec<Item>, by_key: &mut HashMap<(String, String), Block>, left: &mut Vec<Block>) {
    for item in unprocessed {
        if let (Some(pk), Some(sk)) = (item.text_opt("pk"), item.text_opt("sk")) {
            left.extend(by_key.remove(&(pk.to_owned(), sk.to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_core::model::ids::Seed;

    use super::*;

    fn block(data_bytes: usize) -> Block {
        Block {
            header: BlockHeader {
                app_id: "app".parse().unwrap(),
                block_id: Seed::of(&[b"x"]).block_id(1, 2),
                first_ms: 1_743_532_441_000,
                last_ms: 1_743_532_441_581,
                count: 3,
                levels: LevelCounts::new(0, 2, 0, 1),
                format: "ndjson".to_owned(),
                source: "s3://b/k".to_owned(),
                epoch_ms: 5,
                expires_at_secs: Some(9),
                file: Some(Box::new(FileBlock {
                    object: ObjectRef {
                        bucket: "b".to_owned(),
                        key: "k".to_owned(),
                        version: logferry_core::model::object::ObjectVersion::ETag("e".to_owned()),
                    },
                    packing: Packing::from_stored("p"),
                })),
            },
            data: (0..data_bytes).map(|i| (i % 251) as u8).collect(),
        }
    }

    #[test]
    fn a_block_reads_back_from_its_item() {
        let block = block(1000);
        let mut items = block_to_items(&block);
        assert_eq!(items.len(), 1);
        assert_eq!(block_from_item(&mut items[0]).unwrap(), Some((block, 0)));
    }

    #[test]
    fn a_block_too_large_for_an_item_has_extents_that_join_to_it() {
        let block = block(MAX_ITEM_DATA_BYTES * 2 + 5);
        let mut items = block_to_items(&block);
        assert_eq!(items.len(), 3);
        let (first, extents) = block_from_item(&mut items[0]).unwrap().unwrap();
        assert_eq!(extents, 2);
        let rest = items.split_off(1);
        assert_eq!(joined(&block.header, &first.data, rest.clone(), 2), Some(block.data.clone()));
        assert_eq!(joined(&block.header, &first.data, rest[..1].to_vec(), 2), None);
    }
}
