//! Events that can never be sent are kept with their reason.

use batch_buffer::testing::StrictLogs;
use logferry_core::model::fault::FaultClass;
use logferry_flush::Tally;
use serde_json::Value;

use super::world::{NOW_MS, World, block, failed, inserted, sequence};

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

    let files = world.cloud.dead_letters_now();
    let shard = block.header.block_id.shard();
    let (name, content) = files.first_key_value().unwrap();
    assert_eq!(name, &format!("dead-letters/app/2024-03-01/{shard}/{}-000003.jsonl", sequence(&record)));
    let line: Value = serde_json::from_slice(content).unwrap();
    assert_eq!(line["group"], "/logferry/app");
    assert_eq!((line["stream"].as_str(), line["epoch"].as_i64()), (Some("2024-03-01/0"), Some(1)));
    assert_eq!(line["timestamp"], NOW_MS - 997);
    assert_eq!(
        (line["reason"].as_str(), line["detail"].as_str()),
        (Some("INVALID"), Some("refused as invalid: poison"))
    );
    assert_eq!(line["sequenceNumber"], sequence(&record));

    // The same record again replaces the file.
    world.invoke(&[record]).await.unwrap();
    assert_eq!(world.cloud.dead_letters_now(), files);
}

#[tokio::test(start_paused = true)]
async fn where_dead_letters_cannot_be_kept_nothing_is_through() {
    let world = poisoned();
    world.cloud.break_operation("PutObject", Some(FaultClass::Denied));
    let record = inserted(7, &block("app", "s", 10));
    let handled = world.invoke(std::slice::from_ref(&record)).await.unwrap();
    assert_eq!(failed(&handled), [sequence(&record)]);
    assert_eq!(handled.tally, Tally { records_in: 10, left: 10, ..Tally::default() });
}
