//! Secrets are redacted in every way of writing. Files: `ingest.rs`.

use std::sync::Arc;

use logferry_core::model::quota::Quota;
use logferry_core::model::redact::{DEFAULT_NAMES, DEFAULT_QUERY, Redactor};
use logferry_core::ports::clock::Clock;
use logferry_sim::SimCloud;
use logferry_tests::api::Api;
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn rules() -> Redactor {
    Redactor::new(DEFAULT_NAMES, DEFAULT_QUERY, r"\b\d{4}-\d{4}-\d{4}\b").unwrap()
}

fn entry(secret: &str) -> Value {
    json!({
        "level": "INFO", "message": format!("paid with {secret}, Cookie: {secret}"),
        "url": format!("/x?token={secret}&a=1"),
        "context": {"headers": {"Authorization": secret, "host": "h"}, "n": 7},
    })
}

const SECRET: &str = "1234-5678-9012";

/// Checks that no part of the secret is stored: in blocks, memos or counters.
#[track_caller]
fn check_kept_nowhere(cloud: &SimCloud) {
    let records = cloud.records(&"shop".parse().unwrap());
    assert!(!records.is_empty());
    for (.., raw) in &records {
        assert!(!raw.contains("1234") && !raw.contains("5678"), "{raw}");
        let stored: Value = serde_json::from_str(raw).unwrap();
        assert_eq!(
            stored["context"],
            json!({"headers": {"Authorization": "[redacted]", "host": "h"}, "n": 7})
        );
        assert_eq!(stored["url"], "/x?token=[redacted]&a=1");
    }
    assert!(!format!("{cloud:?}").contains(SECRET));
}

#[tokio::test]
async fn what_is_written_through_the_api_is_redacted_and_so_is_the_answer() {
    let api = Api::with_redactor(rules());
    let key = api.register("shop").await;
    let headers = [("x-api-key", key.as_str()), ("x-request-id", SECRET), ("idempotency-key", "k")];
    let body = json!({"logs": [entry(SECRET), entry(SECRET)]});
    let first = api.call("POST", "/logs", &headers, &body).await;
    assert_eq!(first.status, 200);
    assert!(!first.text.contains(SECRET), "{}", first.text);
    let mut with_own_id = entry(SECRET);
    with_own_id["request_id"] = SECRET.into();
    assert_eq!(api.app(&key, "POST", "/logs", &with_own_id).await.data()["request_id"], "[redacted]");
    check_kept_nowhere(&api.cloud);
}

#[tokio::test]
async fn a_retry_of_a_redacted_write_acts_once_and_another_body_is_still_another() {
    let api = Api::with_redactor(rules());
    let key = api.register("shop").await;
    let send = async |request_id: &str, body: &Value| {
        let headers = [("x-api-key", key.as_str()), ("x-request-id", request_id), ("idempotency-key", "k")];
        api.call("POST", "/logs", &headers, body).await
    };
    let first = send(SECRET, &entry(SECRET)).await;
    api.cloud.clock().advance_ms(1_000);
    let again = send("other", &entry(SECRET)).await;
    assert_eq!((again.status, again.text), (200, first.text.clone()));
    // The secret is not stored in any form, so another one makes no difference.
    let other_secret = send("other", &entry("9999-9999-9999")).await;
    assert_eq!((other_secret.status, other_secret.text), (200, first.text));
    let mut other = entry(SECRET);
    other["context"]["n"] = json!(8);
    assert_eq!(send("other", &other).await.status, 422);
    assert_eq!(api.counted(&key, "shop").await, [0, 1, 0, 0]);
}

#[tokio::test]
async fn what_is_written_by_direct_invoke_is_redacted_too() {
    let api = Api::with_redactor(rules());
    api.register("shop").await;
    let rpc = logferry_rpc::App {
        book: api.cloud.clone(),
        apps: api.cloud.clone(),
        metrics_namespace: "Test".to_owned(),
        default_retention_days: 30,
        redactor: Arc::new(rules().into()),
        quota: Quota::NONE,
    };
    for call in [
        json!({"method": "log", "app_id": "shop", "entry": entry(SECRET)}),
        json!({"method": "logBatch", "app_id": "shop", "entries": [entry(SECRET)]}),
    ] {
        let event = RawValue::from_string(call.to_string()).unwrap();
        let answer = rpc.handle(&event, "r-1", api.cloud.clock().now_ms()).await;
        assert!(answer.get().starts_with("{\"ok\":true") && !answer.get().contains(SECRET), "{answer}");
    }
    assert_eq!(api.cloud.records(&"shop".parse().unwrap()).len(), 2);
    check_kept_nowhere(&api.cloud);
}

#[tokio::test]
async fn the_secrets_of_this_product_are_not_stored_under_the_rules_that_are_the_default() {
    let api = Api::with_redactor(Redactor::standard().unwrap());
    let key = api.register("shop").await;
    let token = "eyJhbGciOiJIUzI1NiIsImtpZCI6InYxIn0.eyJhcHAiOiJzaG9wIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r";
    let entry = json!({
        "level": "INFO", "message": format!("POST /t/{token}/s3/multipart?X-Amz-Signature=hunter2 password=hunter2"),
        "headers": {"X-Admin-Key": "hunter2", "x-amz-security-token": "hunter2"},
        "context": {"password": "hunter2", "token": "hunter2", "clientSecret": "hunter2", "n": 7},
    });
    let answer = api.app(&key, "POST", "/logs", &entry).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let stored = api.cloud.records(&"shop".parse().unwrap());
    for text in [answer.text, format!("{stored:?}"), format!("{:?}", api.cloud)] {
        assert!(!text.contains("hunter2") && !text.contains(token), "{text}");
    }
    assert!(stored[0].2.contains("POST /t/[redacted]/s3/multipart"), "{}", stored[0].2);
}
