//! View tokens read what one app has, and change nothing.

use logferry_core::model::app::Scope;
use logferry_tests::api::{Answer, Api, routes};
use serde_json::{Value, json};

use super::{NONE, is_foreign, requests};

async fn token(api: &Api, key: &str, body: &Value) -> String {
    let minted = api.app(key, "POST", "/apps/shop/view-tokens", body).await.data();
    minted["token"].as_str().unwrap().to_owned()
}

async fn with_token(api: &Api, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    api.call(method, path, &[("authorization", bearer.as_str())], body).await
}

#[tokio::test]
async fn a_view_token_opens_every_route_that_reads_and_no_other() {
    let api = Api::new();
    let key = api.register("shop").await;
    let token = token(&api, &key, &NONE).await;
    for ((_, pattern, needs), (method, path, body)) in routes().into_iter().zip(requests("shop")) {
        // A badge without a key is public or not there.
        let Some(needs) = needs.filter(|_| !pattern.contains("/badges/")) else { continue };
        let answer = with_token(&api, &token, &method, &path, &body).await;
        match needs {
            // Other protocols know keys alone.
            _ if is_foreign(&path) => assert_eq!(answer.status, 401, "{method} {path}"),
            Scope::Read => assert!(![401, 403].contains(&answer.status), "{method} {path}: {}", answer.text),
            _ => {
                assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text);
                assert_eq!(answer.json()["error"]["details"], json!({"scope": needs}), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_scheme_of_a_view_token_is_read_in_any_case() {
    let api = Api::new();
    let key = api.register("shop").await;
    let token = token(&api, &key, &NONE).await;
    for (value, status) in [
        (format!("bearer {token}"), 200),
        (format!("BEARER  {token} "), 200),
        (format!("Token {token}"), 401),
        (format!("bearer{token}"), 401),
    ] {
        let answer = api.call("GET", "/logs", &[("authorization", value.as_str())], &NONE).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_view_token_reads_its_own_app_alone_and_not_a_later_one_of_the_same_id() {
    let api = Api::new();
    let key = api.register("shop").await;
    api.register("other").await;
    let token = token(&api, &key, &json!({"ttl_secs": 60})).await;
    let read = async |path: &str| with_token(&api, &token, "GET", path, &NONE).await.status;
    assert_eq!(with_token(&api, &token, "GET", "/apps", &NONE).await.data(), json!(["shop"]));
    assert_eq!(
        (read("/logs").await, read("/logs?app_id=other").await, read("/apps/other").await),
        (200, 403, 403)
    );
    assert_eq!(api.app(&key, "DELETE", "/apps/shop", &NONE).await.status, 200);
    assert_eq!(read("/logs").await, 401);
    api.register("shop").await;
    assert_eq!(read("/logs").await, 401);
}

#[tokio::test]
async fn tokens_of_other_kinds_and_forged_or_expired_ones_are_401() {
    let api = Api::new();
    let key = api.register("shop").await;
    let join = json!({"meetingId": "m", "attendeeId": "a"});
    let upload = json!({"sub": "s"});
    for (path, body) in [("join-tokens", &join), ("upload-tokens", &upload)] {
        let minted = api.app(&key, "POST", &format!("/apps/shop/{path}"), body).await.data();
        let other = minted["token"].as_str().unwrap();
        assert_eq!(with_token(&api, other, "GET", "/logs", &NONE).await.status, 401, "{path}");
    }
    let good = token(&api, &key, &NONE).await;
    let forged = format!("{}A", &good[..good.len() - 1]);
    for bad in [forged.as_str(), "a.b.c", ".."] {
        assert_eq!(with_token(&api, bad, "GET", "/logs", &NONE).await.status, 401, "{bad}");
    }
    // A key decides, whatever else is sent.
    let headers = [("x-api-key", key.as_str()), ("authorization", "Bearer a.b.c")];
    assert_eq!(api.call("GET", "/logs", &headers, &NONE).await.status, 200);
    for ttl in [json!(0), json!(604_801), json!("60")] {
        let refused = api.app(&key, "POST", "/apps/shop/view-tokens", &json!({"ttl_secs": ttl})).await;
        assert_eq!(refused.refused(), (400, "ttl_secs".to_owned()));
    }
}
