//! Fifty apps on an ordinary bad day, with `sweep` at the template's schedule: unused URLs, lost events,
//! dead workers. The documented guarantees hold for each.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use logferry_core::ledger::claim::{Claim, Ledger};
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::{FileStatus, Grant};
use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::object::ObjectRef;
use logferry_core::ports::clock::Clock;
use logferry_sim::{SimCloud, T0};
use logferry_sweep::Part;
use logferry_sweep::missed::{LONGEST_PAUSE_MS, ROUND_EVERY_MS, SETTLE_MS};
use logferry_sweep::policy::UPLOAD_GRACE_MS;
use logferry_tests::ingest::{BUCKET, event, ingest};
use logferry_tests::template::sweep_interval;
use tokio::time::Instant;

use super::world::{INGEST_MS, MINUTE_MS, due_rows, sweep};

const APPS: usize = 50;
const ABANDONED: usize = 1_000;
const LOST: usize = 200;
/// When the simulated cloud's apps were registered (ms).
const EPOCH_MS: i64 = T0 - 1000;
const URL_MS: i64 = 5 * MINUTE_MS;
/// The alarm threshold (template.yaml, SweepBacklogAlarm).
const ALARM_MS: i64 = 30 * MINUTE_MS;

/// docs/guarantees.md, "An accepted upload is ingested or visibly FAILED": the time given there for each
/// case, plus two sweeps.
fn promised_ms(after_ms: i64) -> i64 {
    after_ms + 2 * i64::try_from(sweep_interval().as_millis()).unwrap()
}

struct Day {
    cloud: SimCloud,
    /// By key, when each must have ended (ms).
    ends_by: BTreeMap<String, i64>,
}

impl Day {
    fn now_ms(&self) -> i64 {
        self.cloud.clock().now_ms()
    }

    async fn hand_out(&mut self, app: &str, name: &str) -> String {
        let key = format!("logs/{app}/2025/10/09/{name}.gz");
        let created_ms = self.now_ms();
        let grant = Grant {
            bucket: BUCKET.to_owned(),
            key: key.clone(),
            app_id: app.parse().unwrap(),
            meeting: None,
            size_bytes: None,
            registered_ms: EPOCH_MS,
            used: None,
            created_ms,
            expires_ms: created_ms + URL_MS,
        };
        self.cloud.grant(&grant).await.unwrap();
        key
    }

    /// Puts an object whose event is lost.
    fn lose(&mut self, key: &str, ends_by_ms: i64) {
        let line = format!("{{\"time\":{},\"msg\":\"lost\"}}\n", self.now_ms());
        self.cloud.put_object(BUCKET, key, line);
        self.ends_by.insert(key.to_owned(), ends_by_ms);
    }

    /// Claims an object for a worker that dies.
    async fn die(&mut self, app: &str) {
        let key = format!("logs/{app}/of-a-dead-worker");
        let object = self.cloud.put_object(BUCKET, &key, "{\"msg\":\"of a dead worker\"}\n");
        let now_ms = self.now_ms();
        let claim = Claim {
            object,
            app_id: Some(app.parse().unwrap()),
            granted: false,
            size_bytes: 1,
            etag: None,
            packing: PackFingerprint::default(),
            claim_id: key.clone(),
            now_ms,
            lease_until_ms: now_ms + INGEST_MS + 30_000,
        };
        self.cloud.claim(&claim).await.unwrap();
        self.ends_by.insert(key, promised_ms(claim.lease_until_ms));
    }

    async fn ingest(&self, object: &ObjectRef) {
        let app = ingest(&self.cloud, self.cloud.clock(), IntakeLimits::default());
        app.handle(&event(object), self.now_ms() + INGEST_MS).await.unwrap();
    }
}

async fn misfortunes(day: &mut Day) {
    let apps: Vec<_> = (0..APPS).map(|n| format!("app-{n:02}")).collect();
    for app in &apps {
        day.cloud.add_app(app);
    }
    for n in 0..ABANDONED {
        let key = day.hand_out(&apps[n % APPS], &format!("abandoned-{n:04}")).await;
        let ends_by_ms = promised_ms(day.now_ms() + URL_MS + UPLOAD_GRACE_MS);
        day.ends_by.insert(key, ends_by_ms);
        if n % (ABANDONED / APPS) == 0 {
            day.die(&apps[n / (ABANDONED / APPS)]).await;
        }
        if n % (ABANDONED / LOST) != 0 {
            continue;
        }
        // Of four lost events, one is of an issued key, one of an object in a day's folder, and two of
        // other keys.
        let n = n / (ABANDONED / LOST);
        let (app, now_ms) = (&apps[n / 4], day.now_ms());
        match n % 4 {
            0 => {
                let key = day.hand_out(app, &format!("lost-{n:03}")).await;
                day.lose(&key, promised_ms(now_ms + URL_MS + MINUTE_MS));
            }
            1 => {
                let key = format!("logs/{app}/2025/10/09/zz-{n:03}");
                day.lose(&key, promised_ms(now_ms + SETTLE_MS.max(LONGEST_PAUSE_MS)));
            }
            _ => day.lose(&format!("logs/{app}/{n:03}"), promised_ms(now_ms + SETTLE_MS + ROUND_EVERY_MS)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_apps_with_abandoned_urls_lost_events_and_dead_workers_are_settled_in_time() {
    let mut day = Day { cloud: SimCloud::default(), ends_by: BTreeMap::new() };
    day.cloud.clock().run();
    day.cloud.list_pages_of(1_000);
    // A call takes up to 400 ms.
    day.cloud.fail_at_random(1, 0);
    misfortunes(&mut day).await;
    let day = &day;
    assert_eq!(day.ends_by.len(), ABANDONED + LOST + APPS);

    let last_ms = *day.ends_by.values().max().unwrap();
    let (mut oldest_ms, mut urls_unused) = (Vec::new(), 0);
    let mut schedule = tokio::time::interval(sweep_interval());
    while day.now_ms() < last_ms {
        schedule.tick().await;
        let (swept, found) = sweep(&day.cloud, 0).await;
        let swept = swept.unwrap();
        found.unwrap();
        oldest_ms.push(swept.oldest_ms);
        urls_unused += swept.urls_unused;
        assert_eq!((swept.failed, swept.files_given_up), (0, 0), "{swept:?}");
        join_all(day.cloud.take_started().iter().map(|object| day.ingest(object))).await;
    }

    let mut rows = day.cloud.rows();
    rows.extend(day.cloud.unused_grants());
    let late: Vec<_> = rows
        .iter()
        .filter(|row| row.processed_ms.is_none_or(|ended_ms| ended_ms > day.ends_by[&row.key]))
        .map(|row| (&row.key, row.status, row.processed_ms.map(|ms| ms - day.ends_by[&row.key])))
        .collect();
    assert!(late.is_empty(), "late, and by how much (ms): {late:#?}");
    assert_eq!(rows.len(), day.ends_by.len());
    for row in &rows {
        let abandoned = row.key.contains("abandoned");
        let expected = if abandoned { FileStatus::Failed } else { FileStatus::Completed };
        assert_eq!(row.status, expected, "{row:?}");
        let reason = row.reason.as_ref().map(|reason| reason.code);
        assert_eq!(reason, abandoned.then_some(ReasonCode::NeverUploaded), "{row:?}");
    }
    assert_eq!(urls_unused, ABANDONED as u64);
    assert!(oldest_ms.iter().all(|age_ms| *age_ms < ALARM_MS), "a false alarm: {oldest_ms:?}");
    assert_eq!(oldest_ms.last(), Some(&0), "{oldest_ms:?}");
}

#[tokio::test(start_paused = true)]
async fn any_number_of_abandoned_urls_delays_no_stuck_file() {
    let mut day = Day { cloud: SimCloud::default(), ends_by: BTreeMap::new() };
    day.cloud.clock().run();
    day.cloud.add_app("app");
    for n in 0..ABANDONED {
        day.hand_out("app", &format!("abandoned-{n:04}")).await;
    }
    tokio::time::sleep(Duration::from_secs(10 * 60)).await;
    day.die("app").await;
    tokio::time::sleep(Duration::from_secs(16 * 60)).await;
    day.cloud.fail_at_random(1, 0);
    // Far less time than all of them take.
    let swept = due_rows(&day.cloud, 0).run(Instant::now() + Duration::from_secs(5)).await.unwrap();
    assert_eq!(swept.started, 1, "{swept:?}");
    assert!((1..ABANDONED as u64 / 2).contains(&swept.urls_unused), "{swept:?}");
}
