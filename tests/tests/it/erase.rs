//! Erasure: whichever call it dies in, no matching record is readable afterwards, no other record is lost,
//! and the counters are exact.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use logferry_core::ledger::files::Files;
use logferry_core::ledger::row::FileStatus;
use logferry_core::logbook::erase::{Eraser, Erasing, MAX_DAYS, Wanted, preview};
use logferry_core::logbook::new_entry::entries;
use logferry_core::logbook::prune;
use logferry_core::logbook::write::{WriteRequest, write};
use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::app::App;
use logferry_core::model::entry_filter::EntryFilter;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::quota::Quota;
use logferry_core::model::redact::Redactor;
use logferry_core::model::time::MS_PER_DAY;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::erasures::{Erasure, ErasureKey, Erasures};
use logferry_sim::{How, SimCloud, T0};
use logferry_tests::in_a_minute;
use logferry_tests::ingest::{BUCKET, event, ingest};
use logferry_tests::stack::gzip;
use logferry_tests::stream::inserted;
use serde_json::{Value, json};
use tokio::time::Instant;

const MINUTE_MS: i64 = 60_000;
const APP: &str = "my-app";

/// An entry of one of five users.
fn entry(number: i64, at_ms: i64) -> Value {
    json!({"level": number % 6 * 10, "time": at_ms, "msg": format!("entry {number}"),
           "user": {"id": format!("u{}", number % 5)}})
}

struct World {
    cloud: SimCloud,
    app: App,
    /// Of the files with and without records of the user that is erased.
    files: [ObjectRef; 2],
}

impl World {
    /// Two files over three hours, one of them without the user; and records written through the API, some
    /// of them in a block that has nothing else.
    async fn new() -> Self {
        let cloud = SimCloud::default();
        let app = cloud.add_app(APP);
        let text = |numbers: &mut dyn Iterator<Item = i64>| {
            let lines: Vec<_> = numbers.map(|n| entry(n, T0 - n * 3 * MINUTE_MS).to_string()).collect();
            gzip(lines.join("\n").as_bytes())
        };
        let with = cloud.put_object(BUCKET, "logs/my-app/with.gz", text(&mut (1..60)));
        let without =
            cloud.put_object(BUCKET, "logs/my-app/without.gz", text(&mut (1..60).filter(|n| n % 5 != 3)));
        let world = Self { cloud, app, files: [with, without] };
        for object in &world.files {
            world.ingest(object).await;
        }
        for (batch, numbers) in [vec![1, 2, 3, 4], vec![3, 8, 13]].into_iter().enumerate() {
            let logs: Vec<Value> = numbers
                .into_iter()
                .map(|n| {
                    let mut entry = entry(n, T0 - 30 * 60 * MINUTE_MS + n);
                    entry["level"] = "INFO".into();
                    entry["message"] = entry["msg"].take();
                    entry
                })
                .collect();
            world.write(batch as u128, &json!({ "logs": logs })).await;
        }
        world
    }

    async fn write(&self, unique: u128, body: &Value) {
        let body = body.to_string();
        let redactor = Redactor::default();
        let unique = unique.to_be_bytes();
        let request = WriteRequest::new(&self.app, T0, unique, 30, &redactor, &Quota::NONE);
        write(&self.cloud, &request, &entries(body.as_bytes(), false).unwrap()).await.unwrap();
    }

    async fn ingest(&self, object: &ObjectRef) {
        let mut app = ingest(&self.cloud, self.cloud.clock(), IntakeLimits::default());
        app.settings.bucket.clone_from(&object.bucket);
        app.handle(&event(object), self.cloud.clock().now_ms() + 15 * MINUTE_MS).await.unwrap();
    }

    /// A job for everything of the user `u3`.
    fn job(&self) -> Erasure {
        let key = ErasureKey::of(&self.app, "0123456789abcdef0123456789abcdef");
        let filter = BTreeMap::from([("field.user.id".to_owned(), "u3".to_owned())]);
        Erasure::new(key, filter, T0 - 3 * 1440 * MINUTE_MS, T0 + 1440 * MINUTE_MS, T0)
    }

    /// A turn of the worker; `None` if it died.
    async fn sweep(&self) -> Option<Result<Erasing, Fault>> {
        let cloud = &self.cloud;
        let now_ms = cloud.clock().now_ms();
        let eraser =
            Eraser { apps: cloud, book: cloud, files: cloud, objects: cloud, bucket: BUCKET, now_ms };
        let until = Instant::now() + Duration::from_secs(200);
        tokio::time::timeout(Duration::from_secs(270), eraser.go_on(until)).await.ok()
    }

    /// Sweeps every five minutes until the job is complete.
    async fn erase(&self) -> Erasure {
        for _ in 0..60 {
            let _ = self.sweep().await;
            let job = self.cloud.erasure_now(&self.job().key).unwrap();
            if job.completed_ms.is_some() {
                return job;
            }
            self.cloud.clock().advance_ms(5 * MINUTE_MS);
        }
        panic!("the job does not end");
    }

    fn raws(&self) -> BTreeSet<(String, u64, String)> {
        self.cloud.records(&self.app.app_id).into_iter().collect()
    }

    fn users(&self) -> BTreeSet<String> {
        let user = |raw: &str| {
            let entry: Value = serde_json::from_str(raw).unwrap();
            entry["user"]["id"].as_str().unwrap().to_owned()
        };
        self.raws().iter().map(|(_, _, raw)| user(raw)).collect()
    }

    fn has_object(&self, object: &ObjectRef) -> bool {
        self.cloud.object_exists(object)
    }

    /// Checks that exactly the user's records are gone.
    #[track_caller]
    fn check(&self, before: &BTreeSet<(String, u64, String)>, what: &str) {
        let others = before.iter().filter(|(_, _, raw)| !raw.contains("\"u3\"")).cloned();
        assert_eq!(self.raws(), others.collect(), "{what}: records");
        let app = self.cloud.apps_now().remove(0);
        let counted = self.cloud.counted_levels(&app.app_id);
        assert_eq!(counted, self.cloud.visible_levels(&app), "{what}: counters");
        assert_eq!(counted, self.cloud.stored_days(&app.app_id), "{what}: headers");
        assert_eq!(self.files.each_ref().map(|file| self.has_object(file)), [false, true], "{what}: objects");
    }
}

#[tokio::test(start_paused = true)]
async fn exactly_the_matching_records_are_erased_and_their_file_is_removed() {
    let world = World::new().await;
    let before = world.raws();
    let matching = before.iter().filter(|(_, _, raw)| raw.contains("\"u3\"")).count();
    assert!(matching > 10, "{matching}");
    let blocks = world.cloud.blocks_stored();
    assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
    let job = world.erase().await;
    world.check(&before, "erased");
    assert_eq!((job.records, job.objects, job.unreadable), (matching as u64, 1, 0));
    assert_eq!(world.cloud.blocks_stored(), blocks - 1, "the block that had nothing else is removed");
    assert_eq!(job.filter["field.user.id"], "", "the job does not keep what was erased");
}

#[tokio::test(start_paused = true)]
async fn an_erasure_that_dies_at_any_call_is_resumed_and_erases_exactly_what_matches() {
    for after in [false, true] {
        let mut deaths = 0;
        for number in 0.. {
            let world = World::new().await;
            let before = world.raws();
            assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
            let how = if after { How::HangAfter } else { How::Hang };
            world.cloud.fail_call(world.cloud.calls() + number, how);
            world.erase().await;
            if world.cloud.faults_hit() == 0 {
                break;
            }
            deaths += 1;
            world.check(&before, &format!("killed at call {number}, after {after}"));
        }
        assert!(deaths > 30, "{deaths} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn an_erasure_whose_calls_fail_at_random_ends_with_exact_counters() {
    for seed in 0..40 {
        let world = World::new().await;
        let before = world.raws();
        assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
        world.cloud.fail_in_time_at_random(seed, 100);
        for _ in 0..8 {
            let _ = world.sweep().await;
            world.cloud.clock().advance_ms(5 * MINUTE_MS);
        }
        world.cloud.stop_faults();
        world.erase().await;
        world.check(&before, &format!("seed {seed}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_preview_changes_nothing_and_says_what_will_be_erased() {
    let world = World::new().await;
    let before = world.raws();
    let job = world.job();
    let filter = EntryFilter::read(&job.filter).unwrap();
    let wanted = Wanted { app: &world.app, filter: &filter, since_ms: job.since_ms, until_ms: job.until_ms };
    let found = preview(&world.cloud, &wanted, T0, in_a_minute()).await.unwrap();
    assert_eq!(world.raws(), before);
    assert!(world.has_object(&world.files[0]));
    assert!(world.cloud.begin_erasure(&job).await.unwrap());
    let erased = world.erase().await;
    assert_eq!((found.records, found.blocks, found.objects), (erased.records, erased.blocks, erased.objects));
    assert!(found.complete);
    let again = preview(&world.cloud, &wanted, T0, in_a_minute()).await.unwrap();
    assert_eq!((again.records, again.blocks, again.complete), (0, 0, true));
    let late = preview(&world.cloud, &wanted, T0, Instant::now()).await.unwrap();
    assert!(!late.complete);
}

#[tokio::test(start_paused = true)]
async fn a_preview_of_ten_years_reads_only_the_days_with_records() {
    let world = World::new().await;
    let job = world.job();
    let filter = EntryFilter::read(&job.filter).unwrap();
    let wanted = Wanted { app: &world.app, filter: &filter, since_ms: job.since_ms, until_ms: job.until_ms };
    let calls = world.cloud.calls();
    let of_days = preview(&world.cloud, &wanted, T0, in_a_minute()).await.unwrap();
    let needed = world.cloud.calls() - calls;
    let since_ms = job.until_ms - MAX_DAYS * MS_PER_DAY;
    let of_years = preview(&world.cloud, &Wanted { since_ms, ..wanted }, T0, in_a_minute()).await.unwrap();
    assert!(of_years.records > 0 && of_years.complete);
    assert_eq!(of_years, of_days);
    assert_eq!(world.cloud.calls() - calls, 2 * needed);
}

#[tokio::test(start_paused = true)]
async fn a_preview_and_a_job_that_stops_within_a_page_count_every_unreadable_block_once() {
    let world = World::new().await;
    // Some items are no valid blocks, and the data of the others is damaged.
    assert!(world.cloud.damage_items(3) > 1);
    let unreadable = world.cloud.damage_blocks(1).len() as u64;
    let job = world.job();
    let filter = EntryFilter::read(&job.filter).unwrap();
    let wanted = Wanted { app: &world.app, filter: &filter, since_ms: job.since_ms, until_ms: job.until_ms };
    let found = preview(&world.cloud, &wanted, T0, in_a_minute()).await.unwrap();
    assert_eq!((found.unreadable, found.records, found.complete), (unreadable, 0, true));
    // The last pass of a job stops within pages, whose calls are slow, and is resumed.
    let last_pass = Erasure { last_pass: true, ..job };
    assert!(world.cloud.begin_erasure(&last_pass).await.unwrap());
    world.cloud.slow_down(Duration::from_secs(4));
    let turns = world.sweep().await.unwrap().unwrap().turns;
    let stopped = world.cloud.erasure_now(&last_pass.key).unwrap();
    assert!(turns > 2 && stopped.position.is_some(), "{turns} turns, {stopped:?}");
    world.cloud.slow_down(Duration::ZERO);
    assert_eq!(world.erase().await.unreadable, unreadable);
}

#[tokio::test(start_paused = true)]
async fn an_erasure_passes_a_page_whose_blocks_take_longer_than_a_turn() {
    let world = World::new().await;
    for number in 0..100 {
        let user = if number == 0 { "u3" } else { "u1" };
        let entry = json!({"level": "INFO", "message": "x", "time": T0 - MINUTE_MS + number as i64, "user": {"id": user}});
        world.write(1_000 + number, &json!({ "logs": [entry] })).await;
    }
    let before = world.raws();
    assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
    world.cloud.slow_down(Duration::from_secs(1));
    world.erase().await;
    world.check(&before, "slowly");
}

/// Whichever call the job dies in.
#[tokio::test(start_paused = true)]
async fn a_job_erases_the_records_of_objects_that_it_may_not_remove_and_names_them() {
    let mut deaths = 0;
    for number in 0.. {
        let world = World::new().await;
        let text = gzip(entry(3, T0 - MINUTE_MS).to_string().as_bytes());
        let elsewhere = world.cloud.put_object("old-bucket", "logs/my-app/old.gz", text);
        world.ingest(&elsewhere).await;
        assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
        world.cloud.fail_call(world.cloud.calls() + number, How::HangAfter);
        let job = world.erase().await;
        assert_eq!(job.not_reached, ["old-bucket/logs/my-app/old.gz".to_owned()].into(), "{number}");
        assert!(!world.users().contains("u3") && world.has_object(&elsewhere));
        assert!(!world.has_object(&world.files[0]), "{number}");
        if world.cloud.faults_hit() == 0 {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 15, "{deaths} calls");
    // The bucket refuses.
    let world = World::new().await;
    assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
    world.cloud.break_operation("DeleteObject", Some(FaultClass::Denied));
    let job = world.erase().await;
    assert_eq!((job.objects, job.not_reached), (0, ["logs-bucket/logs/my-app/with.gz".to_owned()].into()));
    assert!(!world.users().contains("u3") && world.has_object(&world.files[0]));
}

#[tokio::test(start_paused = true)]
async fn only_records_within_the_range_are_erased() {
    let world = World::new().await;
    let before = world.raws();
    let (since_ms, until_ms) = (T0 - 100 * MINUTE_MS, T0 - 24 * MINUTE_MS);
    let job = Erasure { since_ms, until_ms, ..world.job() };
    assert!(world.cloud.begin_erasure(&job).await.unwrap());
    world.erase().await;
    let in_range = |raw: &str| {
        let entry: Value = serde_json::from_str(raw).unwrap();
        (since_ms..until_ms).contains(&entry["time"].as_i64().unwrap())
    };
    let left = before.iter().filter(|(_, _, raw)| !(raw.contains("\"u3\"") && in_range(raw))).cloned();
    let left: BTreeSet<_> = left.collect();
    assert!(left.len() < before.len() && left.iter().any(|(_, _, raw)| raw.contains("\"u3\"")));
    assert_eq!(world.raws(), left);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_redriven_does_not_bring_erased_records_back() {
    let world = World::new().await;
    let before = world.raws();
    assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
    world.erase().await;
    for row in world.cloud.rows() {
        assert!(world.cloud.redrive(&row, world.cloud.clock().now_ms()).await.unwrap());
    }
    for object in &world.files {
        world.ingest(object).await;
    }
    let ends: Vec<_> =
        world.cloud.rows().iter().map(|row| (row.status, row.reason.as_ref().map(|it| it.code))).collect();
    let gone = (FileStatus::Failed, Some(ReasonCode::ObjectGone));
    assert_eq!(ends, [gone, (FileStatus::Completed, None)]);
    world.check(&before, "redriven");
}

#[tokio::test(start_paused = true)]
async fn a_file_in_progress_is_erased_when_it_has_ended() {
    let world = World::new().await;
    let before = world.raws();
    let row = world.cloud.rows().into_iter().find(|row| row.key.ends_with("with.gz")).unwrap();
    assert!(world.cloud.redrive(&row, world.cloud.clock().now_ms()).await.unwrap());
    assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
    for _ in 0..6 {
        world.sweep().await.unwrap().unwrap();
        world.cloud.clock().advance_ms(5 * MINUTE_MS);
    }
    let job = world.cloud.erasure_now(&world.job().key).unwrap();
    assert!(job.left > 0 && job.completed_ms.is_none(), "{job:?}");
    assert!(world.has_object(&world.files[0]), "the file can still be read");
    world.ingest(&world.files[0]).await;
    world.erase().await;
    world.check(&before, "after the file has ended");
}

#[tokio::test(start_paused = true)]
async fn a_prune_before_during_and_after_an_erasure_leaves_exact_counters() {
    for turns in 0..3 {
        let world = World::new().await;
        assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
        for _ in 0..turns {
            world.sweep().await.unwrap().unwrap();
            world.cloud.clock().advance_ms(5 * MINUTE_MS);
        }
        let (app, now_ms) = (world.cloud.apps_now().remove(0), world.cloud.clock().now_ms());
        let before_ms = T0 - 90 * MINUTE_MS;
        prune::prune(&world.cloud, &world.cloud, &app, before_ms, now_ms, in_a_minute()).await.unwrap();
        world.erase().await;
        let app = world.cloud.apps_now().remove(0);
        assert_eq!(world.cloud.counted_levels(&app.app_id), world.cloud.visible_levels(&app), "{turns}");
        assert!(!world.users().contains("u3") && world.users().contains("u4"), "{turns}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rewritten_block_is_not_sent_to_cloudwatch_again() {
    let world = World::new().await;
    let new = world.cloud.stream().len();
    assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
    world.erase().await;
    let rewritten: Vec<_> = world.cloud.stream()[new..].to_vec();
    assert!(!rewritten.is_empty());
    assert_eq!(world.cloud.blocks_modified(), rewritten.len(), "changes, not new blocks");
    let changed = |(number, block): (usize, &_)| {
        let mut record = inserted(number, block, T0);
        record["eventName"] = "MODIFY".into();
        record
    };
    let records: Vec<Value> = rewritten.iter().enumerate().map(changed).collect();
    let event = logferry_tests::stream::event(&records);
    let flush = logferry_tests::stream::flush(&world.cloud, world.cloud.clone());
    let handled = flush.handle(&event, world.cloud.clock().now_ms() + 120_000).await;
    assert_eq!((handled.tally.records_in, world.cloud.logs().puts()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_erasure_of_a_deleted_app_ends() {
    let world = World::new().await;
    assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
    let now_ms = world.cloud.clock().now_ms();
    prune::delete(&world.cloud, &world.cloud, &world.app, now_ms, in_a_minute()).await.unwrap();
    let job = world.erase().await;
    assert_eq!(job.records, 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_job_is_begun_once_until_it_is_complete() {
    let world = World::new().await;
    assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
    assert!(!world.cloud.begin_erasure(&world.job()).await.unwrap());
    world.erase().await;
    assert!(world.cloud.begin_erasure(&world.job()).await.unwrap());
    assert_eq!(world.erase().await.records, 0);
}
