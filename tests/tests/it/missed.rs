//! The search of `sweep` for objects whose event was lost.

use std::collections::BTreeSet;
use std::time::Duration;

use logferry_core::model::fault::FaultClass;
use logferry_core::model::object::ObjectRef;
use logferry_sim::{How, SimClock, SimCloud, UNVERSIONED};
use logferry_sweep::Part;
use logferry_sweep::missed::{
    Found, LONGEST_PAUSE_MS, Missed, OLDEST_MS, PAGES_OF_ROUND, ROUND_EVERY_MS, SETTLE_MS,
};
use logferry_tests::ingest::BUCKET;
use tokio::time::Instant;

type Look = Missed<SimCloud, SimCloud, SimCloud, SimCloud, SimCloud, SimClock>;

const MINUTE_MS: i64 = 60_000;

fn look(cloud: &SimCloud, bucket: &str) -> Look {
    Missed {
        bucket: bucket.to_owned(),
        bookmarks: cloud.clone(),
        listing: cloud.clone(),
        backlog: cloud.clone(),
        apps: cloud.clone(),
        starter: cloud.clone(),
        clock: cloud.clock(),
        metrics_namespace: "Test".to_owned(),
    }
}

/// Runs the search with this time. Returns its result, and the objects it started.
async fn run(look: &Look, cloud: &SimCloud, time: Duration) -> (Found, BTreeSet<String>) {
    let found = look.run(Instant::now() + time).await.unwrap();
    (found, cloud.take_started().into_iter().map(|object| object.key).collect())
}

const LONG: Duration = Duration::from_secs(200);

fn keys(objects: &[ObjectRef]) -> BTreeSet<String> {
    objects.iter().map(|object| object.key.clone()).collect()
}

/// Something is added to the day folders before each run, so that all are due in every run.
#[tokio::test(start_paused = true)]
async fn apps_have_their_turn_however_many_there_are_and_however_little_time() {
    let cloud = SimCloud::default();
    cloud.clock().run();
    // Each call takes up to 400 ms.
    cloud.fail_at_random(1, 0);
    let apps: Vec<_> = (0..60).map(|n| format!("app-{n:02}")).collect();
    for app in &apps {
        cloud.add_app(app);
    }
    let missed = look(&cloud, BUCKET);
    let mut late = BTreeSet::new();
    for round in 0..12 {
        for app in &apps {
            let object = cloud.put_object(BUCKET, &format!("logs/{app}/2025/10/09/{round:02}.gz"), "x");
            if round == 0 {
                late.insert(object.key);
            }
        }
        cloud.clock().advance_ms(SETTLE_MS);
        let (found, started) = run(&missed, &cloud, Duration::from_millis(1_500)).await;
        assert!(found.apps_seen < found.apps_due, "there was time for all: {found:?}");
        late.retain(|key| !started.contains(key));
    }
    assert!(late.is_empty(), "never looked at: {late:?}");
}

/// A round reads few objects per run here, and is older than the newest of them when it reaches them.
#[tokio::test(start_paused = true)]
async fn a_round_gets_through_any_number_of_objects_and_misses_none() {
    let cloud = SimCloud::default();
    cloud.add_app("app");
    let objects: Vec<_> =
        (0..200).map(|n| cloud.put_object(BUCKET, &format!("logs/app/free/{n:03}"), "x")).collect();
    cloud.clock().advance_ms(SETTLE_MS);
    let missed = look(&cloud, BUCKET);
    let (found, first) = run(&missed, &cloud, LONG).await;
    assert_eq!(found.seen, u64::from(PAGES_OF_ROUND) * 3);
    let mut seen = first;
    // The rest also has no row, and would be too old when its turn comes.
    cloud.clock().advance_ms(OLDEST_MS);
    let (found, started) = run(&missed, &cloud, LONG).await;
    assert!(found.seen > 150, "a round that takes long is hurried: {found:?}");
    seen.extend(started);
    assert_eq!(seen, keys(&objects));
}

#[tokio::test(start_paused = true)]
async fn a_finished_round_is_followed_by_the_next_one_no_sooner_than_it_must() {
    let cloud = SimCloud::default();
    cloud.add_app("app");
    let object = cloud.put_object(BUCKET, "logs/app/free", "x");
    cloud.clock().advance_ms(SETTLE_MS);
    let missed = look(&cloud, BUCKET);
    assert_eq!(run(&missed, &cloud, LONG).await.1, keys(std::slice::from_ref(&object)));
    cloud.clock().advance_ms(ROUND_EVERY_MS - 1);
    assert_eq!(run(&missed, &cloud, LONG).await.1, BTreeSet::new());
    cloud.clock().advance_ms(1);
    assert_eq!(run(&missed, &cloud, LONG).await.1, keys(&[object]), "ingest has not claimed it yet");
}

#[tokio::test(start_paused = true)]
async fn a_days_folder_is_looked_at_less_often_while_nothing_comes_and_again_when_something_does() {
    let cloud = SimCloud::default();
    cloud.add_app("app");
    let missed = look(&cloud, BUCKET);
    let mut looks = 0;
    for _ in 0..24 * 12 {
        looks += run(&missed, &cloud, LONG).await.0.apps_seen;
        cloud.clock().advance_ms(5 * MINUTE_MS);
    }
    assert!((24..32).contains(&looks), "{looks} looks a day at an app that sends nothing");
    // Also across midnight.
    let lost = cloud.put_object(BUCKET, "logs/app/2025/10/10/lost.gz", "x");
    let mut waited_ms = 0;
    while !run(&missed, &cloud, LONG).await.1.contains(&lost.key) {
        cloud.clock().advance_ms(5 * MINUTE_MS);
        waited_ms += 5 * MINUTE_MS;
        assert!(waited_ms <= LONGEST_PAUSE_MS + 5 * MINUTE_MS, "not found after {waited_ms} ms");
    }
    assert!(waited_ms >= SETTLE_MS);
}

/// Nothing is ingested between the two runs.
#[tokio::test(start_paused = true)]
async fn whichever_call_fails_the_next_run_continues_after_the_last_page_that_was_done() {
    for number in 0.. {
        let cloud = SimCloud::default();
        cloud.add_app("app");
        let missed = look(&cloud, BUCKET);
        // Only the folders of the app are due afterwards.
        run(&missed, &cloud, LONG).await;
        cloud.list_pages_of(3);
        for name in 0..12 {
            cloud.put_object(BUCKET, &format!("logs/app/2025/10/09/{name:02}.gz"), "x");
        }
        cloud.clock().advance_ms(SETTLE_MS);
        cloud.fail_call(cloud.calls() + number, How::Before(FaultClass::Transient));
        let failed = missed.run(Instant::now() + LONG).await.is_err();
        let first = keys(&cloud.take_started());
        cloud.stop_faults();
        cloud.clock().advance_ms(5 * MINUTE_MS);
        let (_, second) = run(&missed, &cloud, LONG).await;
        assert_eq!(first.union(&second).count(), 12, "call {number}");
        let twice = first.intersection(&second).count();
        // The whole run is repeated if the bookmark could not be stored.
        assert!(twice <= 3 || first.len() == 12, "call {number}: {twice} objects");
        if !failed {
            assert!(number > 16, "{number} calls");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn objects_after_pages_of_delete_markers_are_found() {
    let cloud = SimCloud::default();
    cloud.add_app("app");
    for n in 0..10 {
        cloud.mark_deleted(BUCKET, &format!("logs/app/2025/10/09/{n}-deleted"));
        cloud.mark_deleted(BUCKET, &format!("logs/app/{n}-deleted"));
    }
    let lost = [
        cloud.put_object(BUCKET, "logs/app/2025/10/09/lost", "x"),
        cloud.put_object(BUCKET, "logs/app/free", "x"),
    ];
    cloud.clock().advance_ms(SETTLE_MS);
    let missed = look(&cloud, BUCKET);
    let mut started = BTreeSet::new();
    for _ in 0..4 {
        started.extend(run(&missed, &cloud, LONG).await.1);
        cloud.clock().advance_ms(5 * MINUTE_MS);
    }
    assert_eq!(started, keys(&lost));
}

#[tokio::test(start_paused = true)]
async fn a_bucket_without_versions_is_looked_through_to_its_end() {
    let cloud = SimCloud::default();
    cloud.add_app("app");
    let mut lost = Vec::new();
    for n in 0..9 {
        lost.push(cloud.put_object(UNVERSIONED, &format!("logs/app/2025/10/09/{n}"), "x"));
        lost.push(cloud.put_object(UNVERSIONED, &format!("logs/app/free-{n}"), "x"));
    }
    let missed = look(&cloud, UNVERSIONED);
    let mut started = BTreeSet::new();
    for _ in 0..6 {
        cloud.clock().advance_ms(SETTLE_MS);
        started.extend(run(&missed, &cloud, LONG).await.1);
    }
    assert_eq!(started, keys(&lost));
}
