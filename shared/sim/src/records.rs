//! Writes and removals of the log service, and the counters.

use std::collections::BTreeSet;

use logferry_core::logbook::counter_keys::COUNTERS;
use logferry_core::logbook::counters::{CounterKey, CounterPage, CounterRow, Stats};
use logferry_core::logbook::records::{
    CountedIn, CountedRemoval, Erased, Memo, MemoChange, MemoExpected, Records, Removal, Removed, Write,
    Written,
};
use logferry_core::model::app::AppId;
use logferry_core::model::block::MAX_ITEM_DATA_BYTES;
use logferry_core::model::counted::Counted;
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::expiry::Expiring;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::time::Day;

use super::blocks::key;
use super::file_key;
use super::{Change, SimCloud, State};

/// Maximum items and bytes of a transaction.
const MAX_TRANSACTION_ITEMS: usize = 100;
const MAX_TRANSACTION_BYTES: usize = 4_000_000;

/// A day's counter, which expires with the last of what it counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter {
    pub(super) counts: Expiring,
    pub(super) expires_on: Option<Day>,
}

impl State {
    pub(super) fn count(&mut self, app_id: &AppId, registered_ms: i64, day: Day, counts: &Expiring) {
        let counter = self.stats.entry((app_id.clone(), registered_ms, day)).or_default();
        counter.counts.add_all(counts);
        counter.expires_on = counter.expires_on.max(counts.last());
    }
}

impl State {
    fn memo_fits(&self, app_id: &AppId, change: &MemoChange) -> bool {
        let known = self.memos.get(&(app_id.clone(), change.key_hash)).map(|memo| memo.arrived_ms);
        known
            == match change.expected {
                MemoExpected::Absent => None,
                MemoExpected::ArrivedAt(ms) => Some(ms),
            }
    }
}

fn counter_row(app_id: &AppId, registered_ms: i64, day: Day, counter: u8) -> String {
    format!("counter {app_id} {registered_ms} {day} {counter}")
}

fn memo_row(app_id: &AppId, change: &MemoChange) -> String {
    format!("memo {app_id} {:?}", change.key_hash)
}

impl Records for SimCloud {
    async fn memo(&self, app_id: &AppId, key_hash: &[u8; 32]) -> Result<Option<Memo>, Fault> {
        self.call("GetItem", |state| Ok(state.memos.get(&(app_id.clone(), *key_hash)).cloned())).await
    }

    async fn write(&self, write: &Write) -> Result<Written, Fault> {
        let counters =
            write.days.keys().map(|day| counter_row(&write.app_id, write.registered_ms, *day, write.counter));
        let memo = write.memo.iter().map(|change| memo_row(&write.app_id, change));
        self.transaction(counters.chain(memo).collect(), |state| {
            let items =
                write.blocks.iter().map(|block| block.data.len().div_ceil(MAX_ITEM_DATA_BYTES).max(1));
            let items = items.sum::<usize>() + write.days.len() + usize::from(write.memo.is_some());
            let bytes: usize = write.blocks.iter().map(|block| block.data.len()).sum();
            assert!(items <= MAX_TRANSACTION_ITEMS, "{items} items in a transaction");
            assert!(bytes <= MAX_TRANSACTION_BYTES, "{bytes} bytes in a transaction");
            let keys: BTreeSet<_> = write.blocks.iter().map(|block| key(&block.header)).collect();
            assert_eq!(keys.len(), write.blocks.len(), "two actions on one item");
            if let Some(change) = &write.memo {
                if !state.memo_fits(&write.app_id, change) {
                    return Ok(Written::MemoDiffers);
                }
                if keys.iter().any(|key| state.blocks.contains_key(key)) {
                    return Ok(Written::BlockExists);
                }
            }
            let hidden =
                |day: Day| state.hidden.get(&(write.app_id.clone(), write.registered_ms, day)).copied();
            let old = |day: &Day| hidden(*day) > Some(write.first_ms(*day));
            if write.days.keys().any(old) {
                return Err(Fault::new(FaultClass::Transient, "TransactWriteItems", "pruned meanwhile"));
            }
            if let Some(change) = &write.memo {
                state.memos.insert((write.app_id.clone(), change.key_hash), change.memo.clone());
            }
            for block in &write.blocks {
                let old = state.store_block(block);
                state.stream.push(Change { inserted: old.is_none(), block: block.clone() });
            }
            for (day, counts) in &write.days {
                state.count(&write.app_id, write.registered_ms, *day, counts);
            }
            Ok(Written::Stored)
        })
        .await
    }

    async fn counted(&self, object: &ObjectRef, day: Day) -> Result<Option<Counted>, Fault> {
        self.call("GetItem", |state| {
            let file = state.files.get(&file_key(object));
            Ok(file.and_then(|file| file.days.get(&day)).and_then(|day| day.counted.clone()))
        })
        .await
    }

    async fn remove_counted(&self, removal: &CountedRemoval) -> Result<Removed, Fault> {
        let header = &removal.header;
        let counter = header.block_id.0[0] % COUNTERS;
        let counters = counter_row(&header.app_id, header.registered_ms, header.day(), counter);
        let block = format!("block {:?}", key(header));
        self.transaction(vec![counters, block], |state| {
            let block_key = key(header);
            let was_ms = state.pruned_to.get(&block_key).copied();
            let differs = match &removal.removal {
                Removal::Block => false,
                Removal::Before { was_ms: seen, .. } => *seen != was_ms,
                Removal::Erase(erased) => {
                    let count = state.blocks.get(&block_key).map(|block| block.header.count);
                    erased.was_pruned_ms != was_ms || count != Some(erased.was_count)
                }
            };
            if differs || !state.blocks.contains_key(&block_key) {
                return Ok(Removed::BlockDiffers);
            }
            if let (CountedIn::File { revision }, Some(file)) = (removal.counted_in, &header.file) {
                let row = state.files.get_mut(&file_key(&file.object));
                let row = row.and_then(|file| file.days.get_mut(&header.day())?.counted.as_mut());
                let Some(row) = row.filter(|row| row.revision == revision) else {
                    return Ok(Removed::CountDiffers);
                };
                row.revision += 1;
                row.counts = row.counts.minus(&Expiring::one(header.expires_on(), removal.counts));
            }
            match &removal.removal {
                Removal::Block | Removal::Erase(Erased { left: None, .. }) => state.delete_block(&block_key),
                Removal::Before { to_ms, .. } => drop(state.pruned_to.insert(block_key, *to_ms)),
                Removal::Erase(Erased { left: Some(left), .. }) => {
                    if let Some(block) = state.blocks.get_mut(&block_key) {
                        assert_eq!(block.extents(), 0, "a block with extents has one record");
                        block.data = left.data.clone();
                        block.header.count = left.count;
                        block.header.levels = left.levels;
                        block.header.unknown_levels = left.unknown_levels;
                        let block = block.clone();
                        state.stream.push(Change { inserted: false, block });
                    }
                }
            }
            if removal.counted_in != CountedIn::Nowhere {
                let taken = DayCounts::default() - removal.counts;
                let counts = Expiring::one(header.expires_on(), taken);
                state.count(&header.app_id, header.registered_ms, header.day(), &counts);
            }
            Ok(Removed::Yes)
        })
        .await
    }
}

impl Stats for SimCloud {
    async fn newest(
        &self,
        app_id: &AppId,
        from: Day,
        to: Day,
        limit: u32,
        after: Option<CounterKey>,
    ) -> Result<CounterPage, Fault> {
        assert!(from <= to, "a range that DynamoDB refuses");
        self.call("Query", |state| {
            let mut rows: Vec<CounterRow> = state
                .stats
                .iter()
                .filter(|((app, _, day), _)| app == app_id && (from..=to).contains(day))
                .map(|((_, registered_ms, day), counter)| CounterRow {
                    key: CounterKey { day: *day, registered_ms: *registered_ms, counter: 0 },
                    counts: counter.counts.clone(),
                })
                .filter(|row| after.is_none_or(|after| row.key < after))
                .collect();
            rows.sort_by_key(|row| std::cmp::Reverse(row.key));
            let more = rows.len() > limit as usize;
            rows.truncate(limit as usize);
            let next = rows.last().filter(|_| more).map(|row| row.key);
            Ok(CounterPage { rows, next, read_units: 0.5 })
        })
        .await
    }

    async fn hide(
        &self,
        app_id: &AppId,
        registered_ms: i64,
        day: Day,
        before_ms: i64,
        _: i64,
    ) -> Result<(), Fault> {
        self.call("TransactWriteItems", |state| {
            let counter = (app_id.clone(), registered_ms, day);
            let hidden = state.hidden.entry(counter.clone()).or_default();
            *hidden = before_ms.max(*hidden);
            // Like in the table, where it is in the counters' own rows.
            state.stats.entry(counter).or_default();
            Ok(())
        })
        .await
    }

    async fn remove(&self, app_id: &AppId, keys: &[CounterKey]) -> Result<(), Fault> {
        self.call("BatchWriteItem", |state| {
            for counter in keys {
                state.hidden.remove(&(app_id.clone(), counter.registered_ms, counter.day));
                state.stats.remove(&(app_id.clone(), counter.registered_ms, counter.day));
            }
            Ok(())
        })
        .await
    }
}
