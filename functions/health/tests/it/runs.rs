//! Whole runs: slots, repeated events, states and messages, skipped work, jobs that report themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logferry_core::model::app::{App, AppId};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::time::Day;
use logferry_health::{Health, Summary};
use logferry_health_checks::history::{Pushed, Report, checks_of, push};
use logferry_health_checks::rows::{
    CheckKey, CheckRow, CheckTable, DaySums, Recorded, ReportLimits, UrlState,
};
use logferry_health_checks::testing::MemoryChecks;
use logferry_sim::SimCloud;
use serde_json::{Value, json};

use crate::servers::{Server, page, status};
use crate::world::{PLENTY, SLOT, TestHealth, Topic, Watch, World, app, local};

/// A server whose state the test sets.
async fn switched() -> (Server, Arc<AtomicBool>) {
    let up = Arc::new(AtomicBool::new(true));
    let now = Arc::clone(&up);
    let server = Server::answering(move |_| {
        status(if now.load(Ordering::SeqCst) { "200 OK" } else { "500 Internal Server Error" })
    })
    .await;
    (server, up)
}

#[tokio::test]
async fn two_hundred_urls_fit_into_one_run_at_most_fifty_at_once() {
    let server = Server::answering(|_| status("200 OK")).await;
    let urls: Vec<String> = (0..200).map(|n| server.url(&format!("/{n}"))).collect();
    let world = World::new(vec![app("a", json!(urls[..100])), app("b", json!(urls[100..]))]);
    let summary = world.run(10).await.unwrap();
    assert_eq!(summary, Summary { up: 200, ..Summary::default() });
    assert_eq!((world.table.rows().len(), server.accepted()), (200, 200));
    assert!(server.most_at_once() <= 50, "{}", server.most_at_once());
}

#[tokio::test]
async fn the_same_event_three_times_leaves_one_row_per_url() {
    let server = Server::answering(|_| status("200 OK")).await;
    let urls: Vec<String> = (0..20).map(|n| server.url(&format!("/{n}"))).collect();
    let world = World::new(vec![app("shop", json!(urls))]);
    for _ in 0..3 {
        world.run(10).await.unwrap();
    }
    assert_eq!((world.table.rows().len(), server.accepted()), (20, 20));
    assert!(world.table.rows().iter().all(|row| row.slot_ms == 10 * SLOT && row.ok && row.status == 200));
}

#[tokio::test]
async fn three_runs_of_one_slot_at_the_same_time_count_and_tell_once() {
    let (server, up) = switched().await;
    let world = World::new(vec![app("shop", json!([server.url("/")]))]);
    world.run(1).await.unwrap();
    world.run(2).await.unwrap();
    up.store(false, Ordering::SeqCst);
    for slot in 3..6 {
        let (a, b, c) = tokio::join!(world.run(slot), world.run(slot), world.run(slot));
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
    }
    assert_eq!(world.table.rows().len(), 5);
    assert_eq!(world.topic.subjects(), [format!("DOWN [shop] {}", server.url("/"))]);
}

#[tokio::test]
async fn the_first_result_of_a_slot_stays() {
    let (server, up) = switched().await;
    let world = World::new(vec![app("shop", json!([server.url("/")]))]);
    world.run(1).await.unwrap();
    up.store(false, Ordering::SeqCst);
    world.run(1).await.unwrap();
    world.run(0).await.unwrap();
    let rows = world.table.rows();
    assert_eq!((rows.len(), rows[0].ok), (1, true));
}

#[tokio::test]
async fn up_flap_down_recover_tells_exactly_down_and_recovered() {
    let (server, up) = switched().await;
    let check = json!({"url": server.url("/"), "name": "Shop", "conditions": ["[STATUS] == 200"]});
    let world = World::new(vec![app("shop", json!([check]))]);
    let results = "++-+-++--+-----+++";
    for (slot, result) in (0..).zip(results.chars()) {
        up.store(result == '+', Ordering::SeqCst);
        world.run(slot).await.unwrap();
    }
    assert_eq!(world.topic.subjects(), ["DOWN [shop] Shop", "RECOVERED [shop] Shop"]);
    let down = &world.topic.texts()[0];
    assert!(down.contains("Failed conditions:\n  [STATUS] (500) == 200\n"), "{down}");
    assert_eq!(down.matches("status ").count(), 5, "{down}");
}

#[tokio::test]
async fn a_message_that_could_not_be_sent_is_sent_by_the_next_slot_and_once() {
    let (server, up) = switched().await;
    let check = json!({"url": server.url("/"), "name": "Shop", "failure_threshold": 1, "success_threshold": 1, "interval": "1h"});
    let world = World::new(vec![app("shop", json!([check]))]);
    up.store(false, Ordering::SeqCst);
    world.topic.broken.store(true, Ordering::SeqCst);
    let summary = world.run(12).await.unwrap();
    assert_eq!(summary, Summary { down: 1, delayed: 1, ..Summary::default() });
    world.topic.broken.store(false, Ordering::SeqCst);
    assert_eq!(world.topic.subjects(), [""; 0]);
    for slot in [13, 14] {
        world.run(slot).await.unwrap();
    }
    assert_eq!(world.topic.subjects(), ["DOWN [shop] Shop"]);
    assert_eq!(world.table.rows().len(), 1);
}

#[tokio::test]
async fn a_message_that_the_topic_never_accepts_counts_as_sent_and_does_not_block_the_next() {
    let (server, up) = switched().await;
    let check = |name: &str| json!({"url": server.url(&format!("/{name}")), "name": name, "failure_threshold": 1, "success_threshold": 1});
    let world = World::new(vec![app("shop", json!([check("a"), check("b")]))]);
    up.store(false, Ordering::SeqCst);
    world.topic.refusing.store(true, Ordering::SeqCst);
    assert_eq!(world.run(1).await.unwrap(), Summary { down: 2, refused: 2, ..Summary::default() });
    assert_eq!(world.run(2).await.unwrap(), Summary { down: 2, ..Summary::default() });
    world.topic.refusing.store(false, Ordering::SeqCst);
    up.store(true, Ordering::SeqCst);
    assert_eq!(world.run(3).await.unwrap(), Summary { up: 2, notified: 2, ..Summary::default() });
    let mut notified = world.topic.subjects();
    notified.sort();
    assert_eq!(notified, ["RECOVERED [shop] a", "RECOVERED [shop] b"]);
}

#[tokio::test]
async fn the_largest_conditions_on_the_worst_page_are_a_message_that_sns_takes() {
    let worst = "\"\\\u{1}😀".repeat(30_000);
    let server = Server::answering(move |_| page(&worst)).await;
    let condition = format!("[BODY] == {}", "😀".repeat(122));
    let conditions = vec![condition; 20];
    let url = server.url(&format!("/{}", "x".repeat(900)));
    let check = json!({"url": url, "name": "é".repeat(64), "conditions": conditions, "failure_threshold": 6});
    let world = World::new(vec![app("shop", json!([check]))]);
    for slot in 0..6 {
        world.run(slot).await.unwrap();
    }
    assert_eq!(world.topic.subjects(), [format!("DOWN [shop] {}", "?".repeat(64))]);
    let text = &world.topic.texts()[0];
    assert!(text.len() <= 10 * 1024 && text.contains("\n  and 17 more\n"), "{text}");
    assert_eq!(world.table.rows()[0].failed_conditions.len(), 20);
}

#[tokio::test]
async fn what_does_not_fit_is_recorded_as_skipped_and_done_first_next_time() {
    let server = Server::answering(|_| status("200 OK")).await;
    let urls: Vec<String> = (0..5).map(|n| server.url(&format!("/{n}"))).collect();
    let world = World::new(vec![app("shop", json!(urls))]);
    let summary = world.health.run(SLOT, Duration::from_secs(9)).await.unwrap();
    assert_eq!(summary, Summary { skipped: 5, ..Summary::default() });
    assert!(world.table.rows().iter().all(|row| row.skipped && !row.ok && row.status == 0));
    assert_eq!(server.accepted(), 0);
    // The same event again has time, and the result replaces the skipped row.
    assert_eq!(world.run(1).await.unwrap().up, 5);
    assert_eq!(world.table.rows().len(), 5);
    assert!(world.table.rows().iter().all(|row| row.ok && !row.skipped));
}

#[tokio::test]
async fn an_interval_longer_than_the_schedule_is_kept() {
    let server = Server::answering(|_| status("200 OK")).await;
    let world = World::new(vec![app("shop", json!([{"url": server.url("/"), "interval": "15m"}]))]);
    for slot in 0..9 {
        world.run(slot).await.unwrap();
    }
    let slots: Vec<i64> = world.table.rows().iter().map(|row| row.slot_ms / SLOT).collect();
    assert_eq!(slots, [0, 3, 6]);
}

#[tokio::test]
async fn a_run_for_an_app_that_was_registered_again_meanwhile_leaves_the_new_apps_results_alone() {
    let (server, up) = switched().await;
    let checks = json!([{"url": server.url("/"), "failure_threshold": 1, "success_threshold": 1}]);
    let old = World::new(vec![app("shop", checks.clone())]);
    let new = App { registered_ms: 2, ..app("shop", checks) };
    let World { table, topic, health } = old;
    // The new app's run of this slot ends before the old one's, which was planned earlier, records
    // anything.
    let key = CheckKey { app_id: new.app_id.clone(), target: server.url("/") };
    let good = CheckRow {
        key,
        registered_ms: 2,
        certificate_expires_ms: None,
        ..logferry_health_checks::testing::row(&new.app_id, "", SLOT, true)
    };
    table.record(&good).await.unwrap();
    up.store(false, Ordering::SeqCst);
    assert_eq!(health.run(SLOT, PLENTY).await.unwrap(), Summary::default());
    assert_eq!((table.rows(), topic.subjects()), (vec![good], Vec::new()));
    assert_eq!(table.states(&new.app_id).await.unwrap(), []);
}

fn report(ok: bool) -> Report {
    Report { ok, error: (!ok).then(|| "disk full".to_owned()), duration_ms: 7 }
}

#[tokio::test]
async fn a_job_that_reports_is_up_and_one_that_falls_silent_or_fails_is_down() {
    let checks: Value = json!([{"name": "backup", "heartbeat": "10m"}]);
    let shop = app("shop", checks);
    let world = World::new(vec![shop.clone()]);
    let stored = checks_of(&shop, &local());
    let tell = async |at_ms: i64, ok: bool| {
        push(&world.table, &shop, &stored, "backup", &report(ok), at_ms).await.unwrap()
    };
    for slot in 0..3 {
        // not expected yet
        world.run(slot).await.unwrap();
    }
    assert_eq!(world.table.rows().len(), 0);
    tell(2 * SLOT + 5, true).await;
    for slot in 3..5 {
        world.run(slot).await.unwrap();
    }
    assert_eq!(world.topic.subjects(), [""; 0]);
    for slot in 5..8 {
        world.run(slot).await.unwrap();
    }
    assert_eq!(world.topic.subjects(), ["DOWN [shop] backup"]);
    assert!(world.topic.texts()[0].contains("heartbeat: no report for 10m"));
    tell(8 * SLOT - 1, true).await;
    for slot in 8..10 {
        world.run(slot).await.unwrap();
    }
    tell(10 * SLOT - 1, false).await;
    for slot in 10..12 {
        world.run(slot).await.unwrap();
    }
    assert_eq!(
        world.topic.subjects(),
        ["DOWN [shop] backup", "RECOVERED [shop] backup", "DOWN [shop] backup"]
    );
    assert!(world.topic.texts()[2].contains("disk full"));
    let unknown = push(&world.table, &shop, &stored, "other", &report(true), 1).await.unwrap();
    assert_eq!(unknown, Pushed::NoSuchJob);
}

#[tokio::test]
async fn what_the_longest_heartbeat_needs_is_kept_until_it_has_passed() {
    let day = 288;
    let shop = app(
        "shop",
        json!([{"name": "monthly", "heartbeat": "744h", "failure_threshold": 1}, {"name": "never", "heartbeat": "744h"}]),
    );
    let world = World::new(vec![shop.clone()]);
    let stored = checks_of(&shop, &local());
    let tell =
        async |at_ms| push(&world.table, &shop, &stored, "monthly", &report(true), at_ms).await.unwrap();
    tell(5).await;
    for slot in (0..=31).map(|n| n * day) {
        world.table.expire_until(slot * SLOT);
        world.run(slot).await.unwrap();
    }
    assert_eq!(world.topic.subjects(), [""; 0]);
    tell(31 * day * SLOT + 5).await;
    for slot in [31 * day + 1, 31 * day + 2] {
        world.run(slot).await.unwrap();
    }
    assert_eq!(world.topic.subjects(), ["DOWN [shop] never"]);
}

#[tokio::test]
async fn two_reports_in_one_millisecond_are_two_rows() {
    let shop = app("shop", json!([{"name": "backup", "heartbeat": "10m"}]));
    let world = World::new(vec![shop.clone()]);
    for _ in 0..2 {
        push(&world.table, &shop, &checks_of(&shop, &local()), "backup", &report(true), 5).await.unwrap();
    }
    assert_eq!(world.table.rows().len(), 2);
}

#[test]
fn the_sample_events_name_their_slot() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/health");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let event: aws_lambda_events::eventbridge::EventBridgeEvent<Value> =
            serde_json::from_str(&text).unwrap();
        let time_ms = event.time.unwrap().timestamp_millis();
        assert_eq!(logferry_health::due::slot_of(time_ms, SLOT) % SLOT, 0);
        seen += 1;
    }
    assert!(seen >= 2);
}

/// A table that cannot read the states of one app, and needs time to record.
struct Broken(MemoryChecks, &'static str, Duration);

impl CheckTable for Broken {
    async fn record(&self, row: &CheckRow) -> Result<Recorded, Fault> {
        tokio::time::sleep(self.2).await;
        self.0.record(row).await
    }

    async fn history(
        &self,
        key: &CheckKey,
        from_ms: i64,
        to_ms: i64,
        limit: usize,
    ) -> Result<Vec<CheckRow>, Fault> {
        self.0.history(key, from_ms, to_ms, limit).await
    }

    async fn days(
        &self,
        key: &CheckKey,
        registered_ms: i64,
        first: Day,
        last: Day,
    ) -> Result<Vec<DaySums>, Fault> {
        self.0.days(key, registered_ms, first, last).await
    }

    async fn save_day(&self, key: &CheckKey, registered_ms: i64, sums: &DaySums) -> Result<bool, Fault> {
        self.0.save_day(key, registered_ms, sums).await
    }

    async fn count_report(
        &self,
        key: &CheckKey,
        registered_ms: i64,
        minute: i64,
        most: ReportLimits,
    ) -> Result<bool, Fault> {
        self.0.count_report(key, registered_ms, minute, most).await
    }

    async fn states(&self, app_id: &AppId) -> Result<Vec<UrlState>, Fault> {
        if app_id.as_str() == self.1 {
            return Err(Fault::new(FaultClass::Permanent, "Query", "ValidationException"));
        }
        self.0.states(app_id).await
    }

    async fn save_state(&self, app_id: &AppId, state: &UrlState) -> Result<bool, Fault> {
        self.0.save_state(app_id, state).await
    }
}

fn on_table(health: TestHealth, table: Broken) -> Health<SimCloud, Broken, Topic, Watch> {
    Health {
        apps: health.apps,
        table,
        notifier: health.notifier,
        clock: health.clock,
        prober: health.prober,
        schedule_ms: health.schedule_ms,
        metrics_namespace: health.metrics_namespace,
        metrics_detail: health.metrics_detail,
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_run_can_no_longer_write_down_is_only_counted() {
    let urls: Vec<String> = (0..60).map(|n| format!("http://127.0.0.1/{n}")).collect();
    let World { table, health, .. } = World::new(vec![app("shop", json!(urls))]);
    let health = on_table(health, Broken(table.clone(), "", Duration::from_secs(9)));
    // Nothing can start. The first fifty rows are written, then the run is over.
    let summary = health.run(SLOT, Duration::from_secs(9)).await.unwrap();
    assert_eq!(summary, Summary { skipped: 60, ..Summary::default() });
    assert_eq!(table.rows().len(), 50);
}

#[tokio::test]
async fn an_app_whose_states_cannot_be_read_stops_no_other_and_the_run_fails() {
    let server = Server::answering(|_| status("200 OK")).await;
    let apps = ["a", "b", "c"].map(|id| app(id, json!([server.url(&format!("/{id}"))])));
    let World { table, health, .. } = World::new(apps.to_vec());
    let health = on_table(health, Broken(table.clone(), "b", Duration::ZERO));
    assert!(health.run(SLOT, PLENTY).await.is_err(), "so that it is run again");
    let rows: Vec<_> = table.rows().iter().map(|row| row.key.app_id.to_string()).collect();
    assert_eq!(rows, ["a", "c"]);
}
