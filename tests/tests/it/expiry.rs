//! Whatever has expired, and whatever of that is already deleted: the counters equal what can be queried.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use logferry_core::ledger::files::Files;
use logferry_core::logbook::new_entry::entries;
use logferry_core::logbook::write::{WriteRequest, write};
use logferry_core::logbook::{prune, stats};
use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::app::App;
use logferry_core::model::object::ObjectRef;
use logferry_core::model::quota::Quota;
use logferry_core::model::redact::Redactor;
use logferry_core::model::time::{Day, MS_PER_HOUR};
use logferry_core::ports::clock::Clock;
use logferry_sim::SimCloud;
use logferry_tests::in_a_minute;
use logferry_tests::ingest::{BUCKET, event, ingest};
use logferry_tests::stack::gzip;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

const APP: &str = "my-app";

fn app(cloud: &SimCloud) -> App {
    cloud.apps_now().remove(0)
}

fn now_ms(cloud: &SimCloud) -> i64 {
    cloud.clock().now_ms()
}

/// An ingested file with some records of the last days.
async fn file(cloud: &SimCloud, random: &mut SmallRng, name: u32) -> ObjectRef {
    let mut text = String::new();
    for i in 0..random.random_range(1..40) {
        let time = now_ms(cloud) - random.random_range(0..96 * MS_PER_HOUR);
        writeln!(text, "{{\"level\":{},\"time\":{time},\"msg\":\"entry {i}\"}}", i % 6 * 10).unwrap();
    }
    let object = cloud.put_object(BUCKET, &format!("logs/{APP}/{name}"), gzip(text.as_bytes()));
    read_log_file(cloud, &object).await;
    object
}

async fn read_log_file(cloud: &SimCloud, object: &ObjectRef) {
    let app = ingest(cloud, cloud.clock(), IntakeLimits::default());
    app.handle(&event(object), now_ms(cloud) + 60_000).await.unwrap();
}

async fn entry(cloud: &SimCloud, random: &mut SmallRng, name: u32) {
    let (app, now_ms) = (app(cloud), now_ms(cloud));
    let earliest = app.pruned_before_ms.unwrap_or(0).max(now_ms - 96 * MS_PER_HOUR);
    let body = json!({"level": "WARN", "message": "x", "timestamp": random.random_range(earliest..=now_ms)});
    let body = body.to_string();
    let redactor = Redactor::default();
    let unique = u128::from(name).to_be_bytes();
    let request = WriteRequest::new(&app, now_ms, unique, 30, &redactor, &Quota::NONE);
    write(cloud, &request, &entries(body.as_bytes(), false).unwrap()).await.unwrap();
}

async fn check(cloud: &SimCloud, what: &str) -> i64 {
    let days = stats::days(cloud, &app(cloud), 400, now_ms(cloud)).await.unwrap();
    let counted: BTreeMap<_, _> = days.into_iter().filter(|(_, levels)| !levels.is_zero()).collect();
    assert_eq!(counted, cloud.visible_levels(&app(cloud)), "{what}");
    counted.values().map(|levels| levels.total()).sum()
}

async fn run(seed: u64) -> (usize, i64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let cloud = SimCloud::default();
    cloud.set_app(App { retention_days: Some(2), ..cloud.add_app(APP) });
    let (mut deleted, mut most) = (0, 0);
    for step in 0..120 {
        match random.random_range(0..9) {
            0 | 1 => drop(file(&cloud, &mut random, step).await),
            2 | 3 => entry(&cloud, &mut random, step).await,
            4 => {
                let retention_days = Some(random.random_range(1..6));
                cloud.set_app(App { retention_days, ..app(&cloud) });
            }
            5 if random.random_ratio(1, 4) => {
                let before_ms = now_ms(&cloud) - random.random_range(0..72 * MS_PER_HOUR);
                let app = app(&cloud);
                let pruned =
                    prune::prune(&cloud, &cloud, &app, before_ms, now_ms(&cloud), in_a_minute()).await;
                assert!(pruned.unwrap().unwrap().complete);
            }
            6 => {
                let rows = cloud.rows();
                if let Some(row) = rows.get(random.random_range(0..rows.len().max(1))) {
                    cloud.redrive(row, now_ms(&cloud)).await.unwrap();
                    read_log_file(&cloud, row.object.as_ref().unwrap()).await;
                }
            }
            7 => {
                prune::go_on(&cloud, &cloud, now_ms(&cloud), in_a_minute()).await.unwrap();
            }
            _ => cloud.clock().advance_ms(random.random_range(0..30 * MS_PER_HOUR)),
        }
        deleted += cloud.expire(random.random());
        most = most.max(check(&cloud, &format!("seed {seed}, step {step}")).await);
    }
    // In the end, nothing is left to query.
    cloud.clock().advance_ms(8 * 24 * MS_PER_HOUR);
    assert_eq!(check(&cloud, &format!("seed {seed}, at the end")).await, 0);
    (deleted, most)
}

#[tokio::test]
async fn counters_equal_what_can_be_queried_whatever_has_expired() {
    let (mut deleted, mut most) = (0, 0);
    for seed in 0..25 {
        let (some, records) = run(seed).await;
        deleted += some;
        most = most.max(records);
    }
    assert!(deleted > 1_000 && most > 100, "{deleted} items deleted, {most} records at most");
}

#[tokio::test]
async fn counters_and_what_is_counted_of_files_go_with_the_last_of_their_records() {
    let cloud = SimCloud::default();
    cloud.set_app(App { retention_days: Some(2), ..cloud.add_app(APP) });
    let mut random = SmallRng::seed_from_u64(1);
    file(&cloud, &mut random, 1).await;
    entry(&cloud, &mut random, 2).await;
    let expires_on = Day(Day::of_ms(now_ms(&cloud)).0 + 3);
    let at = |day: i32| Day(expires_on.0 + day).start_ms();
    for (now, counters, file_days) in [(at(0) - 1, true, true), (at(0), false, true), (at(7), false, false)] {
        cloud.clock().advance_ms(now - now_ms(&cloud));
        (0..30).for_each(|seed| {
            cloud.expire(seed);
        });
        let left = cloud.expiring_left();
        assert_eq!((left.0 > 0, left.1 > 0), (counters, file_days), "{left:?}");
    }
}
