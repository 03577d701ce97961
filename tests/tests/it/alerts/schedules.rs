//! Random schedules: batches out of order, at once, repeated, with calls that fail in every way.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::world::{MINUTE, NOW_MS, World, failed};

/// Number of schedules. `LOGFERRY_SEED=n` runs one again.
const SCHEDULES: u64 = 60;

/// Delivers a batch until it is through; invocations die and calls fail.
async fn deliver(world: &World, records: &[Value]) {
    for attempt in 0..200 {
        let handled = world.invoke(records).await;
        if handled.is_some_and(|handled| failed(&handled) == 0) {
            return;
        }
        if attempt == 100 {
            world.cloud.stop_faults();
        }
    }
    panic!("a batch does not get through");
}

async fn schedule(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let world = World::new();
    // All within the quiet time, so the alert fires once if any window has three errors.
    let mut expected: BTreeMap<i64, u64> = BTreeMap::new();
    let mut batches: Vec<Vec<Value>> = Vec::new();
    for _ in 0..rng.random_range(1..6) {
        let mut batch = Vec::new();
        for _ in 0..rng.random_range(1..5) {
            let window = NOW_MS - 5 * MINUTE * rng.random_range(1..12);
            let times: Vec<i64> =
                (0..rng.random_range(1..3)).map(|_| window + rng.random_range(0..5 * MINUTE)).collect();
            *expected.entry(window).or_default() += times.len() as u64;
            batch.push(world.errors(&times));
        }
        batches.push(batch);
    }
    let repeated = batches[rng.random_range(0..batches.len())].clone();
    batches.push(repeated);
    batches.shuffle(&mut rng);
    world.cloud.fail_in_time_at_random(seed, 60);
    let all = batches.iter().map(|batch| deliver(&world, batch));
    futures::future::join_all(all).await;
    world.cloud.stop_faults();

    let crosses = expected.values().any(|count| *count >= 3);
    let fired: &[&str] = if crosses { &["firing"] } else { &[] };
    assert_eq!(world.changes(), fired, "seed {seed}: {expected:?}");
    for window in world.cloud.alert_windows(&world.key()) {
        let all = expected[&window.start_ms];
        assert_eq!(window.crossed, all >= 3, "seed {seed}: {window:?}");
        assert_eq!(window.samples.len() as u64, window.count.min(3), "seed {seed}: {window:?}");
        // Counting ends when the window has crossed.
        assert!(window.count == all || window.crossed && window.count <= all, "seed {seed}: {window:?}");
    }
    // Whichever batch reaches the threshold, the notification shows records of the others as well.
    assert!(
        world.cloud.alert_events(&world.key()).iter().all(|event| event.samples.len() == 3),
        "seed {seed}"
    );
    world.pass(30).await;
    let notified: &[&str] = if crosses { &["firing", "ok"] } else { &[] };
    assert_eq!(world.notified(), notified, "seed {seed}");
    assert!(tokio::time::timeout(Duration::from_secs(1), world.send()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn any_schedule_makes_the_documented_notifications() {
    let seed = std::env::var("LOGFERRY_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = seed.map_or(0..SCHEDULES, |seed| seed..seed + 1);
    for seed in seeds {
        schedule(seed).await;
    }
}
