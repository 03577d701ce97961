//! How flush handles blocks.

use std::time::Duration;

use batch_buffer::testing::{Fault, StrictLogs};
use batch_buffer::{ErrorClass, split};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::model::app::FlushSetting;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::level::Level;
use logferry_flush::Tally;
use serde_json::{Value, json};

use super::world::{NOW_MS, World, block, blocks, failed, inserted, long_block, sequence};

#[tokio::test(start_paused = true)]
async fn a_block_becomes_json_lines_in_the_apps_group_and_the_stream_of_its_arrival() {
    let world = World::new();
    let entries = [
        (NOW_MS - 5, Level::Info, r#"{"level":30,"msg":"first","pid":7}"#.to_owned()),
        (NOW_MS - 9, Level::Error, r#"{"level":50,"msg":"earlier"}"#.to_owned()),
    ];
    let block = blocks("my-app", "s3://b/k", &entries).remove(0);
    let handled = world.invoke(&[inserted(1, &block)]).await.unwrap();
    assert_eq!(failed(&handled), [""; 0]);
    assert_eq!(handled.tally, Tally { records_in: 2, sent: 2, ..Tally::default() });
    let stored = world.logs().all_stored();
    let (group, stream, events) = &stored[0];
    assert_eq!((group.as_str(), stream.as_str()), ("/logferry/my-app", "2024-03-01/0"));
    let ids: Vec<String> = logferry_core::model::block::Payload::decode(&block.data)
        .unwrap()
        .records()
        .map(|r| r.id.to_string())
        .collect();
    let expect = [
        (
            NOW_MS - 9,
            format!(
                r#"{{"logId":"{}","timestamp":"2024-03-01T11:59:59.991Z","level":"ERROR","message":"earlier"}}"#,
                ids[1]
            ),
        ),
        (
            NOW_MS - 5,
            format!(
                r#"{{"logId":"{}","timestamp":"2024-03-01T11:59:59.995Z","level":"INFO","message":"first","pid":7}}"#,
                ids[0]
            ),
        ),
    ];
    let found: Vec<_> = events.iter().map(|event| (event.timestamp_ms, event.message.clone())).collect();
    assert_eq!(found, expect);
}

#[tokio::test(start_paused = true)]
async fn small_blocks_of_a_partition_share_a_request_and_cost_no_mark() {
    let world = World::with(StrictLogs::at(NOW_MS));
    let mut all: Vec<_> = (0..60).map(|n| block("app", &format!("source {n}"), 3)).collect();
    let shard = all[0].header.block_id.shard();
    all.retain(|block| block.header.block_id.shard() == shard);
    let records: Vec<_> = all.iter().enumerate().map(|(n, block)| inserted(n, block)).collect();
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!(handled.tally.sent, 3 * all.len() as u64);
    // Marks read, setting read, one request.
    assert_eq!((world.logs().puts(), world.calls()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_large_block_goes_in_as_few_requests_as_the_limits_allow() {
    let world = World::with(StrictLogs::at(NOW_MS));
    let block = block("app", "large", 25_000);
    let handled = world.invoke(&[inserted(1, &block)]).await.unwrap();
    assert_eq!(handled.tally, Tally { records_in: 25_000, sent: 25_000, ..Tally::default() });
    let bytes: usize = world
        .logs()
        .all_stored()
        .iter()
        .flat_map(|(_, _, events)| events)
        .map(|event| event.size_bytes())
        .sum();
    assert_eq!(world.logs().puts(), bytes.div_ceil(1_048_576).max(3));
}

#[tokio::test(start_paused = true)]
async fn an_app_narrows_what_is_forwarded_and_blocks_without_any_of_it_are_not_even_read() {
    let entry = |level: Level, text: &str| (NOW_MS - 5, level, format!("{{\"msg\":\"{text}\"}}"));
    let mixed = blocks(
        "loud",
        "mixed",
        &[entry(Level::Debug, "d"), entry(Level::Warn, "w"), entry(Level::Error, "e")],
    )
    .remove(0);
    let mut quiet = blocks("loud", "quiet", &[entry(Level::Info, "i"), entry(Level::Debug, "d")]).remove(0);
    let mut off = block("off", "off", 5);
    quiet.data = b"never decoded".to_vec();
    off.data = b"never decoded".to_vec();

    let world = World::new();
    world.set_flush("loud", FlushSetting { enabled: true, min_level: Level::Warn });
    world.set_flush("off", FlushSetting { enabled: false, min_level: Level::Debug });
    let handled = world.invoke(&[inserted(1, &mixed), inserted(2, &quiet), inserted(3, &off)]).await.unwrap();
    assert_eq!(failed(&handled), [""; 0]);
    assert_eq!(handled.tally, Tally { records_in: 10, sent: 2, narrowed: 8, ..Tally::default() });
    assert_eq!(world.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_block_that_cannot_be_decoded_goes_to_the_failure_bucket_and_the_rest_flows_once() {
    let world = World::new();
    let blocks: Vec<_> = (0..6).map(|n| block("app", &format!("s{n}"), 4)).collect();
    let mut records: Vec<_> = blocks.iter().enumerate().map(|(n, block)| inserted(n, block)).collect();
    records[2]["dynamodb"]["NewImage"]["data"]["B"] = json!("AAAA");
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!(failed(&handled), [""; 0]);
    assert_eq!(handled.tally, Tally { records_in: 24, sent: 20, dead_lettered: 4, ..Tally::default() });
    let files = world.cloud.dead_letters_now();
    let (name, content) = files.first_key_value().unwrap();
    let shard = blocks[2].header.block_id.shard();
    assert_eq!(name, &format!("undecodable/app/2024-03-01/{shard}/{}.json", sequence(&records[2])));
    let file: Value = serde_json::from_slice(content).unwrap();
    assert_eq!(file["requestContext"]["condition"], "UNDECODABLE");
    assert_eq!(file["detail"], "the data is not a valid payload");
    let payload: Value = serde_json::from_str(file["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload, json!({"Records": [records[2]]}), "as the stream brought it");

    // The same record again replaces the file.
    world.invoke(&records[2..3]).await.unwrap();
    assert_eq!(world.cloud.dead_letters_now(), files);
    assert!(world.sent().len() == 20 && world.sent().values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_block_that_cannot_even_be_kept_is_named_alone_and_the_rest_flows_once() {
    let world = World::new();
    let mut records: Vec<_> = (0..6).map(|n| inserted(n, &block("app", &format!("s{n}"), 4))).collect();
    records[2]["dynamodb"]["NewImage"]["data"]["B"] = json!("AAAA");
    world.cloud.break_operation("PutObject", Some(FaultClass::Denied));
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!(failed(&handled), [sequence(&records[2])]);
    assert_eq!(handled.tally, Tally { records_in: 24, sent: 20, left: 4, ..Tally::default() });

    // The mapping delivers it again with all later records: nothing is sent twice.
    let again = world.invoke(&records[2..]).await.unwrap();
    assert_eq!(failed(&again), [sequence(&records[2])]);
    assert!(world.sent().values().all(|times| *times == 1), "{:?}", world.sent());
    assert_eq!((world.sent().len(), again.tally.sent, again.tally.sent_before), (20, 0, 12));
    world.cloud.break_operation("PutObject", None);
    let handled = world.invoke(&records[2..]).await.unwrap();
    assert_eq!((failed(&handled).len(), handled.tally.dead_lettered), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn items_that_are_not_as_we_write_them_are_set_aside_and_never_a_panic() {
    for (pointer, value, records) in [
        ("/dynamodb/NewImage/data", json!({"S": "text"}), 1),
        ("/dynamodb/NewImage/data", json!({"B": "not base64!"}), 1),
        ("/dynamodb/NewImage/pk", json!({"S": "nonsense"}), 1),
        ("/dynamodb/NewImage/pk", json!({"S": "other#2024-03-01#9"}), 1),
        ("/dynamodb/NewImage/sk", json!({"S": "nonsense"}), 1),
        ("/dynamodb/NewImage/count", json!({"N": "many"}), 1),
        ("/dynamodb/NewImage/count", json!({"N": "5"}), 5),
        ("/dynamodb/NewImage/levels", json!({"M": {"info": {"N": "x"}}}), 1),
        ("/dynamodb/NewImage/last_ms", json!(null), 1),
        ("/dynamodb/NewImage", json!([]), 1),
    ] {
        let world = World::new();
        let (mut bad, good) = (inserted(1, &block("app", "a", 4)), inserted(2, &block("app", "b", 3)));
        *bad.pointer_mut(pointer).unwrap() = value;
        let handled = world.invoke(&[bad.clone(), good]).await.unwrap();
        assert_eq!(failed(&handled), [""; 0], "{pointer}");
        let tally = Tally { records_in: records + 3, sent: 3, dead_lettered: records, ..Tally::default() };
        assert_eq!(handled.tally, tally, "{pointer}: one that cannot say how many it holds counts as one");
        let files: Vec<String> = world.cloud.dead_letters_now().into_keys().collect();
        let name = format!("/{}.json", sequence(&bad));
        assert!(
            files.len() == 1 && files[0].starts_with("undecodable/") && files[0].ends_with(&name),
            "{files:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn changes_that_insert_no_block_are_through() {
    let world = World::new();
    let extent = json!({"eventName": "INSERT", "dynamodb": {"SequenceNumber": "1", "NewImage":
        {"pk": {"S": "app#2024-03-01#1"}, "sk": {"S": "1#x#01"}, "data": {"B": "AAAA"}}}});
    let removed = json!({"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "2", "Keys": {}}});
    let handled = world.invoke(&[extent, removed]).await.unwrap();
    assert_eq!((failed(&handled).len(), handled.tally, world.calls()), (0, Tally::default(), 0));
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_long_block_is_queried() {
    let world = World::new();
    let (block, record) = long_block(1, "app");
    world.cloud.put(vec![block]).await.unwrap();
    assert_eq!(world.invoke(&[record]).await.unwrap().tally.sent, 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_too_long_for_an_event_comes_in_numbered_pieces_with_its_id() {
    let world = World::new();
    let long = format!("{{\"msg\":\"{}\"}}", "ü".repeat(524_270));
    let block = blocks("app", "long", &[(NOW_MS - 9, Level::Info, long.clone())]).remove(0);
    let handled = world.invoke(&[inserted(1, &block)]).await.unwrap();
    assert_eq!(handled.tally, Tally { records_in: 1, sent: 1, ..Tally::default() });
    let (_, _, events) = world.logs().all_stored().remove(0);
    let pieces: Vec<Value> =
        events.iter().map(|event| serde_json::from_str(&event.message).unwrap()).collect();
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|piece| piece["logId"] == pieces[0]["logId"] && piece["pieces"] == 2));
    let line = split::rejoin(events.iter().map(|event| event.message.as_str())).unwrap();
    let record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&record["logId"], record["message"].as_str().unwrap().len()),
        (&pieces[0]["logId"], 2 * 524_270)
    );
}

#[tokio::test(start_paused = true)]
async fn records_older_than_cloudwatch_takes_are_sent_now_with_their_own_time_inside() {
    let world = World::new();
    let day_ms = 86_400_000;
    let block =
        blocks("app", "old", &[(NOW_MS - 20 * day_ms, Level::Info, "{\"msg\":\"old\"}".into())]).remove(0);
    assert_eq!(world.invoke(&[inserted(1, &block)]).await.unwrap().tally.sent, 1);
    let (_, stream, events) = world.logs().all_stored().remove(0);
    let line: Value = serde_json::from_str(&events[0].message).unwrap();
    assert_eq!(
        (events[0].timestamp_ms, line["originalTimestamp"].as_i64()),
        (NOW_MS, Some(NOW_MS - 20 * day_ms))
    );
    assert_eq!(stream, "2024-03-01/0", "the stream is that of the arrival, not of the record's day");
}

#[tokio::test(start_paused = true)]
async fn an_app_whose_log_group_is_throttled_is_named_and_the_others_flow() {
    let world = World::with(StrictLogs::at(NOW_MS));
    let records: Vec<_> =
        (0..4).map(|n| inserted(n, &block(["a", "b"][n % 2], &format!("s{n}"), 5))).collect();
    world.logs().break_group("/logferry/a", Some(Fault::Fail(ErrorClass::Throttling)));
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!(failed(&handled), [sequence(&records[0])]);
    assert_eq!(handled.tally, Tally { records_in: 20, sent: 10, left: 10, ..Tally::default() });
    world.logs().break_group("/logferry/a", None);
    let again = world.invoke(&records).await.unwrap();
    assert_eq!((failed(&again).len(), world.sent().len()), (0, 20));
    assert!(world.sent().values().all(|times| *times == 1));
    assert_eq!((again.tally.sent, again.tally.sent_before), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn an_app_whose_setting_cannot_be_read_waits() {
    let world = World::new();
    world.cloud.break_operation("GetItem", Some(FaultClass::Transient));
    let record = inserted(1, &block("app", "s", 5));
    let handled = world.invoke(std::slice::from_ref(&record)).await.unwrap();
    assert_eq!((failed(&handled), handled.tally.left), (vec![sequence(&record)], 5));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_new_apps_are_served_at_the_pace_at_which_groups_can_be_created() {
    let world = World::new();
    let records: Vec<_> = (0..1_000).map(|n| inserted(n, &block(&format!("app-{n}"), "s", 1))).collect();
    let mut left = &records[..];
    for _ in 0..100 {
        let handled = world.invoke_until(left, Some(Duration::from_secs(112))).await.unwrap();
        let Some(first) = failed(&handled).pop() else {
            left = &[];
            break;
        };
        left = &left[left.iter().position(|record| sequence(record) == first).unwrap()..];
    }
    assert_eq!((left.len(), world.sent().len()), (0, 1_000));
    assert!(world.sent().values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn the_sample_events_are_answered() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/flush");
    let mut samples = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let event: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let records = event["Records"].as_array().unwrap();
        let world = World::new();
        let handled = world.invoke(records).await.unwrap();
        let is_bad = path.to_string_lossy().contains("undecodable");
        let set_aside = world.cloud.dead_letters_now().len();
        assert_eq!((failed(&handled).len(), set_aside), (0, usize::from(is_bad)), "{path:?}");
        samples += 1;
    }
    assert!(samples > 0);
}
