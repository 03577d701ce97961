//! The table of blocks.

use std::collections::BTreeSet;

use logferry_core::logbook::blocks::{
    BlockPage, BlockPosition, BlockRange, BlockTable, HeaderPage, StoredBlock, StoredHeader,
};
use logferry_core::model::block::{Block, BlockHeader, BlockPlace, MAX_ITEM_DATA_BYTES};
use logferry_core::model::fault::{Fault, FaultClass};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::throughput::write_units;
use super::{Change, SimCloud, State};

/// A Query ends a page after the item that makes it larger than this (bytes).
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html>
const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// Bytes of an item besides its data.
const ITEM_BYTES: usize = 400;

pub(super) fn key(header: &BlockHeader) -> (String, String) {
    (header.partition().key(), header.sort_key())
}

fn extent_keys(block: &Block) -> impl Iterator<Item = (String, String)> {
    let (pk, sk) = key(&block.header);
    (1..=block.extents()).map(move |index| (pk.clone(), format!("{sk}#{index:02}")))
}

/// An item of the table: a block's own, or one of its extents.
enum SimItem<'s> {
    Block(&'s Block),
    Extent,
}

impl State {
    /// Stores a block's items. Returns the block that they replace.
    pub(super) fn store_block(&mut self, block: &Block) -> Option<Block> {
        for key in extent_keys(block) {
            self.extents.insert(key, block.header.expires_at_secs);
        }
        self.blocks.insert(key(&block.header), block.clone())
    }

    pub(super) fn delete_block(&mut self, block_key: &(String, String)) {
        if let Some(block) = self.blocks.remove(block_key) {
            for key in extent_keys(&block) {
                self.extents.remove(&key);
            }
        }
        self.pruned_to.remove(block_key);
    }

    fn has_all_extents(&self, block: &Block) -> bool {
        extent_keys(block).all(|key| self.extents.contains_key(&key))
    }

    fn is_damaged(&self, block: &Block) -> bool {
        self.damaged_items.contains(&key(&block.header))
    }

    /// Returns a page of a range's items as DynamoDB does: its end, and whether there are more.
    fn page<'s>(
        &'s self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> (Vec<(&'s str, SimItem<'s>)>, Option<BlockPosition>, usize) {
        let partition = range.partition.key();
        let from = (partition.clone(), format!("{:013}", range.last_ms_from));
        assert!(range.last_ms_from <= range.last_ms_to, "a range that DynamoDB refuses");
        let to = after.map_or_else(|| format!("{:013}#~", range.last_ms_to), |after| after.0.clone());
        let to = (partition, to).max(from.clone());
        let blocks = self.blocks.range(from.clone()..to.clone());
        let blocks = blocks.map(|((_, sk), block)| (sk.as_str(), SimItem::Block(block)));
        let extents = self.extents.range(from..to).map(|((_, sk), _)| (sk.as_str(), SimItem::Extent));
        let mut items: Vec<_> = blocks.chain(extents).collect();
        items.sort_by_key(|(sk, _)| std::cmp::Reverse(*sk));
        let mut bytes = 0;
        let fitting = items.iter().position(|(_, item)| {
            bytes += ITEM_BYTES
                + match item {
                    SimItem::Block(block) => block.data.len().min(MAX_ITEM_DATA_BYTES),
                    SimItem::Extent => MAX_ITEM_DATA_BYTES,
                };
            bytes > MAX_PAGE_BYTES
        });
        let shown = fitting.map_or(items.len(), |at| at + 1).min(limit as usize);
        // Like DynamoDB, which does not check whether more items follow a full page.
        let cut = shown == limit as usize || fitting.is_some();
        items.truncate(shown);
        let next = items.last().filter(|_| cut).map(|(sk, _)| BlockPosition((*sk).to_owned()));
        (items, next, bytes.max(1))
    }

    fn stored(&self, block: &Block, came_along: bool) -> StoredBlock {
        let whole = block.extents() == 0 || came_along && self.has_all_extents(block);
        let data = match whole {
            true => block.data.clone(),
            false => block.data[..MAX_ITEM_DATA_BYTES].to_vec(),
        };
        let extents = block.extents();
        StoredBlock { block: Block { header: block.header.clone(), data }, extents, whole }
    }
}

impl SimCloud {
    /// Deletes about this percentage of the items of expired blocks, one by one and in any order, as
    /// DynamoDB does within days: an extent before its block, or a block before its extents.
    pub fn expire_blocks(&self, now_ms: i64, percent: u32, seed: u64) {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut state = self.state();
        let over = |at: Option<i64>| at.is_some_and(|at| at <= now_ms.div_euclid(1000));
        let blocks = state.blocks.iter().filter(|(_, block)| over(block.header.expires_at_secs));
        let extents = state.extents.iter().filter(|(_, at)| over(**at));
        let mut items: Vec<_> =
            blocks.map(|(key, _)| key.clone()).chain(extents.map(|(key, _)| key.clone())).collect();
        items.shuffle(&mut random);
        for item in items {
            if random.random_range(0..100) < percent {
                state.blocks.remove(&item);
                state.pruned_to.remove(&item);
                state.extents.remove(&item);
            }
        }
    }

    /// Removes all extents, as if the table had been tampered with.
    pub fn lose_extents(&self) -> usize {
        std::mem::take(&mut self.state().extents).len()
    }

    /// Damages the attributes of every `every`-th block, so that its item is no valid block. Returns their
    /// number.
    pub fn damage_items(&self, every: usize) -> u32 {
        let mut state = self.state();
        let damaged: Vec<_> = state.blocks.keys().step_by(every).cloned().collect();
        let count = u32::try_from(damaged.len()).unwrap_or(u32::MAX);
        state.damaged_items.extend(damaged);
        count
    }

    /// Overwrites the data of every `every`-th block.
    pub fn damage_blocks(&self, every: usize) -> Vec<BlockHeader> {
        let mut state = self.state();
        let damaged = state.blocks.values_mut().step_by(every);
        damaged
            .map(|block| {
                let middle = block.data.len() / 2;
                block.data.truncate(middle);
                block.header.clone()
            })
            .collect()
    }
}

impl BlockTable for SimCloud {
    async fn put(&self, blocks: Vec<Block>) -> Result<Vec<Block>, Fault> {
        let hangs = match &mut self.state().puts_until_hang {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        self.call("BatchWriteItem", |state| {
            let keys: BTreeSet<_> = blocks.iter().map(|block| key(&block.header)).collect();
            assert_eq!(keys.len(), blocks.len(), "one item twice in a batch");
            let mut left = Vec::new();
            let mut throttled = 0;
            let offered = blocks.len();
            for block in blocks {
                assert!(
                    block.header.count == 1 || block.data.len() <= MAX_ITEM_DATA_BYTES,
                    "an item is too large"
                );
                state.puts += 1;
                if state.unprocessed_every > 0 && state.puts.is_multiple_of(state.unprocessed_every) {
                    left.push(block);
                    continue;
                }
                let units = write_units(&block);
                let taken = match &mut state.throughput {
                    Some(throughput) => throughput.takes(&block.header.partition().key(), units),
                    None => true,
                } && state.refused_shard != Some(block.header.block_id.shard());
                if !taken {
                    throttled += 1;
                    left.push(block);
                    continue;
                }
                // Replacing an item with an equal one costs as much as writing a new one.
                state.units_written += units;
                // A replaced item has no mark.
                state.pruned_to.remove(&key(&block.header));
                if state.blocks.get(&key(&block.header)) != Some(&block) {
                    let old = state.store_block(&block);
                    state.stream.push(Change { inserted: old.is_none(), block });
                }
            }
            // Nothing was stored: an error, not a response.
            if offered > 0 && throttled == offered {
                let code = "ProvisionedThroughputExceededException";
                return Err(Fault::new(FaultClass::RateLimited, "BatchWriteItem", code));
            }
            Ok(left)
        })
        .await
    }

    async fn remove(&self, blocks: &[StoredHeader]) -> Result<(), Fault> {
        // One by one, like the adapter, which may die in between.
        for stored in blocks {
            self.call("DeleteItem", |state| {
                let block_key = key(&stored.header);
                let made = |header: &BlockHeader| {
                    (header.registered_ms, header.file.as_ref().map(|file| file.packing.clone()))
                };
                let same = |block: &Block| made(&block.header) == made(&stored.header);
                if state.blocks.get(&block_key).is_some_and(same) {
                    state.delete_block(&block_key);
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn newest(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> Result<BlockPage, Fault> {
        self.call("Query", |state| {
            let (items, next, bytes) = state.page(range, limit, after);
            let mut page = BlockPage { next, read_units: units(bytes), ..BlockPage::default() };
            let mut extents_before = 0;
            for (_, item) in items {
                match item {
                    SimItem::Extent => extents_before += 1,
                    SimItem::Block(block) if state.is_damaged(block) => page.unreadable += 1,
                    SimItem::Block(block) => {
                        let came_along = extents_before == block.extents();
                        page.blocks.push(state.stored(block, came_along));
                        extents_before = 0;
                    }
                }
            }
            Ok(page)
        })
        .await
    }

    async fn headers(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> Result<HeaderPage, Fault> {
        self.call("Query", |state| {
            let (items, next, bytes) = state.page(range, limit, after);
            let mut page = HeaderPage { next, read_units: units(bytes), ..HeaderPage::default() };
            for (sk, item) in items {
                let SimItem::Block(block) = item else { continue };
                if state.is_damaged(block) {
                    page.unreadable.push(BlockPosition(sk.to_owned()));
                    continue;
                }
                page.blocks.push(StoredHeader {
                    extents: block.extents(),
                    pruned_to_ms: state.pruned_to.get(&key(&block.header)).copied(),
                    header: block.header.clone(),
                });
            }
            Ok(page)
        })
        .await
    }

    async fn at(&self, place: &BlockPlace) -> Result<Option<StoredBlock>, Fault> {
        self.call("GetItem", |state| {
            let item = (place.partition.key(), place.sort_key());
            let block = state.blocks.get(&item).filter(|block| !state.is_damaged(block));
            Ok(block.map(|block| state.stored(block, false)))
        })
        .await
    }

    async fn with_extents(&self, header: &BlockHeader, _: Vec<u8>, extents: u8) -> Result<Vec<u8>, Fault> {
        self.call("Query", |state| {
            let block = state.blocks.get(&key(header));
            block
                .filter(|block| block.extents() == extents && state.has_all_extents(block))
                .map(|block| block.data.clone())
                .ok_or_else(|| Fault::new(FaultClass::NotFound, "Query", "an extent of a block is missing"))
        })
        .await
    }
}

/// Read units of a strongly consistent read.
fn units(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes.div_ceil(4096)).unwrap_or(u32::MAX))
}
