//! The log service over the simulated cloud: permissions, refusals, exact counters.

use std::collections::BTreeSet;

use logferry_core::ledger::claim::{Claim, Claimed, Lease, Ledger};
use logferry_core::ledger::grants::Grants;
use logferry_core::logbook::prune;
use logferry_core::logfile::outcome::{FileCounts, Outcome, Reason, ReasonCode};
use logferry_core::logfile::quarantine::{BadRecord, QuarantineReason, Quarantined};
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::object::{ObjectRef, ObjectVersion};
use logferry_core::model::time::{MS_PER_DAY, MS_PER_HOUR, rfc3339_ms};
use logferry_core::ports::app_admin::AppAdmin;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_sim::T0;
use logferry_tests::api::{ADMIN_KEY, Api, routes};
use logferry_tests::in_a_minute;
use logferry_tests::ingest::BUCKET;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

mod alerts;
mod bad_input;
mod console;
mod contention;
mod document;
mod door_costs;
mod doors;
mod erase;
mod keys;
mod limits;
mod naughty;
mod status_page;
mod tenancy;
mod view_tokens;
mod wide_writes;

const NONE: Value = Value::Null;

#[tokio::test]
async fn a_conversation_from_registration_to_deletion() {
    let api = Api::new();
    let shop = json!({"app_id": "shop", "name": "The shop", "health_urls": ["https://shop.example.com/"]});
    let answer = api.admin("POST", "/apps", &shop).await;
    assert_eq!(answer.status, 201);
    let key = answer.data()["api_key"].as_str().unwrap().to_owned();
    assert_eq!(key.len(), 48);
    assert_eq!(api.admin("POST", "/apps", &shop).await.status, 409);
    assert_eq!(api.admin("POST", "/apps", &json!({"app_id": "x"})).await.refused(), (400, "name".to_owned()));

    let one = api.app(&key, "POST", "/logs", &json!({"level": "info", "message": "hello"})).await.data();
    assert_eq!(one["level"], "INFO");
    let context = json!({"user": {"id": 7}});
    let three = json!({"logs": [
        {"level": "WARN", "message": "Careful", "timestamp": rfc3339_ms(T0 - 1000), "context": context},
        {"level": "ERROR", "message": "Broken", "timestamp": rfc3339_ms(T0 - 2000), "request_id": "own"},
        {"level": "DEBUG", "message": "Detail", "timestamp": T0 - 3000},
    ]});
    let sent = [("x-api-key", key.as_str()), ("x-request-id", "r-1"), ("x-app-id", "shop")];
    let stored = api.call("POST", "/logs", &sent, &three).await.data();
    assert_eq!(
        (stored[0]["request_id"].as_str(), stored[1]["request_id"].as_str()),
        (Some("r-1"), Some("own"))
    );

    let all = api.records(&key, "").await;
    let mut expected = vec![one];
    expected.extend(stored.as_array().unwrap().clone());
    assert_eq!(all, expected, "what was answered is what is found");
    for (filter, messages) in [
        ("level=ERROR", vec!["Broken"]),
        ("level=warn,error", vec!["Careful", "Broken"]),
        ("search=CARE", vec!["Careful"]),
        ("request_id=own", vec!["Broken"]),
        ("context.user.id=7", vec!["Careful"]),
        ("since=2099-01-01T00:00:00Z", vec![]),
        (&format!("since={}&until={}", T0 - 2000, T0), vec!["Careful", "Broken"]),
    ] {
        let found = api.records(&key, filter).await;
        let found: Vec<_> = found.iter().map(|record| record["message"].as_str().unwrap()).collect();
        assert_eq!(found, messages, "{filter}");
    }
    let merged = api.admin("GET", "/logs", &NONE).await.data();
    assert!(merged.as_array().unwrap().iter().all(|record| record["app_id"] == "shop"));
    let own = api.admin("GET", "/logs?app_id=shop", &NONE).await.data();
    assert!(own.as_array().unwrap().iter().all(|record| record.get("app_id").is_none()));

    let stats = api.app(&key, "GET", "/stats/shop", &NONE).await.data();
    assert_eq!(stats.as_array().unwrap().len(), 7);
    assert_eq!(stats[0], json!({"date": "2025-10-09", "debug": 1, "info": 1, "warn": 1, "error": 1}));
    let details = api.app(&key, "GET", "/apps/shop", &NONE).await;
    assert_eq!(details.data()["health_urls"], json!(["https://shop.example.com/"]));
    assert!(!details.text.contains(&key[16..]) && !details.text.contains("hash"));
    assert_eq!(api.admin("GET", "/apps", &NONE).await.data(), json!(["shop"]));

    assert_eq!(api.app(&key, "DELETE", "/apps/shop", &NONE).await.data()["deleted"], true);
    assert_eq!(api.app(&key, "GET", "/logs", &NONE).await.status, 401);
    let again = api.register("shop").await;
    assert_eq!(api.records(&again, "").await, [NONE; 0]);
    assert_eq!(api.counted(&again, "shop").await, [0; 4]);
    assert_eq!(api.app(&key, "GET", "/logs", &NONE).await.status, 401, "a key of the app before it");
}

/// A path of this pattern.
fn path_of(pattern: &str, app_id: &str) -> String {
    pattern
        .replace("/console/{file}", "/console/icon.svg")
        .replace("{id}", app_id)
        .replace("{key_id}", "0123456789abcdef")
        .replace("{record_id}", "0123456789abcdef0123456789abcdef")
        .replace("{file}", "health.svg")
        .replace("{index}", "some-index")
        .replace("{name}", "job")
}

/// A valid request of each route for an app, except for its credential.
fn requests(app_id: &str) -> Vec<(String, String, Value)> {
    routes()
        .into_iter()
        .map(|(method, pattern, _)| {
            let path = path_of(pattern, app_id);
            let (path, body) = match (method.as_str(), pattern) {
                ("POST", "/apps") => (path, json!({"app_id": "fresh", "name": "x"})),
                ("PATCH", _) => (path, json!({"name": "changed"})),
                ("POST", "/logs") => (path, json!({"level": "INFO", "message": "x"})),
                ("GET", "/logs") => (format!("{path}?app_id={app_id}"), NONE),
                ("GET", "/logs/{record_id}") => (format!("{path}?app_id={app_id}&at=1709294590000"), NONE),
                ("GET", "/files") => (format!("{path}?app_id={app_id}"), NONE),
                ("GET", "/files/quarantine") => (format!("{path}?app_id={app_id}&key=logs/x"), NONE),
                ("POST", "/files/redrive") => (path, json!({"key": "logs/x"})),
                (_, "/apps/{id}/prune") => (path, json!({"before": "2024-01-01T00:00:00Z"})),
                (_, "/apps/{id}/join-tokens") => (path, json!({"meetingId": "m", "attendeeId": "a"})),
                (_, "/apps/{id}/upload-tokens") => (path, json!({"sub": "s"})),
                (_, "/apps/{id}/health-urls") => (path, json!({"urls": []})),
                _ => (path, NONE),
            };
            (method.to_string(), path, body)
        })
        .collect()
}

fn is_open(path: &str) -> bool {
    let open = ["/", "/health", "/openapi.json", "/_license", "/_cluster/health"];
    open.contains(&path) || ["/console", "/status/"].iter().any(|open| path.starts_with(open))
}

/// Whether a path is one of another protocol, which answers in its own way.
fn is_foreign(path: &str) -> bool {
    path.ends_with("/_bulk")
        || ["/otlp/v1/logs", "/loki/api/v1/push", "/firehose", "/chime/logs"].contains(&path)
}

#[tokio::test]
async fn every_route_asks_for_the_right_credential() {
    let api = Api::new();
    let key = api.register("shop").await;
    let wrong = format!("{}{}", &key[..16], "0".repeat(32));
    // The request's headers, and the status of app routes and of admin-only routes.
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, u16, u16);
    let cases: [Case<'_>; 8] = [
        ("nothing", vec![], 400, 401),
        ("a wrong secret", vec![("x-api-key", wrong.as_str())], 401, 401),
        ("no key at all", vec![("x-api-key", "hello")], 401, 401),
        ("an empty key", vec![("x-api-key", "")], 401, 401),
        ("only the app's id", vec![("x-app-id", "shop")], 401, 401),
        ("a wrong admin key", vec![("x-admin-key", "guess")], 401, 401),
        ("an empty admin key", vec![("x-admin-key", "")], 401, 401),
        ("a key and another app's id", vec![("x-api-key", &key), ("x-app-id", "other")], 403, 403),
    ];
    for (method, path, body) in requests("shop") {
        for (what, headers, status, admin_status) in &cases {
            let answer = api.call(&method, &path, headers, &body).await;
            let expected = match (method.as_str(), path.as_str()) {
                (_, "/console") => 302,
                // Its checks are not public.
                (_, "/status/shop") => 404,
                (_, path) if is_open(path) => 200,
                ("POST" | "GET", "/apps") => *admin_status,
                // Clients of other protocols expect a 401 before they send a password.
                (_, path) if is_foreign(path) && headers.is_empty() => 401,
                // Non-public badges do not exist for others.
                (_, path) if path.contains("/badges/") && headers.is_empty() => 404,
                _ => *status,
            };
            assert_eq!(answer.status, expected, "{method} {path} with {what}: {}", answer.text);
        }
    }
    assert_eq!(api.app(&key, "POST", "/apps", &json!({"app_id": "b", "name": "b"})).await.status, 403);
    assert_eq!(api.admin("POST", "/logs", &json!({"level": "INFO", "message": "x"})).await.status, 403);
}

#[tokio::test]
async fn what_is_not_there_is_404_and_a_wrong_method_405() {
    let api = Api::new();
    let key = api.register("shop").await;
    for (method, path) in [("GET", "/nope"), ("POST", "/apps/shop/nope"), ("GET", "/logs/"), ("GET", "/LOGS")]
    {
        let answer = api.call(method, path, &[], &NONE).await;
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (404, Some("NOT_FOUND")),
            "{path}"
        );
    }
    let answer = api.app(&key, "PUT", "/logs", &NONE).await;
    assert_eq!((answer.status, answer.headers["allow"].to_str().unwrap()), (405, "POST, GET, HEAD"));
    for (method, path, body) in requests("no-such-app") {
        let one_app = path.contains("no-such-app");
        if one_app {
            assert_eq!(api.admin(&method, &path, &body).await.status, 404, "{method} {path}");
        }
    }
    assert_eq!(api.admin("GET", "/apps/NOT%20AN%20ID", &NONE).await.status, 404);
    assert_eq!(api.app(&key, "DELETE", "/apps/shop/keys/0123456789abcdef", &NONE).await.status, 404);
}

#[tokio::test]
async fn settings_change_and_wrong_ones_are_named() {
    let api = Api::new();
    let key = api.register("shop").await;
    let change = json!({"name": "New", "retention_days": 7, "flush": {"min_level": "WARN"}});
    let changed = api.app(&key, "PATCH", "/apps/shop", &change).await.data();
    assert_eq!(changed["name"], "New");
    assert_eq!(changed["retention_days"], 7);
    assert_eq!(changed["flush"], json!({"enabled": true, "min_level": "WARN"}));
    let changed = api.app(&key, "PATCH", "/apps/shop", &json!({"retention_days": null})).await.data();
    assert_eq!((changed["name"].as_str(), changed["retention_days"].clone()), (Some("New"), NONE));
    for (path, body, field) in [
        ("/apps/shop", json!({"name": ""}), "name"),
        ("/apps/shop", json!({"name": 5}), "name"),
        ("/apps/shop", json!({"retention_days": 0}), "retention_days"),
        ("/apps/shop", json!({"retention_days": "7"}), "retention_days"),
        ("/apps/shop", json!({"flush": true}), "flush"),
        ("/apps/shop", json!({"flush": {"min_level": "LOUD"}}), "flush"),
        ("/apps/shop", json!({"pruned_before": 1}), "pruned_before"),
        ("/apps/shop", json!([]), "body"),
    ] {
        assert_eq!(api.app(&key, "PATCH", path, &body).await.refused(), (400, field.to_owned()), "{body}");
    }
    for (body, field) in [
        (json!({"app_id": "Shop", "name": "x"}), "app_id"),
        (json!({"app_id": "x".repeat(64), "name": "x"}), "app_id"),
        (json!({"name": "x"}), "app_id"),
        (json!({"app_id": "x", "name": "x", "health_urls": ["http://10.0.0.1/"]}), "health_urls[0]"),
        (json!({"app_id": "x", "name": "x", "health_urls": "http://x/"}), "health_urls"),
        (json!({"app_id": "x", "name": "x", "owner": "y"}), "owner"),
    ] {
        assert_eq!(api.admin("POST", "/apps", &body).await.refused(), (400, field.to_owned()), "{body}");
    }
    for (path, body, field) in [
        ("/apps/shop/join-tokens", json!({"meetingId": "../x", "attendeeId": "a"}), "meetingId"),
        ("/apps/shop/join-tokens", json!({"meetingId": "m"}), "attendeeId"),
        ("/apps/shop/join-tokens", json!({"meetingId": "m", "attendeeId": "a", "ttl_secs": 0}), "ttl_secs"),
        ("/apps/shop/upload-tokens", json!({"sub": "a/b"}), "sub"),
        ("/apps/shop/upload-tokens", json!({"sub": "a", "max_bytes": -1}), "max_bytes"),
        ("/apps/shop/prune", json!({}), "before"),
        ("/apps/shop/prune", json!({"before": "yesterday"}), "before"),
        ("/apps/shop/health-urls", json!({}), "urls"),
    ] {
        assert_eq!(api.app(&key, "POST", path, &body).await.refused(), (400, field.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn a_repeated_write_acts_once_and_answers_alike() {
    let api = Api::new();
    let key = api.register("shop").await;
    let send = async |idempotency: &str, request_id: &str, body: &Value| {
        let headers =
            [("x-api-key", key.as_str()), ("idempotency-key", idempotency), ("x-request-id", request_id)];
        api.call("POST", "/logs", &headers, body).await
    };
    let body = json!({"logs": [{"level": "INFO", "message": "a"}, {"level": "WARN", "message": "b", "timestamp": T0}]});
    let first = send("k", "r-1", &body).await;
    api.cloud.clock().advance_ms(60_000);
    // A retry is sent later and with a different request id.
    let again = send("k", "r-2", &body).await;
    assert_eq!((again.status, again.text), (200, first.text.clone()));
    let other = send("k", "r-1", &json!({"level": "INFO", "message": "a"})).await;
    assert_eq!(other.status, 422);
    assert_ne!(send("k2", "r-1", &body).await.text, first.text, "another key is another write");
    assert_eq!(api.counted(&key, "shop").await, [0, 2, 2, 0]);

    // Another app's key with the same text is a different key, and after a day it can be used again.
    let theirs = api.register("theirs").await;
    let headers = [("x-api-key", theirs.as_str()), ("idempotency-key", "k")];
    assert_eq!(
        api.call("POST", "/logs", &headers, &json!({"level": "INFO", "message": "c"})).await.status,
        200
    );
    api.cloud.clock().advance_ms(MS_PER_DAY + 1000);
    let later = json!({"level": "ERROR", "message": "later", "timestamp": T0});
    assert_eq!(send("k", "r-3", &later).await.status, 200);
    assert_eq!(send("k", "r-4", &later).await.status, 200);
    assert_eq!(api.counted(&key, "shop").await, [0, 2, 2, 1]);
    assert_eq!(api.records(&key, "").await.len(), 5);
    let long = "k".repeat(256);
    assert_eq!(send(&long, "r", &body).await.refused(), (400, "idempotency-key".to_owned()));
}

#[tokio::test]
async fn writers_at_once_with_repeats_leave_every_record_once_and_exact_counts() {
    let api = Api::new();
    let key = api.register("shop").await;
    let writers = (0..10).map(|writer| {
        let (api, key) = (&api, &key);
        async move {
            let mut random = SmallRng::seed_from_u64(writer);
            for batch in 0..200 {
                let level = ["DEBUG", "INFO", "WARN", "ERROR"][batch % 4];
                let entries: Vec<_> = (0..3)
                    .map(|i| json!({"level": level, "message": format!("{writer}-{batch}-{i}")}))
                    .collect();
                let idempotency = format!("{writer}-{batch}");
                let headers = [("x-api-key", key.as_str()), ("idempotency-key", idempotency.as_str())];
                let body = json!({"logs": entries});
                let send = || api.call("POST", "/logs", &headers, &body);
                if random.random_bool(0.2) {
                    // The second request does not wait for the first response.
                    let (one, other) = tokio::join!(send(), send());
                    assert_eq!((one.status, &one.text), (200, &other.text));
                } else {
                    assert_eq!(send().await.status, 200);
                }
                if batch % 20 == 0 {
                    api.cloud.clock().advance_ms(61_000);
                }
            }
        }
    });
    futures::future::join_all(writers).await;
    let records = api.records(&key, "").await;
    let messages: BTreeSet<_> = records.iter().map(|record| record["message"].to_string()).collect();
    let ids: BTreeSet<_> = records.iter().map(|record| record["id"].to_string()).collect();
    assert_eq!((records.len(), messages.len(), ids.len()), (6_000, 6_000, 6_000));
    assert_eq!(api.counted(&key, "shop").await, [1_500; 4]);
}

#[tokio::test]
async fn a_record_of_a_megabyte_that_hardly_compresses_is_stored_and_found() {
    let api = Api::new();
    let key = api.register("shop").await;
    let mut random = SmallRng::seed_from_u64(1);
    let noise: String = (0..1_000_000).map(|_| char::from(random.random_range(b'#'..b'['))).collect();
    let body = json!({"logs": [{"level": "INFO", "message": noise}, {"level": "INFO", "message": "small"}]});
    let stored = api.app(&key, "POST", "/logs", &body).await.data();
    let mut found = api.records(&key, "").await;
    found.sort_by_key(|record| record["message"] == "small");
    assert_eq!(Value::from(found), stored);
    // Several of them exceed a response: the page is short and has a cursor.
    for _ in 0..7 {
        let one = json!({"level": "INFO", "message": noise});
        assert_eq!(api.app(&key, "POST", "/logs", &one).await.status, 200);
    }
    let page = api.app(&key, "GET", "/logs", &NONE).await.json();
    assert!(page["data"].as_array().unwrap().len() < 8 && page["cursor"].is_string());
    assert_eq!(api.records(&key, "").await.len(), 9);
}

#[tokio::test]
async fn pruned_records_are_gone_at_once_and_counts_equal_what_is_left() {
    for seed in 0..12 {
        let api = Api::new();
        let key = api.register("shop").await;
        let mut random = SmallRng::seed_from_u64(seed);
        for _ in 0..6 {
            for _ in 0..random.random_range(1..20) {
                let entries: Vec<_> = (0..random.random_range(1..9))
                    .map(|i| {
                        let time = api.cloud.clock().now_ms() - random.random_range(0..3 * MS_PER_HOUR);
                        let level = if i % 2 == 0 { "INFO" } else { "WARN" };
                        json!({"level": level, "message": "x", "timestamp": time})
                    })
                    .collect();
                // Some are older than the watermark, and are refused.
                let _ = api.app(&key, "POST", "/logs", &json!({"logs": entries})).await;
            }
            let before = api.records(&key, "").await;
            let cut = api.cloud.clock().now_ms() - random.random_range(0..4 * MS_PER_HOUR);
            let answer = api.app(&key, "POST", "/apps/shop/prune", &json!({"before": cut})).await.data();
            let after = api.records(&key, "").await;
            let newer = |record: &&Value| record["timestamp"].as_str().unwrap() >= rfc3339_ms(cut).as_str();
            assert_eq!(after.iter().collect::<Vec<_>>(), before.iter().filter(newer).collect::<Vec<_>>());
            assert_eq!(answer["deleted"], before.len() - after.len(), "{answer}");
            let counted = api.counted(&key, "shop").await;
            let of = |level: &str| after.iter().filter(|record| record["level"] == level).count();
            assert_eq!(counted, [0, of("INFO") as i64, of("WARN") as i64, 0], "seed {seed}");
            let too_old = json!({"level": "INFO", "message": "x", "timestamp": cut - 1});
            assert_eq!(
                api.app(&key, "POST", "/logs", &too_old).await.refused(),
                (400, "timestamp".to_owned())
            );
            api.cloud.clock().advance_ms(random.random_range(0..30 * MS_PER_HOUR));
        }
        // Removals that the requests left are finished later, in several passes.
        for _ in 0..40 {
            api.cloud.clock().advance_ms(20 * 60_000);
            prune::go_on(&api.cloud, &api.cloud, api.cloud.clock().now_ms(), in_a_minute()).await.unwrap();
        }
        assert_eq!(api.cloud.jobs().await.unwrap(), []);
        let left = api.records(&key, "").await.len() as i64;
        assert_eq!(api.counted(&key, "shop").await.iter().sum::<i64>(), left);
    }
}

#[tokio::test]
async fn a_prune_before_the_first_possible_record_removes_nothing() {
    let api = Api::new();
    let key = api.register("shop").await;
    let entry = json!({"level": "INFO", "message": "x", "timestamp": "2000-01-01T00:00:00Z"});
    assert_eq!(api.app(&key, "POST", "/logs", &entry).await.status, 200);
    let before = json!({"before": "2000-01-01T00:00:00Z"});
    let answer = api.app(&key, "POST", "/apps/shop/prune", &before).await.data();
    assert_eq!((&answer["deleted"], &answer["complete"]), (&json!(0), &json!(true)));
    assert_eq!(api.records(&key, "").await.len(), 1);
}

#[tokio::test]
async fn a_large_prune_is_answered_in_time_and_finished_by_later_passes() {
    let api = Api::new();
    let key = api.register("shop").await;
    for _ in 0..4_000 {
        let entry = json!({"level": "INFO", "message": "x", "timestamp": T0 - 2 * MS_PER_DAY});
        assert_eq!(api.app(&key, "POST", "/logs", &entry).await.status, 200);
    }
    let answer = api.app(&key, "POST", "/apps/shop/prune", &json!({"before": T0})).await.data();
    assert_eq!(answer["complete"], false);
    assert!(answer["deleted"].as_u64().unwrap() < 4_000);
    assert_eq!(api.records(&key, "").await.len(), 0, "the rest is invisible");
    assert_eq!(api.counted(&key, "shop").await, [0; 4]);
    for _ in 0..4 {
        prune::go_on(&api.cloud, &api.cloud, api.cloud.clock().now_ms(), in_a_minute()).await.unwrap();
        api.cloud.clock().advance_ms(20 * 60_000);
    }
    assert_eq!((api.cloud.blocks_stored(), api.cloud.jobs().await.unwrap().len()), (0, 0));
}

#[tokio::test]
async fn records_in_the_future_can_be_pruned_and_later_ones_stay() {
    let api = Api::new();
    let key = api.register("shop").await;
    let write = async |offset_ms: i64| {
        let timestamp = api.cloud.clock().now_ms() + offset_ms;
        let entry = json!({"level": "INFO", "message": "x", "timestamp": timestamp});
        assert_eq!(api.app(&key, "POST", "/logs", &entry).await.status, 200);
    };
    for offset_ms in [-MS_PER_HOUR, 0, 1_000, 2 * MS_PER_HOUR, 20 * MS_PER_HOUR] {
        write(offset_ms).await;
    }
    let bound = json!({"before": "2099-12-31T23:59:59Z"});
    let answer = api.app(&key, "POST", "/apps/shop/prune", &bound).await.data();
    assert_eq!((&answer["deleted"], &answer["complete"]), (&json!(5), &json!(true)));
    assert_eq!(api.records(&key, "").await.len(), 0);
    for offset_ms in [0, 3 * MS_PER_HOUR] {
        write(offset_ms).await;
    }
    let near = json!({"before": api.cloud.clock().now_ms() + MS_PER_HOUR});
    assert_eq!(api.app(&key, "POST", "/apps/shop/prune", &near).await.data()["deleted"], 1);
    assert_eq!(api.records(&key, "").await.len(), 1);
    write(MS_PER_HOUR / 2).await;
    api.cloud.clock().advance_ms(20 * 60_000);
    let now_ms = api.cloud.clock().now_ms();
    let last = prune::go_on(&api.cloud, &api.cloud, now_ms, in_a_minute()).await.unwrap();
    assert_eq!((last.complete, api.records(&key, "").await.len()), (1, 2), "what is written later stays");
    api.cloud.clock().advance_ms(MS_PER_DAY);
    assert_eq!(api.counted(&key, "shop").await, [0, 2, 0, 0]);
}

#[tokio::test]
async fn a_later_prune_resumes_an_unfinished_one_of_future_records() {
    let api = Api::new();
    let key = api.register("shop").await;
    let now_ms = api.cloud.clock().now_ms();
    for offset_ms in [5 * MS_PER_HOUR, 15 * MS_PER_HOUR] {
        let entry = json!({"level": "INFO", "message": "x", "timestamp": now_ms + offset_ms});
        assert_eq!(api.app(&key, "POST", "/logs", &entry).await.status, 200);
    }
    let app = Apps::find(&api.cloud, &"shop".parse().unwrap()).await.unwrap().unwrap();
    let bound_ms = now_ms + 10 * MS_PER_HOUR;
    let no_time = tokio::time::Instant::now();
    let first = prune::prune(&api.cloud, &api.cloud, &app, bound_ms, now_ms, no_time).await.unwrap().unwrap();
    assert_eq!((first.deleted, first.complete), (0, false));
    api.cloud.clock().advance_ms(1_000);
    let later = json!({"before": now_ms + 1_000});
    let answer = api.app(&key, "POST", "/apps/shop/prune", &later).await.data();
    assert_eq!((&answer["deleted"], &answer["complete"]), (&json!(1), &json!(true)));
    api.cloud.clock().advance_ms(MS_PER_DAY);
    assert_eq!(api.counted(&key, "shop").await, [0, 1, 0, 0]);
}

#[tokio::test]
async fn a_deleted_apps_blocks_and_counters_go_and_its_successors_stay() {
    let api = Api::new();
    let key = api.register("shop").await;
    let write = async |key: &str, message: &str| {
        for day in 0..3 {
            let entry = json!({"level": "INFO", "message": message, "timestamp": T0 - day * MS_PER_DAY});
            assert_eq!(api.app(key, "POST", "/logs", &entry).await.status, 200);
        }
    };
    write(&key, "old").await;
    assert_eq!(api.admin("DELETE", "/apps/shop", &NONE).await.status, 200);
    // Registered again in the same millisecond.
    let again = api.register("shop").await;
    write(&again, "new").await;
    for _ in 0..3 {
        api.cloud.clock().advance_ms(20 * 60_000);
        prune::go_on(&api.cloud, &api.cloud, api.cloud.clock().now_ms(), in_a_minute()).await.unwrap();
    }
    let records = api.records(&again, "").await;
    assert!(records.len() == 3 && records.iter().all(|record| record["message"] == "new"));
    assert_eq!(api.cloud.blocks_stored(), 3);
    let app = Apps::find(&api.cloud, &"shop".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(api.cloud.counted_days(&app.app_id, app.registered_ms).len(), 3);
    assert_eq!(api.cloud.jobs().await.unwrap(), []);
}

/// A FAILED file with a bad record, in the ledger.
async fn failed_file(api: &Api, app_id: &str, key: &str) -> ObjectRef {
    failed_version(api, app_id, key, "v1", &["{secret-of-theirs"]).await
}

/// A version of a FAILED file with bad records, in the ledger.
async fn failed_version(api: &Api, app_id: &str, key: &str, version: &str, samples: &[&str]) -> ObjectRef {
    let now_ms = api.cloud.clock().now_ms();
    let object = ObjectRef {
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        version: ObjectVersion::Id(version.to_owned()),
    };
    let claim = Claim {
        object: object.clone(),
        app_id: Some(app_id.parse().unwrap()),
        granted: false,
        etag: None,
        size_bytes: 9,
        packing: PackFingerprint::default(),
        claim_id: format!("{key} {version}"),
        now_ms,
        lease_until_ms: now_ms + 1,
    };
    let Claimed::Yes(row) = api.cloud.claim(&claim).await.unwrap() else { panic!("not claimed") };
    let lease = Lease {
        object: object.clone(),
        app_id: row.app_id,
        registered_ms: T0,
        pruned_before_ms: None,
        fence: row.fence,
        claimed_ms: now_ms,
        checkpoint: row.checkpoint,
    };
    let reason = QuarantineReason::BrokenJson;
    let bad = (3..).zip(samples).map(|(ordinal, sample)| {
        Quarantined::single(BadRecord { ordinal, reason, start: 10, end: 20 }, *sample)
    });
    api.cloud.quarantine(&lease, &bad.collect::<Vec<_>>()).await.unwrap();
    let outcome = Outcome {
        reason: Some(Reason { code: ReasonCode::GzipTruncated, message: "at byte 7".to_owned() }),
        counts: FileCounts { ok: 2, quarantined: 1, ..FileCounts::default() },
        ..Outcome::default()
    };
    api.cloud.finish(&lease, &outcome, now_ms).await.unwrap();
    object
}

#[tokio::test]
async fn files_are_listed_with_reason_and_counts_and_started_over() {
    let api = Api::new();
    let (mine, theirs) = (api.register("mine").await, api.register("theirs").await);
    let object = failed_file(&api, "theirs", "logs/theirs/a b.gz").await;
    for i in 0..5 {
        api.cloud.clock().advance_ms(1_000);
        failed_file(&api, "theirs", &format!("logs/theirs/{i}")).await;
    }
    let list = async |key: &str, path: &str| api.app(key, "GET", path, &NONE).await;
    let all = list(&theirs, "/files?status=FAILED&limit=4").await.json();
    assert_eq!(all["data"][0]["key"], "logs/theirs/4");
    assert_eq!(all["data"][0]["reason"], json!({"code": "GZIP_TRUNCATED", "message": "at byte 7"}));
    assert_eq!(all["data"][0]["counts"]["ok"], 2);
    let cursor = all["cursor"].as_str().unwrap();
    let rest = list(&theirs, &format!("/files?status=FAILED&limit=4&cursor={cursor}")).await.json();
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["cursor"]), (2, &NONE));
    let by_key = list(&theirs, "/files?key=logs/theirs/a%20b.gz").await.data();
    assert_eq!((&by_key[0]["status"], &by_key[0]["version"]), (&json!("FAILED"), &json!("v1")));
    let bad = list(&theirs, "/files/quarantine?key=logs/theirs/a%20b.gz").await.data();
    assert_eq!(
        bad,
        json!([{
            "key": "logs/theirs/a b.gz", "version": "v1", "ordinal": 3, "last_ordinal": 3, "count": 1,
            "reason": "BROKEN_JSON", "reasons": {"BROKEN_JSON": 1}, "start": 10, "end": 20,
            "sample": "{secret-of-theirs",
        }])
    );

    // Another app does not find it in any way.
    for path in ["/files", "/files?key=logs/theirs/a%20b.gz", &format!("/files?cursor={cursor}")] {
        let answer = list(&mine, path).await;
        assert!(!answer.text.contains("theirs"), "{path}: {}", answer.text);
    }
    assert_eq!(list(&mine, "/files/quarantine?key=logs/theirs/a%20b.gz").await.status, 404);
    let redrive = json!({"key": "logs/theirs/a b.gz"});
    assert_eq!(api.app(&mine, "POST", "/files/redrive", &redrive).await.status, 404);
    assert_eq!(api.app(&mine, "POST", "/files/redrive", &json!({})).await.data(), json!({"redriven": 0}));

    assert_eq!(api.app(&theirs, "POST", "/files/redrive", &redrive).await.data(), json!({"redriven": 1}));
    assert_eq!(api.app(&theirs, "POST", "/files/redrive", &redrive).await.data(), json!({"redriven": 0}));
    let row = Grants::find(&api.cloud, &object).await.unwrap().unwrap();
    assert_eq!((row.status.as_str(), row.fence), ("PENDING", 2));
    for (body, count) in [
        (json!({"reason": "TOO_LARGE"}), 0),
        (json!({"status": "COMPLETED"}), 0),
        (json!({"reason": "GZIP_TRUNCATED"}), 5),
    ] {
        let answer = api.app(&theirs, "POST", "/files/redrive", &body).await.data();
        assert_eq!(answer, json!({"redriven": count}), "{body}");
    }
    for (body, field) in [
        (json!({"status": "PENDING"}), "status"),
        (json!({"status": "DONE"}), "status"),
        (json!({"reason": "BAD_WEATHER"}), "reason"),
        (json!({"keys": []}), "keys"),
    ] {
        let refused = api.app(&theirs, "POST", "/files/redrive", &body).await.refused();
        assert_eq!(refused, (400, field.to_owned()), "{body}");
    }
    // The files of an app do not belong to the next app with its id.
    assert_eq!(api.admin("DELETE", "/apps/theirs", &NONE).await.status, 200);
    api.cloud.clock().advance_ms(1);
    let again = api.register("theirs").await;
    for path in ["/files", "/files?key=logs/theirs/a%20b.gz"] {
        assert_eq!(list(&again, path).await.data(), json!([]), "{path}");
    }
    assert_eq!(list(&again, "/files/quarantine?key=logs/theirs/a%20b.gz").await.status, 404);
}

#[tokio::test]
async fn the_sample_events_get_the_answers_that_their_names_promise() {
    let api = Api::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/api");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let event = std::fs::read_to_string(&path).unwrap();
        let answer = api.event(serde_json::from_str(&event).unwrap()).await;
        let status = match path.file_stem().unwrap().to_str().unwrap() {
            "get-root" | "get-health" => 200,
            "unknown-path" => 404,
            // Their keys are not of this deployment.
            _ => 401,
        };
        assert_eq!(answer.status, status, "{}: {}", path.display(), answer.text);
        seen += 1;
    }
    assert!(seen >= 6);
}

#[tokio::test]
async fn no_spelling_of_a_private_target_is_registered_and_each_error_has_the_reason() {
    let api = Api::new();
    let key = api.register("shop").await;
    for (form, _) in logferry_health_checks::guard::forms::FORMS {
        let url = form.replace("{p}", "80");
        for check in [json!(url), json!({"url": url})] {
            let answer = api.app(&key, "POST", "/apps/shop/health-urls", &json!({"urls": [check]})).await;
            assert_eq!(answer.status, 400, "{form}: {}", answer.text);
            let problem = &answer.json()["error"]["details"]["problems"][0];
            assert!(problem["field"].as_str().unwrap().starts_with("urls[0]"), "{form}: {problem}");
            assert!(problem["message"].as_str().unwrap().len() > 10, "{form}: {problem}");
        }
    }
    let app = api.app(&key, "GET", "/apps/shop", &NONE).await.data();
    assert_eq!(app["health_urls"], json!([]));
}

#[tokio::test]
async fn health_routes_name_what_is_wrong_with_a_request() {
    let api = Api::new();
    let key = api.register("shop").await;
    let urls = json!({"urls": ["https://a.example.com/", {"name": "job", "heartbeat": "1h"}], "public_badges": true});
    let set = api.app(&key, "POST", "/apps/shop/health-urls", &urls).await;
    assert_eq!(set.data(), urls);
    for (path, refused) in [
        ("/health/shop?limit=0", (400, "limit")),
        ("/health/shop?limit=1001", (400, "limit")),
        ("/health/shop?limit=ten", (400, "limit")),
        ("/health/shop?name=job", (400, "name")),
        ("/health/shop/uptime?window=1h", (400, "window")),
        ("/health/shop/uptime?url=other", (404, "")),
        ("/health/shop/response-times?url=job&window=2h", (400, "window")),
        ("/health/shop/response-times?url=job&limit=3", (400, "limit")),
        ("/health/shop/response-times", (400, "url")),
        ("/health/shop/badges/health.svg", (400, "url")),
        ("/health/shop/badges/health.svg?url=other", (404, "")),
        ("/health/shop/badges/health.png?url=job", (404, "")),
        ("/health/shop/badges/uptime.svg?url=job&window=1y", (400, "window")),
    ] {
        let answer = api.app(&key, "GET", path, &NONE).await;
        assert_eq!(answer.refused(), (refused.0, refused.1.to_owned()), "{path}");
    }
    for (body, refused) in [
        (json!({"ok": "yes"}), (400, "ok")),
        (json!({"error": 5}), (400, "error")),
        (json!({"duration_ms": -1}), (400, "duration_ms")),
        (json!({"status": "ok"}), (400, "status")),
        (json!([]), (400, "body")),
    ] {
        let answer = api.app(&key, "POST", "/health/shop/job/push", &body).await;
        assert_eq!(answer.refused(), (refused.0, refused.1.to_owned()), "{body}");
    }
    // Targets that no check has, but of which the table has partitions.
    assert_eq!(api.app(&key, "POST", "/health/shop/job/push", &NONE).await.status, 200);
    for (url, rows) in [("job", 1), ("reports", 0), ("state", 0), ("push:removed", 0)] {
        let found = api.app(&key, "GET", &format!("/health/shop?url={url}"), &NONE).await.data();
        assert_eq!(found.as_array().unwrap().len(), rows, "{url}");
    }
    // A probed check does not accept reports.
    let pushed = api.app(&key, "POST", "/health/shop/https:%2F%2Fa.example.com%2F/push", &NONE).await;
    assert_eq!(pushed.status, 404);
    // Badges: SVG and JSON without a key, if they are public; a cache-buster parameter is ignored.
    let svg = api.call("GET", "/health/shop/badges/health.svg?url=job&v=2", &[], &NONE).await;
    assert_eq!((svg.status, svg.headers["content-type"].to_str().unwrap()), (200, "image/svg+xml"));
    assert!(svg.text.starts_with("<svg ") && svg.text.contains(">?</text>"));
    for (file, label) in
        [("health", "health"), ("uptime", "uptime 24h"), ("response-time", "response time 24h")]
    {
        let json =
            api.call("GET", &format!("/health/shop/badges/{file}.json?url=job"), &[], &NONE).await.json();
        assert_eq!((json["schemaVersion"].as_i64(), json["label"].as_str()), (Some(1), Some(label)));
    }
    let private = json!({"urls": [{"name": "job", "heartbeat": "1h"}], "public_badges": false});
    let _ = api.app(&key, "POST", "/apps/shop/health-urls", &private).await.data();
    assert_eq!(api.call("GET", "/health/shop/badges/health.svg", &[], &NONE).await.status, 404);
    assert_eq!(api.app(&key, "GET", "/health/shop/badges/health.svg", &NONE).await.status, 200);
}

#[tokio::test]
async fn without_a_key_every_badge_that_is_not_public_is_the_same_404() {
    let api = Api::new();
    let (shop, other) = (api.register("shop").await, api.register("other").await);
    let urls =
        json!(["https://b.example.com/", {"name": "Shop", "url": "https://a.example.com/?token=s3cr3t"}]);
    let set = async |key: &str, app: &str, public: bool| {
        let body = json!({"urls": urls, "public_badges": public});
        api.app(key, "POST", &format!("/apps/{app}/health-urls"), &body).await.data()
    };
    set(&shop, "shop", true).await;
    set(&other, "other", false).await;
    let badge = async |path: &str| api.call("GET", &format!("/health/{path}"), &[], &NONE).await;
    for shown in ["shop/badges/health.svg?url=Shop", "shop/badges/health.json?url=https://b.example.com"] {
        assert_eq!(badge(shown).await.status, 200, "{shown}");
    }
    let long = format!("shop/badges/health.svg?url={}", "x".repeat(4_000));
    let refused: Vec<_> = [
        "unknown/badges/health.svg?url=Shop",
        "Not-An-Id/badges/health.svg?url=Shop",
        "other/badges/health.svg?url=Shop",
        "shop/badges/health.svg",
        "shop/badges/health.png?url=Shop",
        "shop/badges/health.svg?url=Other",
        "shop/badges/uptime.svg?url=Shop&window=1y",
        // A check with a name cannot be found by guessing its URL.
        "shop/badges/health.svg?url=https://a.example.com/?token=s3cr3t",
        long.as_str(),
    ]
    .into_iter()
    .collect();
    for path in refused {
        let answer = badge(path).await;
        let message = &answer.json()["error"]["message"];
        assert_eq!((answer.status, message), (404, &json!("no such badge")), "{path}");
        assert_eq!(answer.headers["cache-control"], "max-age=60", "{path}");
    }
}

#[tokio::test]
async fn strangers_share_of_badge_reads_is_theirs_alone_and_what_is_asked_again_is_not_read_again() {
    let api = Api::with_rate(5);
    let key = api.register("shop").await;
    let body = json!({"urls": [{"name": "job", "heartbeat": "1h"}], "public_badges": true});
    let _ = api.app(&key, "POST", "/apps/shop/health-urls", &body).await.data();
    let badge = async |query: &str| {
        api.call("GET", &format!("/health/shop/badges/health.svg{query}"), &[], &NONE).await.status
    };
    // one query, with any suffix
    for n in 0..50 {
        assert_eq!(badge(&format!("?url=job&v={n}")).await, 200);
    }
    let mut refused = 0;
    for n in 0..50 {
        refused += usize::from(badge(&format!("?url={n}")).await == 429);
    }
    assert!(refused >= 30, "{refused}");
    assert_eq!(badge("?url=job").await, 200, "kept");
    assert_eq!(api.app(&key, "GET", "/health/shop", &NONE).await.status, 200, "the app's own share");
}

#[tokio::test]
async fn a_header_value_of_a_check_is_write_only_and_kept_when_the_checks_are_saved_again() {
    let api = Api::new();
    let key = api.register("shop").await;
    let check = |value: &str| json!({"url": "https://a.example.com/", "headers": {"Authorization": value}});
    let set =
        async |urls: Value| api.app(&key, "POST", "/apps/shop/health-urls", &json!({"urls": urls})).await;
    let stored = async || {
        let app = logferry_core::ports::apps::Apps::find(&api.cloud, &"shop".parse().unwrap()).await;
        app.unwrap().unwrap().health_checks
    };
    let shown = set(json!([check("Bearer s3cr3t")])).await;
    let read = api.app(&key, "GET", "/apps/shop", &NONE).await;
    let renamed = api.app(&key, "PATCH", "/apps/shop", &json!({"name": "x"})).await;
    for answer in [&shown, &read, &renamed] {
        assert!(answer.status == 200 && !answer.text.contains("s3cr3t"), "{}", answer.text);
    }
    assert_eq!(read.data()["health_urls"], json!([check("(stored)")]));
    // The response of a read is saved again.
    assert_eq!(set(read.data()["health_urls"].clone()).await.status, 200);
    assert_eq!(stored().await, json!([check("Bearer s3cr3t")]));
    // but not with another URL
    let led_away = json!({"url": "https://b.example.com/", "headers": {"Authorization": "(stored)"}});
    assert_eq!(set(json!([led_away])).await.refused(), (400, "urls[0].headers.Authorization".to_owned()));
    assert_eq!(stored().await, json!([check("Bearer s3cr3t")]));
}

#[tokio::test]
async fn an_admin_key_opens_what_is_the_administrations() {
    let api = Api::new();
    api.register("shop").await;
    for (method, path, body) in requests("shop") {
        let answer = api.admin(&method, &path, &body).await;
        let expected: &[u16] = match (method.as_str(), path.as_str()) {
            ("POST", "/logs") => &[403],
            (_, "/console") => &[302],
            (_, path) if is_foreign(path) => &[401],
            _ => &[200, 201, 400, 404],
        };
        assert!(expected.contains(&answer.status), "{method} {path}: {}", answer.text);
        if path == "/apps/shop" && method == "DELETE" {
            api.register("shop").await;
        }
    }
    assert!(!ADMIN_KEY.is_empty());
}
