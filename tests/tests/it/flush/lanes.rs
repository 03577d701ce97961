//! Lanes are sent concurrently, to the log stream of the day on which their blocks arrived.

use std::collections::BTreeSet;
use std::time::Duration;

use batch_buffer::ErrorClass;
use batch_buffer::testing::{Call, Fault, StrictLogs};
use logferry_core::model::fault::FaultClass;
use logferry_core::model::level::Level;
use logferry_core::ports::dead_letters::DeadLetters;
use logferry_flush::{LANES_AT_ONCE, Tally};
use logferry_tests::stream;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::world::{NOW_MS, World, block, blocks, failed, inserted, sequence};

const DAY_MS: i64 = 86_400_000;

/// The time of flush for an invocation of two minutes.
const LIMIT: Duration = Duration::from_secs(112);

fn log_streams(world: &World) -> BTreeSet<(String, String)> {
    world.logs().all_stored().into_iter().map(|(group, stream, _)| (group, stream)).collect()
}

#[tokio::test(start_paused = true)]
async fn lanes_run_concurrently_up_to_a_limit() {
    let world = World::with(StrictLogs::at(NOW_MS));
    let records: Vec<_> = (0..60).map(|n| inserted(n, &block(&format!("app-{n}"), "s", 3))).collect();
    assert_eq!(world.invoke(&records).await.unwrap().tally.sent, 180);
    assert_eq!(world.logs().most_under_way(), LANES_AT_ONCE);

    // A lane has one request at a time.
    let world = World::with(StrictLogs::at(NOW_MS));
    let large = block("app", "large", 45_000);
    assert_eq!(world.invoke(&[inserted(1, &large)]).await.unwrap().tally.sent, 45_000);
    assert_eq!((world.logs().most_under_way(), world.logs().puts() > 3), (1, true));
}

#[tokio::test(start_paused = true)]
async fn an_app_that_hangs_for_the_whole_invocation_delays_no_other() {
    for fault in
        [Fault::Hang, Fault::Fail(ErrorClass::Throttling), Fault::Fail(ErrorClass::ServiceUnavailable)]
    {
        let world = World::with(StrictLogs::at(NOW_MS));
        let app = |n: usize| if n == 7 { "slow".to_owned() } else { format!("app-{n}") };
        let mut records: Vec<_> = (0..60).map(|n| inserted(n, &block(&app(n), "s", 3))).collect();
        records.push(inserted(60, &block("slow", "t", 3)));
        world.logs().break_group("/logferry/slow", Some(fault));
        let begin = Instant::now();
        let handled = world.invoke_until(&records, Some(LIMIT)).await.expect("an answer");
        assert!(begin.elapsed() < Duration::from_secs(120), "before Lambda ends it");
        assert_eq!(failed(&handled), [sequence(&records[7])], "{fault:?}");
        assert_eq!(handled.tally, Tally { records_in: 183, sent: 177, left: 6, ..Tally::default() });

        // They are delivered again with all later records, and nothing is sent twice.
        world.logs().break_group("/logferry/slow", None);
        let again = world.invoke_until(&records[7..], Some(LIMIT)).await.unwrap();
        assert_eq!(failed(&again), [""; 0]);
        assert_eq!((again.tally.sent, again.tally.sent_before), (6, 156));
        assert!(world.sent().len() == 183 && world.sent().values().all(|times| *times == 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_does_not_answer_one_lane_takes_no_other_with_it() {
    let world = World::with(StrictLogs::at(NOW_MS));
    let records: Vec<_> = (0..5).map(|n| inserted(n, &block(&format!("app-{n}"), "s", 3))).collect();
    // The first call reads marks, the second reads the first app.
    world.die(Some(super::world::Death::Before(1)));
    let handled = world.invoke_until(&records, Some(LIMIT)).await.expect("an answer");
    assert_eq!(handled.tally, Tally { records_in: 15, sent: 12, left: 3, ..Tally::default() });
    assert_eq!(failed(&handled).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn records_of_two_thousand_days_are_one_log_stream() {
    let world = World::new();
    let one = |n: i64| {
        blocks("app", &format!("s{n}"), &[(NOW_MS - n * DAY_MS, Level::Info, "{\"msg\":\"x\"}".into())])
            .remove(0)
    };
    let records: Vec<_> = (0..2_000).map(|n| inserted(n, &one(n as i64))).collect();
    for batch in records.chunks(100) {
        assert_eq!(failed(&world.invoke_until(batch, Some(LIMIT)).await.unwrap()), [""; 0]);
    }
    let expect = BTreeSet::from([("/logferry/app".to_owned(), "2024-03-01/0".to_owned())]);
    assert_eq!((log_streams(&world), world.sent().len()), (expect, 2_000));
    let creations = world.logs().calls().into_iter().filter(|call| matches!(call, Call::Create { .. }));
    // A lane that sent its request before the stream existed may create it once more.
    assert!(creations.count() <= LANES_AT_ONCE, "a hundred lanes share one log stream");
}

#[tokio::test(start_paused = true)]
async fn a_block_has_the_log_stream_of_its_arrival_whenever_it_is_sent() {
    let world = World::new();
    let late = NOW_MS - NOW_MS % DAY_MS + DAY_MS - 1_000;
    let (today, tomorrow) = (block("app", "a", 3), block("app", "b", 3));
    let records = [stream::inserted(1, &today, late), stream::inserted(2, &tomorrow, late + 2_000)];
    world.logs().break_group("/logferry/app", Some(Fault::Fail(ErrorClass::Throttling)));
    assert_eq!(failed(&world.invoke(&records).await.unwrap()).len(), 1);
    // The retries, and redriven batches that were discarded, are sent days later.
    world.cloud.clock().advance_ms(3 * DAY_MS);
    world.logs().break_group("/logferry/app", None);
    assert_eq!(failed(&world.invoke(&records[..1]).await.unwrap()), [""; 0]);
    let file = json!({"payload": json!({"Records": records[1..]}).to_string()}).to_string();
    world.cloud.put("aws/lambda/1", file.into_bytes()).await.unwrap();
    assert_eq!(world.redrive().await.unwrap().events_sent, 3);
    let streams =
        ["2024-03-01/0", "2024-03-02/0"].map(|stream| ("/logferry/app".to_owned(), stream.to_owned()));
    assert_eq!(log_streams(&world), BTreeSet::from(streams));
}

#[tokio::test(start_paused = true)]
async fn a_request_holds_events_of_one_log_stream() {
    let world = World::new();
    let shard = block("app", "0", 3).header.block_id.shard();
    let all = (0..40).map(|n| block("app", &n.to_string(), 3));
    let lane: Vec<_> = all.filter(|block| block.header.block_id.shard() == shard).take(4).collect();
    let arrived = [0, 0, DAY_MS, DAY_MS].map(|ms| NOW_MS + ms);
    let records: Vec<Value> =
        lane.iter().zip(arrived).enumerate().map(|(n, (block, at))| stream::inserted(n, block, at)).collect();
    assert_eq!(world.invoke(&records).await.unwrap().tally.sent, 12);
    let stored: Vec<_> =
        world.logs().all_stored().into_iter().map(|(_, stream, events)| (stream, events.len())).collect();
    assert_eq!(stored, [("2024-03-01/0".to_owned(), 6), ("2024-03-02/0".to_owned(), 6)]);
    assert_eq!(world.logs().accepted().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn records_that_do_not_say_when_they_came_are_of_today() {
    let world = World::new();
    let mut record = inserted(1, &blocks("app", "s", &[(NOW_MS - 9 * DAY_MS, Level::Info, "{}".into())])[0]);
    record["dynamodb"].as_object_mut().unwrap().remove("ApproximateCreationDateTime");
    assert_eq!(world.invoke(&[record]).await.unwrap().tally.sent, 1);
    let expect = BTreeSet::from([("/logferry/app".to_owned(), "2024-03-01/0".to_owned())]);
    assert_eq!(log_streams(&world), expect);
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_failures_is_never_so_quick_that_retries_run_out_before_records_are_old() {
    let world = World::new();
    world.cloud.break_operation("GetItem", Some(FaultClass::Denied));
    let records = [inserted(1, &block("app", "s", 5))];
    let begin = Instant::now();
    assert_eq!(failed(&world.invoke(&records).await.unwrap()).len(), 1);
    let template = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml")).unwrap();
    let number = |name: &str| -> u64 {
        let (_, flush) = template.split_once("\n  FlushFunction:\n").unwrap();
        let (_, rest) = flush.split_once(&format!("{name}: ")).unwrap();
        rest.lines().next().unwrap().parse().unwrap()
    };
    let attempts = number("MaximumRetryAttempts");
    assert!(
        begin.elapsed().as_secs() * attempts > number("MaximumRecordAgeInSeconds"),
        "{attempts} attempts"
    );
}
