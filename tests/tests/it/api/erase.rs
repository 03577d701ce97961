//! Erasure over HTTP: preview, job, what remains, refusals.

use logferry_core::ports::erasures::Erasures;
use logferry_tests::api::Api;
use serde_json::{Value, json};

use super::NONE;

fn wish() -> Value {
    json!({"filter": {"field.userId": "u-7"}, "since": "2025-10-01T00:00:00Z", "until": "2025-11-01T00:00:00Z"})
}

/// The wish with one member changed.
fn with(name: &str, value: Value) -> Value {
    let mut wish = wish();
    wish[name] = value;
    wish
}

#[tokio::test]
async fn a_preview_and_a_job_say_what_they_do_not_reach() {
    let api = Api::new();
    let key = api.register("shop").await;
    let logs: Vec<Value> = (0..6)
        .map(|n| json!({"level": "INFO", "message": "m", "userId": format!("u-{}", n % 2 + 6)}))
        .collect();
    assert_eq!(api.app(&key, "POST", "/logs", &json!({ "logs": logs })).await.status, 200);
    let preview = api.app(&key, "POST", "/apps/shop/erase", &with("dry_run", json!(true))).await;
    assert_eq!(preview.status, 200);
    let preview = preview.data();
    assert_eq!((&preview["records"], &preview["complete"]), (&json!(3), &json!(true)));
    assert_eq!(api.records(&key, "").await.len(), 6, "nothing is erased");
    let remains = &preview["remains"];
    assert_eq!(remains[0]["place"], "cloudwatch_logs");
    assert_eq!(remains[0]["name"], "/logferry/shop");
    assert_eq!(remains[0]["until"], "2025-11-08T08:53:20.000Z", "30 days from now");

    let job = api.app(&key, "POST", "/apps/shop/erase", &wish()).await;
    assert_eq!(job.status, 202);
    let job = job.data();
    assert_eq!((&job["state"], &job["completed_at"]), (&json!("pending"), &NONE));
    let again = api.app(&key, "POST", "/apps/shop/erase", &wish()).await;
    assert_eq!((again.status, again.data()), (202, job.clone()), "the same request is the same job");
    let path = format!("/apps/shop/erase/{}", job["job_id"].as_str().unwrap());
    assert_eq!(api.app(&key, "GET", &path, &NONE).await.data(), job);
    // A file that it could not remove.
    let mut held = api.cloud.erasures().await.unwrap().remove(0);
    held.not_reached.insert("old-bucket/logs/shop/a.gz".to_owned());
    assert!(api.cloud.save_erasure(&held, held.due_ms).await.unwrap());
    let shown = api.app(&key, "GET", &path, &NONE).await.data();
    let last = shown["remains"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["place"], &last["name"], &last["until"]),
        (&json!("uploaded_files"), &json!("old-bucket/logs/shop/a.gz"), &NONE)
    );
    for unknown in ["/apps/shop/erase/x", "/apps/shop/erase/0123456789abcdef0123456789abcdef"] {
        assert_eq!(api.app(&key, "GET", unknown, &NONE).await.status, 404);
    }
}

#[tokio::test]
async fn an_app_has_at_most_five_unfinished_erasures() {
    let api = Api::new();
    let key = api.register("shop").await;
    let other = api.register("forum").await;
    assert_eq!(api.app(&other, "POST", "/apps/forum/erase", &wish()).await.status, 202);
    let mut jobs = Vec::new();
    for number in 0..7 {
        let wish = with("filter", json!({"field.userId": number}));
        let answer = api.app(&key, "POST", "/apps/shop/erase", &wish).await;
        if number < 5 {
            assert_eq!(answer.status, 202);
            jobs.push(answer.data());
        } else {
            assert_eq!(answer.status, 409);
            let message = answer.json()["error"]["message"].to_string();
            assert!(jobs.iter().all(|job| message.contains(job["job_id"].as_str().unwrap())), "{message}");
        }
    }
    let mut listed = api.app(&key, "GET", "/apps/shop/erase", &NONE).await.data();
    let by_id = |job: &Value| job["job_id"].to_string();
    listed.as_array_mut().unwrap().sort_by_key(by_id);
    jobs.sort_by_key(by_id);
    assert_eq!(listed, Value::from(jobs), "its own, and not those of another app");
}

#[tokio::test]
async fn bad_erasures_are_400_and_name_the_field() {
    let api = Api::new();
    let key = api.register("shop").await;
    for (name, value, field) in [
        ("filter", json!(null), "filter"),
        ("filter", json!({}), "filter"),
        ("filter", json!({"search": ""}), "filter"),
        ("filter", json!({"severities": "ERROR"}), "filter.severities"),
        ("filter", json!({"level": "LOUD"}), "filter.level"),
        ("since", json!(null), "since"),
        ("since", json!("yesterday"), "since"),
        ("until", json!("2025-10-01T00:00:00Z"), "until"),
        ("until", json!("2099-10-01T00:00:00Z"), "until"),
        ("dry_run", json!("yes"), "dry_run"),
        ("all", json!(true), "all"),
    ] {
        let answer = api.app(&key, "POST", "/apps/shop/erase", &with(name, value.clone())).await;
        assert_eq!(answer.refused(), (400, field.to_owned()), "{name}: {value}");
    }
}

#[tokio::test]
async fn a_prune_and_a_deletion_say_what_stays() {
    let api = Api::new();
    let key = api.register("shop").await;
    let pruned = api.app(&key, "POST", "/apps/shop/prune", &json!({"before": "2025-01-01T00:00:00Z"})).await;
    let places = |answer: &Value| -> Vec<String> {
        let remains = answer["remains"].as_array().unwrap();
        remains.iter().map(|place| place["place"].as_str().unwrap().to_owned()).collect()
    };
    let expected = ["cloudwatch_logs", "uploaded_files", "failure_bucket"];
    assert_eq!(places(&pruned.data()), expected);
    assert_eq!(places(&api.app(&key, "DELETE", "/apps/shop", &NONE).await.data()), expected);
}
