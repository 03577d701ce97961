//! How far flush got with each block, for the case that the stream brings it again.

use crate::model::block::Partition;
use crate::model::fault::Fault;
use crate::model::ids::BlockId;

/// A block as one record of the stream brought it. The sequence number tells apart two insertions of one
/// block: a file that is packed anew has blocks of the same ids with other contents.
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
    /// The entries before `entry`, and of that one `piece` pieces of `pieces`.
    Part { entry: u32, piece: u32, pieces: u32 },
}

/// Keeps a mark per insertion. A mark speaks of that insertion and of no other: it can hide nothing that
/// was not sent, whatever the order in which shards of the stream bring their records, and nobody who
/// writes marks at the same time overwrites those of another. A mark that is lost costs duplicates, never
/// records.
pub trait FlushMarks: Send + Sync {
    /// The marks that there are of these; strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn find(
        &self,
        insertions: &[Insertion],
    ) -> impl Future<Output = Result<Vec<(Insertion, FlushMark)>, Fault>> + Send;

    /// Writes marks over those that there are.
    ///
    /// # Errors
    /// A write failed; any of the marks may have been stored.
    fn set(
        &self,
        marks: &[(Insertion, FlushMark)],
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}
