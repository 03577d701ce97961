//! Finds by one look at a text which of its entries redaction leaves as they are: a look at each of them costs
//! far more.

use std::borrow::Cow;
use std::ops::Range;

use crate::model::record::EntryKind;
use crate::model::redact::Redactor;

/// The chunk of the stream that was pushed last, and the places in it where a rule may apply.
#[derive(Debug)]
pub(super) struct LookedAt<'r> {
    redactor: &'r Redactor,
    start: u64,
    end: u64,
    /// Offsets in the stream, ascending. `None`: each entry is to be looked at.
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

    /// Returns the offset of the chunk that was pushed last.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The entry without its secrets. `at`: the bytes of the stream that it consists of, if it does; of entries
    /// in ascending order.
    pub(super) fn redacted<'a>(
        &mut self,
        at: Option<Range<u64>>,
        kind: EntryKind,
        raw: &'a str,
    ) -> Cow<'a, str> {
        if let Some(suspects) = &self.suspects
            && let Some(at) = at
            && at.start >= self.start
            && at.end <= self.end
        {
            self.passed += suspects[self.passed..].iter().take_while(|&&suspect| suspect < at.start).count();
            if suspects.get(self.passed).is_none_or(|&suspect| suspect >= at.end) {
                return Cow::Borrowed(raw);
            }
        }
        self.redactor.entry(kind, raw)
    }
}
