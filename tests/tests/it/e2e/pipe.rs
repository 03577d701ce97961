//! An object from S3 to CloudWatch Logs and to a query.

use logferry_core::model::time::MS_PER_DAY;
use logferry_core::ports::clock::Clock;
use logferry_service::clock::SystemClock;
use logferry_tests::stack::{Stack, TestApp, gzip, until};
use serde_json::{Value, json};

/// Ten days ago: recent enough to be forwarded with its own time, and to be in the stats.
fn begin_ms() -> i64 {
    SystemClock.now_ms() - 10 * MS_PER_DAY
}

fn ndjson(records: std::ops::Range<i64>) -> String {
    let begin_ms = begin_ms();
    records
        .map(|i| {
            let level = [20, 30, 40, 50][usize::try_from(i % 4).unwrap()];
            format!("{{\"level\":{level},\"time\":{},\"msg\":\"record {i}\",\"pid\":7}}\n", begin_ms + i * 10)
        })
        .collect()
}

async fn put(stack: &Stack, app: &TestApp, name: &str, body: Vec<u8>) -> (String, Value) {
    let key = format!("logs/{}/{name}", app.app_id);
    stack.put_object(&key, body).await;
    let row = stack.ended(app, &key).await;
    (key, row)
}

async fn stats_total(stack: &Stack, app: &TestApp) -> i64 {
    let path = format!("/stats/{}?days=30", app.app_id);
    let days = stack.app(app, "GET", &path, None).await.data();
    let sum =
        |day: &Value| ["debug", "info", "warn", "error"].iter().filter_map(|l| day[*l].as_i64()).sum::<i64>();
    days.as_array().unwrap().iter().map(sum).sum()
}

#[tokio::test]
async fn a_gzipped_file_of_records_is_stored_queried_counted_and_forwarded() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("pipe").await;
    let (_, row) = put(&stack, &app, "2025/10/09/app.ndjson.gz", gzip(ndjson(0..500).as_bytes())).await;
    assert_eq!(
        (row["status"].as_str(), row["counts"]["ok"].as_i64()),
        (Some("COMPLETED"), Some(500)),
        "{row}"
    );

    let records = stack.records(&app, "").await;
    let messages: Vec<_> = records.iter().map(|r| r["message"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<_> = (0..500).rev().map(|i| format!("record {i}")).collect();
    assert_eq!(messages, expected);
    assert_eq!(records[0]["level"], "ERROR");
    assert_eq!(stack.records(&app, "level=WARN").await.len(), 125);
    assert_eq!(stats_total(&stack, &app).await, 500);

    let events = until("500 events", async || {
        let events = stack.cloudwatch(&app).await;
        (events.len() >= 500).then_some(events)
    })
    .await;
    let mut sent: Vec<_> = events.iter().map(|e| e["logId"].as_str().unwrap().to_owned()).collect();
    let mut stored: Vec<_> = records.iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect();
    sent.sort();
    stored.sort();
    assert_eq!(sent, stored);
}

#[tokio::test]
async fn of_a_file_the_records_from_the_least_level_on_and_those_of_unknown_levels_are_forwarded() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("levels").await;
    let setting = json!({"flush": {"min_level": "WARN"}});
    let changed = stack.app(&app, "PATCH", &format!("/apps/{}", app.app_id), Some(&setting)).await;
    assert_eq!(changed.status, 200);
    let names = [
        "debug", "info", "notice", "warning", "err", "critical", "alert", "emerg", "panic", "severe", "loud",
    ];
    let lines: String =
        names.iter().map(|name| format!("{{\"level\":\"{name}\",\"msg\":\"{name}\"}}\n")).collect();
    let (_, row) = put(&stack, &app, "levels.ndjson", lines.into_bytes()).await;
    assert_eq!(row["counts"]["ok"].as_i64(), Some(11), "{row}");

    let events = until("8 events", async || {
        let events = stack.cloudwatch(&app).await;
        (events.len() >= 8).then_some(events)
    })
    .await;
    let mut sent: Vec<_> = events.iter().map(|event| event["message"].as_str().unwrap()).collect();
    sent.sort_unstable();
    assert_eq!(sent, ["alert", "critical", "emerg", "err", "loud", "panic", "severe", "warning"]);
}

#[tokio::test]
async fn the_same_event_again_changes_nothing() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("again").await;
    let key = format!("logs/{}/a.ndjson", app.app_id);
    let version = stack.put_object(&key, ndjson(0..50).into_bytes()).await;
    let before = stack.ended(&app, &key).await;
    until("50 events", async || (stack.cloudwatch(&app).await.len() >= 50).then_some(())).await;
    let event = json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
        "eventTime": "2026-01-01T00:00:00.000Z", "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "x"}, "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {},
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": stack.value("BUCKET")},
               "object": {"key": key, "size": 1, "versionId": version, "sequencer": "1"}}}]});
    for _ in 0..3 {
        stack.invoke("FN_INGEST", &event).await;
    }
    assert_eq!(stack.ended(&app, &key).await, before);
    assert_eq!(stack.records(&app, "").await.len(), 50);
    assert_eq!(stats_total(&stack, &app).await, 50);
    assert_eq!(stack.cloudwatch(&app).await.len(), 50);
}

#[tokio::test]
async fn keys_with_signs_that_events_encode_are_decoded_exactly_once() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("keys").await;
    for name in ["a+b.log", "a b.log", "100%.log", "100%25.log", "für/ü ö.log", "deep/er/x%2Fy.log"] {
        let (_, row) = put(&stack, &app, name, b"a line of text\n".to_vec()).await;
        assert_eq!(
            (row["status"].as_str(), row["counts"]["ok"].as_i64()),
            (Some("COMPLETED"), Some(1)),
            "{name}: {row}"
        );
    }
}

/// Name, content, and the expected ledger row: status, code, records stored and quarantined.
type BadFile = (&'static str, Vec<u8>, &'static str, Option<&'static str>, Option<i64>, Option<i64>);

#[tokio::test]
async fn bad_files_end_in_a_documented_state_and_keep_what_was_good() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("bad").await;
    let whole = gzip(ndjson(0..2000).as_bytes());
    let mut long_line = vec![b'{'; 10 << 20];
    long_line.push(b'\n');
    let cases: Vec<BadFile> = vec![
        ("empty", vec![], "COMPLETED", None, Some(0), Some(0)),
        ("text.gz", b"just a line\n".to_vec(), "COMPLETED", None, Some(1), Some(0)),
        ("truncated.gz", whole[..whole.len() / 2].to_vec(), "FAILED", Some("GZIP_TRUNCATED"), None, None),
        ("brackets", b"[]".to_vec(), "COMPLETED", None, Some(0), Some(0)),
        ("numbers", b"[{},1,2]".to_vec(), "COMPLETED", None, Some(1), Some(2)),
        ("long", long_line, "FAILED", Some("NOTHING_READABLE"), Some(0), Some(1)),
        ("archive", b"PK\x03\x04x".to_vec(), "FAILED", Some("NOT_A_LOG"), Some(0), Some(0)),
        (
            "broken",
            b"{\"msg\":\"a\"}\n{\"msg\":\n{\"msg\":\"b\"}\n".to_vec(),
            "COMPLETED",
            None,
            Some(2),
            Some(1),
        ),
    ];
    for (name, body, status, code, ok, quarantined) in cases {
        let (_, row) = put(&stack, &app, name, body).await;
        assert_eq!(row["status"].as_str(), Some(status), "{name}: {row}");
        assert_eq!(row["reason"]["code"].as_str(), code, "{name}: {row}");
        if let Some(ok) = ok {
            assert_eq!(row["counts"]["ok"].as_i64(), Some(ok), "{name}: {row}");
        }
        if let Some(quarantined) = quarantined {
            assert_eq!(row["counts"]["quarantined"].as_i64(), Some(quarantined), "{name}: {row}");
        }
        if name == "truncated.gz" {
            assert!(row["counts"]["ok"].as_i64().unwrap() > 100, "{row}");
        }
    }
    let stored = stack.records(&app, "").await.len();
    assert_eq!(stats_total(&stack, &app).await, i64::try_from(stored).unwrap());
}
