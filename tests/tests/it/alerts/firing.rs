//! Up, flap, burst, quiet, late: the documented notifications and no others.

use logferry_core::model::level::Level;
use serde_json::json;

use super::world::{MINUTE, NOW_MS, World, failed, rule};

#[tokio::test(start_paused = true)]
async fn an_alert_fires_at_its_threshold_and_is_resolved_when_quiet() {
    let world = World::new();
    world.deliver(&[world.errors_now(2)]).await;
    world.pass(1).await;
    assert_eq!(world.notified(), [""; 0], "below the threshold");
    world.deliver(&[world.errors_now(1)]).await;
    assert_eq!(world.cloud.alert_wakes(), 1, "the sender starts at once");
    world.send().await.unwrap().unwrap();
    assert_eq!(world.notified(), ["firing"]);
    world.pass(9).await;
    assert_eq!(world.notified(), ["firing"], "not quiet for long enough");
    world.pass(2).await;
    assert_eq!(world.notified(), ["firing", "ok"]);
    world.pass(60).await;
    assert_eq!((world.notified().len(), world.changes().len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_notification_names_its_window_and_shows_three_records() {
    let world = World::new();
    let long = "x".repeat(2_000);
    let entries =
        (0..5).map(|n| (NOW_MS + n, Level::Error, json!({"msg": format!("{n} {long}")}).to_string()));
    world.deliver(&[world.block(&entries.collect::<Vec<_>>())]).await;
    world.send().await.unwrap().unwrap();
    let received = world.received().remove(0);
    assert_eq!(received["id"], format!("shop/errors/{}/1", NOW_MS - 1));
    assert_eq!((&received["count"], &received["threshold"]), (&json!(5), &json!(3)));
    let window = json!({"since": "2024-03-01T12:00:00.000Z", "until": "2024-03-01T12:05:00.000Z"});
    assert_eq!(received["window"], window);
    let samples = received["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 3);
    for (n, sample) in samples.iter().enumerate() {
        let message = sample["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{n} xxx")) && message.len() <= 300, "{message}");
        assert_eq!(sample["level"], "ERROR");
    }
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_flaps_notifies_once_until_it_was_quiet() {
    let world = World::new();
    for _ in 0..4 {
        // Above, then a window without any: shorter than the quiet time.
        world.deliver(&[world.errors_now(3)]).await;
        world.pass(7).await;
    }
    assert_eq!(world.notified(), ["firing"]);
    world.pass(11).await;
    assert_eq!(world.notified(), ["firing", "ok"]);
    world.deliver(&[world.errors_now(3)]).await;
    world.pass(1).await;
    assert_eq!(world.notified(), ["firing", "ok", "firing"]);
}

#[tokio::test(start_paused = true)]
async fn records_that_go_on_keep_an_alert_firing_without_a_further_notification() {
    let world = World::new();
    for _ in 0..40 {
        world.deliver(&[world.errors_now(2), world.errors_now(3)]).await;
        world.pass(1).await;
    }
    assert_eq!(world.notified(), ["firing"]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_over_many_windows_is_one_notification() {
    let world = World::new();
    let world = &world;
    let minutes = |from: i64| (0..60).map(move |minute| world.errors(&[NOW_MS - minute * MINUTE - from; 4]));
    let records: Vec<_> = minutes(1).chain(minutes(2)).collect();
    world.deliver(&records).await;
    world.pass(1).await;
    assert_eq!(world.notified(), ["firing"]);
    assert!(world.cloud.alert_windows(&world.key()).iter().all(|window| window.crossed));
}

#[tokio::test(start_paused = true)]
async fn a_window_fires_at_most_once() {
    let world = World::with(vec![logferry_core::model::alert::AlertRule {
        window_minutes: 60,
        quiet_minutes: 1,
        ..rule()
    }]);
    for _ in 0..10 {
        world.deliver(&[world.errors_now(5)]).await;
        world.pass(5).await;
    }
    assert_eq!(world.notified(), ["firing", "ok"], "50 minutes are one window");
    world.pass(20).await;
    world.deliver(&[world.errors_now(5)]).await;
    world.send().await.unwrap().unwrap();
    assert_eq!(world.notified(), ["firing", "ok", "firing"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_batch_changes_nothing() {
    let world = World::new();
    let records = [world.errors_now(2), world.errors_now(2), world.errors_now(2)];
    for _ in 0..5 {
        world.deliver(&records).await;
        world.send().await.unwrap().unwrap();
    }
    assert_eq!(world.notified(), ["firing"]);
    world.pass(11).await;
    for _ in 0..3 {
        world.deliver(&records).await;
        world.deliver(&records[1..]).await;
        world.pass(1).await;
    }
    assert_eq!(world.notified(), ["firing", "ok"], "not even after it was resolved");
}

#[tokio::test(start_paused = true)]
async fn two_errors_that_come_twice_are_not_four() {
    let world = World::new();
    let records = [world.errors_now(2)];
    for _ in 0..5 {
        world.deliver(&records).await;
    }
    world.pass(1).await;
    assert_eq!(world.notified(), [""; 0]);
    assert_eq!(world.cloud.alert_windows(&world.key())[0].count, 2);
}

#[tokio::test(start_paused = true)]
async fn windows_are_ranges_of_record_time() {
    let world = World::new();
    // Two errors on each side of a window's end.
    world.deliver(&[world.errors(&[NOW_MS - 2, NOW_MS - 1, NOW_MS, NOW_MS + 1])]).await;
    world.pass(1).await;
    assert_eq!(world.notified(), [""; 0]);
    // A file that is two hours late.
    world.deliver(&[world.errors(&[NOW_MS - 120 * MINUTE; 3])]).await;
    world.pass(1).await;
    assert_eq!(world.notified(), ["firing"]);
    assert_eq!(world.received()[0]["window"]["since"], "2024-03-01T10:00:00.000Z");
}

#[tokio::test(start_paused = true)]
async fn records_that_are_a_day_late_are_not_counted() {
    let world = World::new();
    let day = 24 * 60 * MINUTE;
    let late: Vec<_> = (0..10).map(|_| world.errors(&[NOW_MS - day - 1; 9])).collect();
    world.deliver(&late).await;
    world.pass(1).await;
    assert_eq!(world.notified(), [""; 0]);
    world.deliver(&[world.errors(&[world.now_ms() - day; 3])]).await;
    world.pass(1).await;
    assert_eq!(world.notified(), ["firing"]);
}

#[tokio::test(start_paused = true)]
async fn sending_does_not_wait_for_alerts_and_alerts_do_not_wait_for_sending() {
    use logferry_core::model::fault::FaultClass;
    let world = World::new();
    world.cloud.break_operation("TransactWriteItems", Some(FaultClass::RateLimited));
    let records = [world.errors_now(3)];
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!((failed(&handled), handled.tally.sent), (1, 3), "sent, and delivered again");
    world.cloud.break_operation("TransactWriteItems", None);
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!((failed(&handled), handled.tally.sent, handled.tally.sent_before), (0, 0, 3));
    world.send().await.unwrap().unwrap();
    assert_eq!(world.notified(), ["firing"]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_no_retry_fixes_does_not_hold_up_the_stream() {
    use logferry_core::model::fault::FaultClass;
    let world = World::new();
    world.cloud.break_operation("TransactWriteItems", Some(FaultClass::Denied));
    let handled = world.invoke(&[world.errors_now(3)]).await.unwrap();
    assert_eq!((failed(&handled), handled.tally.sent), (0, 3));
}
