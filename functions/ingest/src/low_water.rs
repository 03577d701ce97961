//! Progress of a run whose writes finish in any order.

use std::collections::BTreeSet;

use logferry_core::ledger::checkpoint::{Beyond, Checkpoint};

/// The contiguous low-water mark of numbered writes, and the finished writes beyond it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LowWater {
    next: u64,
    beyond: BTreeSet<u64>,
}

impl LowWater {
    /// Starts from a saved checkpoint.
    #[must_use]
    pub(crate) fn from(checkpoint: &Checkpoint) -> Self {
        let next = checkpoint.blocks;
        Self { next, beyond: checkpoint.beyond.iter().map(|distance| next + distance).collect() }
    }

    /// Records that a write is finished.
    pub(crate) fn done(&mut self, sequence: u64) {
        if sequence >= self.next {
            self.beyond.insert(sequence);
        }
        while self.beyond.remove(&self.next) {
            self.next += 1;
        }
    }

    /// All writes below this number are finished.
    #[must_use]
    pub(crate) fn mark(&self) -> u64 {
        self.next
    }

    /// The finished writes beyond the mark.
    #[must_use]
    pub(crate) fn beyond(&self) -> Beyond {
        let mut beyond = Beyond::default();
        self.beyond.iter().for_each(|sequence| beyond.insert(sequence - self.next));
        beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_before_the_first_gap() {
        let mut low = LowWater::from(&Checkpoint { blocks: 2, ..Checkpoint::default() });
        for (sequence, mark) in [(4, 2), (2, 3), (0, 3), (5, 3), (3, 6), (3, 6), (6, 7)] {
            low.done(sequence);
            assert_eq!(low.mark(), mark, "after {sequence}");
        }
    }

    #[test]
    fn what_is_done_beyond_the_mark_is_known_to_the_next_run() {
        let mut low = LowWater::default();
        for sequence in [1, 3, 4, 900] {
            low.done(sequence);
        }
        let checkpoint = Checkpoint { blocks: low.mark(), beyond: low.beyond(), quarantined: 0 };
        let mut resumed = LowWater::from(&checkpoint);
        assert_eq!(resumed, low);
        resumed.done(0);
        assert_eq!((resumed.mark(), resumed.beyond().iter().collect::<Vec<_>>()), (2, vec![1, 2, 898]));
        resumed.done(2);
        assert_eq!(resumed.mark(), 5);
    }
}
