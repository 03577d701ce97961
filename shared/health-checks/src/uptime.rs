//! Uptime and response times, from rows. Pure. Skipped rows say nothing and are left out.

use logferry_ports::checks::CheckRow;
use serde::Serialize;

/// A span of time that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Hour,
    Day,
    Week,
    Month,
}

impl Window {
    pub const ALL: [Window; 4] = [Window::Hour, Window::Day, Window::Week, Window::Month];

    pub fn parse(text: &str) -> Option<Window> {
        Window::ALL.into_iter().find(|window| window.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Window::Hour => "1h",
            Window::Day => "24h",
            Window::Week => "7d",
            Window::Month => "30d",
        }
    }

    pub fn ms(self) -> i64 {
        match self {
            Window::Hour => 3_600_000,
            Window::Day => 24 * 3_600_000,
            Window::Week => 7 * 24 * 3_600_000,
            Window::Month => 30 * 24 * 3_600_000,
        }
    }

    /// The width of a bucket of the series: 12 to 30 of them.
    pub fn bucket_ms(self) -> i64 {
        match self {
            Window::Hour => 5 * 60_000,
            Window::Day => 3_600_000,
            Window::Week => 6 * 3_600_000,
            Window::Month => 24 * 3_600_000,
        }
    }

    /// Whether a row lies in the window that ends at `now_ms`: after its start, up to now.
    pub fn contains(self, slot_ms: i64, now_ms: i64) -> bool {
        slot_ms > now_ms.saturating_sub(self.ms()) && slot_ms <= now_ms
    }
}

/// How much of a window a URL was up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Uptime {
    pub window: &'static str,
    pub checks: u64,
    pub ok: u64,
    /// 0 to 1; `None` where nothing was checked.
    pub uptime: Option<f64>,
    /// Over the checks that were answered; `None` where none was.
    pub average_ms: Option<u64>,
}

/// One point of the response-time series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bucket {
    pub start_ms: i64,
    pub checks: u64,
    pub ok: u64,
    pub average_ms: Option<u64>,
    pub min_ms: Option<u32>,
    pub max_ms: Option<u32>,
}

/// The uptime of one window; rows outside it may be among the rows.
pub fn uptime(rows: &[CheckRow], window: Window, now_ms: i64) -> Uptime {
    let rows = rows.iter().filter(|row| window.contains(row.slot_ms, now_ms));
    let count = Count::of(rows);
    #[allow(clippy::cast_precision_loss)] // some thousand rows
    let uptime = (count.checks > 0).then(|| count.ok as f64 / count.checks as f64);
    Uptime {
        window: window.as_str(),
        checks: count.checks,
        ok: count.ok,
        uptime,
        average_ms: count.average_ms(),
    }
}

/// Response times in buckets aligned to the epoch, oldest first; empty buckets are left out.
pub fn series(rows: &[CheckRow], window: Window, now_ms: i64) -> Vec<Bucket> {
    let mut buckets = std::collections::BTreeMap::<i64, Count>::new();
    for row in rows.iter().filter(|row| window.contains(row.slot_ms, now_ms) && !row.skipped) {
        let start_ms = row.slot_ms.div_euclid(window.bucket_ms()) * window.bucket_ms();
        buckets.entry(start_ms).or_default().add(row);
    }
    buckets
        .into_iter()
        .map(|(start_ms, count)| Bucket {
            start_ms,
            checks: count.checks,
            ok: count.ok,
            average_ms: count.average_ms(),
            min_ms: count.min_ms,
            max_ms: count.max_ms,
        })
        .collect()
}

#[derive(Debug, Default)]
struct Count {
    checks: u64,
    ok: u64,
    answered: u64,
    total_ms: u64,
    min_ms: Option<u32>,
    max_ms: Option<u32>,
}

impl Count {
    fn of<'a>(rows: impl Iterator<Item = &'a CheckRow>) -> Count {
        let mut count = Count::default();
        rows.filter(|row| !row.skipped).for_each(|row| count.add(row));
        count
    }

    fn add(&mut self, row: &CheckRow) {
        self.checks += 1;
        self.ok += u64::from(row.ok);
        if row.status != 0 {
            self.answered += 1;
            self.total_ms += u64::from(row.latency_ms);
            self.min_ms = Some(self.min_ms.map_or(row.latency_ms, |min| min.min(row.latency_ms)));
            self.max_ms = Some(self.max_ms.map_or(row.latency_ms, |max| max.max(row.latency_ms)));
        }
    }

    /// Rounded to the nearest millisecond.
    fn average_ms(&self) -> Option<u64> {
        (self.answered > 0).then(|| (self.total_ms + self.answered / 2) / self.answered)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use logferry_ports::checks::CheckKey;

    pub(crate) const NOW: i64 = 1_700_000_000_000;

    pub(crate) fn row(slot_ms: i64, ok: bool, status: u16, latency_ms: u32) -> CheckRow {
        CheckRow {
            key: CheckKey { app_id: "shop".parse().unwrap(), target: "https://shop.example/".to_string() },
            slot_ms,
            epoch_ms: 0,
            status,
            latency_ms,
            ok,
            skipped: false,
            error: None,
            failed_conditions: Vec::new(),
            redirect_to: None,
            certificate_expires_ms: None,
            checked_at_ms: slot_ms,
        }
    }

    /// A row every 5 minutes for so long back, newest first, results and latencies from a fixed sequence.
    pub(crate) fn history(span_ms: i64) -> Vec<CheckRow> {
        let mut seed = 12345_u32;
        (0..span_ms / 300_000)
            .map(|n| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let draw = seed >> 16;
                let mut row = match draw % 10 {
                    0 => row(NOW - n * 300_000, false, 0, 10_000),
                    1 => row(NOW - n * 300_000, false, 500, draw % 900),
                    _ => row(NOW - n * 300_000, true, 200, draw % 900),
                };
                row.skipped = draw.is_multiple_of(97);
                row
            })
            .collect()
    }

    /// Written otherwise on purpose: counts with loops over raw rows.
    fn reference(rows: &[CheckRow], from_ms: i64, to_ms: i64) -> (u64, u64, Option<u64>) {
        let (mut checks, mut ok) = (0, 0);
        let mut latencies = Vec::new();
        for row in rows {
            if row.skipped || row.slot_ms <= from_ms || row.slot_ms > to_ms {
                continue;
            }
            checks += 1;
            if row.ok {
                ok += 1;
            }
            if row.status > 0 {
                latencies.push(f64::from(row.latency_ms));
            }
        }
        let average = latencies.iter().sum::<f64>() / latencies.len() as f64;
        (checks, ok, (!latencies.is_empty()).then(|| (average + 0.5).floor() as u64))
    }

    #[test]
    fn uptime_equals_a_count_of_the_raw_rows_in_empty_partial_and_full_windows() {
        let day = 24 * 3_600_000;
        for span_ms in
            [0, 300_000, 20 * 60_000, 3_600_000, 5 * 3_600_000, day, 3 * day, 7 * day, 30 * day, 31 * day]
        {
            let rows = history(span_ms);
            for (window, ms) in [
                (Window::Hour, 3_600_000),
                (Window::Day, day),
                (Window::Week, 7 * day),
                (Window::Month, 30 * day),
            ] {
                let (checks, ok, average_ms) = reference(&rows, NOW - ms, NOW);
                let found = uptime(&rows, window, NOW);
                assert_eq!(
                    (found.checks, found.ok, found.average_ms),
                    (checks, ok, average_ms),
                    "{span_ms} {window:?}"
                );
                assert_eq!(found.uptime, (checks > 0).then(|| ok as f64 / checks as f64));
            }
        }
        assert_eq!(uptime(&[], Window::Day, NOW).uptime, None);
    }

    #[test]
    fn a_full_hour_has_twelve_checks_of_five_minutes() {
        let rows: Vec<CheckRow> = (0..100).map(|n| row(NOW - n * 300_000, true, 200, 1)).collect();
        assert_eq!(uptime(&rows, Window::Hour, NOW).checks, 12);
        assert_eq!(uptime(&rows, Window::Hour, NOW + 1).checks, 12);
    }

    #[test]
    fn the_series_sums_up_to_the_window() {
        let rows = history(30 * 24 * 3_600_000);
        for window in Window::ALL {
            let (series, whole) = (series(&rows, window, NOW), uptime(&rows, window, NOW));
            assert_eq!(series.iter().map(|bucket| bucket.checks).sum::<u64>(), whole.checks);
            assert_eq!(series.iter().map(|bucket| bucket.ok).sum::<u64>(), whole.ok);
            assert!(series.iter().all(|bucket| bucket.start_ms % window.bucket_ms() == 0));
            for bucket in &series {
                let (from, to) = (bucket.start_ms - 1, bucket.start_ms + window.bucket_ms() - 1);
                let (from, to) = (from.max(NOW - window.ms()), to.min(NOW));
                assert_eq!((bucket.checks, bucket.ok, bucket.average_ms), reference(&rows, from, to));
            }
        }
    }

    #[test]
    fn skipped_slots_do_not_count_as_down() {
        let mut skipped = row(NOW - 1, false, 0, 0);
        skipped.skipped = true;
        let found = uptime(&[row(NOW, true, 200, 5), skipped], Window::Hour, NOW);
        assert_eq!((found.checks, found.uptime), (1, Some(1.0)));
    }
}
