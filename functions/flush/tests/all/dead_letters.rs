//! What can never be sent is kept with its reason, and sent on command.

use batch_buffer::ErrorClass;
use batch_buffer::RetryPolicy;
use batch_buffer::testing::{Fault, StrictLogs};
use logferry_flush::Tally;
use logferry_flush::dead_letters::{PREFIX, Redriven, redrive};
use serde_json::Value;

use crate::world::{NOW_MS, World, block, failed, inserted, sequence};

fn poisoned() -> World {
    World::with(StrictLogs::at(NOW_MS).with_poison(|event| event.message.contains("\"message\":\"3\"")))
}

#[tokio::test(start_paused = true)]
async fn poison_lies_in_a_file_with_its_reason_and_the_rest_is_sent() {
    let world = poisoned();
    let block = block("app", "s", 10);
    let record = inserted(7, &block);
    let handled = world.invoke(std::slice::from_ref(&record)).await.unwrap();
    assert_eq!(failed(&handled), [""; 0]);
    assert_eq!(handled.tally, Tally { records_in: 10, sent: 9, dead_lettered: 1, ..Tally::default() });

    let files = world.state.lock().unwrap().files.clone();
    let shard = block.header.block_id.shard();
    let (name, content) = files.first_key_value().unwrap();
    assert_eq!(name, &format!("dead-letters/app/2024-03-01/{shard}/{}-000003.jsonl", sequence(&record)));
    let line: Value = serde_json::from_slice(content).unwrap();
    assert_eq!(line["group"], "/logferry/app");
    assert_eq!(line["stream"], format!("2024-03-01/{shard}"));
    assert_eq!(line["timestamp"], NOW_MS - 997);
    assert_eq!(
        (line["reason"].as_str(), line["detail"].as_str()),
        (Some("INVALID"), Some("refused as invalid: poison"))
    );
    assert_eq!(line["sequenceNumber"], sequence(&record));

    // The same again replaces the file.
    world.invoke(&[record]).await.unwrap();
    assert_eq!(world.state.lock().unwrap().files, files);
}

#[tokio::test(start_paused = true)]
async fn where_dead_letters_cannot_be_kept_nothing_is_through() {
    let world = poisoned();
    world.state.lock().unwrap().files_fail = true;
    let record = inserted(7, &block("app", "s", 10));
    let handled = world.invoke(std::slice::from_ref(&record)).await.unwrap();
    assert_eq!(failed(&handled), [sequence(&record)]);
    assert_eq!(handled.tally, Tally { records_in: 10, left: 10, ..Tally::default() });
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_send_everything_is_kept_and_a_redrive_sends_it_once() {
    let world = World::with(StrictLogs::at(NOW_MS));
    world.logs.next([Some(Fault::Fail(ErrorClass::AccessDenied)); 3]);
    let records: Vec<_> = (0..3).map(|n| inserted(n, &block(["a", "b", "c"][n], "s", 10))).collect();
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!(handled.tally, Tally { records_in: 30, dead_lettered: 30, ..Tally::default() });
    assert_eq!((failed(&handled).len(), world.state.lock().unwrap().files.len()), (0, 3));

    // One app's events are refused still: only its file stays.
    world.logs.next([None, Some(Fault::Fail(ErrorClass::AccessDenied))]);
    let first = redrive(&world, &world, &world, PREFIX, &RetryPolicy::default()).await.unwrap();
    assert_eq!(first, Redriven { files_done: 2, files_kept: 1, events_sent: 20, events_kept: 10 });
    let second = redrive(&world, &world, &world, PREFIX, &RetryPolicy::default()).await.unwrap();
    assert_eq!(second, Redriven { files_done: 1, files_kept: 0, events_sent: 10, events_kept: 0 });
    assert_eq!(world.sent().len(), 30);
    assert!(world.sent().values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_redrive_keeps_in_the_file_only_what_is_dead_again() {
    let world =
        World::with(StrictLogs::at(NOW_MS).with_poison(|event| event.message.contains("\"message\":\"3\"")));
    world.logs.next([Some(Fault::Fail(ErrorClass::AccessDenied))]);
    world.invoke(&[inserted(0, &block("app", "s", 10))]).await.unwrap();
    let redriven = redrive(&world, &world, &world, PREFIX, &RetryPolicy::default()).await.unwrap();
    assert_eq!(redriven, Redriven { files_done: 0, files_kept: 1, events_sent: 9, events_kept: 1 });
    let again = redrive(&world, &world, &world, PREFIX, &RetryPolicy::default()).await.unwrap();
    assert_eq!((again.events_sent, again.events_kept, world.sent().len()), (0, 1, 9));
}
