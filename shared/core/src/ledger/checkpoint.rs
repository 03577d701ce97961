//! The progress of an interrupted run.

/// The progress of an interrupted run: all blocks before the mark are stored, and some after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Number of stored blocks, from the first.
    pub blocks: u64,
    /// Number of stored quarantine rows, from the first.
    pub quarantined: u64,
    /// Stored blocks after the first missing one.
    pub beyond: Beyond,
}

impl Checkpoint {
    /// Whether the run made progress since `began`.
    #[must_use]
    pub fn is_beyond(&self, began: &Self) -> bool {
        let stored = |checkpoint: &Self| checkpoint.blocks + checkpoint.beyond.len();
        stored(self) > stored(began) || self.quarantined > began.quarantined
    }

    /// Whether the block with this number is stored.
    #[must_use]
    pub fn has(&self, block: u64) -> bool {
        block < self.blocks || self.beyond.contains(block - self.blocks)
    }
}

/// The stored blocks after a mark, by their distance from it. A bitmap, so it takes at most 128 bytes in a
/// ledger row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beyond([u64; Self::WORDS]);

impl Beyond {
    const WORDS: usize = 16;

    /// Distances from here on are not recorded.
    pub const REACH: u64 = Self::WORDS as u64 * 64;

    /// Records a stored block. A distance out of reach is ignored.
    pub fn insert(&mut self, distance: u64) {
        if let Some(word) = usize::try_from(distance / 64).ok().and_then(|word| self.0.get_mut(word)) {
            *word |= 1 << (distance % 64);
        }
    }

    #[must_use]
    pub fn contains(&self, distance: u64) -> bool {
        let word = usize::try_from(distance / 64).ok().and_then(|word| self.0.get(word));
        word.is_some_and(|word| word >> (distance % 64) & 1 == 1)
    }

    /// Returns how many blocks are recorded.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; Self::WORDS]
    }

    /// Returns their distances, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..Self::REACH).filter(|&distance| self.contains(distance))
    }

    /// Serializes the bitmap: the nearest blocks first, without trailing zeros.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(end);
        bytes
    }

    /// Parses what [`Beyond::to_bytes`] wrote. Excess bytes are ignored.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut beyond = Self::default();
        for (word, bytes) in beyond.0.iter_mut().zip(bytes.chunks(8)) {
            let mut all = [0; 8];
            all[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(all);
        }
        beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beyond(distances: &[u64]) -> Beyond {
        let mut beyond = Beyond::default();
        distances.iter().for_each(|&distance| beyond.insert(distance));
        beyond
    }

    #[test]
    fn blocks_stored_after_the_mark_read_back_within_its_reach() {
        for distances in [&[][..], &[0], &[1, 63, 64, 700, 1023]] {
            let beyond = beyond(distances);
            assert_eq!(Beyond::from_bytes(&beyond.to_bytes()), beyond);
            assert_eq!(beyond.iter().collect::<Vec<_>>(), distances);
            assert_eq!(beyond.len(), distances.len() as u64);
        }
        assert_eq!(beyond(&[1]).to_bytes(), [2]);
        assert!(beyond(&[1024, u64::MAX]).is_empty());
        assert_eq!(Beyond::from_bytes(&[0xff; 500]).len(), 1024);
    }

    #[test]
    fn a_run_got_further_when_it_stored_anything_the_mark_or_not() {
        let began = Checkpoint { blocks: 3, quarantined: 1, beyond: beyond(&[2]) };
        for (checkpoint, further) in [
            (began, false),
            (Checkpoint { beyond: beyond(&[2, 9]), ..began }, true),
            (Checkpoint { blocks: 4, beyond: beyond(&[1]), ..began }, true),
            (Checkpoint { quarantined: 2, ..began }, true),
            (Checkpoint::default(), false),
        ] {
            assert_eq!(checkpoint.is_beyond(&began), further, "{checkpoint:?}");
        }
        let stored: Vec<_> = (0..8).filter(|&block| began.has(block)).collect();
        assert_eq!(stored, [0, 1, 2, 5]);
    }
}
