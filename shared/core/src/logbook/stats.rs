//! Records per day and level that can be queried. Hidden and expired records are not counted, whether or
//! not they are deleted.

use std::collections::BTreeMap;

use crate::logbook::counters::Stats;
use crate::model::app::App;
use crate::model::fault::Fault;
use crate::model::level::LevelCounts;
use crate::model::time::Day;

/// Maximum number of days in a response.
pub const MAX_DAYS: u32 = 3_660;
pub const DEFAULT_DAYS: u32 = 7;

/// Counter rows per page.
const PAGE: u32 = 1_000;

/// Returns the counts of the `days` days that end with today, today first.
///
/// # Errors
/// The counters could not be read.
pub async fn days(
    stats: &impl Stats,
    app: &App,
    days: u32,
    now_ms: i64,
) -> Result<Vec<(Day, LevelCounts)>, Fault> {
    let today = Day::of_ms(now_ms);
    let first = Day(today.0.saturating_sub(i32::try_from(days).unwrap_or(i32::MAX) - 1));
    let mut counted: BTreeMap<Day, LevelCounts> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = stats.newest(&app.app_id, first, today, PAGE, after).await?;
        for row in page.rows.iter().filter(|row| row.key.registered_ms == app.registered_ms) {
            *counted.entry(row.key.day).or_default() += row.counts.alive(now_ms).levels;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let visible = |day: &Day| app.pruned_before_ms.is_none_or(|pruned| day.end_ms() >= pruned);
    let count = |day: Day| (day, counted.get(&day).copied().filter(|_| visible(&day)).unwrap_or_default());
    Ok((first.0..=today.0).rev().map(|day| count(Day(day))).collect())
}
