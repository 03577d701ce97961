//! The order in which the blocks of an app arrived, for readers that follow what is new.
//!
//! A log of arrivals has rows with consecutive numbers. A row is appended under the number after the newest one, and
//! only if that number is free: a writer that has read up to the newest row therefore knows every earlier arrival, and
//! a reader that has seen a row never misses an earlier one. No clock takes part in this order.

use crate::model::app::AppId;
use crate::model::block::{BlockHeader, BlockPlace, Partition};
use crate::model::fault::Fault;
use crate::model::ids::{BlockId, Seed};
use crate::model::level::{Level, LevelCounts};
use crate::model::time::Day;

/// How long arrivals can be read (ms): longer than the 12 hours for which the stream delivers a batch again.
pub const KEEP_MS: i64 = 24 * 3_600_000;

/// How long a row is stored at least (ms).
pub const STORED_MS: i64 = 2 * KEEP_MS;

/// Maximum number of arrivals in a row: about 3 KiB, so that the rows of a read are one page of DynamoDB. A batch of
/// the stream has no more.
pub const MAX_ROW_ARRIVALS: usize = 100;

/// Identifies the log of an app. The log of an earlier registration is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArrivalLogId {
    pub app_id: AppId,
    /// When the app was registered (ms).
    pub registered_ms: i64,
}

/// The arrival of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockArrival {
    pub block_id: BlockId,
    pub last_ms: i64,
    /// Distinguishes insertions of the same block, by a hash of the stream's sequence number: a file that is packed
    /// again has blocks with the same ids.
    pub insertion: [u8; 8],
    pub levels: LevelSet,
}

/// The levels that occur in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LevelSet(pub u8);

impl LevelSet {
    const ALL: Self = Self(u8::MAX);

    fn of(levels: &LevelCounts) -> Self {
        let bits = levels.iter().filter(|(_, count)| *count != 0).map(|(level, _)| 1 << level as u8);
        Self(bits.fold(0, |set, bit| set | bit))
    }

    /// Returns one record for each level.
    #[must_use]
    pub fn counts(self) -> LevelCounts {
        let mut counts = LevelCounts::default();
        Level::ALL
            .into_iter()
            .filter(|level| self.0 & 1 << *level as u8 != 0)
            .for_each(|level| counts.count(level));
        counts
    }
}

/// Bytes of an arrival in a row.
pub(crate) const ARRIVAL_BYTES: usize = 16 + 8 + 8 + 1;

impl BlockArrival {
    #[must_use]
    pub fn of(header: &BlockHeader, sequence: &str) -> Self {
        let mut insertion = [0; 8];
        insertion.copy_from_slice(&Seed::of(&[sequence.as_bytes()]).0[..8]);
        let (block_id, last_ms) = (header.block_id, header.last_ms);
        // A header without counts says nothing of its levels.
        let levels = if header.says_levels() { LevelSet::of(&header.levels) } else { LevelSet::ALL };
        Self { block_id, last_ms, insertion, levels }
    }

    #[must_use]
    pub fn place(&self, app_id: &AppId) -> BlockPlace {
        let (day, shard) = (Day::of_ms(self.last_ms), self.block_id.shard());
        let partition = Partition { app_id: app_id.clone(), day, shard };
        BlockPlace { partition, last_ms: self.last_ms, block_id: self.block_id }
    }

    /// Returns the arrivals as the bytes that a row stores.
    #[must_use]
    pub fn to_bytes(arrivals: &[Self]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(arrivals.len() * ARRIVAL_BYTES);
        for arrival in arrivals {
            bytes.extend_from_slice(&arrival.block_id.0);
            bytes.extend_from_slice(&arrival.last_ms.to_be_bytes());
            bytes.extend_from_slice(&arrival.insertion);
            bytes.push(arrival.levels.0);
        }
        bytes
    }

    /// Reads the bytes of a row; `None` if they are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Vec<Self>> {
        let chunks = bytes.chunks_exact(ARRIVAL_BYTES);
        if !chunks.remainder().is_empty() {
            return None;
        }
        let read = |chunk: &[u8]| {
            let (block_id, rest) = chunk.split_first_chunk::<16>()?;
            let (last_ms, rest) = rest.split_first_chunk::<8>()?;
            let (insertion, rest) = rest.split_first_chunk::<8>()?;
            let (block_id, last_ms) = (BlockId(*block_id), i64::from_be_bytes(*last_ms));
            Some(Self { block_id, last_ms, insertion: *insertion, levels: LevelSet(*rest.first()?) })
        };
        chunks.map(read).collect()
    }
}

/// Blocks that arrived together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivalRow {
    /// From 1 on.
    pub number: u64,
    /// Changes when the rows before may have been deleted, so that their numbers may be used again. A later
    /// generation is a higher number.
    pub generation: i64,
    /// When the row was written (ms); never before the row before it.
    pub at_ms: i64,
    pub arrivals: Vec<BlockArrival>,
}

/// Stores the rows of logs, and deletes each some time after [`STORED_MS`], in any order. All reads are strongly consistent.
pub trait ArrivalLog: Send + Sync {
    /// Returns at most `limit` rows from this number on, the lowest first.
    ///
    /// # Errors
    /// The read failed.
    fn from(
        &self,
        log: &ArrivalLogId,
        number: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<ArrivalRow>, Fault>> + Send;

    /// Returns at most `limit` rows below this number, or the newest, the highest first.
    ///
    /// # Errors
    /// The read failed.
    fn newest(
        &self,
        log: &ArrivalLogId,
        below: Option<u64>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<ArrivalRow>, Fault>> + Send;

    /// Stores a row, unless there is one with its number: then it returns `false`.
    ///
    /// # Errors
    /// The write failed; the row may have been stored.
    fn append(
        &self,
        log: &ArrivalLogId,
        row: &ArrivalRow,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_read_back_from_the_bytes_of_a_row() {
        let arrival = |n: u8| BlockArrival {
            block_id: BlockId([n; 16]),
            last_ms: 1_743_532_441_581 + i64::from(n),
            insertion: [n; 8],
            levels: LevelSet(n % 16),
        };
        let arrivals: Vec<_> = (0..40).map(arrival).collect();
        let bytes = BlockArrival::to_bytes(&arrivals);
        assert_eq!(BlockArrival::from_bytes(&bytes), Some(arrivals));
        assert_eq!(BlockArrival::from_bytes(&bytes[1..]), None);
        assert!(BlockArrival::to_bytes(&vec![arrival(1); MAX_ROW_ARRIVALS]).len() <= 33 * 1024);
    }

    #[test]
    fn a_set_of_levels_has_those_that_occur() {
        let set = LevelSet::of(&LevelCounts::new(0, 7, 0, 1));
        assert_eq!(set.counts(), LevelCounts::new(0, 1, 0, 1));
        assert_eq!(LevelSet::of(&LevelCounts::default()).counts(), LevelCounts::default());
    }
}
