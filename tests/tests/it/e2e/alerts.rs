//! Alerts with the deployed functions and their own rights.

use logferry_tests::stack::{Stack, until};
use serde_json::{Value, json};

use super::health::Inbox;

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
