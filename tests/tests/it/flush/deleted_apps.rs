//! Records of a deleted app are not sent to the log group of another app with its id.

use std::collections::BTreeMap;

use batch_buffer::ErrorClass;
use batch_buffer::testing::{Fault, StrictLogs};
use logferry::redrive_dead_letters::Selection;
use logferry_core::ports::dead_letters::DeadLetters;
use logferry_flush::Tally;
use logferry_tests::stream::{EPOCH_MS, event, flush};
use serde_json::{Value, json};

use super::world::{LONG, NOW_MS, World, block, failed, ids, inserted};

fn world() -> World {
    World::with(StrictLogs::at(NOW_MS)).without_apps()
}

fn deleted(events: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([("APP_DELETED".to_owned(), events)])
}

#[tokio::test(start_paused = true)]
async fn what_the_stream_brings_of_a_deleted_app_is_left_out() {
    let world = world();
    let old = block("app", "old", 5);
    let mut new = block("app", "new", 3);
    new.header.registered_ms = NOW_MS - 1_000;
    let records = [inserted(1, &old), inserted(2, &new)];
    // Deleted, and its id is not used again.
    let handled = world.invoke(&records[..1]).await.unwrap();
    assert_eq!((failed(&handled).len(), handled.tally.narrowed, world.logs().puts()), (0, 5, 0));

    world.register("app", NOW_MS - 1_000);
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!(failed(&handled), [""; 0]);
    assert_eq!(handled.tally, Tally { records_in: 8, sent: 3, narrowed: 5, ..Tally::default() });
    assert!(world.sent().keys().eq(&ids([&new])));
    assert!(world.cloud.dead_letters_now().is_empty(), "no alarm for what is gone on purpose");
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_registered_at_once_after_another_loses_nothing() {
    let world = world();
    let environment = flush(&world.cloud, world.cloud.clone());
    let mut new = block("app", "new", 3);
    new.header.registered_ms = NOW_MS - 1_000;
    // The environment has just seen that the former app is deleted.
    environment.handle(&event(&[inserted(1, &block("app", "old", 5))]), world.deadline_ms(LONG)).await;
    world.register("app", NOW_MS - 1_000);
    assert_eq!(environment.handle(&event(&[inserted(2, &new)]), world.deadline_ms(LONG)).await.tally.sent, 3);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_of_a_deleted_app_stay_and_are_not_sent_to_the_next_of_its_id() {
    let world = world();
    world.register("app", EPOCH_MS);
    world.logs().next([Some(Fault::Fail(ErrorClass::AccessDenied))]);
    assert_eq!(world.invoke(&[inserted(1, &block("app", "s", 4))]).await.unwrap().tally.dead_lettered, 4);
    let files = world.cloud.dead_letters_now();

    world.register("app", NOW_MS);
    let (redriven, reports) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!((redriven.unwrap().events_sent, &reports[0].reasons), (0, &deleted(4)));
    assert_eq!((world.sent().len(), &world.cloud.dead_letters_now()), (0, &files));
    // The same app as before: they belong to it.
    world.register("app", EPOCH_MS);
    assert_eq!(world.redrive().await.unwrap().events_sent, 4);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_names_no_registration_is_sent_only_if_it_is_of_a_later_time() {
    let world = world();
    world.register("app", NOW_MS - 1_000);
    let line = |timestamp: i64| {
        json!({"group": "/logferry/app", "stream": "2024-03-01/3", "timestamp": timestamp, "reason": "REFUSED",
               "message": "{\"logId\":\"01\"}", "detail": "d", "sequenceNumber": "1"})
        .to_string()
    };
    let file = [line(NOW_MS - 2_000), line(NOW_MS)].join("\n");
    world.cloud.put("dead-letters/app/2024-03-01/3/1-000000.jsonl", file.into_bytes()).await.unwrap();
    let (redriven, reports) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!((redriven.unwrap().events_sent, &reports[0].reasons), (1, &deleted(1)));
    let (_, left) = world.cloud.dead_letters_now().pop_first().unwrap();
    let left: Value = serde_json::from_slice(&left).unwrap();
    assert_eq!(
        (left["timestamp"].as_i64(), left["reason"].as_str()),
        (Some(NOW_MS - 2_000), Some("APP_DELETED"))
    );
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_that_was_given_up_the_records_of_a_deleted_app_stay() {
    let world = world();
    let (gone, own) = (block("gone", "s", 4), block("app", "s", 3));
    world.register("app", EPOCH_MS);
    world.register("gone", NOW_MS);
    let records = [inserted(1, &gone), inserted(2, &own)];
    let file = json!({"payload": json!({"Records": records}).to_string()}).to_string();
    world.cloud.put("aws/lambda/1", file.into_bytes()).await.unwrap();
    let (redriven, reports) = world.redrive_some(&Selection::default(), false).await;
    let redriven = redriven.unwrap();
    assert_eq!((redriven.events_sent, redriven.events_kept, &reports[0].reasons), (3, 4, &deleted(4)));
    assert!(world.sent().keys().eq(&ids([&own])));
    let (_, left) = world.cloud.dead_letters_now().pop_first().unwrap();
    let left: Value = serde_json::from_slice(&left).unwrap();
    let payload: Value = serde_json::from_str(left["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload, json!({"Records": records[..1]}));
}
