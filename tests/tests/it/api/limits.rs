//! How much and how often.

use logferry_core::model::quota::Quota;
use logferry_core::model::redact::MAX_SAMPLE_BYTES;
use logferry_core::model::time::MS_PER_HOUR;
use logferry_sim::T0;
use logferry_tests::api::Api;
use serde_json::{Value, json};

use super::{NONE, failed_version};

#[tokio::test]
async fn too_many_requests_of_one_app_are_429_with_a_pause() {
    let api = Api::with_rate(5);
    let (busy, calm) = (api.register("busy").await, api.register("calm").await);
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(api.app(&busy, "GET", "/logs", &NONE).await);
    }
    let refused = statuses.last().unwrap();
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(
        refused.json(),
        json!({"ok": false, "error": {"code": "RATE_LIMITED", "message": "too many requests; send fewer"}, "request_id": ""})
    );
    // So are those of a write, of which nothing is stored then.
    let entry = json!({"level": "INFO", "message": "x"});
    assert_eq!(api.app(&busy, "POST", "/logs", &entry).await.status, 429);
    assert_eq!(api.cloud.blocks_stored(), 0);
    assert_eq!(api.app(&calm, "GET", "/logs", &NONE).await.status, 200);
    api.cloud.clock().advance_ms(1_000);
    assert_eq!(api.app(&busy, "GET", "/logs", &NONE).await.status, 200);
}

#[tokio::test]
async fn a_page_of_bad_records_fits_into_a_response_of_lambda_and_its_cursor_leads_to_the_rest() {
    // <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
    const MAX_RESPONSE_BYTES: usize = 6 * 1024 * 1024;
    let api = Api::new();
    let key = api.register("shop").await;
    // Each of these characters takes seven bytes in JSON inside JSON.
    let sample = "\0".repeat(MAX_SAMPLE_BYTES);
    failed_version(&api, "shop", "logs/shop/x", "v1", &[sample.as_str(); 1_000]).await;
    let (mut ordinals, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/files/quarantine?limit=1000&key=logs/shop/x{cursor}");
        let page = api.app(&key, "GET", &path, &NONE).await;
        assert!(json!(page.text).to_string().len() < MAX_RESPONSE_BYTES);
        let page = page.json();
        ordinals.extend(page["data"].as_array().unwrap().iter().map(|row| row["ordinal"].as_u64().unwrap()));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(ordinals, (3..1_003).collect::<Vec<_>>());
}

#[tokio::test]
async fn writes_beyond_the_quota_of_the_day_are_429_until_the_next_day_and_store_nothing() {
    // T0 is 2025-10-09T08:53:20Z: 54,400 s are left of the day.
    const LEFT_SECS: u32 = 54_400;
    let api = Api::with_quota(Quota::of(0, 3, 0));
    let (busy, calm) = (api.register("busy").await, api.register("calm").await);
    let entry = json!({"level": "INFO", "message": "x"});
    let two = json!({"logs": [entry, entry]});
    assert_eq!(api.app(&busy, "POST", "/logs", &two).await.status, 200);
    let refused = api.app(&busy, "POST", "/logs", &two).await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert_eq!(refused.headers["retry-after"], (LEFT_SECS + 1).to_string());
    let error = refused.json()["error"].take();
    assert_eq!(
        (&error["code"], &error["details"]),
        (&json!("QUOTA_EXCEEDED"), &json!({"quota": "records", "limit": 3}))
    );
    assert_eq!(api.cloud.blocks_stored(), 1);
    assert_eq!(api.app(&busy, "POST", "/logs", &entry).await.status, 200, "one more fits");
    assert_eq!(api.app(&busy, "POST", "/logs", &entry).await.status, 429);
    assert_eq!(api.app(&calm, "POST", "/logs", &two).await.status, 200, "other apps do not notice");
    assert_eq!(api.app(&busy, "GET", "/logs", &NONE).await.data().as_array().unwrap().len(), 3);
    api.cloud.clock().advance_ms(i64::from(LEFT_SECS) * 1_000);
    assert_eq!(api.app(&busy, "POST", "/logs", &two).await.status, 200, "the next day is fresh");
}

#[tokio::test]
async fn the_quota_counts_bytes_of_entries_and_neither_bad_requests_nor_repeats_of_stored_ones() {
    let entry = json!({"level": "INFO", "message": "x".repeat(100)});
    let bytes = entry.to_string().len() as u64;
    let api = Api::with_quota(Quota::of(2 * bytes + 1, 0, 0));
    let key = api.register("shop").await;
    let bad = json!({"logs": [entry, {"level": "?", "message": "x"}]});
    for _ in 0..5 {
        assert_eq!(api.app(&key, "POST", "/logs", &bad).await.status, 400);
    }
    let headers = [("x-api-key", key.as_str()), ("idempotency-key", "k")];
    for _ in 0..5 {
        assert_eq!(api.call("POST", "/logs", &headers, &entry).await.status, 200);
    }
    assert_eq!(api.app(&key, "POST", "/logs", &entry).await.status, 200);
    let refused = api.app(&key, "POST", "/logs", &entry).await;
    assert_eq!((refused.status, &refused.json()["error"]["details"]["quota"]), (429, &json!("bytes")));
    assert_eq!(api.call("POST", "/logs", &headers, &entry).await.status, 200, "a retry is not charged");
}

#[tokio::test]
async fn internal_callers_meet_the_same_quota() {
    let api = Api::new();
    api.register("shop").await;
    let rpc = logferry_rpc::App {
        book: api.cloud.clone(),
        apps: api.cloud.clone(),
        default_retention_days: 90,
        metrics_namespace: "Test".to_owned(),
        redactor: Default::default(),
        quota: Quota::of(0, 1, 0),
    };
    let event = json!({"method": "log", "app_id": "shop", "entry": {"level": "INFO", "message": "x"}});
    let event = serde_json::value::RawValue::from_string(event.to_string()).unwrap();
    let call = async || -> Value { serde_json::from_str(rpc.handle(&event, "r-1", T0).await.get()).unwrap() };
    assert_eq!(call().await["ok"], true);
    let refused = call().await;
    assert_eq!(refused["error"]["code"], "QUOTA_EXCEEDED", "{refused}");
    assert_eq!(
        refused["error"]["details"],
        json!({"quota": "records", "limit": 1, "retry_after_secs": 54_401})
    );
}

/// Characters of a Lambda answer that carries this body: JSON inside JSON.
fn embedded(body: &str) -> usize {
    Value::from(body).to_string().len()
}

#[tokio::test]
async fn a_batch_of_ten_thousand_is_stored_and_its_answer_fits_what_lambda_can_give() {
    let api = Api::new();
    let key = api.register("shop").await;
    let quotes = "\"\\".repeat(60);
    let entries: Vec<Value> = (0..10_000)
        .map(|i| json!({"level": "INFO", "message": format!("{i} {quotes}"), "timestamp": T0 - i % 50 * MS_PER_HOUR}))
        .collect();
    let body = json!({"logs": entries});
    let request_id = "r".repeat(1_024);
    let headers = [("x-api-key", key.as_str()), ("x-request-id", request_id.as_str())];
    let answer = api.call("POST", "/logs", &headers, &body).await;
    assert_eq!(answer.status, 200, "{:.300}", answer.text);
    assert!(embedded(&answer.text) < 6 * 1024 * 1024, "{} characters", embedded(&answer.text));
    let stored = answer.data();
    let stored = stored.as_array().unwrap();
    assert_eq!(
        (stored.len(), &stored[7]["truncated"], &stored[7]["level"]),
        (10_000, &json!(true), &json!("INFO"))
    );
    assert!(stored[7]["message"].as_str().unwrap().starts_with("7 \"\\"));
    // What is stored is whole.
    let page = api.app(&key, "GET", "/logs?limit=3&search=7%20", &NONE).await.data();
    assert_eq!(page[0]["request_id"], request_id);
    assert!(page[0]["message"].as_str().unwrap().ends_with(&quotes));
    assert_eq!(api.counted(&key, "shop").await, [0, 10_000, 0, 0]);

    let small: Vec<Value> = (0..10_000).map(|i| json!({"level": "WARN", "message": i.to_string()})).collect();
    let stored = api.app(&key, "POST", "/logs", &json!({"logs": small})).await.data();
    assert!(stored.as_array().unwrap().iter().all(|record| record.get("truncated").is_none()));
}
