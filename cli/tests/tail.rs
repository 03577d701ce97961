//! `logferry tail` on the running stack.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use logferry_core::model::time::{MS_PER_DAY, parse_rfc3339_ms};
use logferry_core::ports::clock::Clock as _;
use logferry_service::clock::SystemClock;
use logferry_tests::stack::{Stack, TestApp, gzip, until};
use serde_json::{Value, json};

/// A command that does not outlive a test that fails.
#[derive(Debug)]
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// Uploads a file of records of one time, and returns its key with its version.
async fn upload(stack: &Stack, app: &TestApp, name: &str, time_ms: i64) -> (String, String) {
    let line =
        |n: i64| json!({"level": 40, "time": time_ms + n, "msg": format!("{name} {n}")}).to_string() + "\n";
    let key = format!("logs/{}/{name}.log.gz", app.app_id);
    let version = stack.put_object(&key, gzip((0..3).map(line).collect::<String>().as_bytes())).await;
    assert_eq!(stack.ended(app, &key).await["status"], "COMPLETED");
    (key, version)
}

#[tokio::test]
async fn a_tail_over_files_that_arrive_late_out_of_order_and_twice_has_every_record_once() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("tail").await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.args(["tail", "--since", "1h", "--level", "WARN", "-n", "11", "--interval", "1"]).env_clear();
    command.envs([("LOGFERRY_URL", stack.value("API_URL")), ("LOGFERRY_API_KEY", &app.api_key)]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tail = Killed(command.spawn().unwrap());

    let now_ms = SystemClock.now_ms();
    upload(&stack, &app, "new", now_ms).await;
    let (key, version) = upload(&stack, &app, "old", now_ms - 10 * MS_PER_DAY).await;
    let write = json!({"level": "WARN", "message": "written"});
    let headers = [("x-api-key", app.api_key.as_str()), ("idempotency-key", "once")];
    for _ in 0..2 {
        assert_eq!(stack.call("POST", "/logs", &headers, Some(&write)).await.status, 200);
    }
    // S3 may report an object twice.
    let object = json!({"key": key, "size": 1, "versionId": version, "sequencer": "1"});
    let bucket = json!({"name": stack.value("BUCKET")});
    let event = json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2024-03-01T12:00:00.000Z",
                       "s3": {"bucket": bucket, "object": object}});
    stack.invoke("FN_INGEST", &json!({"Records": [event]})).await;
    upload(&stack, &app, "older", now_ms - 20 * MS_PER_DAY).await;
    assert_eq!(stack.call("POST", "/logs", &headers[..1], Some(&write)).await.status, 200);

    // What it prints fits into a pipe.
    let status = until("the tail to have all records", async || tail.0.try_wait().unwrap()).await;
    let [mut printed, mut error] = [const { String::new() }; 2];
    tail.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    tail.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!((status.code(), error), (Some(0), String::new()));
    let records: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut messages: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &records {
        *messages.entry(record["message"].as_str().unwrap()).or_default() += 1;
        let ms = |name: &str| parse_rfc3339_ms(record[name].as_str().unwrap()).unwrap();
        let late = record["message"].as_str().unwrap().starts_with("old");
        assert_eq!(ms("arrived_at") - ms("timestamp") > 9 * MS_PER_DAY, late, "{record}");
    }
    let expected = ["new 0", "new 1", "new 2", "old 0", "old 1", "old 2", "older 0", "older 1", "older 2"];
    let expected = expected.map(|message| (message, 1)).into_iter().chain([("written", 2)]);
    assert_eq!(messages, expected.collect());
    let ids: std::collections::BTreeSet<_> = records.iter().map(|record| record["id"].as_str()).collect();
    assert_eq!(ids.len(), records.len());
    let arrived: Vec<_> = records.iter().map(|record| record["arrived_at"].as_str()).collect();
    assert!(arrived.is_sorted(), "{arrived:?}");
}
