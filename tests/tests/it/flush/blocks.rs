//! What becomes of blocks.

use std::time::Duration;

use batch_buffer::testing::{Fault, StrictLogs};
use batch_buffer::{ErrorClass, split};
use logferry_domain::app::FlushSetting;
use logferry_domain::fault::FaultClass;
use logferry_domain::record::Level;
use logferry_flush::Tally;
use logferry_ports::BlockTable;
use serde_json::{Value, json};

use super::world::{NOW_MS, World, block, blocks, failed, inserted, sequence};

#[tokio::test(start_paused = true)]
async fn a_block_becomes_json_lines_in_the_apps_group_and_the_days_stream() {
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
    assert_eq!(
        (group.as_str(), stream.clone()),
        ("/logferry/my-app", format!("2024-03-01/{}", block.header.block_id.shard()))
    );
    let ids: Vec<String> = logferry_domain::block::Payload::decode(&block.data)
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
async fn a_block_that_cannot_be_decoded_is_named_alone_and_the_rest_flows_once() {
    let world = World::new();
    let mut records: Vec<_> = (0..6).map(|n| inserted(n, &block("app", &format!("s{n}"), 4))).collect();
    records[2]["dynamodb"]["NewImage"]["data"]["B"] = json!("AAAA");
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!(failed(&handled), [sequence(&records[2])]);
    assert_eq!(handled.tally, Tally { records_in: 24, sent: 20, left: 4, ..Tally::default() });

    // The mapping brings it again with all that is behind it: nothing is sent twice.
    let again = world.invoke(&records[2..]).await.unwrap();
    assert_eq!(failed(&again), [sequence(&records[2])]);
    assert!(world.sent().values().all(|times| *times == 1), "{:?}", world.sent());
    assert_eq!(world.sent().len(), 20);
    assert_eq!(again.tally.sent, 0);
}

#[tokio::test(start_paused = true)]
async fn items_that_are_not_as_we_write_them_are_named_and_never_a_panic() {
    for (pointer, value) in [
        ("/dynamodb/NewImage/data", json!({"S": "text"})),
        ("/dynamodb/NewImage/data", json!({"B": "not base64!"})),
        ("/dynamodb/NewImage/pk", json!({"S": "nonsense"})),
        ("/dynamodb/NewImage/pk", json!({"S": "other#2024-03-01#9"})),
        ("/dynamodb/NewImage/sk", json!({"S": "nonsense"})),
        ("/dynamodb/NewImage/count", json!({"N": "many"})),
        ("/dynamodb/NewImage/count", json!({"N": "5"})),
        ("/dynamodb/NewImage/levels", json!({"M": {"info": {"N": "x"}}})),
        ("/dynamodb/NewImage/last_ms", json!(null)),
        ("/dynamodb/NewImage", json!([])),
    ] {
        let world = World::new();
        let (mut bad, good) = (inserted(1, &block("app", "a", 4)), inserted(2, &block("app", "b", 3)));
        *bad.pointer_mut(pointer).unwrap() = value;
        let handled = world.invoke(&[bad.clone(), good]).await.unwrap();
        assert_eq!(failed(&handled), [sequence(&bad)], "{pointer}");
        assert_eq!(handled.tally.sent, 3, "{pointer}");
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
    let block = block("app", "long", 9);
    let mut record = inserted(1, &block);
    let (first, _) = block.data.split_at(10);
    let mut short = block.clone();
    short.data = first.to_vec();
    record["dynamodb"]["NewImage"]["data"] = inserted(1, &short)["dynamodb"]["NewImage"]["data"].clone();
    record["dynamodb"]["NewImage"]["extents"] = json!({"N": "1"});
    world.cloud.put(vec![block.clone()]).await.unwrap();
    assert_eq!(world.invoke(&[record]).await.unwrap().tally.sent, 9);
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
    assert!(stream.starts_with("2024-02-10/"), "the stream is that of the record's day");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_throttled_is_named_and_the_others_flow() {
    let world = World::with(StrictLogs::at(NOW_MS));
    let records: Vec<_> =
        (0..4).map(|n| inserted(n, &block(["a", "b"][n % 2], &format!("s{n}"), 5))).collect();
    world.logs().next([Some(Fault::Fail(ErrorClass::Throttling)); 4]);
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!(failed(&handled), [sequence(&records[0])]);
    assert_eq!(handled.tally.records_in, 20);
    assert_eq!(handled.tally.sent + handled.tally.left, 20);
    assert!(handled.tally.left >= 5);
    let again = world.invoke(&records).await.unwrap();
    assert_eq!((failed(&again).len(), world.sent().len()), (0, 20));
    assert!(world.sent().values().all(|times| *times == 1));
    assert_eq!(again.tally.sent_before, handled.tally.sent);
}

#[tokio::test(start_paused = true)]
async fn it_stops_before_its_deadline_and_says_where() {
    let world = World::with(StrictLogs::at(NOW_MS));
    let records: Vec<_> = (0..3).map(|n| inserted(n, &block(["a", "b", "c"][n], "s", 5))).collect();
    world.logs().next([None, Some(Fault::Hang)]);
    let handled = world.invoke_until(&records, Some(Duration::from_secs(20))).await.expect("an answer");
    assert_eq!(failed(&handled), [sequence(&records[1])]);
    assert_eq!(handled.tally, Tally { records_in: 15, sent: 5, left: 10, ..Tally::default() });
    assert_eq!(world.logs().puts(), 2, "no request after the deadline");
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
async fn a_thousand_partitions_with_one_record_each_are_all_served() {
    let world = World::new();
    let records: Vec<_> = (0..1_000).map(|n| inserted(n, &block(&format!("app-{n}"), "s", 1))).collect();
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!((failed(&handled).len(), handled.tally.sent, world.sent().len()), (0, 1_000, 1_000));
}

#[tokio::test(start_paused = true)]
async fn the_sample_events_are_answered() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/flush");
    let mut samples = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let event: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let records = event["Records"].as_array().unwrap();
        let handled = World::new().invoke(records).await.unwrap();
        let is_bad = path.to_string_lossy().contains("undecodable");
        assert_eq!(failed(&handled).len(), usize::from(is_bad), "{path:?}");
        samples += 1;
    }
    assert!(samples > 0);
}
