//! `GET /logs/{record_id}` finds a record by its time, with its neighbours.

use logferry_core::model::time::{MS_PER_DAY, MS_PER_HOUR, rfc3339_ms};
use logferry_core::ports::clock::Clock;
use logferry_tests::api::Api;
use serde_json::{Value, json};

const NONE: Value = Value::Null;

fn entry(n: i64, at_ms: i64) -> Value {
    json!({"level": "INFO", "message": format!("record {n}"), "timestamp": rfc3339_ms(at_ms)})
}

async fn write(api: &Api, key: &str, entries: &[Value]) {
    assert_eq!(api.app(key, "POST", "/logs", &json!({"logs": entries})).await.status, 200);
}

fn ids(records: &Value) -> Vec<String> {
    records.as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

/// The path of a record as a query answered it.
fn path_of(record: &Value, more: &str) -> String {
    let (id, at) = (record["id"].as_str().unwrap(), record["timestamp"].as_str().unwrap());
    format!("/logs/{id}?at={at}{more}")
}

/// Asserts that a record and its neighbours are those of the whole list, newest first.
async fn assert_among(api: &Api, key: &str, all: &[Value], index: usize, neighbours: usize) {
    let answer =
        api.app(key, "GET", &path_of(&all[index], &format!("&neighbours={neighbours}")), &NONE).await;
    let data = answer.data();
    assert_eq!(data["record"], all[index], "{}", answer.text);
    let id = |record: &Value| record["id"].as_str().unwrap().to_owned();
    let older: Vec<String> = all[index + 1..].iter().take(neighbours).map(id).collect();
    let newer: Vec<String> = all[..index].iter().rev().take(neighbours).map(id).collect();
    assert_eq!((ids(&data["older"]), ids(&data["newer"])), (older, newer), "record {index}");
    assert_eq!(data["skipped"], 0);
}

#[tokio::test]
async fn every_record_is_found_between_the_neighbours_that_a_query_shows() {
    let api = Api::new();
    let (key, now) = (api.register("shop").await, api.cloud.clock().now_ms());
    // Over hours and days, with records of the same millisecond in one write and in two.
    for part in 0..3 {
        let at = now - part * 30 * MS_PER_HOUR;
        let entries: Vec<Value> = (0..12).map(|n| entry(part * 100 + n, at - (n / 4) * 1_000)).collect();
        write(&api, &key, &entries).await;
        write(&api, &key, &entries[..2]).await;
    }
    let all = api.records(&key, "").await;
    assert_eq!(all.len(), 42);
    for index in 0..all.len() {
        for neighbours in [0, 1, 5, 60] {
            assert_among(&api, &key, &all, index, neighbours).await;
        }
    }
}

#[tokio::test]
async fn a_record_is_found_among_thousands_of_its_millisecond() {
    let api = Api::new();
    let (key, now) = (api.register("shop").await, api.cloud.clock().now_ms());
    let same: Vec<Value> = (0..2_500).map(|n| entry(n, now - 1_000)).collect();
    write(&api, &key, &same).await;
    write(&api, &key, &[entry(9_000, now - 2_000), entry(9_001, now)]).await;
    let all = api.records(&key, "").await;
    for index in [0, 1, 2, 30, 1_234, 2_499, 2_500, 2_501] {
        assert_among(&api, &key, &all, index, 40).await;
        assert_among(&api, &key, &all, index, 0).await;
    }
}

#[tokio::test]
async fn a_record_that_is_unknown_elsewhere_hidden_or_expired_is_not_found() {
    let api = Api::new();
    let (key, now) = (api.register("shop").await, api.cloud.clock().now_ms());
    write(&api, &key, &[entry(1, now - 2 * MS_PER_HOUR), entry(2, now)]).await;
    let [newer, older] = api.records(&key, "").await.try_into().unwrap();
    let other = api.register("other").await;
    let at_another_time = path_of(&older, "&neighbours=3").replace("at=", "at=2024-02-29T00:00:00Z&x=");
    let refused = api.app(&key, "GET", &at_another_time, &NONE).await;
    assert_eq!(refused.status, 400, "x is not a parameter: {}", refused.text);
    let id = older["id"].as_str().unwrap();
    for (key, path) in [
        (&key, format!("/logs/{id}?at={now}")),
        (&key, format!("/logs/{id}?at={}&neighbours=9", now + 5_000)),
        (&key, format!("/logs/{}?at={now}&neighbours=9", "0".repeat(32))),
        (&key, format!("/logs/no-id?at={now}")),
        (&other, path_of(&older, "&neighbours=9")),
        (&key, format!("/logs/{id}?at={}", i64::MAX)),
        (&key, format!("/logs/{id}?at={}", i64::MIN)),
    ] {
        let answer = api.app(key, "GET", &path, &NONE).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
    // A prune hides it at once; its neighbours no longer show it.
    let before = json!({"before": now - MS_PER_HOUR});
    assert_eq!(api.app(&key, "POST", "/apps/shop/prune", &before).await.status, 200);
    assert_eq!(api.app(&key, "GET", &path_of(&older, ""), &NONE).await.status, 404);
    let data = api.app(&key, "GET", &path_of(&newer, "&neighbours=9"), &NONE).await.data();
    assert_eq!((&data["record"], &data["older"]), (&newer, &json!([])));
    api.cloud.clock().advance_ms(400 * MS_PER_DAY);
    assert_eq!(api.app(&key, "GET", &path_of(&newer, ""), &NONE).await.status, 404);
}

#[tokio::test]
async fn the_administration_names_the_app_and_raw_entries_come_on_request() {
    let api = Api::new();
    let (key, now) = (api.register("shop").await, api.cloud.clock().now_ms());
    write(&api, &key, &[entry(1, now), entry(2, now - 5)]).await;
    let all = api.records(&key, "").await;
    let nameless = api.admin("GET", &path_of(&all[0], ""), &NONE).await;
    assert_eq!((nameless.status, &nameless.json()["error"]["details"]), (400, &json!({"field": "app_id"})));
    let named = api.admin("GET", &path_of(&all[0], "&app_id=shop&neighbours=1&raw=true"), &NONE).await.data();
    assert_eq!(named["record"]["rawData"]["message"], "record 1");
    assert_eq!(named["older"][0]["rawData"]["message"], "record 2");
    for (query, field) in [("", "at"), ("?at=yesterday", "at"), ("?at=1&neighbours=201", "neighbours")] {
        let refused = api.app(&key, "GET", &format!("/logs/{}{query}", "0".repeat(32)), &NONE).await;
        assert_eq!((refused.status, &refused.json()["error"]["details"]["field"]), (400, &json!(field)));
    }
}

#[tokio::test]
async fn neighbours_that_an_answer_has_no_room_for_are_left_out_from_the_farthest_on() {
    let api = Api::new();
    let (key, now) = (api.register("shop").await, api.cloud.clock().now_ms());
    for n in 0..30 {
        let message = format!("record {n} {}", "\"".repeat(120_000));
        let at = rfc3339_ms(now - n * 1_000);
        write(&api, &key, &[json!({"level": "INFO", "message": message, "timestamp": at})]).await;
    }
    let all = api.records(&key, "").await;
    let answer = api.app(&key, "GET", &path_of(&all[15], "&neighbours=14"), &NONE).await;
    let embedded = serde_json::to_string(&answer.text).unwrap().len();
    assert!(answer.status == 200 && embedded < 6_000_000, "{embedded}");
    let data = answer.data();
    let (older, newer) = (ids(&data["older"]), ids(&data["newer"]));
    assert!((3..14).contains(&older.len()) && older.len() == newer.len(), "{}", older.len());
    assert_eq!((&older[0], &newer[0]), (&ids(&json!(all))[16], &ids(&json!(all))[14]));
}
