//! Daily quotas of an app. Usage is counted by UTC day of arrival, not by the records' timestamps.

use std::fmt;

use crate::model::time::Day;

/// Default daily quota in bytes of content: 1 TiB.
pub const DEFAULT_BYTES: u64 = 1024 * 1024 * 1024 * 1024;
/// Default daily quota in records.
pub const DEFAULT_RECORDS: u64 = 2_000_000_000;
/// Default daily quota in ingested log files.
pub const DEFAULT_FILES: u64 = 1_000_000;

/// Usage of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Bytes of content, decompressed.
    pub bytes: u64,
    pub records: u64,
    pub files: u64,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Bytes,
    Records,
    Files,
}

impl Measure {
    pub const ALL: [Self; 3] = [Self::Bytes, Self::Records, Self::Files];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Records => "records",
            Self::Files => "files",
        }
    }
}

impl Used {
    #[must_use]
    pub fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Bytes => self.bytes,
            Measure::Records => self.records,
            Measure::Files => self.files,
        }
    }
}

impl std::ops::AddAssign for Used {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.records = self.records.saturating_add(other.records);
        self.files = self.files.saturating_add(other.files);
    }
}

/// The daily quota of an app; `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    bytes: Option<u64>,
    records: Option<u64>,
    files: Option<u64>,
}

impl Quota {
    /// No limits.
    pub const NONE: Self = Self { bytes: None, records: None, files: None };

    /// Makes a quota from parameters, where 0 means no limit.
    #[must_use]
    pub fn of(bytes: u64, records: u64, files: u64) -> Self {
        let limit = |number: u64| Some(number).filter(|number| *number > 0);
        Self { bytes: limit(bytes), records: limit(records), files: limit(files) }
    }

    #[must_use]
    pub fn limit(&self, measure: Measure) -> Option<u64> {
        match measure {
            Measure::Bytes => self.bytes,
            Measure::Records => self.records,
            Measure::Files => self.files,
        }
    }

    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Returns the first limit that `used` and `more` exceed together. A measure with nothing more to add
    /// is not checked.
    #[must_use]
    pub fn exceeded(&self, day: Day, used: Used, more: Used) -> Option<Exceeded> {
        Measure::ALL.into_iter().find_map(|measure| {
            let limit = self.limit(measure)?;
            let exceeds = more.of(measure) > 0 && used.of(measure).saturating_add(more.of(measure)) > limit;
            exceeds.then_some(Exceeded { measure, limit, day })
        })
    }
}

/// A quota that is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    pub measure: Measure,
    pub limit: u64,
    pub day: Day,
}

impl Exceeded {
    /// Returns the time until the next day (s), at least 1.
    #[must_use]
    pub fn retry_after_secs(&self, now_ms: i64) -> u32 {
        let left_ms = (self.day.end_ms() + 1 - now_ms).max(0);
        u32::try_from(left_ms.div_euclid(1000) + 1).unwrap_or(1)
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measure, limit, day } = self;
        write!(f, "the app's daily quota of {limit} {} would be exceeded on {day} (UTC)", measure.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Day = Day(20_000);

    #[test]
    fn a_quota_is_exceeded_by_one_and_names_the_first_measure() {
        let quota = Quota::of(100, 10, 0);
        let used = Used { bytes: 90, records: 10, files: u64::MAX };
        let exceeded = |bytes, records, files| {
            quota.exceeded(DAY, used, Used { bytes, records, files }).map(|exceeded| exceeded.measure)
        };
        assert_eq!(exceeded(10, 0, 1), None, "0 sets no limit of files");
        assert_eq!(exceeded(11, 0, 0), Some(Measure::Bytes));
        assert_eq!(exceeded(10, 1, 0), Some(Measure::Records));
        assert_eq!(exceeded(u64::MAX, 0, 0), Some(Measure::Bytes));
        assert_eq!(Quota::NONE.exceeded(DAY, used, used), None);
        assert!(Quota::of(0, 0, 0).is_none());
    }

    #[test]
    fn a_used_up_quota_is_to_be_tried_again_when_the_day_is_over() {
        let exceeded = Exceeded { measure: Measure::Bytes, limit: 5, day: DAY };
        let end_ms = DAY.end_ms();
        assert_eq!(exceeded.retry_after_secs(DAY.start_ms()), 86_401);
        assert_eq!(exceeded.retry_after_secs(end_ms), 1);
        assert_eq!(exceeded.retry_after_secs(end_ms + 50_000), 1);
        assert_eq!(
            exceeded.to_string(),
            "the app's daily quota of 5 bytes would be exceeded on 2024-10-04 (UTC)"
        );
    }
}
