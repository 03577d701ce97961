//! Keys: scopes, maximum number, and repeated requests.

use std::collections::BTreeSet;

use logferry_core::model::app::Scope;
use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::apps::Apps;
use logferry_sim::T0;
use logferry_tests::api::{ADMIN_KEY, Answer, Api, routes};
use serde_json::{Value, json};

use super::{NONE, is_foreign, is_open, path_of, requests};

async fn mint(api: &Api, key: &str, body: Value) -> String {
    let minted = api.app(key, "POST", "/apps/shop/keys", &body).await;
    assert_eq!(minted.status, 201, "{}", minted.text);
    minted.data()["api_key"].as_str().unwrap().to_owned()
}

fn key_of(answer: &Answer) -> String {
    answer.data()["api_key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_opens_the_routes_of_its_scopes_and_a_refusal_names_the_missing_one() {
    for scope in Scope::ALL {
        let api = Api::new();
        let first = api.register("shop").await;
        let only = mint(&api, &first, json!({"scopes": [scope]})).await;
        let others: Vec<_> = Scope::ALL.into_iter().filter(|other| *other != scope).collect();
        let without = mint(&api, &first, json!({"scopes": others})).await;
        // The app is deleted last.
        let mut all: Vec<_> = routes().into_iter().zip(requests("shop")).collect();
        all.sort_by_key(|((method, pattern, _), _)| *method == "DELETE" && *pattern == "/apps/{id}");
        for ((_, pattern, needs), (method, path, body)) in all {
            let Some(needs) = needs else {
                assert!(is_open(pattern) || (method == "POST" && pattern == "/apps"), "{method} {path}");
                continue;
            };
            let [lacks, has] = if needs == scope { [&without, &only] } else { [&only, &without] };
            let refused = api.app(lacks, &method, &path, &body).await;
            let opened = api.app(has, &method, &path, &body).await;
            let needs = needs.as_str();
            assert_eq!(refused.status, 403, "{method} {path}: {}", refused.text);
            if is_foreign(&path) {
                assert!(refused.text.contains(needs), "{method} {path}: {}", refused.text);
                continue;
            }
            assert_eq!(refused.json()["error"]["details"], json!({"scope": needs}), "{method} {path}");
            assert!(refused.json()["error"]["message"].as_str().unwrap().contains(needs));
            assert_ne!(opened.status, 403, "{method} {path}: {}", opened.text);
        }
    }
}

#[tokio::test]
async fn the_first_key_may_do_everything_and_others_what_is_asked_for_or_write_and_read() {
    let api = Api::new();
    let first = api.register("shop").await;
    let plain = mint(&api, &first, NONE).await;
    let named = mint(&api, &first, json!({"name": "the shipper", "scopes": ["write"]})).await;
    let shown = api.app(&first, "GET", "/apps/shop", &NONE).await;
    let keys = shown.data()["keys"].clone();
    for (key, name, scopes) in [
        (&first, NONE, json!(["write", "read", "manage"])),
        (&plain, NONE, json!(["write", "read"])),
        (&named, json!("the shipper"), json!(["write"])),
    ] {
        let found = keys.as_array().unwrap().iter().find(|shown| shown["key_id"] == key[..16]).unwrap();
        assert_eq!((&found["name"], &found["scopes"]), (&name, &scopes));
        assert_eq!(found["created_at"], rfc3339_ms(T0));
        assert!(!shown.text.contains(&key[16..]) && !shown.text.contains("hash"), "{}", shown.text);
    }
    for (body, field) in [
        (json!({"scopes": []}), "scopes"),
        (json!({"scopes": "write"}), "scopes"),
        (json!({"scopes": ["admin"]}), "scopes"),
        (json!({"scopes": [1]}), "scopes"),
        (json!({"name": ""}), "name"),
        (json!({"name": "x".repeat(201)}), "name"),
        (json!({"ttl": 5}), "ttl"),
        (json!([]), "body"),
    ] {
        let refused = api.app(&first, "POST", "/apps/shop/keys", &body).await;
        assert_eq!(refused.refused(), (400, field.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn there_are_ten_live_keys_at_most_and_a_revoked_one_makes_room() {
    let api = Api::new();
    let first = api.register("shop").await;
    let mut keys = vec![first.clone()];
    for _ in 0..9 {
        keys.push(mint(&api, &first, NONE).await);
    }
    assert_eq!(api.app(&first, "POST", "/apps/shop/keys", &NONE).await.status, 409);
    let path = format!("/apps/shop/keys/{}", &keys[1][..16]);
    assert_eq!(api.app(&first, "DELETE", &path, &NONE).await.status, 200);
    assert_eq!(api.app(&keys[1], "GET", "/logs", &NONE).await.status, 401);
    assert_eq!(api.app(&keys[2], "GET", "/logs", &NONE).await.status, 200);
    assert_eq!(api.app(&first, "DELETE", &path, &NONE).await.status, 404);
    let other = api.register("other").await;
    let foreign = format!("/apps/other/keys/{}", &keys[2][..16]);
    assert_eq!(api.app(&other, "DELETE", &foreign, &NONE).await.status, 404);
    for no_id in ["x".to_owned(), "a".repeat(17), "g".repeat(16), "a".repeat(3_000)] {
        let path = format!("/apps/shop/keys/{no_id}");
        assert_eq!(api.app(&first, "DELETE", &path, &NONE).await.status, 404, "{no_id}");
    }
    mint(&api, &first, NONE).await;
}

#[tokio::test]
async fn a_repeated_mint_shows_the_same_key_and_mints_no_other() {
    let api = Api::new();
    let first = api.register("shop").await;
    let send = async |idempotency: &str, body: &Value| {
        let headers = [("x-api-key", first.as_str()), ("idempotency-key", idempotency)];
        api.call("POST", "/apps/shop/keys", &headers, body).await
    };
    let body = json!({"name": "shipper", "scopes": ["write"]});
    let (minted, at_once) = tokio::join!(send("k", &body), send("k", &body));
    assert_eq!((minted.status, at_once.status), (201, 201), "{}", minted.text);
    api.cloud.clock().advance_ms(60_000);
    let again = send("k", &body).await;
    assert_eq!([&again.text, &at_once.text], [&minted.text; 2]);
    let key = key_of(&minted);
    let stored = api.cloud.find_key(&key[..16]).await.unwrap().unwrap();
    assert!(!format!("{stored:?}").contains(&key[16..]));
    assert_eq!(send("k", &json!({"name": "other"})).await.status, 422);
    let other = key_of(&send("k2", &body).await);
    assert_ne!(other, key);

    // A key of another app is another key.
    let theirs = api.register("theirs").await;
    let headers = [("x-api-key", theirs.as_str()), ("idempotency-key", "k")];
    let foreign = key_of(&api.call("POST", "/apps/theirs/keys", &headers, &body).await);
    let (ids, secrets): (BTreeSet<_>, BTreeSet<_>) =
        [&key, &other, &foreign].into_iter().map(|key| key.split_at(16)).unzip();
    assert_eq!((ids.len(), secrets.len()), (3, 3));

    // A revoked key is not restored: its id is used again, with another secret.
    let path = format!("/apps/shop/keys/{}", &key[..16]);
    assert_eq!(api.app(&first, "DELETE", &path, &NONE).await.status, 200);
    let new_key = key_of(&send("k", &body).await);
    assert_ne!(new_key, key);
    let entry = json!({"level": "INFO", "message": "x"});
    assert_eq!(api.app(&key, "POST", "/logs", &entry).await.status, 401);
    assert_eq!(api.app(&new_key, "POST", "/logs", &entry).await.status, 200);
    assert_eq!(api.app(&first, "GET", "/apps/shop", &NONE).await.data()["keys"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_repeated_registration_shows_the_same_key_and_another_one_is_a_conflict() {
    let api = Api::new();
    let send = async |idempotency: &str, name: &str| {
        let headers = [("x-admin-key", ADMIN_KEY), ("idempotency-key", idempotency)];
        api.call("POST", "/apps", &headers, &json!({"app_id": "shop", "name": name})).await
    };
    let registered = send("k", "Shop").await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    assert_eq!(send("k", "Shop").await.text, registered.text);
    assert_eq!(send("k", "Other").await.status, 422);
    assert_eq!(send("k2", "Shop").await.status, 409);
    assert_eq!(api.admin("POST", "/apps", &json!({"app_id": "shop", "name": "Shop"})).await.status, 409);
    let key = key_of(&registered);
    assert_eq!(api.app(&key, "DELETE", "/apps/shop", &NONE).await.status, 200);
    let new_key = key_of(&send("k", "Shop").await);
    assert_ne!(new_key, key);
    assert_eq!(api.app(&key, "GET", &path_of("/apps/{id}", "shop"), &NONE).await.status, 401);
    assert_eq!(api.app(&new_key, "GET", "/apps/shop", &NONE).await.status, 200);
}
