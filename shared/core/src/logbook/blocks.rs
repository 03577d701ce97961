//! The `logs` table.

use crate::model::block::{Block, BlockHeader, Partition, Payload};
use crate::model::day_counts::DayCounts;
use crate::model::fault::{Fault, FaultClass};

/// A stretch of a partition, both ends included: blocks whose last record lies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRange {
    pub partition: Partition,
    pub last_ms_from: i64,
    pub last_ms_to: i64,
}

/// Where a range is gone on with. Opaque; made by [`BlockTable::newest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPosition(pub String);

/// Some blocks of a range, newest last record first.
#[derive(Debug, Clone, Default)]
pub struct BlockPage {
    pub blocks: Vec<StoredBlock>,
    /// Items whose attributes are not those of a block; they are not among `blocks`.
    pub unreadable: u32,
    /// `None`: the range is exhausted.
    pub next: Option<BlockPosition>,
    /// Read units that DynamoDB charged.
    pub read_units: f64,
}

/// A block as a range of the table shows it. Extents are joined only where they came along:
/// [`BlockTable::payload`] fetches the others, for those who want the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlock {
    /// Its `data` is all of the data if `whole`, else that of the block's own item.
    pub block: Block,
    pub extents: u8,
    pub whole: bool,
}

/// A block without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHeader {
    pub header: BlockHeader,
    pub extents: u8,
    /// Records before this time (ms) were taken from the counters.
    pub pruned_to_ms: Option<i64>,
}

/// Some blocks of a range without their data, newest first.
#[derive(Debug, Clone, Default)]
pub struct HeaderPage {
    pub blocks: Vec<StoredHeader>,
    /// Items whose attributes are not those of a block; they are not among `blocks`.
    pub unreadable: u32,
    /// `None`: the range is exhausted.
    pub next: Option<BlockPosition>,
    /// Read units that DynamoDB charged: those of the whole items.
    pub read_units: f64,
}

/// Stores, reads and removes blocks. A block is visible whole or not at all: where it needs extents, they
/// are stored before it.
pub trait BlockTable: Send + Sync {
    /// Stores blocks, replacing those of the same key, in one request where they fit (25 items and
    /// 16 MB). Returns those that were not taken; the caller repeats them after a pause.
    ///
    /// # Errors
    /// The request as a whole failed; any of the blocks may have been stored.
    fn put(&self, blocks: Vec<Block>) -> impl Future<Output = Result<Vec<Block>, Fault>> + Send;

    /// Removes blocks, without regard to counters; but not one that has meanwhile been replaced by
    /// one of another epoch or packing. Those that are gone already count as removed.
    ///
    /// # Errors
    /// A write failed; some may be gone. Repeat it.
    fn remove(&self, blocks: &[StoredHeader]) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The next blocks of the range, newest first, at most `limit` items, strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn newest(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> impl Future<Output = Result<BlockPage, Fault>> + Send;

    /// The next blocks of a range without data, newest first, at most `limit` items, strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn headers(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> impl Future<Output = Result<HeaderPage, Fault>> + Send;

    /// The block of a header as it is now, strongly consistent; `None` if it is gone or unreadable.
    ///
    /// # Errors
    /// The read failed.
    fn find(&self, header: &BlockHeader) -> impl Future<Output = Result<Option<StoredBlock>, Fault>> + Send;

    /// All data of a block whose item says that it has this many extents, `first` being the item's own.
    ///
    /// # Errors
    /// `NotFound` when an extent is missing.
    fn with_extents(
        &self,
        header: &BlockHeader,
        first: Vec<u8>,
        extents: u8,
    ) -> impl Future<Output = Result<Vec<u8>, Fault>> + Send;

    /// The entries of a block; `None` if it cannot be read: an extent is missing, as when DynamoDB
    /// has deleted some of an expired block's items, or the data is damaged.
    ///
    /// # Errors
    /// A read failed.
    fn payload(&self, stored: &StoredBlock) -> impl Future<Output = Result<Option<Payload>, Fault>> + Send {
        async move {
            let Block { header, data } = &stored.block;
            if stored.whole {
                return Ok(Payload::decode(data).ok());
            }
            match self.with_extents(header, data.clone(), stored.extents).await {
                Ok(data) => Ok(Payload::decode(&data).ok()),
                Err(fault) if fault.class == FaultClass::NotFound => Ok(None),
                Err(fault) => Err(fault),
            }
        }
    }

    /// Its records from one time on and before another (ms); of a block that cannot be read, what its
    /// header says.
    ///
    /// # Errors
    /// A read failed.
    fn counts(
        &self,
        stored: &StoredBlock,
        from_ms: Option<i64>,
        to_ms: Option<i64>,
    ) -> impl Future<Output = Result<DayCounts, Fault>> + Send {
        async move {
            Ok(match self.payload(stored).await? {
                Some(payload) => payload.counts(from_ms, to_ms),
                None => stored.block.header.counts_unread(from_ms, to_ms),
            })
        }
    }
}
