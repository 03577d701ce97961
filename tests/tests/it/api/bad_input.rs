//! Bad input is a 400 that names the field, and stores nothing.

use logferry_core::model::time::{MS_PER_DAY, MS_PER_HOUR, rfc3339_ms};
use logferry_sim::T0;
use logferry_tests::api::Api;
use logferry_tests::stack::encode;
use serde_json::{Value, json};

use super::NONE;

#[tokio::test]
async fn bad_writes_are_400_with_the_field_and_nothing_is_half_written() {
    let api = Api::new();
    let key = api.register("shop").await;
    let entry = |fields: Value| {
        let mut entry = json!({"level": "INFO", "message": "x"});
        entry.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        entry
    };
    let good = entry(json!({}));
    for (body, field) in [
        (json!([good, 5]), "logs[1]"),
        (json!("text"), "body"),
        (json!({}), "level"),
        (entry(json!({"level": "LOUD"})), "level"),
        (entry(json!({"timestamp": "1969-12-31T23:59:59Z"})), "timestamp"),
        (entry(json!({"timestamp": "9999-01-01T00:00:00Z"})), "timestamp"),
        (entry(json!({"timestamp": "soon"})), "timestamp"),
        (entry(json!({"timestamp": "1999-12-31T23:59:59.999Z"})), "timestamp"),
        (entry(json!({"timestamp": rfc3339_ms(T0 + MS_PER_DAY + 1)})), "timestamp"),
        (entry(json!({"time": "2099-12-31T23:59:59Z"})), "time"),
        (json!({"logs": [good, entry(json!({"ts": T0 + MS_PER_DAY + 1}))]}), "logs[1].ts"),
        (entry(json!({"message": null})), "message"),
        (entry(json!({"context": []})), "context"),
        (entry(json!({"message": "x".repeat(1 << 20)})), "body"),
        (json!({"logs": {}}), "logs"),
        (json!({"logs": vec![&good; 10_001]}), "logs"),
        (json!({"logs": [good, good, {"level": "INFO"}]}), "logs[2].message"),
        (json!({"logs": [good, 5]}), "logs[1]"),
    ] {
        let answer = api.app(&key, "POST", "/logs", &body).await;
        assert_eq!(answer.refused(), (400, field.to_owned()), "{}", answer.text);
    }
    let headers = [("x-api-key", key.as_str())];
    for body in [&b""[..], b"{", b"\xff\xfe"] {
        assert_eq!(api.send("POST", "/logs", &headers, body).await.refused(), (400, "body".to_owned()));
    }
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    assert_eq!(api.send("POST", "/logs", &headers, &large).await.status, 413);
    assert_eq!(api.cloud.blocks_stored(), 0);
    assert_eq!(api.counted(&key, "shop").await, [0; 4]);

    let mut whole = br#"{"level":"INFO","message":"fits"}"#.to_vec();
    whole.resize(4 * 1024 * 1024, b' ');
    assert_eq!(api.send("POST", "/logs", &headers, &whole).await.status, 200);
}

#[tokio::test]
async fn entries_of_more_than_72_hours_are_400_and_a_retry_of_72_is_not() {
    let api = Api::new();
    let key = api.register("shop").await;
    let body = |hours: i64| {
        let entry =
            |i: i64| json!({"level": "INFO", "message": i.to_string(), "timestamp": T0 - i * MS_PER_HOUR});
        let mut entries: Vec<Value> = (0..hours).flat_map(|i| [entry(i), entry(i)]).collect();
        entries.push(json!({"level": "INFO", "message": "of its arrival"}));
        json!({"logs": entries})
    };
    let headers = [("x-api-key", key.as_str()), ("idempotency-key", "k")];
    for headers in [&headers[..1], &headers[..]] {
        let answer = api.call("POST", "/logs", headers, &body(73)).await;
        assert_eq!(answer.refused(), (400, "logs".to_owned()));
        assert!(answer.text.contains("these lie in 73 hours of 4 days: split it"), "{}", answer.text);
    }
    assert_eq!(api.cloud.blocks_stored(), 0);
    let first = api.call("POST", "/logs", &headers, &body(72)).await;
    assert_eq!(first.status, 200, "{}", first.text);
    // By now, its time of arrival would be in another hour.
    api.cloud.clock().advance_ms(2 * MS_PER_HOUR);
    assert_eq!(api.call("POST", "/logs", &headers, &body(72)).await.text, first.text);
    assert_eq!(api.counted(&key, "shop").await, [0, 145, 0, 0]);
}

#[tokio::test]
async fn a_record_in_the_future_expires_by_its_arrival() {
    let api = Api::new();
    let key = api.register("shop").await;
    let two_days = json!({"retention_days": 2});
    assert_eq!(api.app(&key, "PATCH", "/apps/shop", &two_days).await.status, 200);
    let future = rfc3339_ms(T0 + MS_PER_DAY);
    let entry = json!({"level": "INFO", "message": "future", "timestamp": future});
    assert_eq!(api.app(&key, "POST", "/logs", &entry).await.status, 200);
    // At the start of a day, the first at which two days have passed since its arrival.
    let expires_ms = (T0.div_euclid(MS_PER_DAY) + 3) * MS_PER_DAY;
    api.cloud.clock().advance_ms(expires_ms - T0 - 1_000);
    assert_eq!(api.records(&key, "").await.len(), 1);
    api.cloud.clock().advance_ms(1_000);
    assert_eq!(api.records(&key, "").await.len(), 0, "two days after its arrival");
}

#[tokio::test]
async fn a_query_has_at_most_32_paths_into_the_context() {
    let api = Api::new();
    let key = api.register("shop").await;
    let query = |paths: usize| {
        let paths: Vec<_> = (0..paths).map(|i| format!("context.k{i}=1")).collect();
        format!("/logs?{}", paths.join("&"))
    };
    assert_eq!(api.app(&key, "GET", &query(32), &NONE).await.status, 200);
    assert_eq!(api.app(&key, "GET", &query(33), &NONE).await.refused(), (400, "context.k32".to_owned()));
}

#[tokio::test]
async fn bad_queries_are_400_with_the_parameter() {
    let api = Api::new();
    let key = api.register("shop").await;
    for (query, field) in [
        ("level=LOUD", "level"),
        ("level=", "level"),
        ("since=yesterday", "since"),
        ("until=2024-13-01T00:00:00Z", "until"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("offset=-1", "offset"),
        ("offset=10001", "offset"),
        ("raw=perhaps", "raw"),
        ("context.=x", "context."),
        ("leevl=ERROR", "leevl"),
        ("level=INFO&level=ERROR", "level"),
        ("limit=1&limit=2", "limit"),
        ("limit=", "limit"),
        ("limit=1e2", "limit"),
        ("offset=99999999999999999999999", "offset"),
        ("since=2024-01-01T00:00:00", "since"),
        ("since=99999999999999999999999", "since"),
        ("Search=x", "Search"),
        ("since=3d&until=4d", "until"),
        ("since=2024-01-01&until=2024-01-01", "until"),
    ] {
        let answer = api.app(&key, "GET", &format!("/logs?{query}"), &NONE).await;
        assert_eq!(answer.refused(), (400, field.to_owned()), "{query}");
    }
    for query in ["days=0", "days=3661", "days=x", "day=1"] {
        assert_eq!(api.app(&key, "GET", &format!("/stats/shop?{query}"), &NONE).await.refused().0, 400);
    }
    for query in ["status=DONE", "limit=0", "cursor=%21", "since=x", "sort=key"] {
        assert_eq!(api.app(&key, "GET", &format!("/files?{query}"), &NONE).await.refused().0, 400, "{query}");
    }
    assert_eq!(api.admin("GET", "/files", &NONE).await.refused(), (400, "app_id".to_owned()));
    assert_eq!(api.app(&key, "GET", "/files/quarantine", &NONE).await.refused(), (400, "key".to_owned()));
    for query in
        ["since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z", "since=-5", "until=0", "limit=1000"]
    {
        let answer = api.app(&key, "GET", &format!("/logs?{query}"), &NONE).await;
        assert_eq!(answer.json(), json!({"ok": true, "data": [], "cursor": null, "skipped": 0}), "{query}");
    }
}

#[tokio::test]
async fn no_route_takes_a_parameter_that_it_does_not_know() {
    let api = Api::new();
    let key = api.register("shop").await;
    for (method, path, body) in super::requests("shop") {
        let takes_any = super::is_open(&path) || super::is_foreign(&path) || path.contains("/badges/");
        if takes_any || path == "/apps" && method == "POST" {
            continue;
        }
        let path = format!("{path}{}unknown=1", if path.contains('?') { '&' } else { '?' });
        let answer = api.app(&key, &method, &path, &body).await;
        assert_eq!(answer.refused(), (400, "unknown".to_owned()), "{method} {path}");
    }
}

#[tokio::test]
async fn json_that_is_hardly_json_is_stored_as_it_is_or_refused() {
    let api = Api::new();
    let key = api.register("shop").await;
    let headers = [("x-api-key", key.as_str())];
    let entry = |context: &str| format!(r#"{{"level":"INFO","message":"m","context":{{{context}}}}}"#);
    let deep = |levels: usize| entry(&format!(r#""a":{}1{}"#, "[".repeat(levels), "]".repeat(levels)));
    let huge_depth = deep(100_000);
    for (body, field) in [
        (entry(r#""n":1e400"#), "body"),
        (entry(r#""n":-1e999"#), "body"),
        (entry(r#""n":01"#), "body"),
        (entry(r#""n":NaN"#), "body"),
        (entry("\"t\":\"\u{0}\""), "body"),
        (deep(63), "body"),
        (huge_depth.clone(), "body"),
        (format!(r#"{{"logs":[{huge_depth}]}}"#), "logs[0]"),
        (entry("") + "x", "body"),
        (format!("\u{feff}{}", entry("")), "body"),
        (r#"{"level":"INFO","message":"m","logs":[]}"#.to_owned(), "logs"),
        (r#"{"level":"INFO","level":"LOUD","message":"m"}"#.to_owned(), "level"),
        (r#"{"level":"INFO","message":"m","message":7}"#.to_owned(), "message"),
        (r#"{"level":"INFO","message":"m","timestamp":1e400}"#.to_owned(), "body"),
        (r#"{"level":"INFO","message":"m","timestamp":-9223372036854775808}"#.to_owned(), "timestamp"),
        (r#"{"level":"INFO","message":"m","timestamp":18446744073709551615}"#.to_owned(), "timestamp"),
    ] {
        let answer = api.send("POST", "/logs", &headers, body.as_bytes()).await;
        assert_eq!(answer.refused(), (400, field.to_owned()), "{:.100}", body);
    }
    assert_eq!(api.cloud.blocks_stored(), 0);
    // If a key occurs twice, the last one counts. Numbers of any length are kept as written.
    let twice = r#"{"level":"DEBUG","level":"ERROR","message":"a","message":"b","context":{"n":1},"context":{"n":2,"big":123456789012345678901234567890.5}}"#;
    let halves = [entry(r#""t":"\ud800""#), entry(r#""\udc00":1"#)];
    for body in [twice.to_owned(), deep(62), entry(r#""n":1e-400"#)].into_iter().chain(halves) {
        assert_eq!(api.send("POST", "/logs", &headers, body.as_bytes()).await.status, 200, "{body}");
    }
    let found = api.app(&key, "GET", "/logs?raw=true&level=ERROR", &NONE).await;
    assert!(found.text.contains(&format!("\"rawData\":{twice}")), "{}", found.text);
    let record = &found.data()[0];
    assert_eq!((&record["message"], &record["context"]["n"]), (&json!("b"), &json!(2)));
    // Other bodies, nested deeper than any parser allows.
    for (method, path) in [("PATCH", "/apps/shop"), ("POST", "/apps/shop/prune"), ("POST", "/files/redrive")]
    {
        let answer = api.send(method, path, &headers, huge_depth.as_bytes()).await;
        assert_eq!(answer.refused(), (400, "body".to_owned()), "{method} {path}");
    }
}

#[tokio::test]
async fn context_paths_are_data_whatever_they_hold() {
    let api = Api::new();
    let key = api.register("shop").await;
    let names =
        ["a.b", "a b", "ü", "", "0", "__proto__", "a&b=c", "a%20b", "[x]", "pk", "*", "'; DROP TABLE"];
    for name in names {
        let body = json!({"level": "INFO", "message": name, "context": {"in": {name: "here"}}});
        assert_eq!(api.app(&key, "POST", "/logs", &body).await.status, 200);
    }
    for name in names {
        let found = api.records(&key, &format!("context.in.{}=here", encode(name))).await;
        let found: Vec<&Value> = found.iter().map(|record| &record["message"]).collect();
        assert_eq!(found, [name], "{name}");
        assert_eq!(api.records(&key, &format!("context.in.{}=elsewhere", encode(name))).await, [NONE; 0]);
    }
    // Both of two paths must match; a path given twice must match twice.
    let both = json!({"level": "INFO", "message": "both", "context": {"x": 1, "y": true}});
    assert_eq!(api.app(&key, "POST", "/logs", &both).await.status, 200);
    for (filter, count) in [
        ("context.x=1&context.y=true", 1),
        ("context.x=1.0&context.y=true", 1),
        ("context.x=1&context.y=false", 0),
        ("context.x=1&context.x=2", 0),
        ("search=", names.len() + 1),
        ("search=BOTH", 1),
    ] {
        assert_eq!(api.records(&key, filter).await.len(), count, "{filter}");
    }
    let deep = format!("/logs?context.{}=1", vec!["a"; 65].join("."));
    assert_eq!(api.app(&key, "GET", &deep, &NONE).await.status, 400);
}

#[tokio::test]
async fn what_is_longer_than_a_tables_key_is_not_found_or_refused_and_no_fault() {
    let api = Api::new();
    let key = api.register("shop").await;
    let long = "k".repeat(2_100);
    for (method, path, body, status) in [
        ("GET", format!("/files?key={long}"), NONE, 400),
        ("GET", format!("/files/quarantine?key={long}"), NONE, 400),
        ("POST", "/files/redrive".to_owned(), json!({"key": long}), 400),
        ("DELETE", format!("/apps/shop/keys/{long}"), NONE, 404),
        ("GET", format!("/health/shop?url={long}"), NONE, 400),
        ("GET", format!("/health/shop/uptime?url={long}"), NONE, 400),
        ("GET", format!("/health/shop/response-times?url={long}"), NONE, 400),
        ("GET", format!("/health/shop/badges/health.svg?url={long}"), NONE, 404),
        ("POST", format!("/health/shop/{long}/push"), NONE, 404),
        ("GET", format!("/apps/{long}"), NONE, 403),
    ] {
        let answer = api.app(&key, method, &path, &body).await;
        assert_eq!(answer.status, status, "{method} {path:.40}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_order_asc_cannot_do_is_400_with_the_field() {
    let api = Api::new();
    let key = api.register("shop").await;
    api.register("other").await;
    for n in 0..3 {
        let entry = json!({"level": "INFO", "message": "x", "timestamp": T0 - n});
        assert_eq!(api.app(&key, "POST", "/logs", &entry).await.status, 200);
    }
    let newest_first = api.app(&key, "GET", "/logs?limit=1", &NONE).await.json();
    let cursor = encode(newest_first["cursor"].as_str().unwrap());
    for (query, field) in [
        ("order=up".to_owned(), "order"),
        ("order=asc&order=asc".to_owned(), "order"),
        ("order=asc&offset=1".to_owned(), "offset"),
        (format!("order=asc&cursor={cursor}"), "cursor"),
    ] {
        let answer = api.app(&key, "GET", &format!("/logs?{query}"), &NONE).await;
        assert_eq!(answer.refused(), (400, field.to_owned()), "{query}: {}", answer.text);
    }
    let answer = api.admin("GET", "/logs?order=asc", &NONE).await;
    assert_eq!(answer.refused(), (400, "order".to_owned()), "{}", answer.text);
    assert_eq!(api.admin("GET", "/logs?order=asc&app_id=shop", &NONE).await.status, 200);
}
