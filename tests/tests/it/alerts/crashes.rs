//! `flush` and the sender are killed at every call: the changes are exact, and a notification comes twice
//! only if the sender died after it had sent it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::world::{Death, World};

/// Two partitions, several blocks, one of which crosses.
fn batch(world: &World) -> Vec<Value> {
    vec![world.errors_now(1), world.errors_now(1), world.errors_now(2), world.errors_now(1)]
}

/// Kills the nth call of a run until a run gets through.
async fn killed_at<F>(world: &World, number: u64, after: bool, run: impl Fn() -> F) -> bool
where
    F: Future<Output = bool>,
{
    world.die(Some(if after { Death::After(number) } else { Death::Before(number) }));
    let through = run().await;
    world.die(None);
    !through
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_function_dies_at_any_call_fires_once() {
    for after in [false, true] {
        let mut deaths = 0;
        for number in 0.. {
            let world = World::new();
            let records = batch(&world);
            let run = || async { world.invoke(&records).await.is_some() };
            if !killed_at(&world, number, after, run).await {
                break;
            }
            deaths += 1;
            world.deliver(&records).await;
            assert_eq!(world.changes(), ["firing"], "killed at call {number}, after {after}");
            world.pass(1).await;
            assert_eq!(world.notified(), ["firing"], "killed at call {number}, after {after}");
            world.pass(15).await;
            assert_eq!(world.notified(), ["firing", "ok"], "killed at call {number}, after {after}");
        }
        assert!(deaths > 8, "{deaths} calls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_dies_again_and_again_fires_once() {
    for step in [12, 14, 16] {
        let world = World::new();
        let records = batch(&world);
        let mut kills = 0;
        loop {
            let run = || async { world.invoke(&records).await.is_some() };
            if !killed_at(&world, step, true, run).await {
                break;
            }
            kills += 1;
            assert!(kills < 100, "it gets on, {step} calls at a time");
        }
        world.pass(1).await;
        assert_eq!(world.notified(), ["firing"], "{kills} kills at call {step}");
        assert_eq!(world.changes(), ["firing"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_dies_at_any_call_loses_no_notification() {
    for minutes in [0, 15] {
        for after in [false, true] {
            let mut deaths = 0;
            for number in 0.. {
                let world = World::new();
                world.deliver(&batch(&world)).await;
                world.advance(minutes);
                let run = || async { world.send().await.is_some() };
                if !killed_at(&world, number, after, run).await {
                    break;
                }
                deaths += 1;
                world.pass(20).await;
                let context = format!("after {minutes} minutes, killed at call {number}, after {after}");
                assert_eq!(world.changes(), ["firing", "ok"], "{context}");
                let received = world.received();
                let ids: Vec<&str> = received.iter().map(|json| json["id"].as_str().unwrap()).collect();
                assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 2, "{context}");
                assert!(ids.len() <= 3, "{context}: {ids:?}");
                assert!(ids.is_sorted(), "{context}: in the order of the changes");
            }
            assert!(deaths > 5, "{deaths} calls");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_start_of_the_sender_only_delays_the_notification() {
    use logferry_core::model::fault::FaultClass;
    let world = World::new();
    world.cloud.break_operation("Invoke", Some(FaultClass::RateLimited));
    world.deliver(&batch(&world)).await;
    assert_eq!(world.cloud.alert_wakes(), 0);
    world.pass(1).await;
    assert_eq!(world.notified(), ["firing"]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_down_gets_the_notifications_later_and_in_order() {
    use logferry_core::model::fault::FaultClass;
    let world = World::new();
    world.cloud.break_operation("Publish", Some(FaultClass::Transient));
    world.deliver(&batch(&world)).await;
    world.pass(60).await;
    assert_eq!((world.notified(), world.changes()), (vec![], vec!["firing", "ok"]));
    world.cloud.break_operation("Publish", None);
    world.pass(61).await;
    assert_eq!(world.notified(), ["firing", "ok"]);
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_fails_for_a_day_is_given_up_and_the_next_one_is_sent() {
    use logferry_core::model::fault::FaultClass;
    use logferry_core::ports::alerts::Delivery;
    let world = World::new();
    world.cloud.break_operation("Publish", Some(FaultClass::Transient));
    world.deliver(&batch(&world)).await;
    world.pass(26 * 60).await;
    let deliveries = world.events();
    assert!(matches!(deliveries[0].delivery, Delivery::Failed { .. }), "{deliveries:?}");
    world.cloud.break_operation("Publish", None);
    world.deliver(&batch(&world)).await;
    world.pass(1).await;
    assert_eq!(world.notified(), ["firing"]);
}
