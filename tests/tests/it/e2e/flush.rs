//! Blocks in the table, events in CloudWatch Logs: the stream, its mapping, the role, the function.

use batch_buffer::testing::contract;
use logferry_aws::blocks::DynamoBlocks;
use logferry_aws::logs::{CloudWatchLogs, GroupSettings};
use logferry_domain::block::Block;
use logferry_domain::record::Level;
use logferry_ports::{BlockTable, Clock, SystemClock};
use logferry_tests::stack::{Stack, TestApp, until};
use logferry_tests::stream;
use serde_json::{Value, json};

/// An app id that no other test has. Flush asks for no registration.
fn unregistered(name: &str) -> TestApp {
    let app_id = format!("{name}-{}", ulid::Ulid::generate().to_string().to_lowercase());
    TestApp { app_id, api_key: String::new() }
}

/// Of the UTC hour that is past, as a block's must be.
fn blocks(app: &TestApp, entries: &[String]) -> Vec<Block> {
    let hour_ms = SystemClock.now_ms() / 3_600_000 * 3_600_000 - 3_600_000;
    let entry = |(n, raw): (i64, &String)| (hour_ms + n, Level::Info, raw.clone());
    stream::blocks(&app.app_id, "test", &(0..).zip(entries).map(entry).collect::<Vec<_>>())
}

async fn store(stack: &Stack, blocks: Vec<Block>) {
    let table = DynamoBlocks::new(stack.aws.dynamodb(), stack.value("TABLE_LOGS"));
    assert!(table.put(blocks).await.unwrap().is_empty());
}

/// `length` characters that zstd cannot make shorter than half.
fn noise(length: usize, mut state: u64) -> String {
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(35 + ((state >> 33) % 56) as u8)
    };
    (0..length).map(next).collect()
}

#[tokio::test]
async fn records_of_a_block_arrive_once_each_and_their_group_has_a_retention() {
    let stack = Stack::new();
    let app = unregistered("flush");
    let entries: Vec<String> = (0..500).map(|n| format!("{{\"msg\":\"{n}\"}}")).collect();
    store(&stack, blocks(&app, &entries)).await;
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
    let found = stack.aws.logs().describe_log_groups().log_group_name_prefix(&group).send().await.unwrap();
    assert_eq!(found.log_groups()[0].retention_in_days, Some(30));
}

#[tokio::test]
async fn a_long_record_that_needs_extents_arrives_in_pieces_that_rejoin() {
    let stack = Stack::new();
    let app = unregistered("flush-long");
    let entry = format!("{{\"msg\":\"{}\"}}", noise(1_048_500, 7));
    store(&stack, blocks(&app, std::slice::from_ref(&entry))).await;
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
async fn a_block_that_cannot_be_decoded_is_named_in_the_answer() {
    let stack = Stack::new();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/flush/undecodable-block.json");
    let event: Value = serde_json::from_slice(&std::fs::read(sample).unwrap()).unwrap();
    let number = &event["Records"][0]["dynamodb"]["SequenceNumber"];
    let answer = stack.invoke("FN_FLUSH", &event).await;
    assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": number}]}));
    assert_eq!(stack.invoke("FN_FLUSH", &json!({"Records": []})).await, json!({"batchItemFailures": []}));
}

#[tokio::test]
async fn the_service_keeps_the_contract_that_the_stand_in_keeps() {
    let stack = Stack::new();
    let logs = CloudWatchLogs::new(stack.aws.logs(), GroupSettings::default());
    let group = format!("/contract/{}", unregistered("logs").app_id);
    assert_eq!(contract::check(&logs, &group, SystemClock.now_ms()).await, Vec::<String>::new());
}
