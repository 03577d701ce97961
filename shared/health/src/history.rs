//! API responses about checks: rows, states, uptime, series, badges, and reports of jobs.

use crate::rows::{CheckRow, CheckTable, Health, JOB_PREFIX, Recorded, ReportLimits, UrlState};
use futures::StreamExt;
use logferry_core::model::app::App;
use logferry_core::model::fault::Fault;
use logferry_core::model::time::rfc3339_ms;
use serde_json::{Value, json};

use crate::badge::{Badge, Subject};
use crate::check::CheckKind;
use crate::guard::Policy;
use crate::guard::target::target_of;
use crate::register::{StoredCheck, stored_checks};
use crate::sums::Sums;
use crate::uptime::{series, uptime};
use crate::window::Window;
use crate::{badge, sums};

/// Partitions read in parallel.
const READ_AT_ONCE: usize = 10;
const MAX_ERROR_CHARS: usize = 300;
const MS_PER_MINUTE: i64 = 60_000;

/// Returns the stored checks of an app.
pub fn checks_of(app: &App, policy: &Policy) -> Vec<StoredCheck> {
    stored_checks(&app.health_checks, policy)
}

/// Returns the check of this URL or name, for routes about one check.
pub fn find<'a>(checks: &'a [StoredCheck], url_or_name: &str) -> Option<&'a StoredCheck> {
    let target = target_of(url_or_name);
    checks.iter().find(|check| {
        check.name.as_deref() == Some(url_or_name) || check.target == url_or_name || check.target == target
    })
}

/// Returns a check that was removed, of which results may be left; `None` if no check has such a target.
pub fn gone(url: &str) -> Option<StoredCheck> {
    let target = target_of(url);
    let is_target = ["http://", "https://", JOB_PREFIX].iter().any(|prefix| target.starts_with(prefix));
    is_target.then(|| StoredCheck { target, name: None, check: Err("is no longer checked".to_string()) })
}

/// `{url, status, latency_ms, ok, error, checked_at}` and further known fields.
pub(crate) fn show_row(name: Option<&str>, row: &CheckRow) -> Value {
    let mut shown = json!({
        "url": row.key.target, "status": row.status, "latency_ms": row.latency_ms, "ok": row.ok, "error": row.error,
        "checked_at": rfc3339_ms(row.checked_at_ms), "slot": rfc3339_ms(row.slot_ms),
    });
    let mut set = |field: &str, value: Value| {
        if let Some(object) = shown.as_object_mut() {
            object.insert(field.to_string(), value);
        }
    };
    if let Some(name) = name {
        set("name", name.into());
    }
    if row.skipped {
        set("skipped", true.into());
    }
    if !row.failed_conditions.is_empty() {
        set("failed_conditions", row.failed_conditions.clone().into());
    }
    if let Some(redirect_to) = &row.redirect_to {
        set("redirect_to", redirect_to.as_str().into());
    }
    if let Some(expires_ms) = row.certificate_expires_ms {
        set("certificate_expires_at", rfc3339_ms(expires_ms).into());
    }
    shown
}

/// Returns each check with its state and its uptime over all windows.
pub async fn overview(
    table: &impl CheckTable,
    app: &App,
    checks: &[StoredCheck],
    now_ms: i64,
) -> Result<Vec<Value>, Fault> {
    let states = table.states(&app.app_id).await?;
    let reads = checks.iter().map(|check| async {
        let sums = sums_of(table, app, check, &Window::ALL, now_ms).await?;
        let uptimes: Vec<_> = Window::ALL.iter().map(|window| uptime(&sums, *window, now_ms)).collect();
        let state = state_of(&states, app, check);
        Ok(json!({
            "url": check.target, "name": check.name, "state": state.map_or(Health::Unknown, |state| state.health),
            "since": state.map(|state| rfc3339_ms(state.since_ms)), "uptime": uptimes,
        }))
    });
    futures::stream::iter(reads.collect::<Vec<_>>())
        .buffered(READ_AT_ONCE)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect()
}

async fn sums_of(
    table: &impl CheckTable,
    app: &App,
    check: &StoredCheck,
    windows: &[Window],
    now_ms: i64,
) -> Result<Sums, Fault> {
    sums::load(table, &check.key(&app.app_id), app.registered_ms, windows, now_ms).await
}

pub(crate) fn state_of<'a>(states: &'a [UrlState], app: &App, check: &StoredCheck) -> Option<&'a UrlState> {
    states.iter().find(|state| state.target == check.target && state.registered_ms == app.registered_ms)
}

/// Returns the response times of a check: buckets with start, counts, average, minimum and maximum.
pub async fn response_times(
    table: &impl CheckTable,
    app: &App,
    check: &StoredCheck,
    window: Window,
    now_ms: i64,
) -> Result<Value, Fault> {
    let sums = sums_of(table, app, check, &[window], now_ms).await?;
    let buckets: Vec<Value> = series(&sums, window, now_ms)
        .into_iter()
        .map(|bucket| {
            json!({"start": rfc3339_ms(bucket.start_ms), "checks": bucket.checks, "ok": bucket.ok,
                   "average_ms": bucket.average_ms, "min_ms": bucket.min_ms, "max_ms": bucket.max_ms})
        })
        .collect();
    Ok(
        json!({"url": check.target, "window": window.as_str(), "bucket_ms": window.bucket_ms(), "buckets": buckets}),
    )
}

/// Returns a badge of a check.
pub async fn badge(
    table: &impl CheckTable,
    app: &App,
    check: &StoredCheck,
    subject: Subject,
    window: Window,
    now_ms: i64,
) -> Result<Badge, Fault> {
    if subject == Subject::Health {
        let states = table.states(&app.app_id).await?;
        return Ok(badge::health(
            state_of(&states, app, check).map_or(Health::Unknown, |state| state.health),
        ));
    }
    let found = uptime(&sums_of(table, app, check, &[window], now_ms).await?, window, now_ms);
    Ok(if subject == Subject::Uptime { badge::uptime(&found) } else { badge::response_time(&found) })
}

/// A job's report about a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub ok: bool,
    pub error: Option<String>,
    pub duration_ms: u32,
}

/// Maximum reports per minute: of one job, and of all jobs of an app. A job then has at most 14,400 rows
/// per day, from which badges, uptimes and the sums of the day are computed.
pub const REPORTS_PER_MINUTE: ReportLimits = ReportLimits { of_job: 10, of_app: 300 };

/// The result of a report.
#[derive(Debug, Clone, PartialEq)]
pub enum Pushed {
    /// The row as shown.
    Stored(Value),
    /// The app has no such job.
    NoSuchJob,
    /// The job, or its app, has reached its limit for this minute.
    TooOften { retry_after_secs: u32 },
}

/// Stores a job's report. The next run of `health` includes it.
pub async fn push(
    table: &impl CheckTable,
    app: &App,
    checks: &[StoredCheck],
    name: &str,
    report: &Report,
    now_ms: i64,
) -> Result<Pushed, Fault> {
    let job = |check: &&StoredCheck| {
        check.name.as_deref() == Some(name)
            && check.check.as_ref().is_ok_and(|check| matches!(check.kind, CheckKind::Push { .. }))
    };
    let Some(check) = checks.iter().find(job) else { return Ok(Pushed::NoSuchJob) };
    let key = check.key(&app.app_id);
    let minute = now_ms.div_euclid(MS_PER_MINUTE);
    let left_ms = (minute + 1) * MS_PER_MINUTE - now_ms;
    let too_often = Pushed::TooOften {
        retry_after_secs: u32::try_from(left_ms.div_euclid(1000)).unwrap_or_default() + 1,
    };
    if !table.count_report(&key, app.registered_ms, minute, REPORTS_PER_MINUTE).await? {
        return Ok(too_often);
    }
    let mut row = CheckRow {
        key,
        slot_ms: now_ms,
        registered_ms: app.registered_ms,
        status: if report.ok { 200 } else { 500 },
        latency_ms: report.duration_ms,
        ok: report.ok,
        skipped: false,
        error: report
            .error
            .as_ref()
            .filter(|_| !report.ok)
            .map(|error| error.chars().take(MAX_ERROR_CHARS).collect()),
        failed_conditions: Vec::new(),
        redirect_to: None,
        certificate_expires_ms: None,
        checked_at_ms: now_ms,
    };
    // Two reports in one millisecond are two reports. There are at most those of this minute and the last.
    for _ in 0..2 * REPORTS_PER_MINUTE.of_job {
        if table.record(&row).await? == Recorded::Stored {
            return Ok(Pushed::Stored(show_row(check.name.as_deref(), &row)));
        }
        row.slot_ms += 1;
    }
    Ok(too_often)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::newest::newest;
    use crate::testing::{MemoryChecks, row, shop};

    const NOW: i64 = 1_700_000_100_000;

    fn app(health_checks: Value) -> App {
        shop(5, health_checks)
    }

    /// A row every five minutes back from now, the third of them bad.
    async fn four_rows(app: &App) -> MemoryChecks {
        let table = MemoryChecks::default();
        for n in 0..4 {
            table
                .record(&row(&app.app_id, "https://shop.example.com/", NOW - n * 300_000, n != 2))
                .await
                .unwrap();
        }
        table
    }

    fn checks(app: &App) -> Vec<StoredCheck> {
        checks_of(app, &Policy::default())
    }

    async fn history(table: &MemoryChecks, app: &App, limit: usize) -> Vec<Value> {
        newest(table, app, &checks(app), None, limit).await.unwrap().rows
    }

    #[tokio::test]
    async fn rows_are_newest_first_and_have_the_documented_fields() {
        let app = app(json!(["https://shop.example.com/"]));
        let rows = history(&four_rows(&app).await, &app, 3).await;
        assert_eq!(rows.len(), 3);
        assert_eq!(
            rows[0],
            json!({"url": "https://shop.example.com/", "status": 200, "latency_ms": 12, "ok": true, "error": null,
                   "checked_at": "2023-11-14T22:15:00.017Z", "slot": "2023-11-14T22:15:00.000Z",
                   "certificate_expires_at": "2023-11-14T22:15:00.001Z"})
        );
        assert_eq!(
            (&rows[2]["error"], &rows[2]["failed_conditions"]),
            (&json!("connect: connection refused"), &json!(["[STATUS] (0) == 200"]))
        );
    }

    #[tokio::test]
    async fn rows_of_an_earlier_app_of_this_id_are_not_seen() {
        let app = App { registered_ms: 6, ..app(json!(["https://shop.example.com/"])) };
        let table = four_rows(&app).await;
        assert_eq!(history(&table, &app, 100).await, [Value::Null; 0]);
        let overview = overview(&table, &app, &checks(&app), NOW).await.unwrap();
        assert_eq!(overview[0]["uptime"][3]["checks"], 0);
    }

    #[tokio::test]
    async fn overview_series_and_badges_are_of_the_same_rows() {
        let app = app(json!([{"name": "Shop", "url": "https://shop.example.com/"}]));
        let (table, checks) = (four_rows(&app).await, checks(&app));
        let overview = overview(&table, &app, &checks, NOW).await.unwrap();
        let hour = json!({"window": "1h", "checks": 4, "ok": 3, "uptime": 0.75, "average_ms": 12});
        assert_eq!((&overview[0]["uptime"][0], &overview[0]["state"]), (&hour, &json!("unknown")));
        let check = find(&checks, "Shop").unwrap();
        let series = response_times(&table, &app, check, Window::Hour, NOW).await.unwrap();
        assert_eq!(series["buckets"].as_array().unwrap().len(), 4);
        for (subject, message) in
            [(Subject::Uptime, "75%"), (Subject::ResponseTime, "12ms"), (Subject::Health, "?")]
        {
            assert_eq!(
                badge(&table, &app, check, subject, Window::Hour, NOW).await.unwrap().message,
                message
            );
        }
    }

    #[tokio::test]
    async fn of_many_checks_an_overview_covers_every_window() {
        let urls: Vec<String> = (0..11).map(|n| format!("https://shop.example.com/{n}")).collect();
        let app = app(json!(urls));
        let overview = overview(&MemoryChecks::default(), &app, &checks(&app), NOW).await.unwrap();
        assert_eq!((overview.len(), overview[0]["uptime"].as_array().unwrap().len()), (11, 4));
    }

    #[tokio::test]
    async fn a_slot_that_began_before_the_app_was_registered_is_in_its_history() {
        let app = App { registered_ms: NOW + 1, ..app(json!(["https://shop.example.com/"])) };
        let table = MemoryChecks::default();
        let first =
            CheckRow { registered_ms: NOW + 1, ..row(&app.app_id, "https://shop.example.com/", NOW, true) };
        table.record(&first).await.unwrap();
        assert_eq!(history(&table, &app, 10).await.len(), 1);
    }

    #[test]
    fn a_check_is_found_by_its_name_or_any_spelling_of_its_url() {
        let app =
            app(json!([{"name": "Shop", "url": "https://shop.example.com/"}, "https://b.example.com/x"]));
        let checks = checks(&app);
        for wanted in ["Shop", "https://shop.example.com", "https://SHOP.example.com:443/#a"] {
            assert_eq!(find(&checks, wanted).unwrap().target, "https://shop.example.com/", "{wanted}");
        }
        assert_eq!(find(&checks, "https://c.example.com/"), None);
        assert_eq!(gone("https://C.example.com#a").unwrap().target, "https://c.example.com/");
        assert_eq!(gone("push:job").unwrap().target, "push:job");
        // The table keeps other items under these.
        for other in ["reports", "state", ""] {
            assert_eq!(gone(other), None);
        }
    }

    #[tokio::test]
    async fn a_job_reports_ten_times_a_minute_and_an_app_three_hundred_times() {
        let names: Vec<String> = (0..40).map(|n| format!("job-{n}")).collect();
        let app = app(names.iter().map(|name| json!({"name": name, "heartbeat": "1h"})).collect());
        let (table, checks) = (MemoryChecks::default(), checks(&app));
        let report = Report { ok: true, ..Report::default() };
        let push_at =
            async |name: &str, now_ms| push(&table, &app, &checks, name, &report, now_ms).await.unwrap();
        let start = NOW / MS_PER_MINUTE * MS_PER_MINUTE;
        // all of one millisecond, the last of a minute
        for turn in 0..11 {
            let stored = matches!(push_at("job-0", start + 59_999).await, Pushed::Stored(_));
            assert_eq!(stored, turn < 10);
        }
        assert_eq!(push_at("job-0", start + 20_000).await, Pushed::TooOften { retry_after_secs: 41 });
        assert_eq!(push_at("job-0", start + 59_999).await, Pushed::TooOften { retry_after_secs: 1 });
        // other jobs have their own share, until the app's is used up
        let mut stored = 10;
        for name in &names[1..] {
            for _ in 0..10 {
                stored += usize::from(matches!(push_at(name, start + 5).await, Pushed::Stored(_)));
            }
        }
        assert_eq!((stored, table.rows().len()), (300, 300));
        // Rejected reports are not counted, neither for the next minute nor for the one before.
        for _ in 0..10 {
            assert!(matches!(push_at("job-0", start + 60_000).await, Pushed::Stored(_)));
        }
        // An app that is registered again has its own limit.
        let later = App { registered_ms: app.registered_ms + 1, ..app.clone() };
        let pushed = push(&table, &later, &checks, "job-0", &report, start + 60_000).await.unwrap();
        assert!(matches!(pushed, Pushed::Stored(_)));
    }
}
