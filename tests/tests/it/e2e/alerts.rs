//! Alerts with the deployed functions and their own rights.

use logferry_tests::stack::{PATIENCE, Stack, until};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::health::Inbox;
use crate::alerts::rules::one_request;

#[tokio::test]
async fn errors_of_an_app_reach_the_topic_once_and_are_resolved_when_quiet() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("alerts").await;
    let inbox = Inbox::subscribed(&stack).await;
    let path = format!("/apps/{}/alerts", app.app_id);
    let alert = json!({"name": "errors", "filter": {"level": "ERROR", "field": {"code": ">=500"}}, "threshold": 3,
                       "window_minutes": 60, "quiet_minutes": 1, "notify": {"sns": true}});
    assert_eq!(stack.app(&app, "POST", &path, Some(&alert)).await.status, 201);
    for code in [500, 404, 503, 500, 500] {
        let entry = json!({"level": "ERROR", "message": format!("answered {code}"), "code": code});
        assert_eq!(stack.app(&app, "POST", "/logs", Some(&entry)).await.status, 200);
    }
    let messages = until("the notification", async || {
        let messages = inbox.about(&app.app_id).await;
        (!messages.is_empty()).then_some(messages)
    })
    .await;
    let [fired] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((&fired["state"], &fired["threshold"]), (&json!("firing"), &json!(3)));
    let shown = async || stack.app(&app, "GET", &path, None).await.data()[0].take();
    assert_eq!(shown().await["state"], "firing");
    // The schedule finds that it has become quiet; here the event of a wake-up does.
    until("the resolution", async || {
        stack.invoke("FN_HEALTH", &json!({"logferry": "alerts"})).await;
        (shown().await["state"] == "ok").then_some(())
    })
    .await;
    let messages = until("the second notification", async || {
        let messages = inbox.about(&app.app_id).await;
        (messages.len() > 1).then_some(messages)
    })
    .await;
    let states: Vec<&Value> = messages.iter().map(|message| &message["state"]).collect();
    assert_eq!(states, ["firing", "ok"]);
    let deleted = stack.app(&app, "DELETE", &format!("{path}/errors"), None).await;
    assert_eq!(deleted.status, 200);
}

#[tokio::test]
async fn errors_of_an_app_reach_its_webhook() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("webhook").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let alert = json!({"name": "errors", "filter": {"level": "ERROR"}, "threshold": 3, "window_minutes": 60,
                       "notify": {"webhook": url}});
    let path = format!("/apps/{}/alerts", app.app_id);
    assert_eq!(stack.app(&app, "POST", &path, Some(&alert)).await.status, 201);
    for number in 1..=3 {
        let entry = json!({"level": "ERROR", "message": format!("failed {number}")});
        assert_eq!(stack.app(&app, "POST", "/logs", Some(&entry)).await.status, 200);
    }
    let (headers, body) = tokio::time::timeout(PATIENCE, one_request(&listener)).await.unwrap();
    let fired: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&fired["alert"], &fired["state"], &fired["count"]),
        (&json!("errors"), &json!("firing"), &json!(3))
    );
    assert_eq!(fired["samples"].as_array().map(Vec::len), Some(3), "{body}");
    assert_eq!(headers["webhook-id"], fired["id"].as_str().unwrap());
    assert!(headers["webhook-signature"].starts_with("v1,"), "{headers:?}");
    assert_eq!(stack.app(&app, "DELETE", &format!("{path}/errors"), None).await.status, 200);
}
