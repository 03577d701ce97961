//! Alerts over HTTP: what is accepted, shown and refused.

use logferry_core::model::fault::FaultClass;
use logferry_sim::How;
use logferry_tests::api::Api;
use serde_json::{Value, json};

use super::NONE;

fn wish() -> Value {
    json!({"name": "errors", "filter": {"level": "error", "context.shop": 7}, "threshold": 3,
           "window_minutes": 5, "notify": {"webhook": "https://hooks.example.com/T0/s3cr3t"}})
}

/// The wish with one member changed.
fn with(name: &str, value: Value) -> Value {
    let mut wish = wish();
    wish[name] = value;
    wish
}

#[tokio::test]
async fn an_alert_is_created_shown_and_deleted() {
    let api = Api::new();
    let key = api.register("shop").await;
    let created = api.app(&key, "POST", "/apps/shop/alerts", &wish()).await;
    assert_eq!(created.status, 201);
    let mut shown = created.data();
    let signing_key = shown.as_object_mut().unwrap().remove("signing_key").unwrap();
    assert!(signing_key.as_str().unwrap().starts_with("whsec_"), "shown once");
    assert_eq!(
        shown,
        json!({"name": "errors", "filter": {"level": "error", "context.shop": "7"}, "threshold": 3,
               "window_minutes": 5, "quiet_minutes": 5, "notify": {"webhook": "https://hooks.example.com/(stored)"},
               "created_at": shown["created_at"], "state": "ok", "since": null, "history": []})
    );
    // The request whose answer was lost.
    let again = api.app(&key, "POST", "/apps/shop/alerts", &wish()).await;
    assert_eq!((again.status, again.data()), (200, shown.clone()));
    let other = api.app(&key, "POST", "/apps/shop/alerts", &with("threshold", json!(4))).await;
    assert_eq!(other.status, 409);
    assert_eq!(api.app(&key, "GET", "/apps/shop/alerts", &NONE).await.data(), json!([shown]));
    let deleted = api.app(&key, "DELETE", "/apps/shop/alerts/errors", &NONE).await;
    assert_eq!(deleted.data(), json!({"deleted": true}));
    assert_eq!(api.app(&key, "DELETE", "/apps/shop/alerts/errors", &NONE).await.status, 404);
    assert_eq!(api.app(&key, "GET", "/apps/shop/alerts", &NONE).await.data(), json!([]));
}

/// The SDK retries a conditional write whose response was lost, and its condition fails then.
#[tokio::test]
async fn a_change_whose_response_was_lost_is_answered_as_if_it_had_come() {
    let (mut created, mut deleted) = (0, 0);
    for number in 0..12 {
        let api = Api::new();
        let key = api.register("shop").await;
        let conflict = || {
            api.cloud.fail_call(api.cloud.calls() + number, How::ReplyLost(FaultClass::Conflict));
        };
        conflict();
        let answer = api.app(&key, "POST", "/apps/shop/alerts", &wish()).await;
        assert_ne!(answer.status, 200, "call {number}");
        if answer.status == 201 {
            assert!(answer.data()["signing_key"].is_string());
            created += api.cloud.faults_hit();
        }
        api.cloud.stop_faults();
        api.app(&key, "POST", "/apps/shop/alerts", &wish()).await;
        let before = api.cloud.faults_hit();
        conflict();
        let answer = api.app(&key, "DELETE", "/apps/shop/alerts/errors", &NONE).await;
        assert_ne!(answer.status, 404, "call {number}");
        if answer.status == 200 {
            deleted += api.cloud.faults_hit() - before;
        }
    }
    assert!(created > 0 && deleted > 0, "{created}, {deleted}");
}

#[tokio::test]
async fn an_app_has_at_most_ten_alerts_also_when_they_are_created_at_once() {
    let api = Api::new();
    let key = api.register("shop").await;
    let create = async |number: usize| {
        let wish = with("name", json!(format!("alert-{number}")));
        api.app(&key, "POST", "/apps/shop/alerts", &wish).await.status
    };
    for number in 0..8 {
        assert_eq!(create(number).await, 201);
    }
    let statuses = futures::future::join_all((8..12).map(create)).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 2, "{statuses:?}");
    assert_eq!(api.app(&key, "GET", "/apps/shop/alerts", &NONE).await.data().as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn bad_alerts_are_400_and_name_the_field() {
    let api = Api::new();
    let key = api.register("shop").await;
    for (name, value, field) in [
        ("name", json!(null), "name"),
        ("name", json!("Too Many"), "name"),
        ("name", json!("a/b"), "name"),
        ("threshold", json!(0), "threshold"),
        ("threshold", json!(1_000_001), "threshold"),
        ("threshold", json!("3"), "threshold"),
        ("threshold", json!(null), "threshold"),
        ("window_minutes", json!(0), "window_minutes"),
        ("window_minutes", json!(1_441), "window_minutes"),
        ("quiet_minutes", json!(0), "quiet_minutes"),
        ("quiet_minutes", json!(10_081), "quiet_minutes"),
        ("filter", json!("level=ERROR"), "filter"),
        ("filter", json!({"level": "LOUD"}), "filter.level"),
        ("filter", json!({"lvl_": "ERROR"}), "filter.lvl_"),
        ("filter", json!({"since": "2024-03-01T00:00:00Z"}), "filter.since"),
        ("filter", json!({"context.": "x"}), "filter.context."),
        ("filter", json!({"search": ["a"]}), "filter.search"),
        ("filter", json!({"field": {"a": null}}), "filter.field.a"),
        ("filter", json!({"field": {"a": 1}, "field.a": 2}), "filter.field.a"),
        ("filter", json!({"search": "x".repeat(2_000)}), "filter"),
        ("notify", json!(null), "notify"),
        ("notify", json!({"sns": false}), "notify"),
        ("notify", json!({"sns": true, "webhook": "https://a.example/"}), "notify"),
        ("notify", json!({"email": "a@example.com"}), "notify"),
        ("notify", json!({"webhook": ""}), "notify.webhook"),
        ("notify", json!({"webhook": "ftp://a.example/"}), "notify.webhook"),
        ("notify", json!({"webhook": "https://user:pw@a.example/"}), "notify.webhook"),
        ("notify", json!({"webhook": "http://127.0.0.1/"}), "notify.webhook"),
        ("notify", json!({"webhook": "http://169.254.169.254/latest/meta-data"}), "notify.webhook"),
        ("notify", json!({"webhook": "https://a.example:8443/"}), "notify.webhook"),
        ("colour", json!("red"), "colour"),
    ] {
        let answer = api.app(&key, "POST", "/apps/shop/alerts", &with(name, value.clone())).await;
        assert_eq!(answer.refused(), (400, field.to_owned()), "{name}: {value}");
    }
    assert_eq!(api.app(&key, "GET", "/apps/shop/alerts", &NONE).await.data(), json!([]));
}

#[tokio::test]
async fn a_private_webhook_cannot_hide_in_any_spelling() {
    let api = Api::new();
    let key = api.register("shop").await;
    for (form, _) in logferry_health_checks::guard::forms::FORMS {
        let wish = with("notify", json!({"webhook": form.replace("{p}", "80")}));
        let answer = api.app(&key, "POST", "/apps/shop/alerts", &wish).await;
        assert_eq!(answer.refused(), (400, "notify.webhook".to_owned()), "{form}");
    }
}
