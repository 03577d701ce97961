//! How far flush got with a partition of the `logs` table, for the case that an invocation dies.

use logferry_domain::block::Partition;
use logferry_domain::fault::Fault;

/// A position inside a record of the stream: its entries before `entry` are through, and of that
/// entry `piece` pieces of `pieces`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartMark {
    pub sequence: String,
    pub entry: u32,
    pub piece: u32,
    pub pieces: u32,
}

/// Stream records of one partition that are through: those from `from` to `through`, both
/// included, except `open`; and the beginning of one more. Sequence numbers as the stream gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlushMark {
    pub from: String,
    /// `None`: no record is through as a whole.
    pub through: Option<String>,
    pub open: Vec<String>,
    pub part: Option<PartMark>,
}

/// Keeps one mark per partition. A mark that is lost costs duplicates, never records.
pub trait FlushMarks: Send + Sync {
    /// The marks there are; strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn find(
        &self,
        partitions: &[Partition],
    ) -> impl Future<Output = Result<Vec<(Partition, FlushMark)>, Fault>> + Send;

    /// Replaces the partition's mark.
    ///
    /// # Errors
    /// The write failed; the mark may have been stored.
    fn set(
        &self,
        partition: &Partition,
        mark: &FlushMark,
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}
