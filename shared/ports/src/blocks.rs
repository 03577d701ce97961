//! The `logs` table.

use logferry_domain::block::{Block, BlockHeader, Partition};
use logferry_domain::fault::Fault;

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
    pub blocks: Vec<Block>,
    /// `None`: the range is exhausted.
    pub next: Option<BlockPosition>,
    /// Read units that DynamoDB charged.
    pub read_units: f64,
}

/// A block without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHeader {
    pub header: BlockHeader,
    pub extents: u8,
    /// Records before this time (ms) were taken from the counters.
    pub pruned_to_ms: Option<i64>,
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
}
