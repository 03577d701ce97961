//! Removals keep to their time, run concurrently, and fail independently.

use std::time::Duration;

use logferry_core::logbook::new_entry::entries;
use logferry_core::logbook::prune;
use logferry_core::logbook::prune::Removals;
use logferry_core::logbook::write::{WriteRequest, write};
use logferry_core::model::app::App;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::quota::Quota;
use logferry_core::model::redact::Redactor;
use logferry_core::model::time::MS_PER_DAY;
use logferry_core::ports::clock::Clock;
use logferry_sim::{How, SimCloud, T0};
use logferry_tests::in_a_minute;
use serde_json::json;
use tokio::time::Instant;

/// An app with a record on each of this many days.
async fn app_of_days(cloud: &SimCloud, name: &str, days: i64) -> App {
    let app = cloud.add_app(name);
    for day in 0..days {
        let body = json!({"level": "INFO", "message": "x", "timestamp": T0 - day * MS_PER_DAY}).to_string();
        let redactor = Redactor::default();
        let unique = u128::from(day.unsigned_abs()).to_be_bytes();
        let request = WriteRequest::new(&app, T0, unique, 4_000, &redactor, &Quota::NONE);
        write(cloud, &request, &entries(body.as_bytes(), false).unwrap()).await.unwrap();
    }
    app
}

/// Deletes an app without time for its records.
async fn delete_later(cloud: &SimCloud, app: &App) {
    let now_ms = cloud.clock().now_ms();
    let removed = prune::delete(cloud, cloud, app, now_ms, Instant::now()).await.unwrap().unwrap();
    assert_eq!((removed.deleted, removed.complete), (0, false));
}

async fn go_on(cloud: &SimCloud, until: Instant) -> Removals {
    prune::go_on(cloud, cloud, cloud.clock().now_ms(), until).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_removal_stops_when_its_time_is_over_and_a_sweep_resumes_it() {
    let cloud = SimCloud::default();
    let app = app_of_days(&cloud, "many-days", 300).await;
    // From now on, each call takes time.
    cloud.fail_at_random(7, 0);
    let began = Instant::now();
    let until = began + Duration::from_secs(10);
    let removed = prune::delete(&cloud, &cloud, &app, T0, until).await.unwrap().unwrap();
    assert!(!removed.complete && removed.deleted > 0 && removed.deleted < 300, "{removed:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let mut sweeps = 0;
    while cloud.blocks_stored() > 0 {
        cloud.clock().advance_ms(5 * 60_000);
        let began = Instant::now();
        go_on(&cloud, began + Duration::from_secs(60)).await;
        assert!(began.elapsed() < Duration::from_secs(65), "{:?}", began.elapsed());
        sweeps += 1;
    }
    assert!((2..20).contains(&sweeps), "{sweeps}");
}

#[tokio::test(start_paused = true)]
async fn a_small_removal_does_not_wait_for_large_ones_that_came_first() {
    let cloud = SimCloud::default();
    for name in ["large-1", "large-2", "large-3", "large-4", "large-5"] {
        let app = app_of_days(&cloud, name, 200).await;
        delete_later(&cloud, &app).await;
    }
    let small = app_of_days(&cloud, "small", 2).await;
    delete_later(&cloud, &small).await;
    cloud.fail_at_random(7, 0);
    let removals = go_on(&cloud, in_a_minute()).await;
    assert!(removals.left == 5 && removals.complete == 1, "{removals:?}");
    assert!(cloud.jobs_now().iter().all(|job| job.last_pass == (job.app_id.as_str() == "small")));
}

#[tokio::test]
async fn a_removal_that_fails_stops_no_other_whichever_call_fails() {
    let mut failed = 0;
    for call in 0.. {
        let cloud = SimCloud::default();
        for name in ["first", "second", "third"] {
            let app = app_of_days(&cloud, name, 3).await;
            delete_later(&cloud, &app).await;
        }
        cloud.fail_call(cloud.calls() + call, How::Before(FaultClass::Permanent));
        let ended = prune::go_on(&cloud, &cloud, T0, in_a_minute()).await;
        if cloud.faults_hit() == 0 {
            break;
        }
        // Without the lists of apps and jobs, nothing can be removed.
        let Ok(removals) = ended else { continue };
        assert_eq!((removals.complete, removals.failed, removals.left), (2, 1, 0), "call {call}");
        failed += 1;
        cloud.clock().advance_ms(6 * 60_000);
        assert_eq!(go_on(&cloud, in_a_minute()).await.failed, 0);
        assert_eq!(cloud.blocks_stored(), 0, "call {call}");
    }
    assert!(failed > 20, "{failed}");
}
