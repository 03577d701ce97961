//! What is counted into `stats` for a file, and what must change so that exactly its records are.
//!
//! The counters of a day are the sum of what is counted of its files and of the records that were
//! written directly. Whoever moves a counter for a file moves the file's own count in the same
//! transaction, so the sum holds whatever happens in between.

use std::collections::BTreeMap;

use crate::ledger::DayCounts;
use crate::time::Day;

/// What is counted of a file and day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Raised by each change: whoever has read an older one changes nothing.
    pub revision: u64,
    /// Into the counters of which app: when it was registered (ms).
    pub epoch_ms: i64,
    /// Records before this time (ms) are not among them.
    pub from_ms: Option<i64>,
    pub counts: DayCounts,
}

/// A day's count as it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayChange {
    pub day: Day,
    /// The revision that it replaces; `None`: nothing was counted.
    pub seen: Option<u64>,
    pub now: Counted,
    /// What the counters move by.
    pub delta: DayCounts,
}

/// What must change so that exactly `wanted` is counted, by somebody who knows of this watermark
/// and has left out what is older. Days that lie wholly before it are hidden, and their counters go
/// as a whole: they are left alone. What was counted for an earlier app of the same id is not this
/// app's and counts as nothing.
#[must_use]
pub fn day_changes(
    counted: &BTreeMap<Day, Counted>,
    wanted: &BTreeMap<Day, DayCounts>,
    epoch_ms: i64,
    pruned_before_ms: Option<i64>,
) -> Vec<DayChange> {
    let mut days: Vec<Day> = counted.keys().chain(wanted.keys()).copied().collect();
    days.sort_unstable();
    days.dedup();
    let change = |day: Day| {
        let row = counted.get(&day);
        let was = row.filter(|row| row.epoch_ms == epoch_ms);
        let from_ms = pruned_before_ms.filter(|&pruned| pruned > day.start_ms());
        let counts = wanted.get(&day).copied().unwrap_or_default();
        let delta = counts - was.map(|was| was.counts).unwrap_or_default();
        let hidden = from_ms.is_some_and(|from| from > day.end_ms());
        let same = delta.is_zero() && was.is_none_or(|was| was.from_ms == from_ms);
        let seen = row.map(|row| row.revision);
        let now = Counted { revision: seen.unwrap_or(0) + 1, epoch_ms, from_ms, counts };
        (!hidden && !same).then_some(DayChange { day, seen, now, delta })
    };
    days.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::LevelCounts;

    const EPOCH: i64 = 7;

    fn counts(info: i64) -> DayCounts {
        DayCounts { levels: LevelCounts::new(0, info, 0, 0), bytes: info * 10 }
    }

    fn row(info: i64) -> Counted {
        Counted { revision: 3, epoch_ms: EPOCH, from_ms: None, counts: counts(info) }
    }

    /// Day, difference, revision that is replaced.
    fn changes(
        counted: &[(i32, Counted)],
        wanted: &[(i32, i64)],
        pruned_before_ms: Option<i64>,
    ) -> Vec<(i32, i64, Option<u64>)> {
        let counted = counted.iter().map(|(day, row)| (Day(*day), *row)).collect();
        let wanted = wanted.iter().map(|(day, info)| (Day(*day), counts(*info))).collect();
        let changes = day_changes(&counted, &wanted, EPOCH, pruned_before_ms);
        changes.iter().map(|change| (change.day.0, change.delta.levels.total(), change.seen)).collect()
    }

    #[test]
    fn only_the_difference_to_what_was_counted_is_added() {
        let counted = [(1, row(5)), (2, row(7)), (3, row(1))];
        let wanted = [(1, 5), (2, 9), (4, 2)];
        assert_eq!(changes(&counted, &wanted, None), [(2, 2, Some(3)), (3, -1, Some(3)), (4, 2, None)]);
    }

    #[test]
    fn what_an_earlier_app_of_this_id_has_counted_is_nothing() {
        let old = Counted { epoch_ms: EPOCH - 1, ..row(5) };
        assert_eq!(changes(&[(1, old), (2, old)], &[(1, 5)], None), [(1, 5, Some(3))]);
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
