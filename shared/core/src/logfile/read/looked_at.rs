//! Finds by one look at a chunk which of its entries redaction leaves as they are: a look at each of them costs
//! far more.

use std::borrow::Cow;

use crate::logfile::split::{Piece, Record};
use crate::model::record::Marks;
use crate::model::redact::Redactor;

/// The chunk of the stream that was pushed last, and the places in it where a rule may apply.
#[derive(Debug)]
pub(super) struct LookedAt<'r> {
    redactor: &'r Redactor,
    start: u64,
    end: u64,
    /// Offsets in the stream, ascending. `None`: every entry is to be looked at.
    suspects: Option<Vec<u64>>,
    /// Suspects before the entry at hand.
    passed: usize,
}

impl<'r> LookedAt<'r> {
    pub(super) fn new(redactor: &'r Redactor) -> Self {
        Self { redactor, start: 0, end: 0, suspects: None, passed: 0 }
    }

    /// `original`: the chunk is as it stands in the file, which it is not where it was transcoded.
    pub(super) fn push(&mut self, chunk: &[u8], original: bool) {
        self.start = self.end;
        self.end += chunk.len() as u64;
        self.passed = 0;
        let suspects = if original { self.redactor.suspects_in(chunk) } else { None };
        self.suspects = suspects.map(|at| at.into_iter().map(|at| self.start + at as u64).collect());
    }

    /// The entry without its secrets. Pieces are asked for in ascending order.
    pub(super) fn redacted<'a>(&mut self, piece: &Piece<'_>, record: &Record<'a>) -> Cow<'a, str> {
        let whole = piece.start >= self.start && piece.end <= self.end;
        // What its envelope says of it stands elsewhere.
        let wrapped = record.marks.has(Marks::WRAPPED);
        if let Some(suspects) = &self.suspects
            && whole
            && !wrapped
        {
            self.passed += suspects[self.passed..].iter().take_while(|&&at| at < piece.start).count();
            if suspects.get(self.passed).is_none_or(|&at| at >= piece.end) {
                return Cow::Borrowed(record.raw);
            }
        }
        self.redactor.entry(record.kind, record.raw)
    }
}
