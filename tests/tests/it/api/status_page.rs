//! The public status page: only with the app's consent, and without anything that runs.

use logferry_tests::api::Api;
use serde_json::json;

use super::NONE;

#[tokio::test]
async fn an_app_with_public_badges_has_a_page_for_everyone() {
    let api = Api::new();
    let key = api.register("shop").await;
    let other = api.register("private").await;
    for (key, app, public) in [(&key, "shop", true), (&other, "private", false)] {
        let body = json!({"public_badges": public, "urls": [{"name": "nightly", "heartbeat": "26h"}]});
        assert_eq!(api.app(key, "POST", &format!("/apps/{app}/health-urls"), &body).await.status, 200);
    }
    let page = api.call("GET", "/status/shop?utm_source=mail", &[], &NONE).await;
    assert_eq!(
        (page.status, &page.headers["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(page.text.contains("<h1>shop</h1>") && page.text.contains("nightly"), "{}", page.text);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    assert_eq!(page.headers["cache-control"], "max-age=60");
    assert!(!page.text.contains("<script"));
    // Of an app without consent, nothing is said that would not be said of no app at all.
    let private = api.call("GET", "/status/private", &[], &NONE).await;
    let none = api.call("GET", "/status/nothing", &[], &NONE).await;
    assert_eq!((private.status, &private.text), (404, &none.text));
    for path in ["/status/SHOP", "/status/..", "/status/a%2Fb"] {
        assert_eq!(api.call("GET", path, &[], &NONE).await.status, 404, "{path}");
    }
}
