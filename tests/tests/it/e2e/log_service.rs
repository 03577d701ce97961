//! The log service over HTTP and by direct invocation: the real api and rpc.

use std::collections::BTreeSet;

use logferry_tests::stack::{Stack, TestApp, encode, until};
use serde_json::{Value, json};

/// Concurrent writers, and batches of each; there are more in the tests on the simulated cloud.
const WRITERS: u64 = 10;
const BATCHES: u64 = 30;

#[tokio::test]
async fn a_client_of_the_service_gets_along() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("conversation").await;
    let id = &app.app_id;
    let body = json!({"app_id": id, "name": "again"});
    assert_eq!(stack.admin("POST", "/apps", Some(&body)).await.refusal(), (409, "CONFLICT".to_owned()));
    assert_eq!(stack.admin("POST", "/apps", Some(&json!({"app_id": "x"}))).await.status, 400);
    assert_eq!(stack.call("GET", "/logs", &[], None).await.status, 400);
    let wrong = [("x-api-key", "0123456789abcdef0123456789abcdef0123456789abcdef")];
    assert_eq!(stack.call("GET", "/logs", &wrong, None).await.status, 401);
    let other = [("x-api-key", app.api_key.as_str()), ("x-app-id", "someone-else")];
    assert_eq!(stack.call("GET", "/logs", &other, None).await.status, 403);
    assert_eq!(stack.call("GET", "/nope", &[], None).await.refusal(), (404, "NOT_FOUND".to_owned()));

    let one = json!({"level": "INFO", "message": "hello wörld", "context": {"user": {"id": 7}}});
    let stored = stack.app(&app, "POST", "/logs", Some(&one)).await.data();
    let three = json!({"logs": [
        {"level": "WARN", "message": "a", "request_id": "r"},
        {"level": "ERROR", "message": "b", "timestamp": "2024-01-01T00:00:00Z"},
        {"level": "DEBUG", "message": "c"},
    ]});
    assert_eq!(stack.app(&app, "POST", "/logs", Some(&three)).await.data().as_array().unwrap().len(), 3);
    // A write is visible to the next read.
    assert_eq!(stack.records(&app, "").await.len(), 4);
    assert_eq!(stack.records(&app, "context.user.id=7").await, [stored]);
    for (filter, count) in [
        ("level=ERROR", 1),
        ("request_id=r", 1),
        ("until=2024-06-01T00:00:00Z", 1),
        ("since=2024-06-01T00:00:00Z", 3),
        ("since=2099-01-01T00:00:00Z", 0),
    ] {
        assert_eq!(stack.records(&app, filter).await.len(), count, "{filter}");
    }
    let found = stack.records(&app, &format!("search={}", encode("WÖRLD"))).await;
    assert_eq!(found[0]["message"], "hello wörld");

    let stats = stack.app(&app, "GET", &format!("/stats/{id}?days=7"), None).await.data();
    let today = &stats.as_array().unwrap()[0];
    assert_eq!((stats.as_array().unwrap().len(), &today["info"], &today["error"]), (7, &json!(1), &json!(0)));
    let details = stack.app(&app, "GET", &format!("/apps/{id}"), None).await;
    assert!(details.status == 200 && !details.text.contains(&app.api_key[16..]));
    let merged = stack.admin("GET", &format!("/logs?search={}", encode("hello wörld")), None).await.data();
    assert!(merged.as_array().unwrap().iter().any(|record| record["app_id"] == **id));

    let prune = json!({"before": "2024-06-01T00:00:00Z"});
    let pruned = stack.app(&app, "POST", &format!("/apps/{id}/prune"), Some(&prune)).await.data();
    assert_eq!((&pruned["deleted"], &pruned["complete"]), (&json!(1), &json!(true)));
    assert_eq!(stack.records(&app, "").await.len(), 3);

    let all = json!({"scopes": ["write", "read", "manage"]});
    let minted = stack.app(&app, "POST", &format!("/apps/{id}/keys"), Some(&all)).await.data();
    let second = TestApp { app_id: id.clone(), api_key: minted["api_key"].as_str().unwrap().to_owned() };
    let first_key = format!("/apps/{id}/keys/{}", &app.api_key[..16]);
    assert_eq!(stack.app(&second, "DELETE", &first_key, None).await.status, 200);
    assert_eq!(stack.app(&app, "GET", "/logs", None).await.status, 401);

    let deleted = stack.app(&second, "DELETE", &format!("/apps/{id}"), None).await.data();
    assert_eq!(deleted["deleted"], true);
    let body = json!({"app_id": id, "name": "second life"});
    let data = stack.admin("POST", "/apps", Some(&body)).await.data();
    let again = TestApp { app_id: id.clone(), api_key: data["api_key"].as_str().unwrap().to_owned() };
    assert_eq!(stack.records(&again, "").await, [Value::Null; 0]);
}

#[tokio::test]
async fn writers_at_once_with_repeats_leave_exact_counts() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("writers").await;
    let writers = (0..WRITERS).map(|writer| {
        let (stack, app) = (&stack, &app);
        async move {
            for batch in 0..BATCHES {
                let key = format!("{writer}-{batch}");
                let headers = [("x-api-key", app.api_key.as_str()), ("idempotency-key", key.as_str())];
                let entries: Vec<_> =
                    (0..5).map(|i| json!({"level": "INFO", "message": format!("{key}-{i}")})).collect();
                let body = json!({"logs": entries});
                let first = stack.call("POST", "/logs", &headers, Some(&body)).await;
                assert_eq!(first.status, 200, "{}", first.text);
                if batch % 5 == writer % 5 {
                    let again = stack.call("POST", "/logs", &headers, Some(&body)).await;
                    assert_eq!(again.text, first.text);
                }
            }
        }
    });
    futures::future::join_all(writers).await;
    let records = stack.records(&app, "").await;
    let messages: BTreeSet<_> = records.iter().map(|record| record["message"].to_string()).collect();
    let expected = usize::try_from(WRITERS * BATCHES * 5).unwrap();
    assert_eq!((records.len(), messages.len()), (expected, expected));
    let stats = stack.app(&app, "GET", &format!("/stats/{}", app.app_id), None).await.data();
    let counted: u64 = stats.as_array().unwrap().iter().map(|day| day["info"].as_u64().unwrap()).sum();
    assert_eq!(usize::try_from(counted).unwrap(), expected);
}

#[tokio::test]
async fn too_large_a_body_is_413() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("large").await;
    let headers = [("x-api-key", app.api_key.as_str())];
    let mut body = br#"{"level":"INFO","message":"x"}"#.to_vec();
    body.resize(4 * 1024 * 1024, b' ');
    assert_eq!(stack.call_bytes("POST", "/logs", &headers, Some(body.clone())).await.status, 200);
    body.push(b' ');
    assert_eq!(stack.call_bytes("POST", "/logs", &headers, Some(body)).await.status, 413);
    assert_eq!(stack.records(&app, "").await.len(), 1);
}

#[tokio::test]
async fn internal_callers_write_and_query_by_direct_invoke() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("rpc").await;
    let call = async |event: Value| stack.invoke("FN_RPC", &event).await;
    let entry = json!({"level": "WARN", "message": "from inside", "context": {"order": {"id": 7}}});
    let logged = call(json!({"method": "log", "app_id": app.app_id, "entry": entry})).await;
    assert_eq!((&logged["ok"], &logged["data"]["message"]), (&json!(true), &json!("from inside")));
    let entries = json!([{"level": "INFO", "message": "one"}, {"level": "INFO", "message": "two"}]);
    let batch = call(json!({"method": "logBatch", "app_id": app.app_id, "entries": entries})).await;
    assert_eq!(batch["data"].as_array().unwrap().len(), 2);

    let query = |filters: Value| json!({"method": "query", "app_id": app.app_id, "filters": filters});
    let found = call(query(json!({"context": {"order.id": 7}}))).await;
    assert_eq!(found["data"], json!([logged["data"]]));
    let page = call(query(json!({"level": "INFO", "limit": 1}))).await;
    let rest = call(query(json!({"level": "INFO", "limit": 1, "cursor": page["cursor"]}))).await;
    assert_eq!((&page["data"][0]["message"], &rest["data"][0]["message"]), (&json!("two"), &json!("one")));
    assert_eq!(rest["cursor"], Value::Null);
    // Both functions show the same.
    assert_eq!(stack.records(&app, "level=WARN").await, [logged["data"].clone()]);

    for (event, code, field) in [
        (json!({"method": "log", "app_id": app.app_id}), "BAD_REQUEST", "entry"),
        (
            json!({"method": "log", "app_id": app.app_id, "entry": {"level": "INFO"}}),
            "BAD_REQUEST",
            "entry.message",
        ),
        (json!({"method": "logBatch", "app_id": app.app_id, "entries": [5]}), "BAD_REQUEST", "entries[0]"),
        (json!({"method": "erase", "app_id": app.app_id}), "BAD_REQUEST", "method"),
        (json!({"method": "query", "app_id": "Not An Id"}), "BAD_REQUEST", "app_id"),
        (query(json!({"limit": 0})), "BAD_REQUEST", "filters.limit"),
        (query(json!({"leevl": "INFO"})), "BAD_REQUEST", "filters.leevl"),
        (query(json!({"cursor": "x"})), "BAD_REQUEST", "filters.cursor"),
        (json!([]), "BAD_REQUEST", "event"),
        (json!({"method": "query", "app_id": "nobody-at-all"}), "NOT_FOUND", ""),
    ] {
        let refused = call(event.clone()).await;
        assert_eq!((&refused["ok"], &refused["error"]["code"]), (&json!(false), &json!(code)), "{event}");
        let named = refused["error"]["details"]["field"].as_str().unwrap_or_default();
        assert_eq!(named, field, "{event}");
    }
}

#[tokio::test]
async fn what_a_deleted_app_stored_leaves_the_table() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("leaving").await;
    for day in 1..=3 {
        let entry =
            json!({"level": "INFO", "message": "x", "timestamp": format!("2024-01-0{day}T00:00:00Z")});
        assert_eq!(stack.app(&app, "POST", "/logs", Some(&entry)).await.status, 200);
    }
    assert_eq!(stack.admin("DELETE", &format!("/apps/{}", app.app_id), None).await.status, 200);
    until("the blocks to be gone", async || {
        let scan =
            stack.aws.dynamodb().scan().table_name(stack.value("TABLE_LOGS")).projection_expression("pk");
        let items = scan.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.unwrap();
        let own = |pk: &str| pk.starts_with(&format!("{}#", app.app_id));
        let left = items.iter().filter(|item| item["pk"].as_s().is_ok_and(|pk| own(pk))).count();
        (left == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_apps_log_group_keeps_events_as_long_as_the_app_its_records() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("retention").await;
    let change = json!({"retention_days": 6});
    assert_eq!(stack.app(&app, "PATCH", &format!("/apps/{}", app.app_id), Some(&change)).await.status, 200);
    let entry = json!({"level": "INFO", "message": "x"});
    assert_eq!(stack.app(&app, "POST", "/logs", Some(&entry)).await.status, 200);
    let group = format!("/logferry/{}", app.app_id);
    let days = until("the log group's retention", async || {
        let found =
            stack.aws.logs().describe_log_groups().log_group_name_prefix(&group).send().await.unwrap();
        found.log_groups().first().and_then(|group| group.retention_in_days)
    })
    .await;
    assert_eq!(days, 7, "the shortest that CloudWatch has for six days");
}
