//! Cursors: a position in the order of records, the block from which to continue, and a hash of the query,
//! so that a cursor works only for the query that returned it.

use crate::model::ids::BlockId;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A position in the order of records: by time, then by block, then by position in the block's source.
/// Results go from the newest to the oldest. Blocks are read in the same order, so even of a million
/// records of one millisecond (a file without times), only as many are read as requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub timestamp_ms: i64,
    pub block_id: BlockId,
    pub ordinal: u64,
}

impl Position {
    /// All records of a block that ends at this time are at or below this position.
    pub(crate) fn of_block(last_ms: i64, block_id: BlockId) -> Self {
        Self { timestamp_ms: last_ms, block_id, ordinal: u64::MAX }
    }

    /// The newest position of a millisecond.
    pub(crate) fn end_of(timestamp_ms: i64) -> Self {
        Self::of_block(timestamp_ms, BlockId([u8::MAX; 16]))
    }
}

/// Where the next page starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Records at or above this position were returned, or do not match.
    pub below: Position,
    /// Blocks above this position have no more matches, so they are not read again. It is above `below` if
    /// blocks overlap.
    pub from: Position,
    /// When the first page was requested (ms): relative bounds of time stay the same on all pages.
    pub asked_ms: i64,
}

const VERSION: u8 = 3;
const POSITION_BYTES: usize = 8 + 16 + 8;
const BYTES: usize = 1 + 8 + 2 * POSITION_BYTES + 16;

/// Hash of a query: the scope (an app, or all) and the filters.
pub type QuestionHash = [u8; 16];

/// Encodes a cursor.
#[must_use]
pub fn encode(cursor: &Cursor, question: &QuestionHash) -> String {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&cursor.asked_ms.to_be_bytes());
    for position in [&cursor.below, &cursor.from] {
        bytes.extend_from_slice(&position.timestamp_ms.to_be_bytes());
        bytes.extend_from_slice(&position.block_id.0);
        bytes.extend_from_slice(&position.ordinal.to_be_bytes());
    }
    bytes.extend_from_slice(question);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a cursor. `None` if it is invalid, or belongs to another query.
#[must_use]
pub fn decode(text: &str, question: &QuestionHash) -> Option<Cursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let bytes: &[u8; BYTES] = bytes.as_slice().try_into().ok()?;
    let (&version, rest) = bytes.split_first()?;
    let (asked_ms, rest) = rest.split_first_chunk::<8>()?;
    let asked_ms = i64::from_be_bytes(*asked_ms);
    let (below, rest) = position(rest)?;
    let (from, hash) = position(rest)?;
    (version == VERSION && hash == question).then_some(Cursor { below, from, asked_ms })
}

fn position(bytes: &[u8]) -> Option<(Position, &[u8])> {
    let (time, rest) = bytes.split_first_chunk::<8>()?;
    let (block_id, rest) = rest.split_first_chunk::<16>()?;
    let (ordinal, rest) = rest.split_first_chunk::<8>()?;
    let position = Position {
        timestamp_ms: i64::from_be_bytes(*time),
        block_id: BlockId(*block_id),
        ordinal: u64::from_be_bytes(*ordinal),
    };
    Some((position, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_works_for_its_question_alone() {
        let below = Position { timestamp_ms: 1_743_532_441_581, block_id: BlockId([7; 16]), ordinal: 9 };
        let from = Position::of_block(1_743_532_449_999, BlockId([9; 16]));
        let cursor = Cursor { below, from, asked_ms: 1_743_532_450_000 };
        let text = encode(&cursor, &[1; 16]);
        assert_eq!(decode(&text, &[1; 16]), Some(cursor));
        assert_eq!(decode(&text, &[2; 16]), None);
        for bad in ["", "x", "!!!", &text[1..], &format!("{text}AA")] {
            assert_eq!(decode(bad, &[1; 16]), None, "{bad}");
        }
    }
}
