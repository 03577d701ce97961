//! An erasure with the deployed functions and their own rights.

use logferry_tests::stack::{Stack, gzip, until};
use serde_json::{Value, json};

fn entry(number: i64) -> Value {
    json!({"level": "INFO", "message": format!("entry {number}"), "user": {"id": number % 3}})
}

#[tokio::test]
async fn records_of_files_and_writes_are_erased_with_their_file_and_nothing_is_forwarded_again() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("erase").await;
    let lines: Vec<String> = (0..30).map(|number| entry(number).to_string()).collect();
    let key = format!("logs/{}/with-persons.gz", app.app_id);
    stack.put_object(&key, gzip(lines.join("\n").as_bytes())).await;
    assert_eq!(stack.ended(&app, &key).await["status"], "COMPLETED");
    let logs: Vec<Value> = (0..6).map(entry).collect();
    let written = stack.app(&app, "POST", "/logs", Some(&json!({ "logs": logs }))).await;
    assert_eq!(written.status, 200);
    let forwarded = async || (stack.cloudwatch(&app).await.len() == 36).then_some(());
    until("all events", forwarded).await;

    let wish = json!({"filter": {"field.user.id": 1}, "since": "2020-01-01T00:00:00Z", "until": "2029-01-01T00:00:00Z"});
    let path = format!("/apps/{}/erase", app.app_id);
    let job = stack.app(&app, "POST", &path, Some(&wish)).await;
    assert_eq!(job.status, 202);
    let path = format!("{path}/{}", job.data()["job_id"].as_str().unwrap());
    let erased = until("the first pass", async || {
        stack.invoke("FN_SWEEP", &json!({})).await;
        let job = stack.app(&app, "GET", &path, None).await.data();
        (job["state"] == "verifying").then_some(job)
    })
    .await;
    assert_eq!((&erased["records"], &erased["files"]), (&json!(12), &json!(1)), "{erased}");

    let left = stack.records(&app, "").await;
    let number = |record: &Value| {
        record["message"].as_str().unwrap().trim_start_matches("entry ").parse::<i64>().unwrap()
    };
    assert!(left.len() == 24 && left.iter().all(|record| number(record) % 3 != 1), "{left:?}");
    let stats = stack.app(&app, "GET", &format!("/stats/{}?days=2", app.app_id), None).await.data();
    let counted: i64 = stats.as_array().unwrap().iter().map(|day| day["info"].as_i64().unwrap()).sum();
    assert_eq!(counted, 24);
    let versions = stack
        .aws
        .s3()
        .list_object_versions()
        .bucket(stack.value("BUCKET"))
        .prefix(&key)
        .send()
        .await
        .unwrap();
    assert!(versions.versions().is_empty() && versions.delete_markers().is_empty(), "{versions:?}");
    // Later blocks arrive after the rewritten ones would have.
    assert_eq!(stack.app(&app, "POST", "/logs", Some(&entry(3))).await.status, 200);
    until("the event of a later write", async || (stack.cloudwatch(&app).await.len() >= 37).then_some(()))
        .await;
    assert_eq!(stack.cloudwatch(&app).await.len(), 37);
}
