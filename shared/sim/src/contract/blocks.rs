//! The contract of the block table.

use logferry_core::logbook::blocks::{BlockRange, BlockTable, StoredBlock};
use logferry_core::model::app::AppId;
use logferry_core::model::block::{Block, BlockBuilder, BlockSource, MAX_ITEM_DATA_BYTES, Partition};
use logferry_core::model::fault::FaultClass;
use logferry_core::model::ids::Seed;
use logferry_core::model::level::Level;
use logferry_core::model::record::{Entry, EntryKind, Marks};

use super::T0;

fn fresh_app() -> AppId {
    let id = format!("c{}", ulid::Ulid::generate().to_string().to_lowercase());
    id.parse().unwrap_or_else(|error| panic!("{id}: {error}"))
}

fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(33 + u8::try_from((state >> 33) % 90).unwrap_or(0))
    };
    (0..bytes).map(|_| next()).collect()
}

fn block(app_id: &AppId, name: &str, time_ms: i64, raw: &str) -> Block {
    let mut builder = BlockBuilder::default();
    builder.push(&Entry {
        ordinal: 0,
        timestamp_ms: time_ms,
        level: Level::Warn,
        kind: EntryKind::PlainText,
        timestamp_fallback: false,
        marks: Marks::NONE,
        raw,
    });
    let seed = Seed::of(&[name.as_bytes()]);
    let source = BlockSource {
        app_id,
        seed: &seed,
        format: "text",
        source: "contract",
        registered_ms: T0,
        expires_at_secs: Some(4_000_000_000),
    };
    builder.build(&source).unwrap_or_else(|error| panic!("{error}")).swap_remove(0)
}

async fn put_all(table: &impl BlockTable, mut blocks: Vec<Block>) {
    for _ in 0..20 {
        blocks = table.put(blocks).await.unwrap_or_else(|error| panic!("{error}"));
        if blocks.is_empty() {
            return;
        }
    }
    panic!("{} blocks are never taken", blocks.len());
}

async fn read_all(table: &impl BlockTable, range: &BlockRange, limit: u32) -> Vec<Block> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = table.newest(range, limit, after.as_ref()).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(page.blocks.len() <= limit as usize);
        for stored in page.blocks {
            let data = match stored.whole {
                true => stored.block.data,
                false => {
                    let whole = table.with_extents(&stored.block.header, stored.block.data, stored.extents);
                    whole.await.unwrap_or_else(|error| panic!("{error}"))
                }
            };
            found.push(Block { header: stored.block.header, data });
        }
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

fn range(partition: Partition, from: i64, to: i64) -> BlockRange {
    BlockRange { partition, last_ms_from: from, last_ms_to: to }
}

/// Blocks are read as they were written, newest first, through pages of any size. A range includes both its
/// ends.
pub async fn blocks_come_back_newest_first_and_only_those_of_the_range(table: &impl BlockTable) {
    let app_id = fresh_app();
    let mut blocks: Vec<_> =
        (0..60).map(|i| block(&app_id, &format!("b{i}"), T0 + i64::from(i % 20) * 1000, "x")).collect();
    put_all(table, blocks.clone()).await;
    put_all(table, blocks.clone()).await;
    blocks.sort_by_key(|block| std::cmp::Reverse(block.header.sort_key()));
    for shard in 0..4 {
        let partition = Partition { app_id: app_id.clone(), ..blocks[0].header.partition() };
        let partition = Partition { shard, ..partition };
        let (from, to) = (T0 + 3000, T0 + 12_000);
        let expected: Vec<_> = blocks
            .iter()
            .filter(|b| b.header.block_id.shard() == shard && (from..=to).contains(&b.header.last_ms))
            .cloned()
            .collect();
        for limit in [1, 3, 100] {
            let found = read_all(table, &range(partition.clone(), from, to), limit).await;
            assert_eq!(found, expected, "shard {shard}, limit {limit}");
        }
    }
}

/// A block larger than an item is found completely or not at all, through pages of any size.
pub async fn a_block_larger_than_an_item_comes_back_whole(table: &impl BlockTable) {
    let app_id = fresh_app();
    let large = block(&app_id, "large", T0, &noise(1 << 20, 7));
    assert!(large.data.len() > 2 * MAX_ITEM_DATA_BYTES);
    let shard = large.header.block_id.shard();
    let small: Vec<_> = (0..40)
        .map(|i| block(&app_id, &format!("s{i}"), T0 - 20 + i, "small"))
        .filter(|b| b.header.block_id.shard() == shard)
        .collect();
    let mut all = small;
    all.push(large.clone());
    put_all(table, all.clone()).await;
    all.sort_by_key(|block| std::cmp::Reverse(block.header.sort_key()));
    for limit in [1, 2, 3, 50] {
        let found = read_all(table, &range(large.header.partition(), T0 - 1000, T0 + 1000), limit).await;
        assert_eq!(found, all, "limit {limit}");
    }
    let first = large.data[..MAX_ITEM_DATA_BYTES].to_vec();
    let extents = u8::try_from(large.data.len().div_ceil(MAX_ITEM_DATA_BYTES) - 1).unwrap_or(u8::MAX);
    let whole = table.with_extents(&large.header, first, extents).await;
    assert_eq!(whole.unwrap_or_else(|error| panic!("{error}")), large.data);
    for block in &all {
        let found = table.find(&block.header).await.unwrap_or_else(|error| panic!("{error}"));
        let found = found.unwrap_or_else(|| panic!("a block is not found"));
        assert_eq!((&found.block.header, found.whole), (&block.header, block.extents() == 0));
        let payload = table.payload(&found).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(payload.map(|payload| payload.len()), Some(1));
    }
    // A block with more extents than exist is unreadable, which is not a fault.
    let more = StoredBlock { block: large.clone(), extents: extents + 1, whole: false };
    let none = table.with_extents(&large.header, large.data.clone(), extents + 1).await;
    assert!(none.is_err_and(|fault| fault.class == FaultClass::NotFound));
    assert!(table.payload(&more).await.is_ok_and(|payload| payload.is_none()));
    let other = block(&app_id, "nowhere", T0, "x");
    assert_eq!(table.find(&other.header).await.unwrap_or_else(|error| panic!("{error}")), None);
}
