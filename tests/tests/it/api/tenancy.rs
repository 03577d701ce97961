//! No byte of another app's data in any response. The requests come from the table of routes, and the
//! parameters from the document that is checked against it, so that new ones are covered.

use logferry_api::OPENAPI;
use logferry_tests::api::{Api, routes};
use logferry_tests::stack::encode;
use serde_json::{Value, json};

use super::{NONE, failed_file, failed_version, path_of, requests};

#[tokio::test]
async fn an_app_neither_sees_nor_changes_another_nor_learns_whether_it_exists() {
    let api = Api::new();
    let (mine, theirs) = (api.register("mine").await, api.register("theirs").await);
    let secret = json!({"level": "INFO", "message": "secret-of-theirs", "request_id": "secret-of-theirs"});
    assert_eq!(api.app(&theirs, "POST", "/logs", &secret).await.status, 200);
    let before = api.cloud.apps_now();
    for (method, path, body) in requests("theirs") {
        let answer = api.app(&mine, &method, &path, &body).await;
        let about_theirs = path.contains("theirs");
        assert!(!answer.text.contains("secret-of-theirs"), "{method} {path}");
        if about_theirs {
            // A status page is public, or not there.
            let refused = if path.starts_with("/status/") { 404 } else { 403 };
            assert_eq!(answer.status, refused, "{method} {path}: {}", answer.text);
            let missing = api.app(&mine, &method, &path.replace("theirs", "unknown"), &body).await;
            assert_eq!(missing.status, refused, "{method} {path}: an app cannot tell whether another exists");
        }
    }
    assert_eq!(api.cloud.apps_now(), before);
    assert_eq!(api.records(&theirs, "").await.len(), 1);
}

#[tokio::test]
async fn another_apps_object_and_an_unknown_one_get_the_same_answer() {
    let api = Api::new();
    let (mine, theirs) = (api.register("mine").await, api.register("theirs").await);
    for version in ["v1", "v2"] {
        failed_version(&api, "theirs", "logs/theirs/x", version, &["{"]).await;
    }
    for path in ["/files?limit=1&key=", "/files?key=", "/files/quarantine?key="] {
        let get = async |key: &str| api.app(&mine, "GET", &format!("{path}{key}"), &NONE).await;
        let (theirs, unknown) = (get("logs/theirs/x").await, get("logs/theirs/y").await);
        assert_eq!((theirs.status, theirs.text), (unknown.status, unknown.text), "{path}");
    }
    let page = async |cursor: &str| {
        let path = format!("/files?limit=1&key=logs/theirs/x{cursor}");
        api.app(&theirs, "GET", &path, &NONE).await.json()
    };
    let first = page("").await;
    let last = page(&format!("&cursor={}", first["cursor"].as_str().unwrap())).await;
    assert_eq!((first["data"].as_array().unwrap().len(), last["data"].as_array().unwrap().len()), (1, 1));
    assert_eq!(last["cursor"], NONE);
}

/// Texts in the data of the other app that are in none of our requests.
const UNSEEN: [&str; 3] = ["unseen", "GZIP_TRUNCATED", "secret-of-theirs"];

/// An app with data of every kind, and what others may know of it: ids, keys, cursors.
async fn app_with_everything(api: &Api) -> (String, Vec<String>) {
    let checks = json!(["https://theirs.example.com/", {"name": "job", "heartbeat": "1h"}]);
    let body = json!({"app_id": "theirs", "name": "unseen name", "health_urls": checks});
    let data = api.admin("POST", "/apps", &body).await.data();
    let key = data["api_key"].as_str().unwrap().to_owned();
    let report = json!({"ok": false, "error": "unseen error"});
    assert_eq!(api.app(&key, "POST", "/health/theirs/job/push", &report).await.status, 200);
    let entry =
        json!({"level": "INFO", "message": "unseen", "request_id": "rid-7", "context": {"unseen": "ctx-7"}});
    let mut record_id = Value::Null;
    for _ in 0..3 {
        record_id = api.app(&key, "POST", "/logs", &entry).await.data()["id"].clone();
    }
    for name in ["a", "b"] {
        failed_file(api, "theirs", &format!("logs/theirs/{name}")).await;
    }
    let cursor = async |path: &str| {
        let page = api.app(&key, "GET", path, &NONE).await.json();
        page["cursor"].as_str().unwrap_or_default().to_owned()
    };
    let known = vec![
        "theirs".to_owned(),
        key[..16].to_owned(),
        record_id.as_str().unwrap().to_owned(),
        cursor("/logs?limit=1").await,
        cursor("/files?limit=1").await,
        "3".to_owned(),
        "logs/theirs/a".to_owned(),
        "https://theirs.example.com/".to_owned(),
        "job".to_owned(),
        "rid-7".to_owned(),
    ];
    assert!(known.iter().all(|value| !value.is_empty()));
    (key, known)
}

/// A request: path, headers, body.
type Try<'a> = (String, Vec<(&'a str, &'a str)>, Value);

#[tokio::test]
async fn no_parameter_path_header_or_field_of_any_route_leads_to_another_apps_data() {
    let api = Api::new();
    let (theirs, known) = app_with_everything(&api).await;
    let mine = api.register("mine").await;
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let their_state = |api: &Api| -> Vec<_> {
        let apps = api
            .cloud
            .apps_now()
            .into_iter()
            .filter(|app| app.app_id.as_str() == "theirs")
            .collect::<Vec<_>>();
        let rows = api.cloud.rows().into_iter().filter(|row| row.key.contains("theirs"));
        apps.iter().map(|app| format!("{app:?}")).chain(rows.map(|row| format!("{row:?}"))).collect()
    };
    let before = their_state(&api);
    let mut asked = 0;
    for (index, (method, pattern, _)) in routes().iter().enumerate() {
        let operation = &document["paths"][pattern][method.as_str().to_lowercase()];
        let (_, _, body) = requests("mine").swap_remove(index);
        let mut tries: Vec<Try<'_>> = Vec::new();
        // Our app must not be deleted, and its settings are not secret.
        let ends_us = *pattern == "/apps/{id}" && *method == http::Method::DELETE;
        let mine_path = path_of(pattern, if ends_us { "theirs" } else { "mine" });
        for value in &known {
            let encoded = encode(value);
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                match parameter["in"].as_str().unwrap() {
                    "query" => tries.push((format!("{mine_path}?{name}={encoded}"), vec![], body.clone())),
                    "path" => {
                        let own = path_of(&format!("{{{name}}}"), "mine");
                        tries.push((mine_path.replacen(&own, &encoded, 1), vec![], body.clone()));
                    }
                    _ => tries.push((mine_path.clone(), vec![(name, value)], body.clone())),
                }
            }
            if *pattern == "/logs" && *method == http::Method::GET {
                tries.push((format!("{mine_path}?context.unseen={encoded}"), vec![], body.clone()));
            }
            for header in ["x-app-id", "idempotency-key", "x-request-id"] {
                tries.push((mine_path.clone(), vec![(header, value)], body.clone()));
            }
            for field in body.as_object().into_iter().flat_map(|body| body.keys()).chain([&"key".to_owned()])
            {
                let mut body = body.clone();
                body[field] = value.as_str().into();
                tries.push((mine_path.clone(), vec![], body));
            }
        }
        for (path, mut headers, body) in tries {
            headers.push(("x-api-key", mine.as_str()));
            let answer = api.call(method.as_str(), &path, &headers, &body).await;
            asked += 1;
            for unseen in UNSEEN {
                let named = path == "/openapi.json";
                assert!(named || !answer.text.contains(unseen), "{method} {path} {body}: {}", answer.text);
            }
            for (name, value) in &answer.headers {
                assert!(!value.to_str().unwrap_or_default().contains("theirs"), "{method} {path}: {name}");
            }
        }
    }
    assert!(asked > 500, "{asked}");
    assert_eq!(their_state(&api), before);
    assert_eq!(api.records(&theirs, "").await.len(), 3);
    assert_eq!(api.app(&theirs, "GET", "/health/theirs", &NONE).await.data()[0]["error"], "unseen error");
}

#[tokio::test]
async fn foreign_and_forged_cursors_lead_to_our_own_records_or_nowhere() {
    let api = Api::new();
    let (mine, theirs) = (api.register("mine").await, api.register("theirs").await);
    let secret = json!({"level": "INFO", "message": "secret-of-theirs", "request_id": "secret-of-theirs"});
    // Cursors: those of the other app, ours with a byte changed, and arbitrary bytes.
    for _ in 0..3 {
        assert_eq!(api.app(&theirs, "POST", "/logs", &secret).await.status, 200);
        assert_eq!(
            api.app(&mine, "POST", "/logs", &json!({"level": "INFO", "message": "mine"})).await.status,
            200
        );
    }
    let own_ids: Vec<_> =
        api.records(&mine, "").await.into_iter().map(|record| record["id"].clone()).collect();
    let cursor_of = async |key: &str| {
        let page = api.app(key, "GET", "/logs?limit=1", &NONE).await.json();
        page["cursor"].as_str().unwrap().to_owned()
    };
    let (own, foreign) = (cursor_of(&mine).await, cursor_of(&theirs).await);
    assert_eq!(api.app(&mine, "GET", &format!("/logs?cursor={foreign}"), &NONE).await.refused().0, 400);
    for at in 0..own.len() {
        let mut forged = own.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        let answer = api.app(&mine, "GET", &format!("/logs?cursor={forged}"), &NONE).await;
        assert!(matches!(answer.status, 200 | 400), "{}", answer.text);
        assert!(!answer.text.contains("\"app_id\""), "{}", answer.text);
        let ours = answer.json()["data"].as_array().cloned().unwrap_or_default();
        assert!(ours.iter().all(|record| own_ids.contains(&record["id"])), "{}", answer.text);
    }
    for garbage in ["x", "%00", "AAAA", "%F0%9F%92%A9", "../../etc/passwd"] {
        let answer = api.app(&mine, "GET", &format!("/logs?cursor={garbage}"), &NONE).await;
        assert_eq!(answer.refused(), (400, "cursor".to_owned()), "{garbage}");
    }
}
