//! Every call fails in every way; then pairs of calls; then workers that wake up late.

use std::time::Duration;

use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::fault::FaultClass;
use logferry_core::ports::clock::Clock;
use logferry_sim::How;
use logferry_tests::ingest::{event, ingest};
use logferry_tests::number;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::world::{INGEST_MS, MINUTE_MS, World};

const WAYS: [How; 4] =
    [How::Before(FaultClass::Transient), How::ReplyLost(FaultClass::Timeout), How::Hang, How::HangAfter];

/// Time until everything is finished without faults (minutes): the unused URL's five minutes, fifteen more,
/// two sweeps.
const UNHARMED_MINUTES: i64 = 30;
/// Maximum delay by a fault (minutes): the lease of a run (15.5 minutes), and the next sweep.
const FAULT_MINUTES: i64 = 21;
const HOUR_MINUTES: i64 = 60;

/// Number of pairs of failing calls; `LOGFERRY_PAIRS` sets more.
const PAIRS: u64 = 2_000;

async fn run(faults: &[(u64, How)]) -> World {
    let mut world = World::new().await;
    let before = world.cloud.calls();
    for (call, how) in faults {
        world.cloud.fail_call(before + call, *how);
    }
    let most_minutes = UNHARMED_MINUTES + FAULT_MINUTES * i64::try_from(faults.len()).unwrap();
    world.run(most_minutes).await;
    world.check(&format!("{faults:?}"));
    world
}

async fn calls_of_a_run() -> u64 {
    let before = World::new().await.cloud.calls();
    run(&[]).await.cloud.calls() - before
}

async fn each_call_fails(how: How) {
    let calls = calls_of_a_run().await;
    assert!(calls > 50, "{calls} calls are no crash points worth the name");
    for call in 0..calls {
        run(&[(call, how)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whichever_call_fails_before_it_acts_nothing_is_lost_and_nothing_is_twice() {
    each_call_fails(How::Before(FaultClass::Transient)).await;
}

#[tokio::test(start_paused = true)]
async fn whichever_answer_is_lost_nothing_is_lost_and_nothing_is_twice() {
    each_call_fails(How::ReplyLost(FaultClass::Timeout)).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_an_invocation_hangs_and_dies_nothing_is_lost_and_nothing_is_twice() {
    each_call_fails(How::Hang).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_an_invocation_dies_after_a_call_nothing_is_lost_and_nothing_is_twice() {
    each_call_fails(How::HangAfter).await;
}

#[tokio::test(start_paused = true)]
async fn whichever_two_calls_fail_nothing_is_lost_and_nothing_is_twice() {
    let calls = calls_of_a_run().await;
    let mut rng = SmallRng::seed_from_u64(1);
    for _ in 0..number("LOGFERRY_PAIRS", PAIRS) {
        let first = rng.random_range(0..calls);
        // Most second faults occur while the first one is being handled.
        let second =
            first + 1 + if rng.random() { rng.random_range(0..12) } else { rng.random_range(0..calls) };
        let mut way = || WAYS[rng.random_range(0..WAYS.len())];
        run(&[(first, way()), (second, way())]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_wakes_after_another_has_finished_changes_nothing() {
    for call in 0.. {
        let mut world = World::new().await;
        let object = world.events[0].clone();
        let late = world.cloud.calls() + call;
        world.cloud.fail_call(late, How::Stall(Duration::from_secs(3600)));
        // This worker is not ended at its deadline: its machine slept.
        let (zombie, ()) = tokio::join!(
            async {
                let app = ingest(&world.cloud, world.cloud.clock(), IntakeLimits::default());
                app.handle(&event(&object), world.cloud.clock().now_ms() + INGEST_MS).await
            },
            async {
                tokio::time::sleep(Duration::from_secs(1200)).await;
                world.deliver(&object, INGEST_MS, 0).await;
            }
        );
        let stalled = world.cloud.faults_hit() > 0;
        drop(zombie);
        world.run(2 * HOUR_MINUTES).await;
        world.check(&format!("call {call} of a worker comes late"));
        if !stalled {
            assert!(call > 8, "only {call} calls");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_time_a_run_is_given_the_next_ones_bring_it_to_an_end() {
    for time_ms in [0, 1, 2, 10, 100, 400, 1000, 5000, 19_999, 20_000, 20_001, 40_000, MINUTE_MS, INGEST_MS] {
        for seed in 0..4 {
            let mut world = World::new().await;
            world.cloud.fail_at_random(seed, 0);
            for object in world.objects() {
                for _ in 0..3 {
                    world.ingest(&object, time_ms, 0).await;
                }
            }
            world.run(2 * HOUR_MINUTES).await;
            world.check(&format!("{time_ms} ms, seed {seed}"));
        }
    }
}
