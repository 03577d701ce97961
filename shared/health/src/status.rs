//! The public status of an app's checks: state, uptime of 90 days, incidents; and the page that shows it.
//! The page needs no script. Names come from users: everything but numbers is escaped.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures::StreamExt as _;
use logferry_core::model::app::App;
use logferry_core::model::fault::Fault;
use logferry_core::model::time::{Day, MS_PER_HOUR, rfc3339_ms};

use crate::badge::percent;
use crate::history::state_of;
use crate::redacted::public_part;
use crate::register::StoredCheck;
use crate::rows::{CheckTable, Health, Tally};
use crate::sums;
use crate::sums::Sums;
use crate::window::Window;

/// Days of the page.
pub const DAYS: i32 = 90;
/// Checks of a page at most: each takes some reads.
pub const MAX_CHECKS: usize = 50;
/// Incidents of a check that are listed, newest first.
const MAX_INCIDENTS: usize = 5;
/// Failed results from which on hours with failures are an incident: the default `failure_threshold`.
const MIN_FAILURES: u64 = 2;
/// Partitions read in parallel.
const READ_AT_ONCE: usize = 10;

/// Consecutive hours with failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    pub from_ms: i64,
    /// Excluded.
    pub to_ms: i64,
    pub failed: u64,
    pub checks: u64,
}

/// A check as everyone may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckStatus {
    /// Its name; without one, its URL without the query.
    pub name: String,
    pub health: Health,
    pub since_ms: Option<i64>,
    /// Oldest first: results and good ones of each of the [`DAYS`].
    pub days: Vec<(Day, u64, u64)>,
    pub incidents: Vec<Incident>,
}

impl CheckStatus {
    /// Results and good ones of all days.
    fn totals(&self) -> (u64, u64) {
        self.days.iter().fold((0, 0), |(checks, ok), day| (checks + day.1, ok + day.2))
    }
}

/// Returns the status of an app's first [`MAX_CHECKS`] checks.
///
/// # Errors
/// The table could not be read.
pub async fn status(
    table: &impl CheckTable,
    app: &App,
    checks: &[StoredCheck],
    now_ms: i64,
) -> Result<Vec<CheckStatus>, Fault> {
    let states = table.states(&app.app_id).await?;
    let reads = checks.iter().take(MAX_CHECKS).map(|check| async {
        let key = check.key(&app.app_id);
        let sums = sums::load(table, &key, app.registered_ms, &[Window::Quarter], now_ms).await?;
        let state = state_of(&states, app, check);
        Ok(CheckStatus {
            name: check.name.as_deref().unwrap_or_else(|| public_part(&check.target)).to_owned(),
            health: state.map_or(Health::Unknown, |state| state.health),
            since_ms: state.map(|state| state.since_ms),
            days: days(&sums, now_ms),
            incidents: incidents(&sums, now_ms),
        })
    });
    let reads: Vec<_> = reads.collect();
    futures::stream::iter(reads).buffered(READ_AT_ONCE).collect::<Vec<_>>().await.into_iter().collect()
}

fn days(sums: &Sums, now_ms: i64) -> Vec<(Day, u64, u64)> {
    let mut found: BTreeMap<Day, Tally> = BTreeMap::new();
    sums.each(Window::Quarter, now_ms, |at_ms, tally| {
        found.entry(Day::of_ms(at_ms)).or_default().merge(tally)
    });
    let today = Day::of_ms(now_ms);
    let tally = |day: Day| found.get(&day).copied().unwrap_or_default();
    (today.0 - DAYS + 1..=today.0).map(|day| (Day(day), tally(Day(day)).checks, tally(Day(day)).ok)).collect()
}

fn incidents(sums: &Sums, now_ms: i64) -> Vec<Incident> {
    let mut hours: BTreeMap<i64, Tally> = BTreeMap::new();
    sums.each(Window::Quarter, now_ms, |at_ms, tally| {
        hours.entry(at_ms.div_euclid(MS_PER_HOUR)).or_default().merge(tally);
    });
    let failing: Vec<(i64, Tally)> = hours.into_iter().filter(|(_, tally)| tally.ok < tally.checks).collect();
    let mut found: Vec<Incident> = failing
        .chunk_by(|(hour, _), (next, _)| hour + 1 == *next)
        .filter_map(|run| {
            let ((first, _), (last, _)) = (run.first()?, run.last()?);
            let checks = run.iter().map(|(_, tally)| tally.checks).sum();
            let ok: u64 = run.iter().map(|(_, tally)| tally.ok).sum();
            let (from_ms, to_ms) = (first * MS_PER_HOUR, (last + 1) * MS_PER_HOUR);
            Some(Incident { from_ms, to_ms, failed: checks - ok, checks })
        })
        .filter(|incident| incident.failed >= MIN_FAILURES)
        .collect();
    found.reverse();
    found.truncate(MAX_INCIDENTS);
    found
}

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#f5f7f9;--card:#fff;--line:#dde2e9;--text:#18212d;--muted:#566274;\
--good:#35a76a;--bad:#d9434c;--some:#e2a32b;--none:#dde2e9;--ok:#14713f;--no:#b4232c}\
@media(prefers-color-scheme:dark){:root{--bg:#0c1117;--card:#131a22;--line:#27323e;--text:#e3e9f0;\
--muted:#9aa8b7;--good:#2f9d63;--bad:#e5606a;--some:#d79a2e;--none:#27323e;--ok:#69d39a;--no:#ff8f8f}}\
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,sans-serif}\
main{max-width:820px;margin:0 auto;padding:32px 16px}h1{font-size:22px;margin:0 0 16px}\
.now{padding:14px 18px;border-radius:10px;font-weight:600;color:#fff;background:#14713f;margin-bottom:20px}\
.now.up{color:#fff}.now.down{color:#fff;background:#b4232c}.now.unknown{color:#fff;background:#566274}\
section{padding:16px 18px;margin-bottom:12px;border:1px solid var(--line);border-radius:10px;background:var(--card)}\
h2{display:flex;gap:12px;justify-content:space-between;margin:0 0 8px;font-size:16px;overflow-wrap:anywhere}\
.up{color:var(--ok)}.down{color:var(--no)}.unknown,.foot{color:var(--muted)}svg{display:block;width:100%;height:34px}\
.g{fill:var(--good)}.b{fill:var(--bad)}.s{fill:var(--some)}.n{fill:var(--none)}\
.foot{display:flex;justify-content:space-between;font-size:13px}ul{margin:10px 0 0;padding-left:18px;font-size:14px}\
footer{color:var(--muted);font-size:13px;margin-top:20px}";

/// Returns the page: HTML without scripts. `more` checks are not shown.
#[must_use]
pub fn page(app_name: &str, checks: &[CheckStatus], more: usize, now_ms: i64) -> String {
    let mut out = String::with_capacity(4_096 + checks.len() * 8_192);
    let name = escaped(app_name);
    let down = checks.iter().filter(|check| check.health == Health::Down).count();
    let known = checks.iter().any(|check| check.health != Health::Unknown);
    let (kind, now) = match (checks.len(), down, known) {
        (0, ..) | (_, 0, false) => ("unknown", "No results yet".to_owned()),
        (_, 0, true) => ("up", "All checks are up".to_owned()),
        (all, down, _) => {
            ("down", format!("{down} of {all} checks {} down", if down == 1 { "is" } else { "are" }))
        }
    };
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"120\"><title>{name}: status</title><style>{STYLE}</style></head>\
         <body><main><h1>{name}</h1><div class=\"now {kind}\">{now}</div>"
    );
    checks.iter().for_each(|check| push_check(&mut out, check));
    if more > 0 {
        let _ = write!(out, "<p>{more} more checks are not shown.</p>");
    }
    let _ = write!(
        out,
        "<footer>As of <time>{}</time>. Times are UTC.</footer></main></body></html>",
        minute(now_ms)
    );
    out
}

fn push_check(out: &mut String, check: &CheckStatus) {
    let state = check.health.as_str();
    let (checks, ok) = check.totals();
    let uptime = match checks {
        0 => "no results".to_owned(),
        _ => format!("{} uptime", percent(ok, checks)),
    };
    let since = check.since_ms.map_or_else(String::new, |ms| format!(" since {}", minute(ms)));
    let name = escaped(&check.name);
    let _ = write!(
        out,
        "<section><h2><bdi>{name}</bdi><span class=\"{state}\">{state}</span></h2>\
         <svg viewBox=\"0 0 {} 34\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{uptime} in {DAYS} days\">",
        DAYS * 9
    );
    for (n, (day, checks, ok)) in check.days.iter().enumerate() {
        // A day with a failure is amber, one with more failures than a twentieth red.
        let failed = checks - ok;
        let class = match (*checks, failed) {
            (0, _) => "n",
            (_, 0) => "g",
            (all, failed) if failed * 20 <= all => "s",
            _ => "b",
        };
        let said = match checks {
            0 => "no results".to_owned(),
            _ => format!("{} of {checks} good", ok),
        };
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{}\" width=\"7\" height=\"34\" rx=\"1\"><title>{day}: {said}</title></rect>",
            n * 9
        );
    }
    let _ = write!(
        out,
        "</svg><div class=\"foot\"><span>{DAYS} days ago</span><span>{uptime}</span><span>{state}{since}</span></div>"
    );
    if !check.incidents.is_empty() {
        out.push_str("<ul>");
        for incident in &check.incidents {
            let (from, to) = (minute(incident.from_ms), minute(incident.to_ms));
            let _ = write!(
                out,
                "<li>{from} to {to}: {} of {} results failed</li>",
                incident.failed, incident.checks
            );
        }
        out.push_str("</ul>");
    }
    out.push_str("</section>");
}

/// `2026-03-01 12:00`
fn minute(ms: i64) -> String {
    rfc3339_ms(ms).chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::guard::Policy;
    use crate::history::checks_of;
    use crate::testing::{MemoryChecks, row, shop};

    const HOUR: i64 = MS_PER_HOUR;
    /// 02:30 of a day.
    const NOW: i64 = 1_700_000_000_000 / 86_400_000 * 86_400_000 + 2 * HOUR + HOUR / 2;

    async fn found(bad: impl Fn(i64) -> bool) -> Vec<CheckStatus> {
        let app = shop(5, json!([{"name": "Shop <b>", "url": "https://shop.example.com/"}]));
        let table = MemoryChecks::default();
        for n in 0..60 * 4 {
            let slot_ms = NOW - n * HOUR / 4;
            let result = row(&app.app_id, "https://shop.example.com/", slot_ms, !bad(slot_ms));
            table.record(&result).await.unwrap();
        }
        status(&table, &app, &checks_of(&app, &Policy::default()), NOW).await.unwrap()
    }

    #[tokio::test]
    async fn every_day_has_its_results_and_hours_with_failures_are_incidents() {
        let bad_from = NOW - 10 * HOUR;
        let single = NOW - 30 * HOUR;
        let all = found(|ms| (bad_from..bad_from + 3 * HOUR).contains(&ms) || ms == single).await;
        let [check] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((check.name.as_str(), check.days.len()), ("Shop <b>", 90));
        let (checks, ok) = check.totals();
        assert_eq!((checks, checks - ok), (240, 13));
        // A single failure is none.
        let [incident] = check.incidents.as_slice() else { panic!("{:?}", check.incidents) };
        assert_eq!(incident.failed, 12);
        assert!(incident.from_ms <= bad_from && bad_from + 3 * HOUR <= incident.to_ms);
        assert_eq!(check.days.iter().filter(|(_, checks, _)| *checks > 0).count(), 4);
    }

    #[tokio::test]
    async fn a_check_without_a_name_is_shown_without_its_query() {
        let app = shop(5, json!(["https://api.example.com/health?token=s3cret"]));
        let checks = checks_of(&app, &Policy::default());
        let all = status(&MemoryChecks::default(), &app, &checks, NOW).await.unwrap();
        let html = page("shop", &all, 0, NOW);
        assert!(
            html.contains("<bdi>https://api.example.com/health</bdi>") && !html.contains("token"),
            "{html}"
        );
    }

    #[tokio::test]
    async fn the_page_has_no_script_and_nothing_of_a_name_is_markup() {
        let all = found(|_| false).await;
        let html = page("<script>alert(1)</script> & \"co\"", &all, 3, NOW);
        assert!(
            html.contains("<h1>&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;co&quot;</h1>"),
            "{html}"
        );
        assert!(html.contains("<bdi>Shop &lt;b&gt;</bdi>") && html.contains("100% uptime"));
        assert!(!html.contains("<script") && !html.contains("<b>") && !html.contains("style=\""));
        assert!(html.contains("3 more checks"));
        assert_eq!(html.matches("<rect").count(), 90);
    }

    #[test]
    fn the_head_of_the_page_says_what_is_down() {
        let check = |health| CheckStatus {
            name: "x".to_owned(),
            health,
            since_ms: None,
            days: Vec::new(),
            incidents: Vec::new(),
        };
        for (states, said) in [
            (vec![], "No results yet"),
            (vec![Health::Unknown], "No results yet"),
            (vec![Health::Up, Health::Unknown], "All checks are up"),
            (vec![Health::Up, Health::Down], "1 of 2 checks is down"),
            (vec![Health::Down, Health::Down], "2 of 2 checks are down"),
        ] {
            let all: Vec<_> = states.into_iter().map(check).collect();
            assert!(page("shop", &all, 0, NOW).contains(said), "{said}");
        }
    }
}
