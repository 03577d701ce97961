//! No record content can create CloudWatch metrics, whichever way it is sent.

use batch_buffer::split;
use logferry::redrive_dead_letters::Selection;
use logferry_core::model::block::Block;
use logferry_core::model::level::Level;
use logferry_core::ports::dead_letters::DeadLetters;
use serde_json::{Map, Value, json};

use super::world::{NOW_MS, World, block, blocks, failed, inserted};

/// A member that turns an event's top-level object into metrics of the operator's account.
const METRICS: &str = r#"{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"Logferry","Dimensions":[[]],"Metrics":[{"Name":"FilesFailed"}]}]}"#;

fn hostile(age_ms: i64, message: &str) -> Block {
    let raw = format!(
        r#"{{"msg":"{message}","_aws":{METRICS},"\u005Faws":{METRICS},"CloudWatchMetrics":[],"FilesFailed":-1000000,"_aws_":1,"req":{{"_aws":1}}}}"#
    );
    blocks("app", message, &[(NOW_MS - age_ms, Level::Info, raw)]).remove(0)
}

/// Returns all events in CloudWatch Logs as JSON objects.
fn events(world: &World) -> Vec<Map<String, Value>> {
    let stored = world.logs().all_stored().into_iter().flat_map(|(_, _, events)| events);
    stored.map(|event| serde_json::from_str(&event.message).unwrap()).collect()
}

fn acts(event: &Map<String, Value>) -> bool {
    event.contains_key("_aws") || event.contains_key("CloudWatchMetrics")
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_a_metric_arrives_as_a_log_event_with_all_it_holds() {
    let world = World::new();
    let day_ms = 86_400_000;
    let records = [inserted(1, &hostile(5, "now")), inserted(2, &hostile(20 * day_ms, "old"))];
    assert_eq!(failed(&world.invoke(&records).await.unwrap()), [""; 0]);
    let events = events(&world);
    assert_eq!(events.len(), 2);
    for event in &events {
        assert!(!acts(event), "{event:?}");
        let metrics: Value = serde_json::from_str(METRICS).unwrap();
        assert_eq!(event["_aws__"], metrics);
        assert_eq!((&event["_aws_"], &event["CloudWatchMetrics_"]), (&json!(1), &json!([])));
        assert_eq!((&event["FilesFailed"], &event["req"]), (&json!(-1_000_000), &json!({"_aws": 1})));
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_record_that_is_a_metric_is_none_in_its_pieces_nor_when_they_are_rejoined() {
    let world = World::new();
    let block = hostile(5, &"x".repeat(1 << 20));
    assert_eq!(world.invoke(&[inserted(1, &block)]).await.unwrap().tally.sent, 1);
    let events = events(&world);
    assert_eq!(events.len(), 2);
    assert!(!events.iter().any(acts));
    let pieces: Vec<String> = events.into_iter().map(|event| Value::Object(event).to_string()).collect();
    let whole = split::rejoin(pieces.iter().map(String::as_str)).unwrap();
    assert!(!acts(&serde_json::from_str(&whole).unwrap()));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_of_a_version_that_knew_nothing_of_metrics_are_none_when_they_are_sent() {
    let world = World::new();
    // Registers the app.
    world.invoke(&[inserted(0, &block("app", "s", 1))]).await.unwrap();
    let message = format!(r#"{{"logId":"0123","message":"m", "\u005faws" : {METRICS}}}"#);
    let line = |message: &str, number: u32| {
        json!({"group": "/logferry/app", "stream": "2024-03-01/3", "timestamp": NOW_MS, "message": message,
               "reason": "REFUSED", "detail": "d", "sequenceNumber": number.to_string()})
        .to_string()
    };
    let file = [line(&message, 1), line("_aws", 2)].join("\n");
    world.cloud.put("dead-letters/app/2024-03-01/3/1-000000.jsonl", file.into_bytes()).await.unwrap();
    let (redriven, _) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!(redriven.unwrap().events_sent, 2);
    let stored = world.logs().stored("/logferry/app", "2024-03-01/3");
    let event = format!(r#"{{"logId":"0123","message":"m","_aws_":{METRICS}}}"#);
    let messages: Vec<&str> = stored.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(messages, [event.as_str(), "_aws"]);
}

#[tokio::test(start_paused = true)]
async fn batches_that_were_given_up_are_read_by_the_same_rules() {
    let world = World::new();
    let record = inserted(1, &hostile(5, "given up"));
    world.register_all(std::slice::from_ref(&record));
    let file = json!({"payload": json!({"Records": [record]}).to_string()}).to_string();
    world.cloud.put("aws/lambda/1", file.into_bytes()).await.unwrap();
    let (redriven, _) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!(redriven.unwrap().events_sent, 1);
    let events = events(&world);
    assert!(events.len() == 1 && !acts(&events[0]), "{events:?}");
}
