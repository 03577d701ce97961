//! Batches that are late, out of order, repeated, cut in two, delivered by many invocations at once, and whose
//! invocations die: a tail sees every record once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logferry_core::model::fault::FaultClass;
use logferry_core::model::level::Level;
use logferry_sim::How;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::world::{Tail, World};

const MINUTE: i64 = 60_000;

#[tokio::test(start_paused = true)]
async fn a_tail_over_files_that_arrive_late_out_of_order_and_twice_has_every_record_once() {
    let world = World::new();
    let mut tail = Tail::after("now");
    tail.drain(&world).await;
    let ages = [0, 3 * 24 * 60 * MINUTE, 5 * MINUTE, 0, 26 * 60 * MINUTE];
    let mut batches = Vec::new();
    for age_ms in ages {
        batches.push([world.some(3, age_ms).await, world.some(2, age_ms + 7).await]);
    }
    for order in [[0, 2], [1, 0], [4, 2], [3, 3], [2, 1]] {
        for batch in order {
            assert_eq!(world.record(&batches[batch]).await, Some(Vec::new()));
        }
        tail.drain(&world).await;
        world.cloud.clock().advance_ms(MINUTE);
    }
    tail.assert_once(25, "");
    assert_eq!(tail.messages()[..5], ["0 0", "0 1", "0 2", "1 0", "1 1"]);
    let late = &tail.seen[10];
    assert_eq!(
        (&late["timestamp"], &late["arrived_at"]),
        (&Value::from("2024-02-27T12:00:00.000Z"), &Value::from("2024-03-01T12:01:00.000Z"))
    );
}

#[tokio::test(start_paused = true)]
async fn killed_at_every_call_and_delivered_again_in_parts_nothing_arrives_twice_or_not_at_all() {
    let calls = {
        let world = World::new();
        let records = [world.some(3, 5).await, world.some(4, 9).await, world.some(1, 0).await];
        let before = world.cloud.calls();
        world.record(&records).await.unwrap();
        world.cloud.calls() - before
    };
    assert_eq!(calls, 2, "a read and a write");
    for call in 0..calls {
        for how in [
            How::Hang,
            How::HangAfter,
            How::ReplyLost(FaultClass::Timeout),
            How::Before(FaultClass::Transient),
        ] {
            for middle in 0..=3 {
                let world = World::new();
                let records = [world.some(3, 5).await, world.some(4, 9).await, world.some(1, 0).await];
                let mut tail = Tail::all();
                world.die(call, how);
                let left = world.record(&records).await;
                assert_ne!(left, Some(Vec::new()), "{how:?} in call {call}");
                tail.drain(&world).await;
                for part in [&records[..middle], &records[middle..], &records[..]] {
                    assert_eq!(world.record(part).await, Some(Vec::new()));
                    tail.drain(&world).await;
                }
                tail.assert_once(8, &format!("{how:?} in call {call}, cut at {middle}"));
            }
        }
    }
}

/// Delivers a shard's batches in order, each until it is through: after a failure whole, from its middle, or in halves,
/// and at times while an earlier delivery of it still runs.
async fn deliver(world: &World, mut records: &[Value], seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    while !records.is_empty() {
        let count = random.random_range(1..=records.len().min(4));
        let mut batch = &records[..count];
        loop {
            let again = random.random_range(0..3) == 0;
            let other = async { if again { world.record(batch).await } else { None } };
            let (recorded, _) = tokio::join!(world.record(batch), other);
            if recorded.is_some_and(|left| left.is_empty()) {
                break;
            }
            // A part may be delivered alone; the rest stays to be delivered.
            batch = &batch[..random.random_range(1..=batch.len())];
        }
        records = &records[batch.len()..];
    }
}

#[tokio::test(start_paused = true)]
async fn parallel_shards_under_random_faults_and_a_tail_that_reads_meanwhile() {
    for seed in 0..logferry_tests::number("SEEDS", 40) {
        let world = World::new();
        let mut random = SmallRng::seed_from_u64(seed);
        let mut shards: Vec<Vec<Value>> = vec![Vec::new(); 5];
        let mut records = 0;
        for _ in 0..40 {
            let count = random.random_range(1..4);
            let age_ms = random.random_range(0..48 * 60 * MINUTE);
            shards[random.random_range(0..5)].push(world.some(count, age_ms).await);
            records += count;
        }
        world.cloud.clock().run();
        world.cloud.fail_at_random(seed, 150);
        let over = AtomicBool::new(false);
        let mut tail = Tail { limit: random.random_range(1..20), ..Tail::all() };
        let writers = async {
            let each =
                shards.iter().enumerate().map(|(n, shard)| deliver(&world, shard, seed * 10 + n as u64));
            futures::future::join_all(each).await;
            over.store(true, Ordering::SeqCst);
        };
        let reader = async {
            while !over.load(Ordering::SeqCst) {
                tail.poll(&world).await;
                tokio::time::sleep(Duration::from_millis(random.random_range(0..900))).await;
            }
        };
        tokio::join!(writers, reader);
        world.cloud.stop_faults();
        tail.drain(&world).await;
        tail.assert_once(records, &format!("seed {seed}"));
        let rows = world.cloud.arrivals_now(&world.log());
        let numbers: Vec<_> = rows.iter().map(|row| row.number).collect();
        assert_eq!(numbers, (1..=rows.len() as u64).collect::<Vec<_>>(), "without a gap");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_delivered_again_hours_later_is_found_below_thousands_of_others() {
    let world = World::new();
    let first = [world.some(2, 0).await, world.some(1, 0).await];
    world.record(&first).await.unwrap();
    for _ in 0..700 {
        world.cloud.clock().advance_ms(MINUTE);
        let record = world.some(1, 0).await;
        world.record(&[record]).await.unwrap();
    }
    let mut tail = Tail::after("12h");
    world.record(&first[1..]).await.unwrap();
    world.record(&first).await.unwrap();
    tail.drain(&world).await;
    tail.assert_once(703, "");
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_no_retry_fixes_is_counted_and_does_not_hold_up_the_stream() {
    let world = World::new();
    let records = [world.store(&[(Level::Info, 0)]).await.1];
    for (class, left) in [(FaultClass::Denied, 0), (FaultClass::RateLimited, 1)] {
        world.cloud.break_operation("PutItem", Some(class));
        assert_eq!(world.record(&records).await.map(|left| left.len()), Some(left), "{class:?}");
    }
    world.cloud.break_operation("PutItem", None);
    assert_eq!(world.record(&records).await, Some(Vec::new()));
    let mut tail = Tail::all();
    tail.drain(&world).await;
    tail.assert_once(1, "");
}
