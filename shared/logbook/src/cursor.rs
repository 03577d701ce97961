//! Where a listing is gone on with: a position in the order of records, and a hash of what was
//! asked, so that a cursor works only for the question that it came from.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use logferry_domain::hex128::RecordId;

/// A place in the order of records. Answers go from the greatest to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub timestamp_ms: i64,
    pub id: RecordId,
}

impl Position {
    /// Before every record of this time or earlier, and behind all later ones.
    #[must_use]
    pub fn above(timestamp_ms: i64) -> Self {
        Self { timestamp_ms: timestamp_ms.saturating_add(1), id: RecordId([0; 16]) }
    }
}

const VERSION: u8 = 1;
const BYTES: usize = 1 + 8 + 16 + 16;

/// What is asked, hashed: the scope (an app, or all) and the filters.
pub type QuestionHash = [u8; 16];

/// The cursor as its caller keeps it.
#[must_use]
pub fn encode(position: &Position, question: &QuestionHash) -> String {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&position.timestamp_ms.to_be_bytes());
    bytes.extend_from_slice(&position.id.0);
    bytes.extend_from_slice(question);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor; `None` when it is not one, or of another question.
#[must_use]
pub fn decode(text: &str, question: &QuestionHash) -> Option<Position> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let bytes: &[u8; BYTES] = bytes.as_slice().try_into().ok()?;
    let (&version, rest) = bytes.split_first()?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (id, hash) = rest.split_first_chunk::<16>()?;
    (version == VERSION && hash == question)
        .then(|| Position { timestamp_ms: i64::from_be_bytes(*time), id: RecordId(*id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_works_for_its_question_alone() {
        let position = Position { timestamp_ms: 1_743_532_441_581, id: RecordId([7; 16]) };
        let text = encode(&position, &[1; 16]);
        assert_eq!(decode(&text, &[1; 16]), Some(position));
        assert_eq!(decode(&text, &[2; 16]), None);
        for bad in ["", "x", "!!!", &text[1..], &format!("{text}AA")] {
            assert_eq!(decode(bad, &[1; 16]), None, "{bad}");
        }
    }
}
