//! The `checks` table in memory, and the contract that it shares with the real one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::rows::{
    CheckKey, CheckRow, CheckTable, DaySums, HOURS_PER_DAY, Health, HealthChange, LATE_AFTER_MS, Recorded,
    ReportLimits, Tally, UrlState,
};
use logferry_core::model::app::{App, AppId};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::time::Day;
use serde_json::Value;

use crate::state::watched_since;

/// Key of sums: check, epoch and day.
type DayKey = (CheckKey, i64, Day);

/// Key of reports: app, epoch and minute.
type ReportsKey = (AppId, i64, i64);

/// A `checks` table in memory; clones are one table.
#[derive(Debug, Clone, Default)]
pub struct MemoryChecks {
    rows: Arc<Mutex<BTreeMap<(CheckKey, i64), CheckRow>>>,
    states: Arc<Mutex<HashMap<(AppId, String), UrlState>>>,
    days: Arc<Mutex<BTreeMap<DayKey, DaySums>>>,
    reports: Arc<Mutex<BTreeMap<ReportsKey, BTreeMap<String, u32>>>>,
    rows_read: Arc<AtomicUsize>,
    most_read_at_once: Arc<AtomicUsize>,
}

impl MemoryChecks {
    /// All rows, by check and slot.
    pub fn rows(&self) -> Vec<CheckRow> {
        self.rows.lock().unwrap().values().cloned().collect()
    }

    /// Removes a row, as its time to live does.
    pub fn expire(&self, key: &CheckKey, slot_ms: i64) {
        self.rows.lock().unwrap().remove(&(key.clone(), slot_ms));
    }

    /// Removes the rows and states whose time to live has ended.
    pub fn expire_until(&self, now_ms: i64) {
        self.rows.lock().unwrap().retain(|_, row| row.expires_ms() > now_ms);
        self.states.lock().unwrap().retain(|_, state| state.expires_ms() > now_ms);
    }

    /// Returns the number of rows read so far, over all calls.
    pub fn rows_read(&self) -> usize {
        self.rows_read.load(Ordering::SeqCst)
    }

    /// Returns the maximum number of rows of one call.
    pub fn most_read_at_once(&self) -> usize {
        self.most_read_at_once.load(Ordering::SeqCst)
    }
}

impl CheckTable for MemoryChecks {
    async fn record(&self, row: &CheckRow) -> Result<Recorded, Fault> {
        tokio::task::yield_now().await;
        let mut rows = self.rows.lock().unwrap();
        let key = (row.key.clone(), row.slot_ms);
        match rows.get(&key) {
            Some(first)
                if first.registered_ms > row.registered_ms
                    || first.registered_ms == row.registered_ms && (row.skipped || !first.skipped) =>
            {
                Ok(Recorded::Existing(first.clone()))
            }
            _ => {
                rows.insert(key, row.clone());
                if row.is_late() {
                    let day = Day::of_ms(row.slot_ms);
                    let mut days = self.days.lock().unwrap();
                    let none = DaySums { day, revision: 0, hours: None };
                    let sums = days.entry((row.key.clone(), row.registered_ms, day)).or_insert(none);
                    *sums = DaySums { day, revision: sums.revision + 1, hours: None };
                }
                Ok(Recorded::Stored)
            }
        }
    }

    async fn history(
        &self,
        key: &CheckKey,
        from_ms: i64,
        to_ms: i64,
        limit: usize,
    ) -> Result<Vec<CheckRow>, Fault> {
        // DynamoDB does not accept longer keys.
        if key.app_id.as_str().len() + 1 + key.target.len() > 2_048 {
            return Err(Fault::new(FaultClass::Permanent, "Query", "ValidationException"));
        }
        if matches!(key.target.as_str(), "reports" | "state") {
            return Err(Fault::new(
                FaultClass::Permanent,
                "Query",
                "the items of this partition are no rows",
            ));
        }
        let rows = self.rows.lock().unwrap();
        let found =
            rows.values().rev().filter(|row| &row.key == key && (from_ms..=to_ms).contains(&row.slot_ms));
        let found: Vec<CheckRow> = found.take(limit).cloned().collect();
        self.rows_read.fetch_add(found.len(), Ordering::SeqCst);
        self.most_read_at_once.fetch_max(found.len(), Ordering::SeqCst);
        Ok(found)
    }

    async fn days(
        &self,
        key: &CheckKey,
        registered_ms: i64,
        first: Day,
        last: Day,
    ) -> Result<Vec<DaySums>, Fault> {
        if first > last {
            return Ok(Vec::new());
        }
        let days = self.days.lock().unwrap();
        let range = (key.clone(), registered_ms, first)..=(key.clone(), registered_ms, last);
        Ok(days.range(range).map(|(_, sums)| sums.clone()).collect())
    }

    async fn save_day(&self, key: &CheckKey, registered_ms: i64, sums: &DaySums) -> Result<bool, Fault> {
        let mut days = self.days.lock().unwrap();
        let place = (key.clone(), registered_ms, sums.day);
        let unchanged = days.get(&place).map_or(0, |stored| stored.revision) == sums.revision;
        if unchanged {
            days.insert(place, sums.clone());
        }
        Ok(unchanged)
    }

    async fn count_report(
        &self,
        key: &CheckKey,
        registered_ms: i64,
        minute: i64,
        most: ReportLimits,
    ) -> Result<bool, Fault> {
        let mut reports = self.reports.lock().unwrap();
        let jobs = reports.entry((key.app_id.clone(), registered_ms, minute)).or_default();
        let of_app: u32 = jobs.values().sum();
        let of_job = jobs.entry(key.target.clone()).or_default();
        let taken = *of_job < most.of_job && of_app < most.of_app;
        *of_job += u32::from(taken);
        Ok(taken)
    }

    async fn states(&self, app_id: &AppId) -> Result<Vec<UrlState>, Fault> {
        tokio::task::yield_now().await;
        let states = self.states.lock().unwrap();
        Ok(states.iter().filter(|((owner, _), _)| owner == app_id).map(|(_, state)| state.clone()).collect())
    }

    async fn save_state(&self, app_id: &AppId, state: &UrlState) -> Result<bool, Fault> {
        tokio::task::yield_now().await;
        let mut states = self.states.lock().unwrap();
        let key = (app_id.clone(), state.target.clone());
        let before = states.get(&key).map_or(0, |stored| stored.version);
        let first = before + 1 == state.version;
        if first {
            states.insert(key, state.clone());
        }
        Ok(first)
    }
}

/// The app `shop` with these checks.
pub fn shop(registered_ms: i64, health_checks: Value) -> App {
    App { health_checks, ..App::new("shop".parse().unwrap(), "Shop", registered_ms) }
}

/// A row as a probe makes it.
pub fn row(app_id: &AppId, target: &str, slot_ms: i64, ok: bool) -> CheckRow {
    CheckRow {
        key: CheckKey { app_id: app_id.clone(), target: target.to_string() },
        slot_ms,
        registered_ms: 5,
        status: if ok { 200 } else { 0 },
        latency_ms: 12,
        ok,
        skipped: false,
        error: (!ok).then(|| "connect: connection refused".to_string()),
        failed_conditions: if ok { Vec::new() } else { vec!["[STATUS] (0) == 200".to_string()] },
        redirect_to: None,
        certificate_expires_ms: ok.then_some(slot_ms + 1),
        checked_at_ms: slot_ms + 17,
    }
}

/// Panics if a table breaks the contract of [`CheckTable`]. `app_id` must not be used otherwise.
pub async fn keeps_its_promises(table: &impl CheckTable, app_id: &AppId) {
    let (url, other) = ("https://shop.example.com/a?b=c", "https://shop.example.com/");
    // From the year 2099 on, so that no table's time to live deletes a row.
    let slot = |n: i64| 4_070_940_900_000 + n * 300_000;

    // The first result of a slot is kept.
    let first = row(app_id, url, slot(0), false);
    assert_eq!(table.record(&first).await.unwrap(), Recorded::Stored);
    assert_eq!(
        table.record(&row(app_id, url, slot(0), true)).await.unwrap(),
        Recorded::Existing(first.clone())
    );
    assert_eq!(table.record(&first).await.unwrap(), Recorded::Existing(first.clone()));

    // A skipped slot is replaced by a result, and by nothing else.
    let skipped = CheckRow { skipped: true, ..row(app_id, url, slot(1), false) };
    assert_eq!(table.record(&skipped).await.unwrap(), Recorded::Stored);
    assert_eq!(table.record(&skipped).await.unwrap(), Recorded::Existing(skipped.clone()));
    let result = row(app_id, url, slot(1), true);
    assert_eq!(table.record(&result).await.unwrap(), Recorded::Stored);
    assert_eq!(table.record(&skipped).await.unwrap(), Recorded::Existing(result.clone()));

    // A row of an earlier app with this id is replaced, and replaces none.
    let earlier = row(app_id, url, slot(2), false);
    let later = CheckRow { registered_ms: 9, ..row(app_id, url, slot(2), true) };
    assert_eq!(table.record(&earlier).await.unwrap(), Recorded::Stored);
    assert_eq!(table.record(&later).await.unwrap(), Recorded::Stored);
    assert_eq!(table.record(&earlier).await.unwrap(), Recorded::Existing(later.clone()));
    let skipped_later = CheckRow { registered_ms: 9, skipped: true, ..row(app_id, url, slot(4), false) };
    assert_eq!(table.record(&skipped_later).await.unwrap(), Recorded::Stored);
    let earlier = row(app_id, url, slot(4), true);
    assert_eq!(table.record(&earlier).await.unwrap(), Recorded::Existing(skipped_later.clone()));
    let late_earlier = CheckRow { checked_at_ms: slot(4) + 2 * 86_400_000, ..earlier };
    assert_eq!(table.record(&late_earlier).await.unwrap(), Recorded::Existing(skipped_later));

    // History: one check's rows, newest first, both ends included, at most the requested number.
    table.record(&row(app_id, other, slot(1), true)).await.unwrap();
    let key = first.key.clone();
    let all = table.history(&key, slot(0), slot(2), 100).await.unwrap();
    assert_eq!(all, [later.clone(), result.clone(), first]);
    assert_eq!(table.history(&key, slot(1), slot(1), 100).await.unwrap(), [result]);
    assert_eq!(table.history(&key, slot(0), slot(2), 1).await.unwrap(), [later]);
    assert_eq!(table.history(&key, slot(5), slot(9), 100).await.unwrap(), []);
    assert_eq!(table.history(&key, slot(9), slot(0), 100).await.unwrap(), []);

    // Sums of days: per check and app, oldest first, both ends included.
    let day = Day::of_ms(slot(0));
    let mut hours = [Tally::default(); HOURS_PER_DAY];
    hours[23] =
        Tally { checks: 12, ok: 11, answered: 10, total_ms: 99, min_ms: Some(1), max_ms: Some(u32::MAX) };
    let sums = |day, revision| DaySums { day, revision, hours: Some(hours) };
    assert!(table.save_day(&key, 5, &sums(day, 0)).await.unwrap());
    assert!(table.save_day(&key, 5, &sums(day, 0)).await.unwrap(), "the same again");
    assert!(table.save_day(&key, 5, &sums(day.previous(), 0)).await.unwrap());
    assert!(!table.save_day(&key, 5, &sums(day, 1)).await.unwrap(), "a revision that never was");
    let both = [sums(day.previous(), 0), sums(day, 0)];
    assert_eq!(table.days(&key, 5, day.previous(), day).await.unwrap(), both);
    assert_eq!(table.days(&key, 5, day, day).await.unwrap(), [sums(day, 0)]);
    assert_eq!(table.days(&key, 5, day, day.previous()).await.unwrap(), []);
    assert_eq!(table.days(&key, 4, day, day).await.unwrap(), []);
    let elsewhere = CheckKey { target: other.to_string(), ..key.clone() };
    assert_eq!(table.days(&elsewhere, 5, day, day).await.unwrap(), []);
    assert_eq!(table.history(&key, slot(0), slot(2), 100).await.unwrap().len(), 3, "sums are no rows");

    // A late row invalidates the sums of its day, once. A row that is not stored changes nothing.
    let late =
        CheckRow { checked_at_ms: day.end_ms() + LATE_AFTER_MS + 1, ..row(app_id, url, slot(3), true) };
    assert_eq!(table.record(&late).await.unwrap(), Recorded::Stored);
    assert_eq!(table.record(&late).await.unwrap(), Recorded::Existing(late.clone()));
    let void = DaySums { day, revision: 1, hours: None };
    assert_eq!(table.days(&key, 5, day, day).await.unwrap(), [void]);
    assert!(!table.save_day(&key, 5, &sums(day, 0)).await.unwrap(), "read before the late row");
    assert!(table.save_day(&key, 5, &sums(day, 1)).await.unwrap());
    assert_eq!(
        table.days(&key, 5, day.previous(), day).await.unwrap(),
        [sums(day.previous(), 0), sums(day, 1)]
    );
    let unsummed = CheckRow { key: elsewhere.clone(), ..late };
    let skipped = CheckRow { skipped: true, ..unsummed.clone() };
    assert_eq!(table.record(&skipped).await.unwrap(), Recorded::Stored);
    assert_eq!(table.record(&unsummed).await.unwrap(), Recorded::Stored);
    let void = DaySums { day, revision: 2, hours: None };
    assert_eq!(table.days(&elsewhere, 5, day, day).await.unwrap(), [void]);

    // Reports: limits per job and per app, separately for each epoch and minute.
    let most = ReportLimits { of_job: 2, of_app: 3 };
    let job = |name: &str| CheckKey { app_id: app_id.clone(), target: format!("push:{name}") };
    let minute = slot(0) / 60_000;
    for (name, registered_ms, minute, taken) in [
        ("a", 5, minute, true),
        ("a", 5, minute, true),
        ("a", 5, minute, false),
        ("b", 5, minute, true),
        ("b", 5, minute, false),
        ("c", 5, minute, false),
        ("a", 6, minute, true),
        ("a", 5, minute + 1, true),
    ] {
        let counted = table.count_report(&job(name), registered_ms, minute, most).await.unwrap();
        assert_eq!(counted, taken, "{name} {registered_ms} {minute}");
    }

    // States: written over the version that they come from, by one writer.
    let state = UrlState { version: 1, ..watched_since(url, 5, slot(0)) };
    assert!(table.save_state(app_id, &state).await.unwrap());
    assert!(!table.save_state(app_id, &state).await.unwrap());
    let change = HealthChange { from: Health::Up, to: Health::Down, slot_ms: slot(1) };
    let next = UrlState {
        version: 2,
        health: Health::Down,
        last_slot_ms: Some(slot(1)),
        pending: Some(change),
        ..state.clone()
    };
    assert!(table.save_state(app_id, &next).await.unwrap());
    assert!(!table.save_state(app_id, &UrlState { version: 2, ..state.clone() }).await.unwrap());
    assert!(!table.save_state(app_id, &UrlState { version: 5, ..state.clone() }).await.unwrap());
    assert_eq!(table.states(app_id).await.unwrap(), [next]);
    let second = UrlState { target: other.to_string(), ..state };
    assert!(table.save_state(app_id, &second).await.unwrap());
    assert_eq!(table.states(app_id).await.unwrap().len(), 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_table_in_memory_keeps_the_promises_of_the_port() {
        keeps_its_promises(&MemoryChecks::default(), &"shop".parse().unwrap()).await;
    }
}
