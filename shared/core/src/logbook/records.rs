//! Writing and removing records outside of files: blocks and their counters in one step.

use std::collections::BTreeMap;

use crate::model::app::AppId;
use crate::model::block::{Block, BlockHeader};
use crate::model::counted::Counted;
use crate::model::day_counts::DayCounts;
use crate::model::expiry::Expiring;
use crate::model::fault::Fault;
use crate::model::ids::{Seed, WriteId};
use crate::model::object::ObjectRef;
use crate::model::time::Day;

/// What is remembered of a write with an idempotency key, so that a repeat gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memo {
    pub body_hash: [u8; 32],
    /// When the first request arrived (ms): the time of entries that have none.
    pub arrived_ms: i64,
    /// The request id that the first request gave its entries.
    pub request_id: Option<String>,
    /// Tells apart uses of one key that are more than its lifetime apart.
    pub salt: Option<i64>,
    /// When the key may be used anew (s since the epoch).
    pub expires_at_secs: i64,
}

/// What the memo's row must be for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoExpected {
    Absent,
    /// The memo of the request that arrived then (ms).
    ArrivedAt(i64),
}

/// A memo to be written along with the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoChange {
    /// Hash of the idempotency key.
    pub key_hash: [u8; 32],
    pub memo: Memo,
    pub expected: MemoExpected,
}

/// A write that takes more than one transaction. It is kept whole before the first of them, so that
/// whoever comes across it can finish it: a crash leaves all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongWrite {
    pub app_id: AppId,
    pub epoch_ms: i64,
    pub seed: Seed,
    pub arrived_ms: i64,
    /// For entries that have none themselves.
    pub request_id: Option<String>,
    pub retention_days: u32,
    /// The entries, packed.
    pub entries: Vec<u8>,
    /// Parts before this one are stored.
    pub next_part: u32,
    /// When it may be forgotten, finished or not (s since the epoch).
    pub expires_at_secs: i64,
}

/// Which part of a long write a [`Write`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub write_id: WriteId,
    pub part: u32,
    pub last: bool,
}

/// What became of the beginning of a long write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    Yes,
    /// The memo was not as expected; nothing was kept.
    MemoDiffers,
    /// There is no such app (any more); nothing was kept.
    NoApp,
}

/// Blocks and their counts: stored together or not at all. At most 100 items and 4 MB.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
#[derive(Debug, Clone)]
pub struct Write {
    pub app_id: AppId,
    pub epoch_ms: i64,
    pub blocks: Vec<Block>,
    pub days: BTreeMap<Day, Expiring>,
    /// The counter row to add to.
    pub counter: u8,
    pub memo: Option<MemoChange>,
    pub step: Option<Step>,
}

impl Write {
    /// The time of its oldest record of a day (ms), as far as its blocks tell.
    #[must_use]
    pub fn first_ms(&self, day: Day) -> i64 {
        let own = self.blocks.iter().filter(|block| block.header.day() == day);
        own.map(|block| block.header.first_ms).min().unwrap_or(i64::MAX)
    }
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Stored,
    /// The memo was not as expected; nothing was stored.
    MemoDiffers,
    /// One of the blocks exists already; nothing was stored. Only checked where there is a memo.
    BlockExists,
    /// The part is not the long write's next one: somebody has stored it. Nothing was stored.
    NotNext,
}

/// What is taken from a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The whole block.
    Block,
    /// Its records before this time (ms), after those before `was_ms` that were taken already.
    /// The block stays as it is and remembers the time.
    Before { was_ms: Option<i64>, to_ms: i64 },
}

/// Whether and where the records of a block are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedIn {
    /// In the counters alone: no file's.
    Counters,
    /// In the counters and in what is counted of its file, which must be of this revision.
    File { revision: u64 },
    /// Nowhere: its file has not counted it, and will not.
    Nowhere,
}

/// A removal and what it takes from the counters.
#[derive(Debug, Clone)]
pub struct CountedRemoval {
    pub header: BlockHeader,
    /// Items behind the block's own.
    pub extents: u8,
    pub removal: Removal,
    pub counts: DayCounts,
    pub counted_in: CountedIn,
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    Yes,
    /// The block was not as expected; nothing changed.
    BlockDiffers,
    /// What is counted of its file was not as expected; nothing changed.
    CountDiffers,
}

/// Stores and removes records that belong to no file.
pub trait Records: Send + Sync {
    /// What is remembered of a key; also when it has expired.
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
    /// The transaction failed. After a `Timeout` it may have been carried out. `Transient` when a
    /// record is older than what was hidden meanwhile.
    fn write(&self, write: &Write) -> impl Future<Output = Result<Written, Fault>> + Send;

    /// Keeps a long write along with its memo, and notes it at its app: from then on it counts.
    ///
    /// # Errors
    /// The transaction failed. After a `Timeout` it may have been carried out.
    fn begin(
        &self,
        write: &LongWrite,
        memo: Option<&MemoChange>,
    ) -> impl Future<Output = Result<Begun, Fault>> + Send;

    /// A long write that was begun; `None` once its last part is stored.
    ///
    /// # Errors
    /// The read failed.
    fn begun(
        &self,
        app_id: &AppId,
        write_id: WriteId,
    ) -> impl Future<Output = Result<Option<LongWrite>, Fault>> + Send;

    /// Takes the note of a finished write from its app, and what is left of it from the table.
    ///
    /// # Errors
    /// A write failed. Repeat it.
    fn end(
        &self,
        app_id: &AppId,
        epoch_ms: i64,
        write_id: WriteId,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// What is counted of an object and day.
    ///
    /// # Errors
    /// The read failed.
    fn counted(
        &self,
        object: &ObjectRef,
        day: Day,
    ) -> impl Future<Output = Result<Option<Counted>, Fault>> + Send;

    /// Removes from a block, from the counters and from what is counted of its file in one step.
    ///
    /// # Errors
    /// The write failed. Repeat it.
    fn remove_counted(&self, removal: &CountedRemoval)
    -> impl Future<Output = Result<Removed, Fault>> + Send;
}
