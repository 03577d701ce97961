//! Blocks in the table, events in CloudWatch Logs: the stream, its mapping, the role, the function.

use batch_buffer::testing::contract;
use logferry_aws::blocks::DynamoBlocks;
use logferry_aws::dead_letters::S3DeadLetters;
use logferry_aws::logs::CloudWatchLogs;
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::model::block::Block;
use logferry_core::model::level::Level;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::dead_letters::DeadLetters;
use logferry_service::clock::SystemClock;
use logferry_tests::stack::{Stack, TestApp, until};
use logferry_tests::stream;
use serde_json::{Value, json};

/// Of the last full UTC hour, because a block must be within one hour.
async fn blocks(stack: &Stack, app: &TestApp, entries: &[String]) -> Vec<Block> {
    let hour_ms = SystemClock.now_ms() / 3_600_000 * 3_600_000 - 3_600_000;
    let entry = |(n, raw): (i64, &String)| (hour_ms + n, Level::Info, raw.clone());
    let entries: Vec<_> = (0..).zip(entries).map(entry).collect();
    let mut blocks = stream::blocks(&app.app_id, "test", &entries);
    let registered_ms = stack.registered_ms(app).await;
    blocks.iter_mut().for_each(|block| block.header.registered_ms = registered_ms);
    blocks
}

async fn store(stack: &Stack, blocks: Vec<Block>) {
    let table = DynamoBlocks::new(stack.aws.dynamodb(), stack.value("TABLE_LOGS"));
    assert!(table.put(blocks).await.unwrap().is_empty());
}

/// `length` characters that zstd compresses to about half.
fn noise(length: usize, mut state: u64) -> String {
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(35 + ((state >> 33) % 56) as u8)
    };
    (0..length).map(next).collect()
}

#[tokio::test]
async fn records_of_a_block_arrive_once_each_and_their_group_has_a_retention() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("flush").await;
    let entries: Vec<String> = (0..500).map(|n| format!("{{\"msg\":\"{n}\"}}")).collect();
    store(&stack, blocks(&stack, &app, &entries).await).await;
    let events = until("500 events", async || {
        let events = stack.cloudwatch(&app).await;
        (events.len() >= 500).then_some(events)
    })
    .await;
    let mut ids: Vec<&str> = events.iter().map(|event| event["logId"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((events.len(), ids.len()), (500, 500));

    let group = format!("/logferry/{}", app.app_id);
    // Nothing waits for the retention, so it may be set after the events.
    let days = until("the group's retention", async || {
        let found =
            stack.aws.logs().describe_log_groups().log_group_name_prefix(&group).send().await.unwrap();
        found.log_groups()[0].retention_in_days
    })
    .await;
    assert_eq!(days, 30);
}

#[tokio::test]
async fn a_long_record_that_needs_extents_arrives_in_pieces_that_rejoin() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("flush-long").await;
    let entry = format!("{{\"msg\":\"{}\"}}", noise(1_048_500, 7));
    store(&stack, blocks(&stack, &app, std::slice::from_ref(&entry)).await).await;
    let pieces = until("two pieces", async || {
        let events = stack.cloudwatch(&app).await;
        (events.len() >= 2).then_some(events)
    })
    .await;
    let lines: Vec<String> = pieces.iter().map(Value::to_string).collect();
    let record: Value =
        serde_json::from_str(&batch_buffer::split::rejoin(lines.iter().map(String::as_str)).unwrap())
            .unwrap();
    let original: Value = serde_json::from_str(&entry).unwrap();
    assert_eq!((pieces.len(), &record["message"]), (2, &original["msg"]));
}

#[tokio::test]
async fn a_block_that_cannot_be_decoded_goes_to_the_failure_bucket() {
    let Some(stack) = Stack::running() else { return };
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/flush/undecodable-block.json");
    let mut event: Value = serde_json::from_slice(&std::fs::read(sample).unwrap()).unwrap();
    let app = stack.new_app("undecodable").await;
    let image = &mut event["Records"][0]["dynamodb"]["NewImage"];
    image["pk"]["S"] = json!(format!("{}#2024-03-01#1", app.app_id));
    image["epoch"]["N"] = json!(stack.registered_ms(&app).await.to_string());
    assert_eq!(stack.invoke("FN_FLUSH", &event).await, json!({"batchItemFailures": []}));
    let files = S3DeadLetters::new(stack.aws.s3(), stack.value("FAILURE_BUCKET"));
    let number = event["Records"][0]["dynamodb"]["SequenceNumber"].as_str().unwrap();
    let name = format!("undecodable/{}/2024-03-01/1/{number}.json", app.app_id);
    let file: Value = serde_json::from_slice(&files.read(&name).await.unwrap()).unwrap();
    assert_eq!(file["requestContext"], json!({"condition": "UNDECODABLE"}));
    files.remove(&name).await.unwrap();
    assert_eq!(stack.invoke("FN_FLUSH", &json!({"Records": []})).await, json!({"batchItemFailures": []}));
}

#[tokio::test]
async fn the_service_keeps_the_contract_that_the_stand_in_keeps() {
    let Some(stack) = Stack::running() else { return };
    let logs = CloudWatchLogs::new(stack.aws.logs(), None);
    let group = format!("/contract/{}", ulid::Ulid::generate());
    assert_eq!(contract::check(&logs, &group, SystemClock.now_ms()).await, Vec::<String>::new());
}
