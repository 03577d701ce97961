//! How far a run got, when its writes finish in any order.

use std::collections::BTreeSet;

/// The contiguous low-water mark of numbered writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LowWater {
    next: u64,
    beyond: BTreeSet<u64>,
}

impl LowWater {
    /// Everything below `next` is done.
    #[must_use]
    pub(crate) fn from(next: u64) -> Self {
        Self { next, beyond: BTreeSet::new() }
    }

    /// This one is done.
    pub(crate) fn done(&mut self, sequence: u64) {
        if sequence >= self.next {
            self.beyond.insert(sequence);
        }
        while self.beyond.remove(&self.next) {
            self.next += 1;
        }
    }

    /// Everything below is done, and nothing is said of the rest.
    #[must_use]
    pub(crate) fn mark(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_before_the_first_gap() {
        let mut low = LowWater::from(2);
        for (sequence, mark) in [(4, 2), (2, 3), (0, 3), (5, 3), (3, 6), (3, 6), (6, 7)] {
            low.done(sequence);
            assert_eq!(low.mark(), mark, "after {sequence}");
        }
    }
}
