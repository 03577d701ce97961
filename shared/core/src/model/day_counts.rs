//! The counts of one day.

use crate::model::level::LevelCounts;

/// Records and bytes of one day, as counted in `stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DayCounts {
    pub levels: LevelCounts,
    /// Bytes of the entries.
    pub bytes: i64,
}

impl std::ops::Sub for DayCounts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { levels: self.levels - other.levels, bytes: self.bytes - other.bytes }
    }
}

impl std::ops::AddAssign for DayCounts {
    fn add_assign(&mut self, other: Self) {
        self.levels += other.levels;
        self.bytes += other.bytes;
    }
}

impl DayCounts {
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.levels.is_zero() && self.bytes == 0
    }
}
