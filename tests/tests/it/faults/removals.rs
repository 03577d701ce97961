//! Files, prunes, redrives, vanishing objects, and an app that is deleted and registered again, all at
//! once: whenever no file is in progress, the counters equal what a query can find.

use std::collections::BTreeMap;
use std::time::Duration;

use logferry_core::ledger::files::Files;
use logferry_core::logbook::{prune, stats};
use logferry_core::model::app::App;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::erasures::{Erasure, ErasureKey, Erasures};
use logferry_sim::T0;
use logferry_tests::ingest::BUCKET;
use logferry_tests::template::sweep_interval;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::schedules::each_seed;
use super::world::{INGEST_MS, MINUTE_MS, World};

/// Number of schedules; `LOGFERRY_SCHEDULES` sets more.
const SCHEDULES: u64 = 150;
/// Time span of all actions (s).
const ACTION_SECS: u64 = 1_500;
const REMOVAL_SECS: u64 = 270;

#[derive(Debug, Clone)]
enum Action {
    Deliver { object: usize, time_ms: i64 },
    Prune { before_ms: i64 },
    Redrive { nth: usize },
    Sweep,
    Erase { number: usize },
    DeleteObject { object: usize },
    ReplaceApp { after_secs: u64 },
}

fn actions(rng: &mut SmallRng, objects: usize) -> Vec<(u64, Action)> {
    let times = [INGEST_MS, INGEST_MS, MINUTE_MS, 25_000, 3_000];
    let mut actions = Vec::new();
    for object in 0..objects {
        for _ in 0..rng.random_range(1..3) {
            actions.push(Action::Deliver { object, time_ms: times[rng.random_range(0..times.len())] });
        }
    }
    for _ in 0..rng.random_range(1..5) {
        actions.push(Action::Prune { before_ms: T0 - rng.random_range(-5..3_500) * MINUTE_MS });
    }
    actions.extend((0..rng.random_range(0..6)).map(|nth| Action::Redrive { nth }));
    actions.extend((0..rng.random_range(0..3)).map(|number| Action::Erase { number }));
    actions.extend((0..3).map(|_| Action::Sweep));
    if rng.random_ratio(1, 3) {
        actions.push(Action::DeleteObject { object: rng.random_range(0..objects) });
    }
    if rng.random_ratio(1, 3) {
        actions.push(Action::ReplaceApp { after_secs: rng.random_range(1..1_200) });
    }
    actions.into_iter().map(|action| (rng.random_range(0..ACTION_SECS), action)).collect()
}

async fn app(world: &World) -> Option<App> {
    world.cloud.apps_now().into_iter().next()
}

/// When a removal stops; sometimes it dies earlier.
fn removal_until() -> Instant {
    Instant::now() + Duration::from_secs(REMOVAL_SECS)
}

/// Runs a call that may fail or die.
async fn in_time<T>(call: impl Future<Output = T>) {
    let _ = tokio::time::timeout(Duration::from_secs(REMOVAL_SECS), call).await;
}

async fn act(world: &World, action: &Action) {
    let cloud = &world.cloud;
    let now_ms = || cloud.clock().now_ms();
    match action {
        Action::Deliver { object, time_ms } => {
            world.deliver(&world.objects()[*object], *time_ms, 0).await;
        }
        Action::Prune { before_ms } => {
            if let Some(app) = app(world).await {
                in_time(prune::prune(cloud, cloud, &app, *before_ms, now_ms(), removal_until())).await;
            }
        }
        Action::Redrive { nth } => {
            let rows = cloud.rows();
            let ended: Vec<_> = rows.iter().filter(|row| row.status.is_terminal()).collect();
            if let Some(row) = ended.get(nth % ended.len().max(1)) {
                in_time(cloud.redrive(row, now_ms())).await;
            }
        }
        Action::Erase { number } => {
            if let Some(app) = app(world).await {
                let job = erasure(&app, *number, now_ms());
                in_time(cloud.begin_erasure(&job)).await;
            }
        }
        Action::Sweep => sweep(world).await,
        Action::DeleteObject { object } => cloud.delete_object(BUCKET, &world.objects()[*object].key),
        Action::ReplaceApp { after_secs } => {
            let Some(old) = app(world).await else { return };
            in_time(prune::delete(cloud, cloud, &old, now_ms(), removal_until())).await;
            tokio::time::sleep(Duration::from_secs(*after_secs)).await;
            if app(world).await.is_none() {
                cloud.set_app(App { registered_ms: now_ms(), pruned_before_ms: None, ..old });
            }
        }
    }
}

/// Erases the entries with a digit, some of whose files are in progress, prunes or redrives.
fn erasure(app: &App, number: usize, now_ms: i64) -> Erasure {
    let key = ErasureKey::of(app, format!("{number:032x}"));
    let filter = BTreeMap::from([("search".to_owned(), format!("{}7", number + 1))]);
    Erasure::new(key, filter, T0 - 2 * 1440 * MINUTE_MS, T0 + 1440 * MINUTE_MS, now_ms)
}

async fn sweep(world: &World) {
    world.sweep(0).await;
    let cloud = &world.cloud;
    in_time(prune::go_on(cloud, cloud, cloud.clock().now_ms(), removal_until())).await;
}

/// Runs until no file is in progress and each removal has had a pass.
async fn settle(world: &World) {
    for _ in 0..200 {
        let ended = world.cloud.rows().iter().all(|row| row.status.is_terminal());
        if ended && world.cloud.jobs_now().iter().all(|job| job.last_pass) {
            return;
        }
        tokio::time::sleep(sweep_interval()).await;
        sweep(world).await;
    }
    panic!("not at an end: {:#?} {:#?}", world.cloud.rows(), world.cloud.jobs_now());
}

async fn check(world: &World, what: &str) {
    let Some(app) = app(world).await else { return };
    let days = stats::days(&world.cloud, &app, 3_660, world.cloud.clock().now_ms()).await.unwrap();
    let counted: BTreeMap<_, _> = days.into_iter().filter(|(_, levels)| !levels.is_zero()).collect();
    assert_eq!(counted, world.cloud.visible_levels(&app), "{what}");
    if app.registered_ms > T0 {
        // All files are older than this app, even those in progress when the former app was replaced.
        assert_eq!(counted, BTreeMap::new(), "{what}: the new app has records of the former one");
    }
}

async fn run(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let world = World::new().await;
    world.cloud.fail_in_time_at_random(seed, rng.random_range(0..100));
    let mut actions = actions(&mut rng, world.objects().len());
    actions.shuffle(&mut rng);
    let actions = actions.iter().map(|(at_secs, action)| async {
        tokio::time::sleep(Duration::from_secs(*at_secs)).await;
        act(&world, action).await;
    });
    futures::future::join_all(actions).await;
    world.cloud.stop_faults();
    settle(&world).await;
    check(&world, &format!("seed {seed}")).await;

    for row in world.cloud.rows() {
        world.cloud.redrive(&row, world.cloud.clock().now_ms()).await.unwrap();
    }
    settle(&world).await;
    check(&world, &format!("seed {seed}, started over")).await;

    while !world.cloud.jobs_now().is_empty() {
        tokio::time::sleep(Duration::from_secs(20 * 60)).await;
        sweep(&world).await;
    }
    settle(&world).await;
    check(&world, &format!("seed {seed}, after the last pass")).await;
}

#[tokio::test(start_paused = true)]
async fn any_schedule_of_files_prunes_and_redrives_ends_with_exact_counters() {
    each_seed(SCHEDULES, run).await;
}
