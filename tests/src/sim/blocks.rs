//! The table of blocks.

use std::collections::BTreeSet;

use logferry_domain::block::{Block, BlockHeader, MAX_ITEM_DATA_BYTES};
use logferry_domain::fault::{Fault, FaultClass};
use logferry_ports::BlockTable;
use logferry_ports::blocks::{BlockPage, BlockPosition, BlockRange, StoredHeader};

use super::{Change, SimCloud};

pub(super) fn key(header: &BlockHeader) -> (String, String) {
    (header.partition().key(), header.sort_key())
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
                // What takes an item's place has no mark.
                state.pruned_to.remove(&key(&block.header));
                if state.blocks.get(&key(&block.header)) != Some(&block) {
                    let old = state.blocks.insert(key(&block.header), block.clone());
                    state.stream.push(Change { inserted: old.is_none(), block });
                }
            }
            Ok(left)
        })
        .await
    }

    async fn remove(&self, blocks: &[StoredHeader]) -> Result<(), Fault> {
        // One by one, as the adapter: it may die in between.
        for stored in blocks {
            self.call("DeleteItem", |state| {
                let block_key = key(&stored.header);
                let made = |header: &BlockHeader| {
                    (header.epoch_ms, header.file.as_ref().map(|file| file.packing.clone()))
                };
                let same = |block: &Block| made(&block.header) == made(&stored.header);
                if state.blocks.get(&block_key).is_some_and(same) {
                    state.blocks.remove(&block_key);
                    state.pruned_to.remove(&block_key);
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
            let partition = range.partition.key();
            let from = (partition.clone(), format!("{:013}", range.last_ms_from));
            let to = (partition, format!("{:013}#~", range.last_ms_to));
            let mut page = BlockPage::default();
            let newer = |sort_key: &str| after.is_some_and(|after| sort_key >= after.0.as_str());
            let all = state.blocks.range(from..to).rev().filter(|((_, sort_key), _)| !newer(sort_key));
            for ((_, sort_key), block) in all {
                page.blocks.push(block.clone());
                if page.blocks.len() == limit as usize {
                    page.next = Some(BlockPosition(sort_key.clone()));
                    break;
                }
            }
            Ok(page)
        })
        .await
    }

    async fn with_extents(&self, header: &BlockHeader, _: Vec<u8>, _: u8) -> Result<Vec<u8>, Fault> {
        self.call("Query", |state| {
            let block = state.blocks.get(&key(header));
            block
                .map(|block| block.data.clone())
                .ok_or_else(|| Fault::new(FaultClass::NotFound, "Query", "no block"))
        })
        .await
    }
}
