//! Everything at once: duplicates, reordering, overlapping workers, clocks that are wrong, calls that
//! fail at random. A schedule follows from its seed: `LOGFERRY_SEED=n` runs one alone.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::world::{INGEST_MS, MINUTE_MS, World};

/// Number of schedules; `LOGFERRY_SCHEDULES` sets more.
const SCHEDULES: u64 = 500;

/// Maximum time after the last fault until everything is finished: a lease, the longest pause between two
/// starts of a file that failed repeatedly, two sweeps.
const MOST_MINUTES: i64 = 16 + 60 + 2 * 5;

fn from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

async fn run(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut world = World::new().await;
    world.cloud.fail_at_random(seed, rng.random_range(0..150));
    if rng.random_ratio(1, 3) {
        world.cloud.leave_unprocessed(rng.random_range(2..9));
    }
    let mut events = world.objects();
    events.extend((0..rng.random_range(0..5)).map(|_| world.objects()[rng.random_range(0..3)].clone()));
    events.shuffle(&mut rng);
    let skew =
        |rng: &mut SmallRng| if rng.random_ratio(1, 4) { rng.random_range(-20_000..20_000) } else { 0 };
    let times = [INGEST_MS, INGEST_MS, MINUTE_MS, 25_000, 3_000];
    let deliveries: Vec<_> = events
        .iter()
        .map(|object| {
            let starts = Duration::from_millis(rng.random_range(0..20_000));
            (object, starts, times[rng.random_range(0..times.len())], skew(&mut rng))
        })
        .collect();
    let sweeps: Vec<_> = (0..3).map(|i| (i * 300 + rng.random_range(0..60), skew(&mut rng))).collect();
    {
        let world = &world;
        let deliveries = deliveries.iter().map(|&(object, starts, time_ms, skew_ms)| async move {
            tokio::time::sleep(starts).await;
            world.deliver(object, time_ms, skew_ms).await;
        });
        // Two sweeps may run concurrently.
        let sweeps = sweeps.iter().map(|&(starts, skew_ms)| async move {
            tokio::time::sleep(Duration::from_secs(starts)).await;
            world.sweep(skew_ms).await;
        });
        futures::future::join(futures::future::join_all(deliveries), futures::future::join_all(sweeps)).await;
    }
    world.flush(10).await;
    world.cloud.stop_faults();
    let minutes = world.settle(MOST_MINUTES).await;
    world.check(&format!("seed {seed}, {minutes} minutes"));
}

#[tokio::test(start_paused = true)]
async fn any_schedule_ends_with_every_record_once_in_time_after_the_last_fault() {
    each_seed(SCHEDULES, run).await;
}

/// Runs as many schedules as `LOGFERRY_SCHEDULES` sets, or the one of `LOGFERRY_SEED`.
pub(super) async fn each_seed(schedules: u64, run: impl AsyncFn(u64)) {
    let seeds = match from_env("LOGFERRY_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=from_env("LOGFERRY_SCHEDULES").unwrap_or(schedules),
    };
    for seed in seeds {
        let print_seed = PrintSeed(seed);
        run(seed).await;
        std::mem::forget(print_seed);
    }
}

/// Prints the seed when a schedule panics.
struct PrintSeed(u64);

impl Drop for PrintSeed {
    #[allow(clippy::print_stderr, reason = "a failing test's own words")]
    fn drop(&mut self) {
        eprintln!("this schedule again: LOGFERRY_SEED={}", self.0);
    }
}
