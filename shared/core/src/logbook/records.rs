//! Writes and removes records outside of files: blocks and their counters in one transaction.

use std::collections::BTreeMap;

use crate::model::app::AppId;
use crate::model::block::{Block, BlockHeader};
use crate::model::counted::Counted;
use crate::model::day_counts::DayCounts;
use crate::model::expiry::Expiring;
use crate::model::fault::Fault;
use crate::model::level::LevelCounts;
use crate::model::object::ObjectRef;
use crate::model::time::Day;

/// The memo of a write with an idempotency key. A repeated request gets the same response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memo {
    pub body_hash: [u8; 32],
    /// When the first request arrived (ms): the time of entries without one.
    pub arrived_ms: i64,
    /// The request id that the first request set on its entries.
    pub request_id: Option<String>,
    /// Distinguishes uses of one key after its expiry.
    pub salt: Option<i64>,
    /// When the key expires and can be used for another write (s since the epoch).
    pub expires_at_secs: i64,
}

/// The expected state of the memo's row. The write fails otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoExpected {
    Absent,
    /// The memo of the request that arrived then (ms).
    ArrivedAt(i64),
}

/// A memo to be written together with the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoChange {
    /// Hash of the idempotency key.
    pub key_hash: [u8; 32],
    pub memo: Memo,
    pub expected: MemoExpected,
}

/// Blocks and their counts, stored atomically. At most 100 items and 4 MB.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
#[derive(Debug, Clone)]
pub struct Write {
    pub app_id: AppId,
    pub registered_ms: i64,
    pub blocks: Vec<Block>,
    pub days: BTreeMap<Day, Expiring>,
    /// The counter row to add to.
    pub counter: u8,
    pub memo: Option<MemoChange>,
}

impl Write {
    /// Returns the time of its oldest record of a day (ms), according to its blocks.
    #[must_use]
    pub fn first_ms(&self, day: Day) -> i64 {
        let own = self.blocks.iter().filter(|block| block.header.day() == day);
        own.map(|block| block.header.first_ms).min().unwrap_or(i64::MAX)
    }
}

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Stored,
    /// The memo was not as expected; nothing was stored.
    MemoDiffers,
    /// One of the blocks already exists; nothing was stored. Only checked with a memo.
    BlockExists,
}

/// What is removed from a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The whole block.
    Block,
    /// Its records before this time (ms), after those before `was_ms` that were already removed. The block
    /// stays unchanged and records the time.
    Before { was_ms: Option<i64>, to_ms: i64 },
    /// Some of its records.
    Erase(Erased),
}

/// A block without some of its records. The key stays, with the time of what was its last record, so the
/// stream reports a change and not a new block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// Number of records that the block has. The removal fails if another removed some meanwhile.
    pub was_count: u32,
    /// Records before this time were already subtracted from the counters (ms).
    pub was_pruned_ms: Option<i64>,
    /// `None`: nothing is left, and the block is removed.
    pub left: Option<Rewritten>,
}

/// What is left of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// Fits one item.
    pub data: Vec<u8>,
    pub count: u32,
    pub levels: LevelCounts,
    pub unknown_levels: u32,
}

/// Whether and where the records of a block are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedIn {
    /// Counted, but not from a file.
    Counters,
    /// In the counters, and in the counts of its file, which must have this revision.
    File { revision: u64 },
    /// Not counted: its file has not counted it and will not.
    Nowhere,
}

/// A removal, and what it subtracts from the counters.
#[derive(Debug, Clone)]
pub struct CountedRemoval {
    pub header: BlockHeader,
    /// Number of the block's extents.
    pub extents: u8,
    pub removal: Removal,
    pub counts: DayCounts,
    pub counted_in: CountedIn,
}

/// The result of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    Yes,
    /// The block was not as expected; nothing changed.
    BlockDiffers,
    /// The counts of its file were not as expected; nothing changed.
    CountDiffers,
}

/// Stores and removes records that belong to no file.
pub trait Records: Send + Sync {
    /// Returns the memo of a key, even if it has expired.
    ///
    /// # Errors
    /// The read failed.
    fn memo(
        &self,
        app_id: &AppId,
        key_hash: &[u8; 32],
    ) -> impl Future<Output = Result<Option<Memo>, Fault>> + Send;

    /// Stores blocks, their counts and the memo in one transaction.
    ///
    /// # Errors
    /// The transaction failed. After a `Timeout` it may have been processed. `Transient` if a record is
    /// older than what was hidden meanwhile.
    fn write(&self, write: &Write) -> impl Future<Output = Result<Written, Fault>> + Send;

    /// Returns the counts of an object and day.
    ///
    /// # Errors
    /// The read failed.
    fn counted(
        &self,
        object: &ObjectRef,
        day: Day,
    ) -> impl Future<Output = Result<Option<Counted>, Fault>> + Send;

    /// Removes from a block, from the counters and from the counts of its file in one transaction.
    ///
    /// # Errors
    /// The write failed; retry.
    fn remove_counted(&self, removal: &CountedRemoval)
    -> impl Future<Output = Result<Removed, Fault>> + Send;
}
