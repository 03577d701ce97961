//! Reads the blocks of a partition, newest last record first, in pages of growing size: with their data or,
//! for queries over very many partitions, their headers first.

use std::collections::VecDeque;

use crate::logbook::blocks::{BlockPosition, BlockRange, BlockTable, StoredBlock, StoredHeader};
use crate::model::block::BlockHeader;
use crate::model::fault::Fault;

use crate::logbook::cursor::Position;

/// Items on the first page, and on the largest one with blocks of the target size.
pub(crate) const FIRST_PAGE: u32 = 1;
const LARGEST_PAGE: u32 = 16;

/// Items on the largest page of small blocks, and the size that a page should have (bytes): a Query returns
/// at most 1 MB.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html>
const LARGEST_SMALL_PAGE: usize = 256;
const PAGE_BYTES: usize = 1024 * 1024;

/// Bytes of an item besides its data.
pub(crate) const HEADER_BYTES: usize = 512;

enum Next {
    Start,
    After(BlockPosition),
    End,
}

/// A block that was read and not yet inspected.
pub(crate) enum Head {
    Header(Box<StoredHeader>),
    Block(Box<StoredBlock>),
}

impl Head {
    pub(crate) fn header(&self) -> &BlockHeader {
        match self {
            Self::Header(stored) => &stored.header,
            Self::Block(stored) => &stored.block.header,
        }
    }

    /// All records of this block are at or below this position.
    fn place(&self) -> Position {
        place(self.header())
    }
}

/// The blocks of one partition, of which some are read.
pub(crate) struct BlockCursor {
    range: BlockRange,
    /// Index of the app among the queried apps.
    pub app: usize,
    /// Only headers are read.
    headers: bool,
    /// Blocks above this position are skipped.
    from: Position,
    pub read: VecDeque<Head>,
    next: Next,
    limit: u32,
    /// All records of unread blocks are below.
    unread_below: Position,
}

/// The cost of reading a page.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PageCost {
    pub blocks: usize,
    /// Blocks whose data is now in memory.
    pub held: usize,
    pub unreadable: u32,
    /// Data and headers.
    pub bytes: usize,
    pub units: f64,
}

impl BlockCursor {
    /// `range` ends at or before `from`.
    pub(crate) fn new(range: BlockRange, from: Position, app: usize, first_page: u32, headers: bool) -> Self {
        let unread_below = Position::end_of(range.last_ms_to).min(from);
        let read = VecDeque::new();
        Self { range, app, headers, from, read, next: Next::Start, limit: first_page, unread_below }
    }

    /// Returns the position that all remaining records are below; `None` if there are none.
    pub(crate) fn bound(&self) -> Option<Position> {
        match (self.read.front(), &self.next) {
            (Some(head), _) => Some(head.place()),
            (None, Next::End) => None,
            (None, Next::Start | Next::After(_)) => Some(self.unread_below),
        }
    }

    /// Whether the next page must be fetched.
    pub(crate) fn is_dry(&self) -> bool {
        self.read.is_empty() && !matches!(self.next, Next::End)
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Reads the next page. If the future is dropped before it ends, nothing has changed.
    pub(crate) async fn fetch(&mut self, table: &impl BlockTable) -> Result<PageCost, Fault> {
        let after = match &self.next {
            Next::Start => None,
            Next::After(position) => Some(position),
            Next::End => return Ok(PageCost::default()),
        };
        let mut cost = PageCost::default();
        let (heads, next): (Vec<Head>, _) = if self.headers {
            let page = table.headers(&self.range, self.limit, after).await?;
            (cost.units, cost.unreadable) = (page.read_units, page.skipped());
            (page.blocks.into_iter().map(|stored| Head::Header(Box::new(stored))).collect(), page.next)
        } else {
            let page = table.newest(&self.range, self.limit, after).await?;
            (cost.units, cost.unreadable) = (page.read_units, page.unreadable);
            cost.bytes = page.blocks.iter().map(|stored| stored.block.data.len()).sum();
            (page.blocks.into_iter().map(|stored| Head::Block(Box::new(stored))).collect(), page.next)
        };
        cost.blocks = heads.len();
        self.limit = match self.headers {
            // Headers cost as much as their blocks, and few are needed of each of very many partitions.
            true => (self.limit * 2).min(LARGEST_PAGE),
            false => next_limit(self.limit, cost.blocks, cost.bytes),
        };
        cost.bytes += heads.len() * HEADER_BYTES;
        if let Some(last) = heads.last() {
            self.unread_below = Position { ordinal: 0, ..last.place() }.min(self.unread_below);
        }
        let from = self.from;
        self.read.extend(heads.into_iter().filter(|head| head.place() <= from));
        cost.held = if self.headers { 0 } else { self.read.len() };
        self.next = next.map_or(Next::End, Next::After);
        Ok(cost)
    }
}

/// Returns the highest position that a record of this block can have. Blocks are ordered by it.
pub(crate) fn place(header: &BlockHeader) -> Position {
    Position::of_block(header.last_ms, header.block_id)
}

/// Returns the number of items for the next page: doubled up to 16, and more for small blocks.
fn next_limit(limit: u32, blocks: usize, data_bytes: usize) -> u32 {
    let doubled = (limit * 2).clamp(1, LARGEST_PAGE.max(limit));
    let fitting = PAGE_BYTES / (data_bytes / blocks.max(1)).max(1024);
    let small = u32::try_from(fitting.min(LARGEST_SMALL_PAGE)).unwrap_or(LARGEST_PAGE);
    if blocks == 0 || small <= LARGEST_PAGE {
        return doubled;
    }
    // One small block may be the end of a file, followed by large ones.
    (limit * if blocks == 1 { 4 } else { 16 }).min(small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_double_up_to_16_and_grow_faster_where_blocks_are_small() {
        let mut limits = vec![FIRST_PAGE];
        for _ in 0..4 {
            let last = limits[limits.len() - 1];
            limits.push(next_limit(last, 2, 2 * 64 * 1024));
        }
        assert_eq!(limits, [1, 2, 4, 8, 16]);
        assert_eq!(next_limit(16, 2, 2 * 64 * 1024), 16);
        assert_eq!([next_limit(1, 1, 600), next_limit(4, 4, 2400)], [4, 64]);
        assert_eq!(next_limit(128, 128, 128 * 300), 256);
        assert_eq!(next_limit(4, 0, 0), 8);
    }
}
