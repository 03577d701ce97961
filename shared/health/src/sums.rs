//! Results of a check over hours and days: hourly sums of finished days, rows for the rest.
//!
//! A finished day is summed once and stored: by `health` in the first slot after it settled, or by the
//! first reader. Sums are exact. They come only from the day's rows, and a day is finished only when all
//! its rows are old. A later row (an event that was sent again) invalidates the sums in the transaction
//! that stores it, so they are recomputed.

use std::collections::BTreeMap;

use crate::rows::{CheckKey, CheckRow, CheckTable, DaySums, HOURS_PER_DAY, SETTLED_AFTER_MS, Tally};
use logferry_core::model::fault::Fault;
use logferry_core::model::time::{Day, MS_PER_HOUR};

use crate::window::Window;

/// Rows per read. All are summed, and few are in memory.
const ROWS_AT_ONCE: usize = 500;

/// Sums of whole hours by their start, and single rows. If an hour has both, its sum includes all its rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sums {
    hours: BTreeMap<i64, Tally>,
    rows: Vec<(i64, Tally)>,
}

impl Sums {
    /// Sums of rows only.
    #[cfg(test)]
    pub(crate) fn of_rows(rows: Vec<CheckRow>) -> Sums {
        let mut sums = Sums::default();
        rows.iter().for_each(|row| sums.add(row));
        sums
    }

    fn add(&mut self, row: &CheckRow) {
        if !row.skipped {
            let mut tally = Tally::default();
            tally.add(row);
            self.rows.push((row.slot_ms, tally));
        }
    }

    /// Calls `tell` for everything in a window: its whole hours, and the rows of hours that it cuts or that
    /// have no sum.
    pub(crate) fn each(&self, window: Window, now_ms: i64, mut tell: impl FnMut(i64, &Tally)) {
        let start_ms = window.start_ms(now_ms);
        let whole = |hour_ms: i64| hour_ms >= start_ms && hour_ms + MS_PER_HOUR - 1 <= now_ms;
        for (hour_ms, tally) in self.hours.iter().filter(|(hour_ms, _)| whole(**hour_ms)) {
            tell(*hour_ms, tally);
        }
        for (slot_ms, tally) in self.rows.iter().filter(|(slot_ms, _)| window.contains(*slot_ms, now_ms)) {
            let hour_ms = hour_start(*slot_ms);
            if !(whole(hour_ms) && self.hours.contains_key(&hour_ms)) {
                tell(*slot_ms, tally);
            }
        }
    }

    fn insert(&mut self, day: Day, hours: &Hours) {
        let starts = (0..).map(|hour| day.start_ms() + hour * MS_PER_HOUR);
        self.hours.extend(starts.zip(hours.iter().copied()));
    }
}

fn hour_start(ms: i64) -> i64 {
    ms.div_euclid(MS_PER_HOUR) * MS_PER_HOUR
}

/// Returns the first unfinished day: all rows of earlier days are written.
fn first_open_day(now_ms: i64) -> Day {
    Day::of_ms(now_ms.saturating_sub(SETTLED_AFTER_MS))
}

/// Returns the results of a check over some windows. Sums and stores finished days that were not summed
/// before.
pub async fn load(
    table: &impl CheckTable,
    key: &CheckKey,
    registered_ms: i64,
    windows: &[Window],
    now_ms: i64,
) -> Result<Sums, Fault> {
    let start_ms = windows.iter().map(|window| window.start_ms(now_ms)).min().unwrap_or(now_ms);
    let open = first_open_day(now_ms);
    // Before its registration, an app has hardly any rows, and nothing to sum.
    let first = Day::of_ms(start_ms).max(Day::of_ms(registered_ms)).min(open);
    let mut spans = vec![(start_ms, first.start_ms() - 1), (start_ms.max(open.start_ms()), now_ms)];
    let stored =
        if first < open { table.days(key, registered_ms, first, open.previous()).await? } else { Vec::new() };
    // Rows are kept for a month: some rows of the day at its beginning may have expired, all of older days have.
    let complete_from_ms = Window::Month.start_ms(now_ms);
    let (mut sums, mut missing) = (Sums::default(), Vec::new());
    for day in (first.0..open.0).map(Day) {
        let known = stored.iter().find(|sums| sums.day == day);
        if let Some(hours) = known.and_then(|known| known.hours.as_ref()) {
            sums.insert(day, hours);
        } else if day.start_ms() >= complete_from_ms {
            missing.push((day, known.map_or(0, |known| known.revision)));
        } else if day.end_ms() >= complete_from_ms {
            spans.push((start_ms.max(day.start_ms()), day.end_ms()));
        }
    }
    for run in missing.chunk_by(|(day, _), (next, _)| next.previous() == *day) {
        for (day, hours) in add_up(table, key, registered_ms, run).await? {
            sums.insert(day, &hours);
        }
    }
    for cut_ms in windows.iter().map(|window| window.start_ms(now_ms)) {
        if sums.hours.contains_key(&hour_start(cut_ms)) {
            spans.push((cut_ms, hour_start(cut_ms) + MS_PER_HOUR - 1));
        }
    }
    for (from_ms, to_ms) in spans.into_iter().filter(|(from_ms, to_ms)| from_ms <= to_ms) {
        each_row(table, key, registered_ms, (from_ms, to_ms), |row| sums.add(row)).await?;
    }
    Ok(sums)
}

/// Sums the day that settled between a check's last slot and this one, so that later readers need not wait.
/// `now_ms` prevents a slot in the future from finishing a day early.
pub async fn close_day(
    table: &impl CheckTable,
    key: &CheckKey,
    registered_ms: i64,
    (last_slot_ms, slot_ms): (i64, i64),
    now_ms: i64,
) -> Result<(), Fault> {
    let open = first_open_day(slot_ms.min(now_ms));
    if first_open_day(last_slot_ms) >= open {
        return Ok(());
    }
    let day = open.previous();
    let stored = table.days(key, registered_ms, day, day).await?;
    let known = stored.first();
    if known.is_none_or(|known| known.hours.is_none()) {
        add_up(table, key, registered_ms, &[(day, known.map_or(0, |known| known.revision))]).await?;
    }
    Ok(())
}

type Hours = [Tally; HOURS_PER_DAY];

/// Sums consecutive days, each with the revision that was read before its rows.
async fn add_up(
    table: &impl CheckTable,
    key: &CheckKey,
    registered_ms: i64,
    days: &[(Day, u64)],
) -> Result<Vec<(Day, Hours)>, Fault> {
    let (Some((first, _)), Some((last, _))) = (days.first(), days.last()) else { return Ok(Vec::new()) };
    let mut by_day: BTreeMap<Day, Hours> =
        days.iter().map(|(day, _)| (*day, [Tally::default(); HOURS_PER_DAY])).collect();
    each_row(table, key, registered_ms, (first.start_ms(), last.end_ms()), |row| {
        let day = Day::of_ms(row.slot_ms);
        let hour = usize::try_from((row.slot_ms - day.start_ms()) / MS_PER_HOUR).unwrap_or_default();
        if let Some(tally) = by_day.get_mut(&day).and_then(|hours| hours.get_mut(hour)) {
            tally.add(row);
        }
    })
    .await?;
    for (day, revision) in days {
        // If a late row arrived in between, the sums are correct for now and the next reader sums again.
        let sums = DaySums { day: *day, revision: *revision, hours: by_day.get(day).copied() };
        let _stored = table.save_day(key, registered_ms, &sums).await?;
    }
    Ok(by_day.into_iter().collect())
}

/// Reads every row of a range, newest first, page by page: sums need all rows.
async fn each_row(
    table: &impl CheckTable,
    key: &CheckKey,
    registered_ms: i64,
    (from_ms, mut to_ms): (i64, i64),
    mut tell: impl FnMut(&CheckRow) + Send,
) -> Result<(), Fault> {
    loop {
        let rows = table.history(key, from_ms, to_ms, ROWS_AT_ONCE).await?;
        rows.iter().filter(|row| row.registered_ms == registered_ms).for_each(&mut tell);
        match rows.last() {
            // A check has one row per slot.
            Some(oldest) if rows.len() == ROWS_AT_ONCE => to_ms = oldest.slot_ms.saturating_sub(1),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::MemoryChecks;
    use crate::uptime::tests::{NOW, history, reference, row};
    use crate::uptime::{series, uptime};
    use logferry_core::model::time::MS_PER_DAY;

    const EPOCH: i64 = 0;

    fn key() -> CheckKey {
        row(0, true, 200, 1).key
    }

    /// Every row twice, as replays write them.
    async fn table_of(rows: &[CheckRow]) -> MemoryChecks {
        let table = MemoryChecks::default();
        for row in rows.iter().chain(rows) {
            table.record(row).await.unwrap();
        }
        table
    }

    /// Loaded sums equal the rows, for every window by itself and for all together.
    #[track_caller]
    fn assert_exact(sums: &Sums, windows: &[Window], rows: &[CheckRow], now_ms: i64) {
        let raw = Sums::of_rows(rows.to_vec());
        for window in windows {
            let found = uptime(sums, *window, now_ms);
            let expected = reference(rows, now_ms - window.ms(), now_ms);
            assert_eq!((found.checks, found.ok, found.average_ms), expected, "{window:?} {now_ms}");
            assert_eq!(series(sums, *window, now_ms), series(&raw, *window, now_ms), "{window:?} {now_ms}");
        }
    }

    async fn loaded(table: &MemoryChecks, windows: &[Window], now_ms: i64) -> Sums {
        load(table, &key(), EPOCH, windows, now_ms).await.unwrap()
    }

    #[tokio::test]
    async fn sums_equal_the_rows_in_empty_partial_and_full_windows_and_as_time_goes_on() {
        let (minute, hour) = (60_000, MS_PER_HOUR);
        for span_ms in
            [0, 5 * minute, hour, 5 * hour, MS_PER_DAY, 3 * MS_PER_DAY, 7 * MS_PER_DAY, 31 * MS_PER_DAY]
        {
            let rows = history(span_ms);
            let table = table_of(&rows).await;
            let midnight = Day::of_ms(NOW).end_ms() + 1;
            for now_ms in [
                NOW,
                NOW,
                NOW + 1,
                NOW + 47 * minute,
                midnight - 1,
                midnight,
                midnight + hour - 1,
                midnight + hour,
                NOW + MS_PER_DAY,
                NOW + 31 * MS_PER_DAY,
            ] {
                for window in Window::ALL {
                    assert_exact(&loaded(&table, &[window], now_ms).await, &[window], &rows, now_ms);
                }
                assert_exact(&loaded(&table, &Window::ALL, now_ms).await, &Window::ALL, &rows, now_ms);
            }
        }
    }

    #[tokio::test]
    async fn a_month_is_read_from_some_hundred_rows_once_its_days_are_added_up() {
        let rows = history(31 * MS_PER_DAY);
        let table = table_of(&rows).await;
        let read = async |windows: &[Window]| {
            let before = table.rows_read();
            loaded(&table, windows, NOW).await;
            table.rows_read() - before
        };
        assert!(read(&Window::ALL).await >= 30 * 288);
        assert!(table.most_read_at_once() <= ROWS_AT_ONCE);
        let (again, month) = (read(&Window::ALL).await, read(&[Window::Month]).await);
        assert!(again <= 288 + 12 + 288 + 3 * 12 && month <= 288 + 12 + 288, "{again} {month}");
    }

    #[tokio::test]
    async fn rows_that_expire_take_nothing_from_the_windows_that_are_left() {
        let rows = history(31 * MS_PER_DAY);
        let table = table_of(&rows).await;
        for days in 0..5 {
            let now_ms = NOW + days * MS_PER_DAY + 3 * MS_PER_HOUR;
            for row in &rows {
                if row.slot_ms <= now_ms - Window::Month.ms() {
                    table.expire(&row.key, row.slot_ms);
                }
            }
            assert_exact(&loaded(&table, &Window::ALL, now_ms).await, &Window::ALL, &rows, now_ms);
        }
    }

    #[tokio::test]
    async fn rows_that_come_after_their_day_was_added_up_are_counted() {
        let mut rows = history(3 * MS_PER_DAY);
        let table = table_of(&rows).await;
        let before = loaded(&table, &Window::ALL, NOW).await;
        let late = |slot_ms| CheckRow { checked_at_ms: NOW, ..row(slot_ms, false, 0, 7) };
        // A slot without row, a skipped one, and one that has its result.
        let skipped = rows.iter().rposition(|row| row.skipped).unwrap();
        let counted = rows.iter().rposition(|row| !row.skipped).unwrap();
        let (new, replaced) = (late(NOW - 4 * MS_PER_DAY), late(rows[skipped].slot_ms));
        table.record(&new).await.unwrap();
        table.record(&replaced).await.unwrap();
        table.record(&late(rows[counted].slot_ms)).await.unwrap();
        rows[skipped] = replaced;
        rows.push(new);
        for _ in 0..2 {
            assert_exact(&loaded(&table, &Window::ALL, NOW).await, &Window::ALL, &rows, NOW);
        }
        let checks = |sums| uptime(sums, Window::Week, NOW).checks;
        assert_eq!(checks(&loaded(&table, &Window::ALL, NOW).await), checks(&before) + 2);
    }

    #[tokio::test]
    async fn rows_of_an_earlier_app_are_in_no_sum() {
        let rows = history(3 * MS_PER_DAY);
        let table = table_of(&rows).await;
        let sums = load(&table, &key(), EPOCH + 1, &Window::ALL, NOW).await.unwrap();
        assert_exact(&sums, &Window::ALL, &[], NOW);
        assert_exact(&loaded(&table, &Window::ALL, NOW).await, &Window::ALL, &rows, NOW);
    }

    #[tokio::test]
    async fn rows_of_slots_before_the_app_was_registered_are_counted_and_never_stored_as_sums() {
        let registered_ms = NOW - 2 * MS_PER_DAY;
        let rows: Vec<CheckRow> =
            history(4 * MS_PER_DAY).into_iter().map(|row| CheckRow { registered_ms, ..row }).collect();
        let table = table_of(&rows).await;
        for _ in 0..2 {
            let sums = load(&table, &key(), registered_ms, &Window::ALL, NOW).await.unwrap();
            assert_exact(&sums, &Window::ALL, &rows, NOW);
        }
        let stored = table.days(&key(), registered_ms, Day(0), Day(i32::MAX)).await.unwrap();
        assert_eq!(stored.len(), 2);
    }

    #[tokio::test]
    async fn a_run_adds_up_the_day_that_settled_since_the_last_slot_and_no_other() {
        let rows = history(3 * MS_PER_DAY);
        let table = table_of(&rows).await;
        let midnight = Day::of_ms(NOW).start_ms();
        let settled = midnight + MS_PER_HOUR;
        let closed = async |last, slot, now| {
            close_day(&table, &key(), EPOCH, (last, slot), now).await.unwrap();
            let yesterday = Day::of_ms(midnight).previous();
            let days = table.days(&key(), EPOCH, Day(0), Day(i32::MAX)).await.unwrap();
            assert!(days.iter().all(|sums| sums.day == yesterday), "{days:?}");
            days.len()
        };
        assert_eq!(closed(settled - 600_000, settled - 300_000, NOW).await, 0);
        assert_eq!(closed(settled, settled + 300_000, NOW).await, 0, "an earlier run did, or a reader will");
        assert_eq!(closed(settled - 300_000, settled, settled - 1).await, 0, "a slot in the future");
        assert_eq!(closed(settled - 300_000, settled, settled).await, 1);
        let read = table.rows_read();
        assert_eq!(closed(settled - 300_000, settled, settled).await, 1);
        assert_eq!(table.rows_read(), read, "added up once");
    }
}
