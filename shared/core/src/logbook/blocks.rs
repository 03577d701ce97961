//! The `logs` table: blocks.

use crate::model::block::{Block, BlockHeader, BlockPlace, Partition, Payload};
use crate::model::day_counts::DayCounts;
use crate::model::fault::{Fault, FaultClass};

/// A range of a partition, both ends included: blocks whose last record lies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRange {
    pub partition: Partition,
    pub last_ms_from: i64,
    pub last_ms_to: i64,
}

/// Where reading of a range continues. Opaque; newer positions are greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockPosition(pub String);

/// A page of blocks of a range, newest last record first.
#[derive(Debug, Clone, Default)]
pub struct BlockPage {
    pub blocks: Vec<StoredBlock>,
    /// Number of items that are not valid blocks. They are not in `blocks`.
    pub unreadable: u32,
    /// `None` if the range is exhausted.
    pub next: Option<BlockPosition>,
    /// Read units charged by DynamoDB.
    pub read_units: f64,
}

/// A block as read from a range. Extents are joined only if they were on the same page;
/// [`BlockTable::payload`] fetches the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlock {
    /// All of the data if `whole`, else the data of the block's own item.
    pub block: Block,
    pub extents: u8,
    pub whole: bool,
}

/// A block without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHeader {
    pub header: BlockHeader,
    pub extents: u8,
    /// Records before this time (ms) were subtracted from the counters.
    pub pruned_to_ms: Option<i64>,
}

impl StoredHeader {
    /// Returns the position after which the next older blocks are.
    #[must_use]
    pub fn position(&self) -> BlockPosition {
        BlockPosition(self.header.sort_key())
    }
}

/// A page of blocks of a range without their data, newest first.
#[derive(Debug, Clone, Default)]
pub struct HeaderPage {
    pub blocks: Vec<StoredHeader>,
    /// Where items are that are no valid blocks. They are not in `blocks`.
    pub unreadable: Vec<BlockPosition>,
    /// `None` if the range is exhausted.
    pub next: Option<BlockPosition>,
    /// Read units charged by DynamoDB: those of the whole items.
    pub read_units: f64,
}

impl HeaderPage {
    /// Returns the number of items that are not valid blocks.
    pub(crate) fn skipped(&self) -> u32 {
        u32::try_from(self.unreadable.len()).unwrap_or(u32::MAX)
    }
}

/// Stores, reads and removes blocks. A block is visible completely or not at all: its extents are stored
/// before it.
pub trait BlockTable: Send + Sync {
    /// Stores blocks, replacing those with the same key, in one request if they fit (25 items and 16 MB).
    /// Returns the unprocessed blocks, which the caller retries after a pause.
    ///
    /// # Errors
    /// The request failed as a whole. Any of the blocks may have been stored.
    fn put(&self, blocks: Vec<Block>) -> impl Future<Output = Result<Vec<Block>, Fault>> + Send;

    /// Removes blocks without changing counters. A block that was replaced by one of another epoch or
    /// packing is kept. Missing blocks count as removed.
    ///
    /// # Errors
    /// A write failed. Some blocks may be removed; retry.
    fn remove(&self, blocks: &[StoredHeader]) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Returns the next blocks of the range, newest first, at most `limit` items, strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn newest(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> impl Future<Output = Result<BlockPage, Fault>> + Send;

    /// Returns the next blocks of a range without data, newest first, at most `limit` items, strongly
    /// consistent. A listing may continue after any block, at the position [`StoredHeader::position`].
    ///
    /// # Errors
    /// The read failed.
    fn headers(
        &self,
        range: &BlockRange,
        limit: u32,
        after: Option<&BlockPosition>,
    ) -> impl Future<Output = Result<HeaderPage, Fault>> + Send;

    /// Returns the block at this place, strongly consistent; `None` if it is missing or unreadable.
    ///
    /// # Errors
    /// The read failed.
    fn at(&self, place: &BlockPlace) -> impl Future<Output = Result<Option<StoredBlock>, Fault>> + Send;

    /// Returns the current block of a header, as [`BlockTable::at`].
    ///
    /// # Errors
    /// The read failed.
    fn find(&self, header: &BlockHeader) -> impl Future<Output = Result<Option<StoredBlock>, Fault>> + Send {
        async move { self.at(&header.place()).await }
    }

    /// Returns all data of a block with this many extents; `first` is the data of its own item.
    ///
    /// # Errors
    /// `NotFound` if an extent is missing.
    fn with_extents(
        &self,
        header: &BlockHeader,
        first: Vec<u8>,
        extents: u8,
    ) -> impl Future<Output = Result<Vec<u8>, Fault>> + Send;

    /// Returns the entries of a block. `None` if it cannot be read: its data is damaged, or an extent is
    /// missing, for example because DynamoDB has deleted some items of an expired block.
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

    /// Counts its records from `from_ms` on and before `to_ms`. For an unreadable block, uses the counts of
    /// its header.
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
