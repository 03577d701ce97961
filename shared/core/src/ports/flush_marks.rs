//! Progress of `flush` per block, in case the stream delivers the block again.

use crate::model::block::Partition;
use crate::model::fault::Fault;
use crate::model::ids::BlockId;

/// A block as delivered by one stream record. The sequence number distinguishes insertions of the same
/// block: a file that is packed again has blocks with the same ids and other contents.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Insertion {
    pub partition: Partition,
    pub block_id: BlockId,
    pub sequence: String,
}

/// What was sent of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMark {
    /// All of it.
    Through,
    /// The entries before `entry`, and the first `piece` of its `pieces` pieces.
    Part { entry: u32, piece: u32, pieces: u32 },
}

/// Stores a mark per insertion. A mark applies to its insertion only. It can never hide an unsent block, in
/// whatever order the shards of the stream deliver their records, and concurrent writers never overwrite
/// each other's marks. A lost mark causes duplicates, never lost records.
pub trait FlushMarks: Send + Sync {
    /// Returns the existing marks of these insertions, strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn find(
        &self,
        insertions: &[Insertion],
    ) -> impl Future<Output = Result<Vec<(Insertion, FlushMark)>, Fault>> + Send;

    /// Writes marks, replacing existing ones.
    ///
    /// # Errors
    /// A write failed; any of the marks may have been stored.
    fn set(
        &self,
        marks: &[(Insertion, FlushMark)],
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}
