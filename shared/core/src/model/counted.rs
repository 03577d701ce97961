//! What `stats` counts for a file, and the changes that make it equal the file's records.
//!
//! The counters of a day are the sum of the counts of its files and of the directly written records. A
//! transaction that changes a counter for a file also changes the file's own count, so the sum always
//! holds.

use std::collections::BTreeMap;

use crate::model::expiry::Expiring;
use crate::model::time::Day;

/// The counts of a file and day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Increased by each change. A writer that has read an older revision changes nothing.
    pub revision: u64,
    /// When the app of these counters was registered (ms).
    pub registered_ms: i64,
    /// Records before this time (ms) are not counted.
    pub from_ms: Option<i64>,
    pub counts: Expiring,
}

/// A change of a day's count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayChange {
    pub day: Day,
    /// The revision that it replaces; `None` if nothing was counted.
    pub seen: Option<u64>,
    /// The counts that it replaces, of any epoch.
    pub was: Expiring,
    pub now: Counted,
    /// The change of the counters.
    pub delta: Expiring,
}

/// Returns the changes that bring the counts to `wanted`, for a writer that has seen this watermark and
/// left out older records. Days entirely before the watermark are hidden and their counters are removed as
/// a whole, so they are not changed. Counts of an earlier app with the same id are ignored.
#[must_use]
pub fn day_changes(
    counted: &BTreeMap<Day, Counted>,
    wanted: &BTreeMap<Day, Expiring>,
    registered_ms: i64,
    pruned_before_ms: Option<i64>,
) -> Vec<DayChange> {
    let mut days: Vec<Day> = counted.keys().chain(wanted.keys()).copied().collect();
    days.sort_unstable();
    days.dedup();
    let change = |day: Day| {
        let row = counted.get(&day);
        let was = row.filter(|row| row.registered_ms == registered_ms);
        let from_ms = pruned_before_ms.filter(|&pruned| pruned > day.start_ms());
        let counts = wanted.get(&day).cloned().unwrap_or_default();
        let delta = match was {
            Some(was) => counts.minus(&was.counts),
            None => counts.clone(),
        };
        let hidden = from_ms.is_some_and(|from| from > day.end_ms());
        let same = delta.is_empty() && was.is_none_or(|was| was.from_ms == from_ms);
        let seen = row.map(|row| row.revision);
        let now = Counted { revision: seen.unwrap_or(0) + 1, registered_ms, from_ms, counts };
        let was = row.map(|row| row.counts.clone()).unwrap_or_default();
        (!hidden && !same).then_some(DayChange { day, seen, was, now, delta })
    };
    days.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::day_counts::DayCounts;
    use crate::model::level::LevelCounts;

    const EPOCH: i64 = 7;

    fn counts(info: i64) -> Expiring {
        expiring(30, info)
    }

    fn expiring(day: i32, info: i64) -> Expiring {
        Expiring::one(Day(day), DayCounts { levels: LevelCounts::new(0, info, 0, 0), bytes: info * 10 })
    }

    fn row(info: i64) -> Counted {
        Counted { revision: 3, registered_ms: EPOCH, from_ms: None, counts: counts(info) }
    }

    /// Day, difference, replaced revision.
    fn changes(
        counted: &[(i32, Counted)],
        wanted: &[(i32, i64)],
        pruned_before_ms: Option<i64>,
    ) -> Vec<(i32, i64, Option<u64>)> {
        let counted = counted.iter().map(|(day, row)| (Day(*day), row.clone())).collect();
        let wanted = wanted.iter().map(|(day, info)| (Day(*day), counts(*info))).collect();
        let changes = day_changes(&counted, &wanted, EPOCH, pruned_before_ms);
        changes
            .iter()
            .map(|change| (change.day.0, change.delta.total().levels.total(), change.seen))
            .collect()
    }

    #[test]
    fn only_the_difference_to_what_was_counted_is_added() {
        let counted = [(1, row(5)), (2, row(7)), (3, row(1))];
        let wanted = [(1, 5), (2, 9), (4, 2)];
        assert_eq!(changes(&counted, &wanted, None), [(2, 2, Some(3)), (3, -1, Some(3)), (4, 2, None)]);
    }

    #[test]
    fn counts_move_when_their_records_expire_on_another_day() {
        let counted = BTreeMap::from([(Day(1), row(5))]);
        let wanted = BTreeMap::from([(Day(1), expiring(40, 5))]);
        let changes = day_changes(&counted, &wanted, EPOCH, None);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].delta, expiring(40, 5).minus(&counts(5)));
        assert_eq!((&changes[0].was, &changes[0].now.counts), (&counts(5), &expiring(40, 5)));
    }

    #[test]
    fn what_an_earlier_app_of_this_id_has_counted_is_nothing() {
        let old = Counted { registered_ms: EPOCH - 1, ..row(5) };
        assert_eq!(changes(&[(1, old.clone()), (2, old)], &[(1, 5)], None), [(1, 5, Some(3))]);
    }

    #[test]
    fn days_before_the_watermark_are_left_alone_and_its_own_day_remembers_it() {
        let watermark = Day(2).start_ms() + 5;
        let counted = [(1, row(5)), (2, row(7)), (3, row(1))];
        assert_eq!(changes(&counted, &[(2, 7), (3, 1)], Some(watermark)), [(2, 0, Some(3))]);
        let known = Counted { from_ms: Some(watermark), ..row(7) };
        assert_eq!(changes(&[(2, known)], &[(2, 7)], Some(watermark)), []);
        assert_eq!(changes(&[(2, row(7))], &[(2, 7)], Some(Day(2).start_ms())), []);
    }
}
