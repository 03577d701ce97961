//! Merges the newest rows of an app's checks: a response of bounded size from reads of bounded size.

use std::cmp::Reverse;
use std::collections::VecDeque;

use crate::rows::{CheckRow, CheckTable};
use futures::StreamExt;
use logferry_core::model::app::App;
use logferry_core::model::fault::Fault;
use logferry_core::model::time::MS_PER_DAY;
use serde_json::Value;

use crate::history::show_row;
use crate::register::StoredCheck;

/// Maximum bytes of the rows in a response. Lambda's limit is 6 MB, and the body is a JSON string in which
/// each quote and backslash takes two bytes
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
pub const MAX_ANSWER_BYTES: usize = 2_500_000;
/// Partitions read in parallel.
const READ_AT_ONCE: usize = 10;
/// Rows of a check per read: few at first, since there may be many checks.
const MIN_READ: usize = 4;
const MAX_READ: usize = 100;
/// Later than every slot (year 2286, the last of 13 digits).
const NO_END_MS: i64 = 9_999_999_999_999;

/// The last row of a response. The next page starts after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPosition {
    pub slot_ms: i64,
    pub target: String,
}

/// Rows, newest first, and where to continue if there are more.
#[derive(Debug, PartialEq)]
pub struct RowPage {
    pub rows: Vec<Value>,
    pub next: Option<RowPosition>,
}

/// Returns the newest rows of these checks after a position: at most `limit`, and [`MAX_ANSWER_BYTES`].
/// Rows of one slot are ordered by target.
pub async fn newest(
    table: &impl CheckTable,
    app: &App,
    checks: &[StoredCheck],
    after: Option<&RowPosition>,
    limit: usize,
) -> Result<RowPage, Fault> {
    let read = (limit / checks.len().max(1) + 2).clamp(MIN_READ, MAX_READ);
    let first_reads = checks.iter().map(|check| async move {
        let mut source = Source::of(check, app, after, read);
        source.fill(table, app).await.map(|()| source)
    });
    let read: Vec<Result<Source<'_>, Fault>> =
        futures::stream::iter(first_reads.collect::<Vec<_>>()).buffered(READ_AT_ONCE).collect().await;
    let mut sources = read.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (mut rows, mut bytes, mut last) = (Vec::new(), 0, None);
    loop {
        sources.retain(|source| !source.rows.is_empty());
        let Some(source) = sources.iter_mut().max_by(|a, b| a.place().cmp(&b.place())) else {
            return Ok(RowPage { rows, next: None });
        };
        let Some(row) = source.rows.front() else { continue };
        let shown = show_row(source.check.name.as_deref(), row);
        bytes += shown.to_string().len() + 1;
        if rows.len() >= limit || (bytes > MAX_ANSWER_BYTES && !rows.is_empty()) {
            return Ok(RowPage { rows, next: last });
        }
        last = Some(RowPosition { slot_ms: row.slot_ms, target: row.key.target.clone() });
        rows.push(shown);
        source.rows.pop_front();
        source.fill(table, app).await?;
    }
}

/// The rows of a check that are not merged yet.
struct Source<'a> {
    check: &'a StoredCheck,
    /// Newest first; empty only if there are no more.
    rows: VecDeque<CheckRow>,
    /// Where the next read starts; `None` if nothing is left to read.
    until_ms: Option<i64>,
    read: usize,
}

impl<'a> Source<'a> {
    fn of(check: &'a StoredCheck, app: &App, after: Option<&RowPosition>, read: usize) -> Source<'a> {
        let until_ms = match after {
            None => NO_END_MS,
            Some(after) if check.key(&app.app_id).target > after.target => after.slot_ms,
            Some(after) => after.slot_ms.saturating_sub(1),
        };
        Source { check, rows: VecDeque::new(), until_ms: Some(until_ms), read }
    }

    fn place(&self) -> Option<(i64, Reverse<&str>)> {
        self.rows.front().map(|row| (row.slot_ms, Reverse(row.key.target.as_str())))
    }

    /// Reads until there is a row of this app, or none at all.
    async fn fill(&mut self, table: &impl CheckTable, app: &App) -> Result<(), Fault> {
        // The slot in which the app was registered started before the registration, and is at most a day
        // long.
        let from_ms = app.registered_ms.saturating_sub(MS_PER_DAY).max(0);
        while self.rows.is_empty()
            && let Some(until_ms) = self.until_ms
        {
            let read = table.history(&self.check.key(&app.app_id), from_ms, until_ms, self.read).await?;
            let oldest = read.last().filter(|_| read.len() == self.read);
            self.until_ms = oldest.map(|row| row.slot_ms.saturating_sub(1));
            self.read = (self.read * 2).min(MAX_READ);
            self.rows.extend(read.into_iter().filter(|row| row.registered_ms == app.registered_ms));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::guard::Policy;
    use crate::register::stored_checks;
    use crate::testing::{MemoryChecks, row, shop};
    use serde_json::json;

    const NOW: i64 = 1_700_000_100_000;

    fn app(health_checks: Value) -> App {
        shop(NOW, health_checks)
    }

    fn url(n: usize) -> String {
        format!("https://shop.example.com/{n:03}")
    }

    fn row_of(app: &App, n: usize, slot: i64) -> CheckRow {
        CheckRow { registered_ms: app.registered_ms, ..row(&app.app_id, &url(n), NOW + slot * 300_000, true) }
    }

    /// The rows as `url slot`, all pages of `limit` one after another.
    async fn all(table: &MemoryChecks, app: &App, limit: usize) -> Vec<String> {
        let checks = stored_checks(&app.health_checks, &Policy::default());
        let (mut shown, mut after) = (Vec::new(), None);
        loop {
            let page = newest(table, app, &checks, after.as_ref(), limit).await.unwrap();
            assert!(page.rows.len() <= limit && (page.next.is_none() || !page.rows.is_empty()));
            shown.extend(page.rows.iter().map(|row| format!("{} {}", row["slot"], row["url"])));
            after = page.next;
            if after.is_none() {
                return shown;
            }
        }
    }

    #[tokio::test]
    async fn pages_of_any_size_are_all_rows_in_order_once() {
        let app = app((0..7).map(|n| json!(url(n))).collect());
        let table = MemoryChecks::default();
        let mut expected = Vec::new();
        for slot in (0..60).rev() {
            // One is checked in every slot, others less and less often.
            for n in (0..7).filter(|n| slot % (n + 1) == 0) {
                let n = usize::try_from(n).unwrap();
                table.record(&row_of(&app, n, slot)).await.unwrap();
                let shown = show_row(None, &row_of(&app, n, slot));
                expected.push(format!("{} {}", shown["slot"], shown["url"]));
            }
        }
        for limit in [1, 2, 3, 7, 50, 1000] {
            assert_eq!(all(&table, &app, limit).await, expected, "{limit}");
        }
    }

    #[tokio::test]
    async fn rows_of_an_earlier_app_are_skipped_in_reads_of_bounded_size() {
        let app = app(json!([url(0)]));
        let table = MemoryChecks::default();
        for slot in -1_000..0 {
            table.record(&CheckRow { registered_ms: 1, ..row_of(&app, 0, slot) }).await.unwrap();
        }
        assert_eq!(all(&table, &app, 1000).await, [""; 0]);
        assert!(table.rows_read() <= 288 && table.most_read_at_once() <= MAX_READ, "of one day, no more");
        for slot in 0..3 {
            table.record(&row_of(&app, 0, slot)).await.unwrap();
        }
        assert_eq!(all(&table, &app, 1).await.len(), 3);
    }

    #[tokio::test]
    async fn an_answer_of_the_largest_rows_ends_below_lambdas_limit_and_goes_on() {
        let app = app((0..200).map(|n| json!(url(n))).collect());
        let table = MemoryChecks::default();
        for n in 0..200 {
            for slot in 0..4 {
                let failed_conditions = vec!["\"".repeat(700); 20];
                table.record(&CheckRow { failed_conditions, ..row_of(&app, n, slot) }).await.unwrap();
            }
        }
        let checks = stored_checks(&app.health_checks, &Policy::default());
        let page = newest(&table, &app, &checks, None, 1000).await.unwrap();
        let body = json!({ "data": page.rows }).to_string();
        assert!(page.next.is_some() && body.len() > 2_000_000);
        assert!(Value::from(body).to_string().len() < 6_291_556);
        assert!(table.rows_read() <= 200 * 7 && table.most_read_at_once() <= MAX_READ);
        assert_eq!(all(&table, &app, 1000).await.len(), 800);
    }
}
