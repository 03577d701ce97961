//! Bounds the cost of evaluating a check. A tenant controls both the patterns and the pages.

use std::cell::Cell;

/// Maximum steps of all conditions of a check together: about 10 ms of a whole CPU. A step is one character
/// compared with one part of a pattern (a character or range of a class is a part), one byte of JSON parsed, `READ_PER_STEP` bytes of a value read or
/// searched, or `WRITTEN_PER_STEP` bytes of a value written as JSON. Twenty conditions with plain texts in
/// their patterns, on a body of 256 KiB, take less than half.
pub const MAX_STEPS: usize = 2_000_000;
const READ_PER_STEP: usize = 16;
const WRITTEN_PER_STEP: usize = 4;

/// A check's conditions have used [`MAX_STEPS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfSteps;

/// What is left of [`MAX_STEPS`].
#[derive(Debug)]
pub struct Steps(Cell<usize>);

impl Default for Steps {
    fn default() -> Steps {
        Steps(Cell::new(MAX_STEPS))
    }
}

impl Steps {
    /// Returns the steps used so far.
    pub fn taken(&self) -> usize {
        MAX_STEPS - self.0.get()
    }

    pub(crate) fn take(&self, steps: usize) -> Result<(), OutOfSteps> {
        let left = self.0.get();
        self.0.set(left.saturating_sub(steps));
        if steps <= left { Ok(()) } else { Err(OutOfSteps) }
    }

    pub(crate) fn read(&self, bytes: usize) -> Result<(), OutOfSteps> {
        self.take(bytes.div_ceil(READ_PER_STEP))
    }

    pub(crate) fn written(&self, bytes: usize) -> Result<(), OutOfSteps> {
        self.take(bytes.div_ceil(WRITTEN_PER_STEP))
    }
}
