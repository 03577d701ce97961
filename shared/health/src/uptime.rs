//! Uptime and response times of a window. Pure. Skipped rows are ignored.

use crate::rows::Tally;
use serde::Serialize;

use crate::sums::Sums;
use crate::window::Window;

/// Uptime of a check in a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Uptime {
    pub window: &'static str,
    pub checks: u64,
    pub ok: u64,
    /// 0 to 1; `None` without checks.
    pub uptime: Option<f64>,
    /// Over the checks with a response; `None` without any.
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

/// Returns the uptime of a window; the sums may include more than the window.
pub fn uptime(sums: &Sums, window: Window, now_ms: i64) -> Uptime {
    let mut all = Tally::default();
    sums.each(window, now_ms, |_, tally| all.merge(tally));
    #[allow(clippy::cast_precision_loss)] // some thousand checks
    let uptime = (all.checks > 0).then(|| all.ok as f64 / all.checks as f64);
    Uptime { window: window.as_str(), checks: all.checks, ok: all.ok, uptime, average_ms: all.average_ms() }
}

/// Returns response times in buckets aligned to the epoch, oldest first; empty buckets are omitted.
pub fn series(sums: &Sums, window: Window, now_ms: i64) -> Vec<Bucket> {
    let mut buckets = std::collections::BTreeMap::<i64, Tally>::new();
    sums.each(window, now_ms, |at_ms, tally| {
        let start_ms = at_ms.div_euclid(window.bucket_ms()) * window.bucket_ms();
        buckets.entry(start_ms).or_default().merge(tally);
    });
    buckets
        .into_iter()
        .filter(|(_, tally)| tally.checks > 0)
        .map(|(start_ms, tally)| Bucket {
            start_ms,
            checks: tally.checks,
            ok: tally.ok,
            average_ms: tally.average_ms(),
            min_ms: tally.min_ms,
            max_ms: tally.max_ms,
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rows::{CheckKey, CheckRow};

    pub(crate) const NOW: i64 = 1_700_000_000_000;

    pub(crate) fn row(slot_ms: i64, ok: bool, status: u16, latency_ms: u32) -> CheckRow {
        CheckRow {
            key: CheckKey { app_id: "shop".parse().unwrap(), target: "https://shop.example/".to_string() },
            slot_ms,
            registered_ms: 0,
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

    /// A row every 5 minutes for this time span back, newest first, with results and latencies from a fixed
    /// sequence.
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

    /// Deliberately written differently: counts with loops over raw rows.
    pub(crate) fn reference(rows: &[CheckRow], from_ms: i64, to_ms: i64) -> (u64, u64, Option<u64>) {
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
            let sums = Sums::of_rows(rows.clone());
            for (window, ms) in [
                (Window::Hour, 3_600_000),
                (Window::Day, day),
                (Window::Week, 7 * day),
                (Window::Month, 30 * day),
            ] {
                let (checks, ok, average_ms) = reference(&rows, NOW - ms, NOW);
                let found = uptime(&sums, window, NOW);
                assert_eq!(
                    (found.checks, found.ok, found.average_ms),
                    (checks, ok, average_ms),
                    "{span_ms} {window:?}"
                );
                assert_eq!(found.uptime, (checks > 0).then(|| ok as f64 / checks as f64));
            }
        }
        assert_eq!(uptime(&Sums::default(), Window::Day, NOW).uptime, None);
    }

    #[test]
    fn a_full_hour_has_twelve_checks_of_five_minutes() {
        let rows = (0..100).map(|n| row(NOW - n * 300_000, true, 200, 1)).collect();
        let sums = Sums::of_rows(rows);
        assert_eq!(uptime(&sums, Window::Hour, NOW).checks, 12);
        assert_eq!(uptime(&sums, Window::Hour, NOW + 1).checks, 12);
    }

    #[test]
    fn the_series_sums_up_to_the_window() {
        let rows = history(30 * 24 * 3_600_000);
        for window in Window::ALL {
            let sums = Sums::of_rows(rows.clone());
            let (series, whole) = (series(&sums, window, NOW), uptime(&sums, window, NOW));
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
        let found = uptime(&Sums::of_rows(vec![row(NOW, true, 200, 5), skipped]), Window::Hour, NOW);
        assert_eq!((found.checks, found.uptime), (1, Some(1.0)));
    }
}
