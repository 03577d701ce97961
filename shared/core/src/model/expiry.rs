//! Expiry of records. Records expire at the start of a UTC day, and counters are kept separately by that
//! day. So counters equal what can be queried at any time, whatever DynamoDB has deleted.

use std::collections::BTreeMap;

use crate::model::day_counts::DayCounts;
use crate::model::time::{Day, MS_PER_DAY};

/// The expiry day of records without expiry.
pub const NEVER: Day = Day(i32::MAX);

/// Returns the day at whose start records expire that arrived at `arrived_ms`. They are kept for their
/// whole retention and the rest of a day, whatever their timestamps are.
#[must_use]
pub fn expires_on(arrived_ms: i64, retention_days: u32) -> Day {
    let retention_days = i32::try_from(retention_days).unwrap_or(i32::MAX);
    Day(Day::of_ms(arrived_ms).0.saturating_add(1).saturating_add(retention_days))
}

/// When items that expire on a day may be deleted (s since the epoch).
#[must_use]
pub fn expires_at_secs(expires_on: Day) -> i64 {
    expires_on.start_ms() / 1000
}

/// Returns the expiry day of an item that may be deleted at this time; [`NEVER`] without a time.
#[must_use]
pub fn day_of(expires_at_secs: Option<i64>) -> Day {
    expires_at_secs.map_or(NEVER, |secs| Day::of_ms(secs.saturating_mul(1000).saturating_add(MS_PER_DAY - 1)))
}

/// Counts, separated by the day on which the counted records expire. Zero counts are omitted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expiring(BTreeMap<Day, DayCounts>);

impl Expiring {
    #[must_use]
    pub fn one(expires_on: Day, counts: DayCounts) -> Self {
        let mut all = Self::default();
        all.add(expires_on, counts);
        all
    }

    pub fn add(&mut self, expires_on: Day, counts: DayCounts) {
        *self.0.entry(expires_on).or_default() += counts;
        self.0.retain(|_, counts| !counts.is_zero());
    }

    pub fn add_all(&mut self, other: &Self) {
        other.iter().for_each(|(expires_on, counts)| self.add(expires_on, counts));
    }

    /// Returns what has to be added to `other` to get `self`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut left = self.clone();
        other.iter().for_each(|(expires_on, counts)| left.add(expires_on, DayCounts::default() - counts));
        left
    }

    /// Returns the counts of records that have not expired at `now_ms`.
    #[must_use]
    pub fn alive(&self, now_ms: i64) -> DayCounts {
        self.sum(|expires_on| expires_on.start_ms() > now_ms)
    }

    /// Returns all counts, including expired ones.
    #[must_use]
    pub fn total(&self) -> DayCounts {
        self.sum(|_| true)
    }

    fn sum(&self, counts: impl Fn(Day) -> bool) -> DayCounts {
        let mut sum = DayCounts::default();
        self.iter().filter(|(expires_on, _)| counts(*expires_on)).for_each(|(_, own)| sum += own);
        sum
    }

    pub fn iter(&self) -> impl Iterator<Item = (Day, DayCounts)> + '_ {
        self.0.iter().map(|(expires_on, counts)| (*expires_on, *counts))
    }

    /// Returns the last expiry day.
    #[must_use]
    pub fn last(&self) -> Option<Day> {
        self.0.last_key_value().map(|(expires_on, _)| *expires_on)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::level::LevelCounts;

    fn counts(info: i64) -> DayCounts {
        DayCounts { levels: LevelCounts::new(0, info, 0, 0), bytes: info * 10 }
    }

    #[test]
    fn records_are_kept_for_the_whole_of_their_retention_and_expire_when_a_day_begins() {
        let noon = Day(20_000).start_ms() + MS_PER_DAY / 2;
        assert_eq!(expires_on(noon, 1), Day(20_002));
        assert!(Day(20_002).start_ms() - noon >= MS_PER_DAY);
        assert_eq!(day_of(Some(expires_at_secs(Day(20_002)))), Day(20_002));
        assert_eq!(day_of(Some(expires_at_secs(Day(20_002)) - 1)), Day(20_002), "never before its time");
        assert_eq!(day_of(None), NEVER);
    }

    #[test]
    fn what_has_expired_does_not_count_any_more() {
        let mut all = Expiring::one(Day(5), counts(3));
        all.add(Day(7), counts(2));
        let alive = |ms| all.alive(ms).levels.total();
        assert_eq!(
            [alive(0), alive(Day(5).start_ms() - 1), alive(Day(5).start_ms()), alive(Day(7).start_ms())],
            [5, 5, 2, 0]
        );
        assert_eq!((all.total(), all.last()), (counts(5), Some(Day(7))));
    }

    #[test]
    fn a_difference_moves_counts_between_days_and_leaves_no_zeros() {
        let (was, now) = (Expiring::one(Day(5), counts(3)), Expiring::one(Day(7), counts(3)));
        let delta = now.minus(&was);
        assert!(!delta.is_empty() && delta.total().is_zero());
        let mut sum = was.clone();
        sum.add_all(&delta);
        assert_eq!(sum, now);
        assert!(now.minus(&now).is_empty());
    }
}
