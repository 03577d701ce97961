//! The contract of writes, counters and removals.

use std::collections::{BTreeMap, HashSet};

use super::T0;

use logferry_core::logbook::blocks::{BlockRange, BlockTable, StoredHeader};
use logferry_core::logbook::counters::Stats;
use logferry_core::logbook::records::{
    CountedIn, CountedRemoval, Erased, Memo, MemoChange, MemoExpected, Records, Removal, Removed, Rewritten,
    Write, Written,
};
use logferry_core::model::app::AppId;
use logferry_core::model::block::{Block, BlockBuilder, BlockHeader, BlockSource, Payload};
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::expiry::Expiring;
use logferry_core::model::fault::Fault;
use logferry_core::model::ids::Seed;
use logferry_core::model::level::{Level, LevelCounts};
use logferry_core::model::record::{Entry, EntryKind, Marks};
use logferry_core::model::time::{Day, MS_PER_DAY};

pub(super) const EPOCH: i64 = T0 - 5;

pub(super) fn good<T>(result: Result<T, Fault>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn fresh_app() -> AppId {
    let id = format!("r{}", ulid::Ulid::generate().to_string().to_lowercase());
    id.parse().unwrap_or_else(|error| panic!("{id}: {error}"))
}

pub(super) fn block(app_id: &AppId, name: &str, times_ms: &[i64]) -> Block {
    let mut builder = BlockBuilder::default();
    for (ordinal, &timestamp_ms) in (0..).zip(times_ms) {
        builder.push(&Entry {
            ordinal,
            timestamp_ms,
            level: Level::Warn,
            kind: EntryKind::PlainText,
            timestamp_fallback: false,
            marks: Marks::NONE,
            raw: "0123456789",
        });
    }
    let seed = Seed::of(&[name.as_bytes()]);
    let source = BlockSource {
        app_id,
        seed: &seed,
        format: "text",
        source: "contract",
        registered_ms: EPOCH,
        expires_at_secs: Some(4_000_000_000),
    };
    good(builder.build(&source).map_err(|_| unreachable!())).swap_remove(0)
}

pub(super) fn counts(records: i64) -> DayCounts {
    DayCounts { levels: LevelCounts::new(0, 0, records, 0), bytes: records * 10 }
}

pub(super) fn write(app_id: &AppId, blocks: Vec<Block>) -> Write {
    let mut days: BTreeMap<Day, Expiring> = BTreeMap::new();
    for block in &blocks {
        let counts = DayCounts { levels: block.header.levels, bytes: i64::from(block.header.count) * 10 };
        days.entry(block.header.day()).or_default().add(block.header.expires_on(), counts);
    }
    Write { app_id: app_id.clone(), registered_ms: EPOCH, blocks, days, counter: 3, memo: None }
}

/// A write of a record that expires at this time.
#[must_use]
pub fn one_that_expires(app_id: &AppId, name: &str, expires_at_secs: i64) -> Write {
    let mut own = block(app_id, name, &[T0]);
    own.header.expires_at_secs = Some(expires_at_secs);
    write(app_id, vec![own])
}

/// Everything counted for an app, by day, newest first, read in pages of two rows.
pub(super) async fn counted(stats: &impl Stats, app_id: &AppId, from: Day, to: Day) -> Vec<(Day, DayCounts)> {
    let (mut days, mut after): (Vec<(Day, DayCounts)>, _) = (Vec::new(), None);
    loop {
        let page = good(stats.newest(app_id, from, to, 2, after).await);
        assert!(page.rows.len() <= 2);
        for row in &page.rows {
            assert_eq!(row.key.registered_ms, EPOCH);
            match days.last_mut() {
                Some((day, sum)) if *day == row.key.day => {
                    *sum += row.counts.total();
                }
                _ => days.push((row.key.day, row.counts.total())),
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return days,
        }
    }
}

pub(super) const ALWAYS: (Day, Day) = (Day(0), Day(40_000));

pub(super) async fn stored(records: &(impl Records + BlockTable), like: &Block) -> Vec<StoredHeader> {
    let range = BlockRange {
        partition: like.header.partition(),
        last_ms_from: like.header.day().start_ms(),
        last_ms_to: like.header.day().end_ms(),
    };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = good(records.headers(&range, 2, after.as_ref()).await);
        assert_eq!(page.unreadable, []);
        found.extend(page.blocks);
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

/// Blocks and counts become visible together; days are listed newest first.
pub async fn a_write_is_stored_and_counted<B: Records + Stats + BlockTable>(book: &B) {
    let app_id = fresh_app();
    let today = Day::of_ms(T0);
    for day in 0..5 {
        let blocks = vec![
            block(&app_id, &format!("{day}a"), &[T0 - day * MS_PER_DAY, T0 - day * MS_PER_DAY - 1]),
            block(&app_id, &format!("{day}b"), &[T0 - day * MS_PER_DAY]),
        ];
        let mut part = write(&app_id, blocks);
        part.counter = u8::try_from(day).unwrap_or(0);
        assert_eq!(good(book.write(&part).await), Written::Stored);
        part.blocks = vec![block(&app_id, &format!("{day}c"), &[T0 - day * MS_PER_DAY])];
        part.days = write(&app_id, part.blocks.clone()).days;
        assert_eq!(good(book.write(&part).await), Written::Stored);
    }
    let all = counted(book, &app_id, ALWAYS.0, ALWAYS.1).await;
    let expected: Vec<_> = (0..5).map(|i| (Day(today.0 - i), counts(4))).collect();
    assert_eq!(all, expected);
    let some = counted(book, &app_id, Day(today.0 - 3), Day(today.0 - 1)).await;
    assert_eq!(some, expected[1..4]);
}

/// A memo guards its write: a second request with it stores nothing.
pub async fn a_memo_lets_one_write_pass<B: Records + Stats + BlockTable>(book: &B) {
    let app_id = fresh_app();
    let memo = Memo {
        body_hash: [4; 32],
        arrived_ms: T0,
        request_id: Some("r".to_owned()),
        salt: None,
        expires_at_secs: 4_000_000_000,
    };
    let change = MemoChange { key_hash: [5; 32], memo: memo.clone(), expected: MemoExpected::Absent };
    let mut part = write(&app_id, vec![block(&app_id, "a", &[T0])]);
    part.memo = Some(change.clone());
    assert_eq!(good(book.memo(&app_id, &[5; 32]).await), None);
    let at_once = futures::future::join_all((0..5).map(|_| book.write(&part))).await;
    let at_once: Vec<_> = at_once.into_iter().map(good).collect();
    assert_eq!(at_once.iter().filter(|written| **written == Written::Stored).count(), 1);
    assert_eq!(at_once.iter().filter(|written| **written == Written::MemoDiffers).count(), 4);
    assert_eq!(good(book.memo(&app_id, &[5; 32]).await), Some(memo.clone()));
    assert_eq!(good(book.memo(&fresh_app(), &[5; 32]).await), None);

    // The next part of the same write, and one whose blocks exist.
    let next = |expected, blocks| {
        let mut part = write(&app_id, blocks);
        part.memo = Some(MemoChange { expected, ..change.clone() });
        part
    };
    let same = next(MemoExpected::ArrivedAt(T0), vec![block(&app_id, "a", &[T0])]);
    assert_eq!(good(book.write(&same).await), Written::BlockExists);
    let wrong = next(MemoExpected::ArrivedAt(T0 + 1), vec![block(&app_id, "b", &[T0])]);
    assert_eq!(good(book.write(&wrong).await), Written::MemoDiffers);
    let right = next(MemoExpected::ArrivedAt(T0), vec![block(&app_id, "b", &[T0])]);
    assert_eq!(good(book.write(&right).await), Written::Stored);
    assert_eq!(counted(book, &app_id, ALWAYS.0, ALWAYS.1).await, [(Day::of_ms(T0), counts(2))]);
}

/// Concurrent writes to one counter row are all counted.
pub async fn writes_at_once_are_all_counted<B: Records + Stats + BlockTable>(book: &B) {
    let app_id = fresh_app();
    let parts: Vec<_> =
        (0..12).map(|i| write(&app_id, vec![block(&app_id, &i.to_string(), &[T0])])).collect();
    let written = futures::future::join_all(parts.iter().map(|part| book.write(part))).await;
    assert!(written.into_iter().map(good).all(|written| written == Written::Stored));
    assert_eq!(counted(book, &app_id, ALWAYS.0, ALWAYS.1).await, [(Day::of_ms(T0), counts(12))]);
}

/// A block is removed together with its counts, once. A trimmed block stays and records the time.
pub async fn removals_are_counted_once<B: Records + Stats + BlockTable>(book: &B) {
    let app_id = fresh_app();
    let (whole, part) = (block(&app_id, "whole", &[T0, T0 + 1]), block(&app_id, "part", &[T0, T0 + 9]));
    good(book.write(&write(&app_id, vec![whole.clone(), part.clone()])).await);
    let removal = CountedRemoval {
        header: whole.header.clone(),
        extents: 0,
        removal: Removal::Block,
        counts: counts(2),
        counted_in: CountedIn::Counters,
    };
    assert_eq!(good(book.remove_counted(&removal).await), Removed::Yes);
    assert_eq!(good(book.remove_counted(&removal).await), Removed::BlockDiffers);
    let trim = |was_ms, to_ms, taken| CountedRemoval {
        header: part.header.clone(),
        extents: 0,
        removal: Removal::Before { was_ms, to_ms },
        counts: counts(taken),
        counted_in: CountedIn::Counters,
    };
    for (removal, expect) in [
        (trim(None, T0 + 5, 1), Removed::Yes),
        (trim(None, T0 + 5, 1), Removed::BlockDiffers),
        (trim(Some(T0 + 5), T0 + 6, 0), Removed::Yes),
    ] {
        assert_eq!(good(book.remove_counted(&removal).await), expect);
    }
    assert_eq!(counted(book, &app_id, ALWAYS.0, ALWAYS.1).await, [(Day::of_ms(T0), counts(1))]);
    let left = stored(book, &part).await;
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].header.clone(), left[0].pruned_to_ms), (part.header.clone(), Some(T0 + 6)));

    good(BlockTable::remove(book, &left).await);
    good(BlockTable::remove(book, &left).await);
    assert_eq!(stored(book, &part).await, []);
    let page = good(Stats::newest(book, &app_id, ALWAYS.0, ALWAYS.1, 100, None).await);
    let keys: Vec<_> = page.rows.iter().map(|row| row.key).collect();
    good(Stats::remove(book, &app_id, &keys).await);
    good(Stats::remove(book, &app_id, &keys).await);
    assert_eq!(counted(book, &app_id, ALWAYS.0, ALWAYS.1).await, []);
}

/// A block is rewritten or removed only as it was read, once, and together with the counters.
pub async fn an_erasure_changes_a_block_as_it_was_read<B: Records + Stats + BlockTable>(book: &B) {
    let app_id = fresh_app();
    let stored_block = block(&app_id, "erased", &[T0, T0 + 1, T0 + 9]);
    good(book.write(&write(&app_id, vec![stored_block.clone()])).await);
    let header = stored_block.header.clone();
    let payload = Payload::decode(&stored_block.data).unwrap_or_else(|error| panic!("{error}"));
    let erase = |was_count, was_pruned_ms, left: &[usize]| {
        let gone: HashSet<usize> = (0..3).filter(|index| !left.contains(index)).collect();
        let data = payload.without(&gone).unwrap_or_else(|error| panic!("{error}"));
        let count = u32::try_from(left.len()).unwrap_or(0);
        let levels = LevelCounts::new(0, 0, count.into(), 0);
        let left = Some(Rewritten { data, count, levels, unknown_levels: 0 }).filter(|_| count > 0);
        CountedRemoval {
            header: header.clone(),
            extents: 0,
            removal: Removal::Erase(Erased { was_count, was_pruned_ms, left }),
            counts: counts(i64::from(was_count) - i64::from(count)),
            counted_in: CountedIn::Counters,
        }
    };
    for (removal, expected) in [
        (erase(2, None, &[0, 2]), Removed::BlockDiffers),
        (erase(3, Some(T0), &[0, 2]), Removed::BlockDiffers),
        (erase(3, None, &[0, 2]), Removed::Yes),
        (erase(3, None, &[0, 2]), Removed::BlockDiffers),
    ] {
        assert_eq!(good(book.remove_counted(&removal).await), expected);
    }
    assert_eq!(counted(book, &app_id, ALWAYS.0, ALWAYS.1).await, [(Day::of_ms(T0), counts(2))]);
    let left = stored(book, &stored_block).await;
    let rewritten = BlockHeader { count: 2, levels: LevelCounts::new(0, 0, 2, 0), ..header.clone() };
    assert_eq!(left[0].header, rewritten, "the key and the range of time stay");
    let found = good(book.find(&left[0].header).await).unwrap_or_else(|| panic!("no block"));
    let found = good(book.payload(&found).await).unwrap_or_else(|| panic!("unreadable"));
    let ids =
        |payload: &Payload, of: &[usize]| -> Vec<_> { of.iter().map(|&at| payload.record(at).id).collect() };
    assert_eq!(ids(&found, &[0, 1]), ids(&payload, &[0, 2]), "records keep their ids");

    assert_eq!(good(book.remove_counted(&erase(2, None, &[])).await), Removed::Yes);
    assert_eq!(good(book.remove_counted(&erase(2, None, &[])).await), Removed::BlockDiffers);
    assert_eq!(stored(book, &stored_block).await, []);
    assert_eq!(counted(book, &app_id, ALWAYS.0, ALWAYS.1).await, [(Day::of_ms(T0), counts(0))]);
}

/// Headers are read without data, in pages, with the number of extents.
pub async fn headers_come_in_pages_and_blocks_with_extents_go_whole<B: Records + Stats + BlockTable>(
    book: &B,
) {
    let app_id = fresh_app();
    let mut blocks: Vec<_> = (0..20).map(|i| block(&app_id, &i.to_string(), &[T0 + i])).collect();
    let mut state = 1u64;
    let noise: String = (0..1 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(33 + u8::try_from((state >> 33) % 90).unwrap_or(0))
        })
        .collect();
    let mut large = BlockBuilder::default();
    large.push(&Entry {
        ordinal: 0,
        timestamp_ms: T0 + 5,
        level: Level::Warn,
        kind: EntryKind::PlainText,
        timestamp_fallback: false,
        marks: Marks::NONE,
        raw: &noise,
    });
    let seed = Seed::of(&[b"large"]);
    let source = BlockSource {
        app_id: &app_id,
        seed: &seed,
        format: "text",
        source: "contract",
        registered_ms: EPOCH,
        expires_at_secs: None,
    };
    let large = large.build(&source).map_or_else(|e| panic!("{e}"), |mut blocks| blocks.swap_remove(0));
    blocks.push(large.clone());
    good(book.write(&write(&app_id, blocks.clone())).await);
    let mut found = Vec::new();
    for shard in 0..4 {
        let like = blocks.iter().find(|block| block.header.block_id.shard() == shard);
        if let Some(like) = like {
            let own = stored(book, like).await;
            assert!(own.is_sorted_by_key(|stored| std::cmp::Reverse(stored.header.sort_key())));
            found.extend(own);
        }
    }
    assert_eq!(found.len(), 21);
    let whole = found.iter().find(|stored| stored.header.block_id == large.header.block_id);
    assert_eq!(whole.map(|stored| stored.extents), Some(2));
    good(BlockTable::remove(book, &found).await);
    let range = BlockRange { partition: large.header.partition(), last_ms_from: T0, last_ms_to: T0 + 100 };
    assert_eq!(good(BlockTable::newest(book, &range, 100, None).await).blocks, []);
    assert_eq!(stored(book, &large).await, []);
}
