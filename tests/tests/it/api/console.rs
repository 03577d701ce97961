//! The console's files: what is served, with which headers, and nothing outside their folder.

use std::io::Read as _;

use logferry_tests::api::Api;

use super::NONE;

#[tokio::test]
async fn the_page_and_its_files_are_served_without_a_credential() {
    let api = Api::new();
    let found = api.call("GET", "/console", &[], &NONE).await;
    assert_eq!((found.status, &found.headers["location"]), (302, &"console/".parse().unwrap()));
    for (path, kind, cache) in [
        ("/console/", "text/html; charset=utf-8", "no-cache"),
        ("/console/index.html", "text/html; charset=utf-8", "no-cache"),
        ("/v1/console/", "text/html; charset=utf-8", "no-cache"),
        ("/console/app-0.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("/console/icon.svg", "image/svg+xml", "no-cache"),
    ] {
        let found = api.call("GET", path, &[], &NONE).await;
        let header = |name: &str| found.headers[name].to_str().unwrap().to_owned();
        assert_eq!((found.status, header("content-type").as_str()), (200, kind), "{path}");
        assert_eq!(
            (header("cache-control").as_str(), header("referrer-policy").as_str()),
            (cache, "no-referrer")
        );
        assert_eq!(
            (header("x-frame-options"), header("x-content-type-options")),
            ("DENY".into(), "nosniff".into())
        );
    }
}

#[tokio::test]
async fn the_page_may_run_its_own_scripts_only_and_make_no_html_of_strings() {
    let found = Api::new().call("GET", "/console/", &[], &NONE).await;
    let policy = found.headers["content-security-policy"].to_str().unwrap();
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split("; ").any(|found| found == rule), "{rule} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn no_path_leads_out_of_the_folder() {
    let api = Api::new();
    for path in [
        "/console/..%2Fpino%2Fservice.ndjson.gz",
        "/console/../Cargo.toml",
        "/console/%2Fetc%2Fpasswd",
        "/console/.",
        "/console/..",
        "/console/%00",
        "/console/INDEX.HTML",
        "/console/app-0.js/x",
    ] {
        assert_eq!(api.call("GET", path, &[], &NONE).await.status, 404, "{path}");
    }
    assert_eq!(api.call("POST", "/console/", &[], &NONE).await.status, 405);
}

#[tokio::test]
async fn a_service_without_a_console_has_no_such_path_and_a_package_without_its_files_says_how_to_build_them()
{
    let off = Api::with_console(None);
    let found = off.call("GET", "/console/", &[], &NONE).await;
    assert_eq!((found.status, found.text.contains("no such path")), (404, true));
    let empty = Api::with_console(Some("/nonexistent".into()));
    for path in ["/console", "/console/", "/console/app-0.js"] {
        let found = empty.call("GET", path, &[], &NONE).await;
        assert_eq!(
            (found.status, found.text.contains("make console")),
            (404, true),
            "{path}: {}",
            found.text
        );
    }
}

#[tokio::test]
async fn answers_are_compressed_for_clients_that_accept_it() {
    let api = Api::new();
    let key = api.register("shop").await;
    let entries: Vec<_> =
        (0..100).map(|n| serde_json::json!({"level": "INFO", "message": format!("record {n}")})).collect();
    let written = api.app(&key, "POST", "/logs", &serde_json::json!({"logs": entries})).await;
    assert_eq!(written.status, 200);
    let plain = api.app(&key, "GET", "/logs", &NONE).await;
    assert!(!plain.headers.contains_key("content-encoding"));
    let headers = [("x-api-key", key.as_str()), ("accept-encoding", "gzip, br")];
    let (headers, body) = api.bytes("GET", "/logs", &headers).await;
    assert_eq!(
        (&headers["content-encoding"], &headers["vary"]),
        (&"gzip".parse().unwrap(), &"Accept-Encoding".parse().unwrap())
    );
    assert!(body.len() * 3 < plain.text.len(), "{} bytes of {}", body.len(), plain.text.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*body).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain.text);
}
