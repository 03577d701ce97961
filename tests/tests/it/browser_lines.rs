//! The lines that `@logferry/browser` writes are the records that were logged.

use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::time::{parse_rfc3339_ms, rfc3339_ms};
use logferry_core::ports::clock::Clock;
use logferry_ingest::Ingested;
use logferry_tests::api::Api;
use logferry_tests::ingest::{BUCKET, event, ingest};
use logferry_tests::stack::gzip;
use serde_json::Value;

fn fixture(name: &str) -> String {
    let path = format!("{}/fixtures/browser/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// What was logged, and the records that a file of its lines becomes, oldest first.
async fn logged_and_stored(file: &str) -> (Vec<Value>, Vec<Value>) {
    let logged: Vec<Value> = serde_json::from_str(&fixture("logged.json")).unwrap();
    let api = Api::new();
    let key = api.register("shop").await;
    let object = api.cloud.put_object(BUCKET, "logs/shop/lines.gz", gzip(fixture(file).as_bytes()));
    let function = ingest(&api.cloud, api.cloud.clock(), IntakeLimits::default());
    let deadline = api.cloud.clock().now_ms() + 60_000;
    let Ingested::Completed { counts } = function.handle(&event(&object), deadline).await.unwrap().remove(0)
    else {
        panic!("{file} is not ingested")
    };
    assert_eq!((counts.ok, counts.quarantined), (logged.len() as u64, 0), "{file}");
    let mut stored = api.records(&key, "").await;
    stored.reverse();
    (logged, stored)
}

#[track_caller]
fn assert_same_time_and_level(logged: &Value, stored: &Value) {
    let at = parse_rfc3339_ms(stored["timestamp"].as_str().unwrap()).unwrap();
    assert_eq!(rfc3339_ms(logged["time"].as_i64().unwrap()), rfc3339_ms(at), "{stored}");
    assert_eq!(logged["level"], stored["level"], "{stored}");
}

#[tokio::test]
async fn lines_of_json_keep_time_level_message_and_context() {
    let (logged, stored) = logged_and_stored("lines.ndjson").await;
    for (logged, stored) in logged.iter().zip(&stored) {
        assert_same_time_and_level(logged, stored);
        assert_eq!(logged["message"], stored["message"]);
        assert_eq!(logged["context"], stored["context"]);
        assert_eq!(logged["context"]["request_id"], stored["request_id"]);
    }
}

#[tokio::test]
async fn lines_of_text_keep_time_level_and_message_and_a_message_forges_no_record() {
    let (logged, stored) = logged_and_stored("lines.txt").await;
    for (logged, stored) in logged.iter().zip(&stored) {
        assert_same_time_and_level(logged, stored);
        let (message, kept) = (logged["message"].as_str().unwrap(), stored["message"].as_str().unwrap());
        // The context follows the message; lines at the margin are indented.
        let whole = message.replace("\n2024", "\n  2024").replace("\n{", "\n  {");
        assert!(kept.starts_with(whole.trim_end()), "{kept:?} does not begin with {whole:?}");
    }
}
