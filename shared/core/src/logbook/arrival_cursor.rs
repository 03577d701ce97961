//! Cursors of tails: a position in the log of arrivals, and a hash of the query.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::logbook::cursor::QuestionHash;
use crate::ports::arrivals::ArrivalRow;

/// A position in the order of arrival. All earlier rows were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArrivalCursor {
    /// Of the row that was read last, or is being read.
    pub(crate) generation: i64,
    /// 0 before the first row.
    pub(crate) number: u64,
    /// Blocks of this row before it were read; [`ROW_READ`] if all were.
    pub(crate) block: u32,
    /// Records of this block below it were read.
    pub(crate) ordinal: u64,
    /// All arrivals before this time (ms) were read.
    pub(crate) seen_ms: i64,
}

const ROW_READ: u32 = u32::MAX;
const VERSION: u8 = 0xa1;
const BYTES: usize = 1 + 8 + 8 + 4 + 8 + 8 + 16;

impl ArrivalCursor {
    /// Before the first row.
    pub(crate) fn start(seen_ms: i64) -> Self {
        Self { generation: 0, number: 0, block: ROW_READ, ordinal: 0, seen_ms }
    }

    pub(crate) fn after(row: &ArrivalRow, seen_ms: i64) -> Self {
        Self { generation: row.generation, number: row.number, block: ROW_READ, ordinal: 0, seen_ms }
    }

    /// Begins to read a block, unless it is the one that is being read.
    pub(crate) fn enter(&mut self, row: &ArrivalRow, block: u32) {
        if (self.generation, self.number, self.block) != (row.generation, row.number, block) {
            *self = Self { block, ..Self::after(row, row.at_ms) };
        }
    }

    /// Ends reading a block.
    pub(crate) fn leave(&mut self) {
        (self.block, self.ordinal) = (self.block + 1, 0);
    }

    /// Returns the end of a row, unless it is before this position.
    pub(crate) fn max_after(self, row: &ArrivalRow) -> Self {
        if (row.generation, row.number) < (self.generation, self.number) {
            return self;
        }
        Self::after(row, row.at_ms)
    }

    /// Returns how many of the first blocks of a row were read.
    pub(crate) fn read_blocks_of(&self, row: &ArrivalRow) -> usize {
        match (row.generation, row.number).cmp(&(self.generation, self.number)) {
            std::cmp::Ordering::Less => usize::MAX,
            std::cmp::Ordering::Equal => usize::try_from(self.block).unwrap_or(usize::MAX),
            std::cmp::Ordering::Greater => 0,
        }
    }
}

pub(crate) fn encode(cursor: &ArrivalCursor, question: &QuestionHash) -> String {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&cursor.generation.to_be_bytes());
    bytes.extend_from_slice(&cursor.number.to_be_bytes());
    bytes.extend_from_slice(&cursor.block.to_be_bytes());
    bytes.extend_from_slice(&cursor.ordinal.to_be_bytes());
    bytes.extend_from_slice(&cursor.seen_ms.to_be_bytes());
    bytes.extend_from_slice(question);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a cursor. `None` if it is invalid, or belongs to another query.
pub(crate) fn decode(text: &str, question: &QuestionHash) -> Option<ArrivalCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let bytes: &[u8; BYTES] = bytes.as_slice().try_into().ok()?;
    let (&version, rest) = bytes.split_first()?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (block, rest) = rest.split_first_chunk::<4>()?;
    let (ordinal, rest) = rest.split_first_chunk::<8>()?;
    let (seen_ms, hash) = rest.split_first_chunk::<8>()?;
    (version == VERSION && hash == question).then_some(ArrivalCursor {
        generation: i64::from_be_bytes(*generation),
        number: u64::from_be_bytes(*number),
        block: u32::from_be_bytes(*block),
        ordinal: u64::from_be_bytes(*ordinal),
        seen_ms: i64::from_be_bytes(*seen_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_arrivals_works_for_its_question_alone() {
        let cursor =
            ArrivalCursor { generation: 1_743_532_441_581, number: 7, block: 3, ordinal: 9, seen_ms: 5 };
        let text = encode(&cursor, &[1; 16]);
        assert_eq!(decode(&text, &[1; 16]), Some(cursor));
        assert_eq!(decode(&text, &[2; 16]), None);
        for bad in ["", "now", "!!!", &text[1..], &format!("{text}AA")] {
            assert_eq!(decode(bad, &[1; 16]), None, "{bad}");
        }
    }
}
