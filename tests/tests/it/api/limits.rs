//! How much and how often.

use logferry_domain::time::MS_PER_HOUR;
use logferry_tests::api::Api;
use logferry_tests::sim::T0;
use serde_json::{Value, json};

use super::NONE;

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
        json!({"ok": false, "error": {"code": "RATE_LIMITED", "message": "too many requests; slow down"}})
    );
    // So are those of a write, of which nothing is stored then.
    let entry = json!({"level": "INFO", "message": "x"});
    assert_eq!(api.app(&busy, "POST", "/logs", &entry).await.status, 429);
    assert_eq!(api.cloud.blocks_stored(), 0);
    assert_eq!(api.app(&calm, "GET", "/logs", &NONE).await.status, 200);
    api.cloud.clock().advance_ms(1_000);
    assert_eq!(api.app(&busy, "GET", "/logs", &NONE).await.status, 200);
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
