//! Blocks of one partition, newest last record first, read in pages that grow.

use std::collections::VecDeque;

use logferry_domain::block::Block;
use logferry_domain::fault::Fault;
use logferry_domain::hex128::BlockId;
use logferry_ports::BlockTable;
use logferry_ports::blocks::{BlockPosition, BlockRange};

use crate::cursor::Position;

/// Items of the first page, and of the largest where blocks are of their target size.
pub(crate) const FIRST_PAGE: u32 = 1;
const LARGEST_PAGE: u32 = 16;

/// Items of the largest page of small blocks, and what a page is to hold (bytes): a Query answers
/// with 1 MB at most. <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html>
const LARGEST_SMALL_PAGE: usize = 256;
const PAGE_BYTES: usize = 1024 * 1024;

enum Next {
    Start,
    After(BlockPosition),
    End,
}

/// One partition's blocks, of which some are read.
pub(crate) struct Feed {
    range: BlockRange,
    /// Which of the apps that are asked about.
    pub app: usize,
    read: VecDeque<Block>,
    next: Next,
    limit: u32,
    /// All records of unread blocks are below.
    unread_below: Position,
}

/// What reading a page has cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PageCost {
    pub blocks: usize,
    pub data_bytes: usize,
    pub units: f64,
}

impl Feed {
    pub(crate) fn new(range: BlockRange, app: usize, first_page: u32) -> Self {
        let unread_below =
            Position { timestamp_ms: range.last_ms_to, block_id: BlockId([u8::MAX; 16]), ordinal: u64::MAX };
        Self { range, app, read: VecDeque::new(), next: Next::Start, limit: first_page, unread_below }
    }

    /// All records still to come are below; `None` when none are to come.
    pub(crate) fn bound(&self) -> Option<Position> {
        match (self.read.front(), &self.next) {
            (Some(block), _) => Some(place(block, u64::MAX)),
            (None, Next::End) => None,
            (None, Next::Start | Next::After(_)) => Some(self.unread_below),
        }
    }

    /// Whether the next block must be fetched.
    pub(crate) fn is_dry(&self) -> bool {
        self.read.is_empty() && !matches!(self.next, Next::End)
    }

    pub(crate) fn pop(&mut self) -> Option<Block> {
        self.read.pop_front()
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Reads the next page.
    pub(crate) async fn fetch(&mut self, table: &impl BlockTable) -> Result<PageCost, Fault> {
        let after = match &self.next {
            Next::Start => None,
            Next::After(position) => Some(position),
            Next::End => return Ok(PageCost::default()),
        };
        let page = table.newest(&self.range, self.limit, after).await?;
        let data_bytes = page.blocks.iter().map(|block| block.data.len()).sum();
        let cost = PageCost { blocks: page.blocks.len(), data_bytes, units: page.read_units };
        if let Some(last) = page.blocks.last() {
            self.unread_below = place(last, 0);
        }
        self.limit = next_limit(self.limit, cost.blocks, data_bytes);
        self.read.extend(page.blocks);
        self.next = page.next.map_or(Next::End, Next::After);
        Ok(cost)
    }
}

/// The greatest position (of an ordinal) that a record of this block can have. Blocks come in this
/// order.
fn place(block: &Block, ordinal: u64) -> Position {
    Position { timestamp_ms: block.header.last_ms, block_id: block.header.block_id, ordinal }
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
