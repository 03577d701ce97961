//! Blocks of one partition, newest last record first, read in pages that grow: with their data, or,
//! where very many partitions are read, their headers first.

use std::collections::VecDeque;

use crate::logbook::blocks::{BlockPosition, BlockRange, BlockTable, StoredBlock, StoredHeader};
use crate::model::block::BlockHeader;
use crate::model::fault::Fault;

use crate::logbook::cursor::Position;

/// Items of the first page, and of the largest where blocks are of their target size.
pub(crate) const FIRST_PAGE: u32 = 1;
const LARGEST_PAGE: u32 = 16;

/// Items of the largest page of small blocks, and what a page is to hold (bytes): a Query answers
/// with 1 MB at most. <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html>
const LARGEST_SMALL_PAGE: usize = 256;
const PAGE_BYTES: usize = 1024 * 1024;

/// Bytes of an item beside its data.
pub(crate) const HEADER_BYTES: usize = 512;

enum Next {
    Start,
    After(BlockPosition),
    End,
}

/// A block that was read and not yet looked into.
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

    /// No record of this block is above.
    fn place(&self) -> Position {
        place(self.header())
    }
}

/// One partition's blocks, of which some are read.
pub(crate) struct Feed {
    range: BlockRange,
    /// Which of the apps that are asked about.
    pub app: usize,
    /// Only headers are read.
    headers: bool,
    /// Blocks above are left out.
    from: Position,
    pub read: VecDeque<Head>,
    next: Next,
    limit: u32,
    /// All records of unread blocks are below.
    unread_below: Position,
}

/// What reading a page has cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PageCost {
    pub blocks: usize,
    /// Blocks whose data is held now.
    pub held: usize,
    pub unreadable: u32,
    /// Data and headers.
    pub bytes: usize,
    pub units: f64,
}

impl Feed {
    /// `range` ends at or before `from`.
    pub(crate) fn new(range: BlockRange, from: Position, app: usize, first_page: u32, headers: bool) -> Self {
        let unread_below = Position::end_of(range.last_ms_to).min(from);
        let read = VecDeque::new();
        Self { range, app, headers, from, read, next: Next::Start, limit: first_page, unread_below }
    }

    /// All records still to come are below; `None` when none are to come.
    pub(crate) fn bound(&self) -> Option<Position> {
        match (self.read.front(), &self.next) {
            (Some(head), _) => Some(head.place()),
            (None, Next::End) => None,
            (None, Next::Start | Next::After(_)) => Some(self.unread_below),
        }
    }

    /// Whether the next block must be fetched.
    pub(crate) fn is_dry(&self) -> bool {
        self.read.is_empty() && !matches!(self.next, Next::End)
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Reads the next page. A call that is dropped before it ends has changed nothing.
    pub(crate) async fn fetch(&mut self, table: &impl BlockTable) -> Result<PageCost, Fault> {
        let after = match &self.next {
            Next::Start => None,
            Next::After(position) => Some(position),
            Next::End => return Ok(PageCost::default()),
        };
        let mut cost = PageCost::default();
        let (heads, next): (Vec<Head>, _) = if self.headers {
            let page = table.headers(&self.range, self.limit, after).await?;
            (cost.units, cost.unreadable) = (page.read_units, page.unreadable);
            (page.blocks.into_iter().map(|stored| Head::Header(Box::new(stored))).collect(), page.next)
        } else {
            let page = table.newest(&self.range, self.limit, after).await?;
            (cost.units, cost.unreadable) = (page.read_units, page.unreadable);
            cost.bytes = page.blocks.iter().map(|stored| stored.block.data.len()).sum();
            (page.blocks.into_iter().map(|stored| Head::Block(Box::new(stored))).collect(), page.next)
        };
        cost.blocks = heads.len();
        self.limit = match self.headers {
            // They cost as much as their blocks, and few are wanted of each of very many partitions.
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

/// The greatest position that a record of this block can have. Blocks come in this order.
pub(crate) fn place(header: &BlockHeader) -> Position {
    Position::of_block(header.last_ms, header.block_id)
}

/// How many items the next page asks for: twice as many up to 16, and more where blocks are small.
fn next_limit(limit: u32, blocks: usize, data_bytes: usize) -> u32 {
    let doubled = (limit * 2).clamp(1, LARGEST_PAGE.max(limit));
    let fitting = PAGE_BYTES / (data_bytes / blocks.max(1)).max(1024);
    let small = u32::try_from(fitting.min(LARGEST_SMALL_PAGE)).unwrap_or(LARGEST_PAGE);
    if blocks == 0 || small <= LARGEST_PAGE {
        return doubled;
    }
    // One small block may be the end of a file, with large ones behind it.
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
