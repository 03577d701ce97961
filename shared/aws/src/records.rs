//! Records that belong to no file: blocks, counters and memos in one transaction, and their removal.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Delete, Put as PutAction, TransactWriteItem, Update};
use logferry_core::logbook::blocks::{
    BlockPage, BlockPosition, BlockRange, BlockTable, HeaderPage, StoredBlock, StoredHeader,
};
use logferry_core::logbook::counter_keys::COUNTERS;
use logferry_core::logbook::counters::{CounterKey, CounterPage, Stats};
use logferry_core::logbook::records::{
    CountedIn, CountedRemoval, Erased, Memo, MemoChange, MemoExpected, Records, Removal, Removed, Write,
    Written,
};
use logferry_core::model::app::AppId;
use logferry_core::model::block::{Block, BlockHeader, BlockPlace};
use logferry_core::model::counted::Counted;
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::expiry::Expiring;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::quota::{Exceeded, Quota, Used};
use logferry_core::model::time::Day;
use logferry_core::ports::usage::{Usage, UsageDay};

use crate::block_item::{block_to_items, item_keys};
use crate::blocks::DynamoBlocks;
use crate::item::{Get, Item, Put, b, key, levels_to_map, malformed, n, s};
use crate::ledger::{counted_from, day_key, take};
use crate::stats::DynamoStats;
use crate::table::Table;
use crate::transact::{self, Count, End, transact_counting};
use crate::usage::DynamoUsage;

/// An app's records in DynamoDB: everything that the log service needs.
#[derive(Debug, Clone)]
pub struct DynamoRecords {
    client: Client,
    logs: String,
    blocks: DynamoBlocks,
    stats: DynamoStats,
    files: Option<Table>,
}

impl DynamoRecords {
    #[must_use]
    pub fn new(client: Client, logs: impl Into<String>, stats: impl Into<String>) -> Self {
        let logs = logs.into();
        Self {
            blocks: DynamoBlocks::new(client.clone(), logs.clone()),
            stats: DynamoStats::new(client.clone(), stats),
            client,
            logs,
            files: None,
        }
    }

    /// The usage rows, in the same table as the counters.
    fn usage(&self) -> DynamoUsage {
        DynamoUsage::new(self.client.clone(), &self.stats.table.name)
    }

    /// Adds the table of files, which removals need.
    #[must_use]
    pub fn with_files(self, files: impl Into<String>) -> Self {
        Self { files: Some(Table::new(self.client.clone(), files)), ..self }
    }

    fn files(&self) -> Result<&Table, Fault> {
        self.files
            .as_ref()
            .ok_or_else(|| Fault::new(FaultClass::Permanent, "records", "no files table configured"))
    }

    fn memo_put(
        &self,
        app_id: &AppId,
        change: &MemoChange,
    ) -> Result<aws_sdk_dynamodb::types::TransactWriteItem, Fault> {
        let action = PutAction::builder()
            .table_name(&self.stats.table.name)
            .set_item(Some(memo_to_item(app_id, change)));
        transact::put(match change.expected {
            MemoExpected::Absent => action.condition_expression("attribute_not_exists(pk)"),
            MemoExpected::ArrivedAt(arrived_ms) => action
                .condition_expression("arrived_ms = :arrived")
                .expression_attribute_values(":arrived", n(arrived_ms)),
        })
    }
}

fn memo_key(app_id: &AppId, key_hash: &[u8; 32]) -> Item {
    key(format!("{app_id}#idem"), hex::encode(key_hash))
}

fn memo_to_item(app_id: &AppId, change: &MemoChange) -> Item {
    let memo = &change.memo;
    let mut item = memo_key(app_id, &change.key_hash);
    item.put("body_hash", b(memo.body_hash.to_vec()));
    item.put("arrived_ms", n(memo.arrived_ms));
    item.put_some("request_id", memo.request_id.as_deref().map(s));
    item.put_some("salt", memo.salt.map(n));
    item.put("expires_at", n(memo.expires_at_secs));
    item
}

fn memo_from_item(item: &Item) -> Result<Memo, Fault> {
    let hash = item.get("body_hash").and_then(|value| value.as_b().ok());
    let hash = hash.and_then(|blob| blob.as_ref().try_into().ok());
    Ok(Memo {
        body_hash: hash.ok_or_else(|| malformed("body_hash"))?,
        arrived_ms: item.number("arrived_ms")?,
        request_id: item.text_opt("request_id").map(str::to_owned),
        salt: item.number_opt("salt"),
        expires_at_secs: item.number("expires_at")?,
    })
}

impl Records for DynamoRecords {
    async fn memo(&self, app_id: &AppId, key_hash: &[u8; 32]) -> Result<Option<Memo>, Fault> {
        let item = self.stats.table.get(memo_key(app_id, key_hash)).await?;
        item.as_ref().map(memo_from_item).transpose()
    }

    async fn write(&self, write: &Write) -> Result<Written, Fault> {
        let mut actions = Vec::new();
        if let Some(change) = &write.memo {
            actions.push(self.memo_put(&write.app_id, change)?);
        }
        for item in write.blocks.iter().flat_map(block_to_items) {
            let action = PutAction::builder().table_name(&self.logs).set_item(Some(item));
            actions.push(transact::put(match &write.memo {
                Some(_) => action.condition_expression("attribute_not_exists(pk)"),
                None => action,
            })?);
        }
        let counters_from = actions.len();
        let count = |(day, counts): (&Day, _)| Count {
            table: &self.stats.table.name,
            app_id: &write.app_id,
            registered_ms: write.registered_ms,
            counter: write.counter,
            day: *day,
            counts,
            first_ms: Some(write.first_ms(*day)),
        };
        let days = write.days.iter().filter(|(_, counts)| !counts.is_empty());
        let counts: Vec<_> = days.map(count).collect();
        match transact_counting(&self.client, actions, &counts).await? {
            End::Done => Ok(Written::Stored),
            End::Condition(0) if write.memo.is_some() => Ok(Written::MemoDiffers),
            End::Condition(index) if index < counters_from => Ok(Written::BlockExists),
            End::Condition(_) => Err(Fault::new(FaultClass::Transient, "write", "pruned meanwhile")),
        }
    }

    async fn counted(&self, object: &ObjectRef, day: Day) -> Result<Option<Counted>, Fault> {
        let item = self.files()?.get(day_key(object, day)).await?;
        Ok(item.as_ref().map(counted_from).transpose()?.flatten())
    }

    async fn remove_counted(&self, removal: &CountedRemoval) -> Result<Removed, Fault> {
        let header = &removal.header;
        let mut actions = Vec::new();
        match &removal.removal {
            Removal::Erase(erased) => self.push_erasure(header, removal.extents, erased, &mut actions)?,
            Removal::Block => {
                for (index, key) in item_keys(header, removal.extents).enumerate() {
                    let action = Delete::builder().table_name(&self.logs).set_key(Some(key));
                    actions.push(transact::delete(match index {
                        0 => action.condition_expression("attribute_exists(pk)"),
                        _ => action,
                    })?);
                }
            }
            &Removal::Before { was_ms, to_ms } => {
                let action = Update::builder()
                    .table_name(&self.logs)
                    .set_key(Some(key(header.partition().key(), header.sort_key())))
                    .update_expression("SET pruned_to = :to")
                    .expression_attribute_values(":to", n(to_ms));
                actions.push(transact::update(match was_ms {
                    None => action
                        .condition_expression("attribute_exists(pk) AND attribute_not_exists(pruned_to)"),
                    Some(was_ms) => action
                        .condition_expression("pruned_to = :was")
                        .expression_attribute_values(":was", n(was_ms)),
                })?);
            }
        }
        let (table, day) = (&self.stats.table.name, header.day());
        let taken = Expiring::one(header.expires_on(), DayCounts::default() - removal.counts);
        let count = Count {
            table,
            app_id: &header.app_id,
            registered_ms: header.registered_ms,
            counter: header.block_id.0[0] % COUNTERS,
            day,
            counts: &taken,
            first_ms: None,
        };
        let counted = removal.counted_in != CountedIn::Nowhere && !taken.is_empty();
        if let (CountedIn::File { revision }, Some(file)) = (removal.counted_in, &header.file) {
            let files = &self.files()?.name;
            actions.push(take(files, &file.object, day, revision, &taken)?);
        }
        let counts = if counted { std::slice::from_ref(&count) } else { &[] };
        Ok(match transact_counting(&self.client, actions, counts).await? {
            End::Done => Removed::Yes,
            End::Condition(0) => Removed::BlockDiffers,
            End::Condition(_) => Removed::CountDiffers,
        })
    }
}

impl DynamoRecords {
    /// Adds the rewriting or removal of a block, on condition that it is as it was read.
    fn push_erasure(
        &self,
        header: &BlockHeader,
        extents: u8,
        erased: &Erased,
        actions: &mut Vec<TransactWriteItem>,
    ) -> Result<(), Fault> {
        let mut condition = "#count = :was AND epoch = :epoch".to_owned();
        let mut values = vec![(":was", n(erased.was_count)), (":epoch", n(header.registered_ms))];
        match &header.file {
            Some(file) => {
                condition.push_str(" AND packing = :packing");
                values.push((":packing", s(file.packing.as_str())));
            }
            None => condition.push_str(" AND attribute_not_exists(packing)"),
        }
        match erased.was_pruned_ms {
            Some(pruned_ms) => {
                condition.push_str(" AND pruned_to = :pruned");
                values.push((":pruned", n(pruned_ms)));
            }
            None => condition.push_str(" AND attribute_not_exists(pruned_to)"),
        }
        let Some(left) = &erased.left else {
            for (index, key) in item_keys(header, extents).enumerate() {
                let mut action = Delete::builder().table_name(&self.logs).set_key(Some(key));
                if index == 0 {
                    action =
                        action.condition_expression(&condition).expression_attribute_names("#count", "count");
                    for (name, value) in &values {
                        action = action.expression_attribute_values(*name, value.clone());
                    }
                }
                actions.push(transact::delete(action)?);
            }
            return Ok(());
        };
        let mut action = Update::builder()
            .table_name(&self.logs)
            .set_key(Some(key(header.partition().key(), header.sort_key())))
            .condition_expression(condition)
            .expression_attribute_names("#count", "count")
            .expression_attribute_names("#data", "data")
            .update_expression(
                "SET #data = :data, #count = :count, levels = :levels, unknown_levels = :unknown",
            )
            .expression_attribute_values(":data", b(left.data.clone()))
            .expression_attribute_values(":count", n(left.count))
            .expression_attribute_values(":levels", levels_to_map(&left.levels))
            .expression_attribute_values(":unknown", n(left.unknown_levels));
        for (name, value) in values {
            action = action.expression_attribute_values(name, value);
        }
        actions.push(transact::update(action)?);
        Ok(())
    }
}

impl BlockTable for DynamoRecords {
    async fn put(&self, blocks: Vec<Block>) -> Result<Vec<Block>, Fault> {
        self.blocks.put(blocks).await
    }

    async fn newest(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> Result<BlockPage, Fault> {
        BlockTable::newest(&self.blocks, range, limit, after).await
    }

    async fn remove(&self, blocks: &[StoredHeader]) -> Result<(), Fault> {
        BlockTable::remove(&self.blocks, blocks).await
    }

    async fn headers(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> Result<HeaderPage, Fault> {
        self.blocks.headers(range, limit, after).await
    }

    async fn at(&self, place: &BlockPlace) -> Result<Option<StoredBlock>, Fault> {
        self.blocks.at(place).await
    }

    async fn with_extents(
        &self,
        header: &BlockHeader,
        first: Vec<u8>,
        extents: u8,
    ) -> Result<Vec<u8>, Fault> {
        self.blocks.with_extents(header, first, extents).await
    }
}

impl Stats for DynamoRecords {
    async fn newest(
        &self,
        app_id: &AppId,
        from: Day,
        to: Day,
        limit: u32,
        after: Option<CounterKey>,
    ) -> Result<CounterPage, Fault> {
        Stats::newest(&self.stats, app_id, from, to, limit, after).await
    }

    async fn hide(
        &self,
        app_id: &AppId,
        registered_ms: i64,
        day: Day,
        before_ms: i64,
        now_ms: i64,
    ) -> Result<(), Fault> {
        self.stats.hide(app_id, registered_ms, day, before_ms, now_ms).await
    }

    async fn remove(&self, app_id: &AppId, keys: &[CounterKey]) -> Result<(), Fault> {
        self.stats.remove(app_id, keys).await
    }
}

impl Usage for DynamoRecords {
    async fn used(&self, of: &UsageDay) -> Result<Used, Fault> {
        self.usage().used(of).await
    }

    async fn charge(&self, of: &UsageDay, more: Used, quota: &Quota) -> Result<Option<Exceeded>, Fault> {
        self.usage().charge(of, more, quota).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_reads_back_from_its_item() {
        let memo = Memo {
            body_hash: [7; 32],
            arrived_ms: 5,
            request_id: Some("r".to_owned()),
            salt: None,
            expires_at_secs: 9,
        };
        let change = MemoChange { key_hash: [1; 32], memo: memo.clone(), expected: MemoExpected::Absent };
        let item = memo_to_item(&"app".parse().unwrap(), &change);
        assert_eq!(item.text_opt("pk"), Some("app#idem"));
        assert_eq!(memo_from_item(&item).unwrap(), memo);
    }
}
