//! The stack's own logs contain no secrets and no records, even at the most verbose level: texts are
//! planted through every route and trigger and then searched in the logs.

use std::collections::BTreeMap;

use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::clock::Clock as _;
use logferry_service::clock::SystemClock;
use logferry_tests::function::deployed_environment;
use logferry_tests::stack::{Answer, Stack, TestApp, encode, gzip, until};
use serde_json::{Value, json};

const FUNCTIONS: [&str; 7] = ["presign", "ingest", "flush", "api", "rpc", "health", "sweep"];

/// Texts that must not be found, each with the place where it was planted.
#[derive(Default)]
struct Planted(BTreeMap<String, String>);

impl Planted {
    /// Returns a unique text.
    fn text(&mut self, place: &str) -> String {
        let text = format!("planted-{}", ulid::Ulid::generate());
        self.known(place, &text);
        text
    }

    /// Returns 32 unique hex characters.
    fn hex(&mut self, place: &str) -> String {
        let text = format!("{:032x}", u128::from(ulid::Ulid::generate()));
        self.known(place, &text);
        text
    }

    fn known(&mut self, place: &str, text: &str) {
        assert!(text.len() >= 16, "{place}: {text:?} may be found by chance");
        self.0.insert(text.to_owned(), place.to_owned());
    }

    /// Plants the secret part of a token.
    fn token(&mut self, place: &str, token: &str) {
        let (_, signature) = token.rsplit_once('.').unwrap();
        self.known(place, signature);
    }

    /// Plants the signature of a presigned URL.
    fn url(&mut self, place: &str, url: &str) {
        let (_, signature) = url.split_once("X-Amz-Signature=").unwrap();
        self.known(place, signature.split('&').next().unwrap());
    }
}

fn data<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap_or_else(|| panic!("no {field}: {answer}"))
}

/// Calls every route of the api correctly, with a planted text in each text field.
async fn use_the_service(stack: &Stack, app: &TestApp, planted: &mut Planted) {
    let id = &app.app_id;
    planted.known("admin key", stack.value("ADMIN_KEY"));
    planted.known("API key", &app.api_key[16..]);
    let ok = |answer: Answer| assert!(answer.status < 300, "{}: {}", answer.status, answer.text);

    let idempotency_key = planted.text("Idempotency-Key");
    let headers = [("x-api-key", app.api_key.as_str()), ("idempotency-key", idempotency_key.as_str())];
    let minted = stack.call("POST", &format!("/v1/apps/{id}/keys"), &headers, Some(&json!({}))).await.data();
    planted.known("minted key", &data(&minted, "api_key")[16..]);
    let path = format!("/apps/{id}");
    ok(stack.admin("PATCH", &path, Some(&json!({"name": planted.text("name of an app")}))).await);

    let request_id = planted.text("X-Request-ID");
    let headers = [("x-api-key", app.api_key.as_str()), ("x-request-id", request_id.as_str())];
    let entry = json!({"level": "INFO", "message": planted.text("record by POST /logs"),
        "context": {"user": planted.text("context of a record")}});
    ok(stack.call("POST", "/logs", &headers, Some(&entry)).await);
    let entries = json!({"logs": [{"level": "WARN", "message": planted.text("batch by POST /logs")}]});
    ok(stack.app(app, "POST", "/v1/logs", Some(&entries)).await);
    let log = json!({"logs": [{"message": planted.text("record by Chime's logger"), "timestampMs": 0}]});
    ok(stack.call("POST", &format!("/chime/logs?key={}", app.api_key), &[], Some(&log)).await);
    let asked = planted.text("search");
    let query = format!("/logs?search={asked}&context.user={asked}&request_id={asked}");
    ok(stack.app(app, "GET", &query, None).await);
    ok(stack.app(app, "GET", &format!("/files?key={asked}"), None).await);

    let checks = json!({"urls": [
        {"name": "web", "url": format!("{}/health", stack.value("API_URL")), "method": "POST",
         "headers": {"Authorization": format!("Bearer {}", planted.text("Authorization of a check"))},
         "body": planted.text("body of a check")},
        {"name": "job", "heartbeat": "1h"},
    ]});
    ok(stack.app(app, "POST", &format!("/apps/{id}/health-urls"), Some(&checks)).await);
    let report = json!({"ok": false, "error": planted.text("report of a job")});
    ok(stack.app(app, "POST", &format!("/health/{id}/job/push"), Some(&report)).await);
    for path in [format!("/health/{id}"), format!("/stats/{id}"), path] {
        ok(stack.app(app, "GET", &path, None).await);
    }
}

/// Calls every route of the api with planted texts in wrong places: path segments, query string,
/// credentials, body.
async fn misuse_the_service(stack: &Stack, app: &TestApp, planted: &mut Planted) {
    let all = logferry_tests::api::routes();
    let mut routes: Vec<_> =
        all.iter().map(|(method, pattern, _)| (method.as_str(), (*pattern).to_owned())).collect();
    routes.extend([
        ("POST", "/presigned-url".to_owned()),
        ("GET", "/uploads".to_owned()),
        ("POST", "/s3/multipart".to_owned()),
        ("GET", "/s3/params".to_owned()),
        ("DELETE", "/s3/multipart/{id}".to_owned()),
        ("POST", "/t/{id}/s3/multipart".to_owned()),
        ("GET", "/t/{id}/s3/multipart/{name}/1".to_owned()),
        ("GET", "/nowhere/{id}".to_owned()),
        ("PUT", "/logs".to_owned()),
    ]);
    for (method, pattern) in routes {
        let at = |what: &str| format!("{what} of {method} {pattern}");
        let mut path = pattern.clone();
        for segment in ["{id}", "{key_id}", "{file}", "{name}"] {
            if path.contains(segment) {
                path = path.replace(segment, &planted.text(&at("path")));
            }
        }
        let path = format!("{path}?key={}", planted.text(&at("query string")));
        let body = json!({"logs": planted.text(&at("body"))});
        let wrong_key = format!("{}{}", &app.api_key[..16], planted.hex(&at("wrong key")));
        let bearer = format!("Bearer {}", planted.text(&at("Authorization")));
        let (no_key, wrong_admin) =
            (planted.text(&at("malformed key")), planted.text(&at("wrong admin key")));
        for (name, value) in [
            ("x-api-key", app.api_key.as_str()),
            ("x-api-key", wrong_key.as_str()),
            ("x-api-key", no_key.as_str()),
            ("x-admin-key", wrong_admin.as_str()),
            ("authorization", bearer.as_str()),
        ] {
            let answer = stack.call(method, &path, &[(name, value)], Some(&body)).await;
            assert!(answer.status < 500, "{method} {path}: {}", answer.text);
        }
    }
}

/// Uploads files in every way: good and bad records, sessions by header and by path.
async fn upload(stack: &Stack, app: &TestApp, planted: &mut Planted) -> Vec<String> {
    let id = &app.app_id;
    let file = |planted: &mut Planted, place: &str| {
        let (good, bad) = (planted.text(place), planted.text(&format!("bad record {place}")));
        gzip(format!("{{\"msg\":\"{good}\"}}\n{{\"msg\":\"{bad}\",,}}\n").as_bytes())
    };
    let meeting = json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"});
    let minted = stack.app(app, "POST", &format!("/apps/{id}/join-tokens"), Some(&meeting)).await.data();
    planted.token("join token", data(&minted, "token"));
    let bearer = format!("Bearer {}", data(&minted, "token"));
    let mut keys = Vec::new();
    for (credential, place) in [
        (("authorization", bearer.as_str()), "file of a browser"),
        (("x-api-key", app.api_key.as_str()), "file of a service"),
    ] {
        let granted = stack.call("POST", "/presigned-url", &[credential], Some(&meeting)).await.json();
        let url = data(&granted, "presignedUrl");
        planted.url("presigned URL", url);
        let put = stack.put_url(url, file(planted, place)).await;
        assert_eq!(put.status, 200, "{}", put.text);
        keys.push(data(&granted, "key").to_owned());
    }
    let own = format!("logs/{id}/by-iam.gz");
    stack.put_object(&own, file(planted, "file by IAM")).await;
    keys.push(own);

    let subject = json!({"sub": "someone"});
    let minted = stack.app(app, "POST", &format!("/apps/{id}/upload-tokens"), Some(&subject)).await.data();
    let token = data(&minted, "token");
    planted.token("upload token", token);
    let bearer = format!("Bearer {token}");
    for (base, headers) in
        [("/s3".to_owned(), vec![("authorization", bearer.as_str())]), (format!("/t/{token}/s3"), vec![])]
    {
        let wish = json!({"filename": "film.mp4", "type": "video/mp4", "size": 5,
            "metadata": {"name": planted.text("metadata of an upload")}});
        let created = stack.call("POST", &format!("{base}/multipart"), &headers, Some(&wish)).await.json();
        let (upload_id, key) = (data(&created, "uploadId"), encode(data(&created, "key")));
        let session = format!("{base}/multipart/{}", encode(upload_id));
        let signed = stack.call("GET", &format!("{session}/1?key={key}&size=5"), &headers, None).await.json();
        planted.url("URL of a part", data(&signed, "url"));
        let listed = stack.call("GET", &format!("{session}?key={key}"), &headers, None).await;
        let ended = stack.call("DELETE", &format!("{session}?key={key}"), &headers, None).await;
        assert_eq!((listed.status, ended.status), (200, 200), "{}", ended.text);
    }
    keys
}

async fn call_directly(stack: &Stack, app: &TestApp, planted: &mut Planted) {
    let id = &app.app_id;
    let entry = json!({"level": "INFO", "message": planted.text("record by rpc")});
    for event in [
        json!({"method": "log", "app_id": id, "entry": entry}),
        json!({"method": "query", "app_id": id, "filters": {"search": planted.text("search by rpc")}}),
        json!({"method": planted.text("method of rpc"), "app_id": id}),
        json!({"method": "log", "app_id": id, "entry": {"level": planted.text("level by rpc")}}),
    ] {
        stack.invoke("FN_RPC", &event).await;
    }
    // As the schedule does, which fires for the same slot.
    let now = rfc3339_ms(SystemClock.now_ms());
    let event = json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail-type": "Scheduled Event",
        "source": "aws.events", "account": "000000000000", "time": now, "region": "us-east-1",
        "resources": [], "detail": {},
    });
    stack.invoke("FN_HEALTH", &event).await;
    stack.invoke("FN_SWEEP", &event).await;
    let probed = stack.app(app, "GET", &format!("/health/{id}?url=web"), None).await.data();
    assert_ne!(probed, json!([]), "the check was not probed");
}

/// Events of a page. The emulator's pages have no token for the next one.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html>
const MAX_PAGE_EVENTS: usize = 10_000;

/// Whether a line of a group has a text.
async fn is_logged(stack: &Stack, group: &str, text: &str) -> bool {
    let logs = stack.aws.logs();
    let found = logs.filter_log_events().log_group_name(group).filter_pattern(format!("\"{text}\""));
    let pages = found.into_paginator().send().collect::<Result<Vec<_>, _>>().await.unwrap();
    pages.iter().any(|page| !page.events().is_empty())
}

/// Returns all lines of all groups since then, except those with the apps' records.
async fn own_logs(stack: &Stack, since_ms: i64) -> Vec<(String, String)> {
    let logs = stack.aws.logs();
    let groups = logs.describe_log_groups().into_paginator().items().send();
    let groups = groups.collect::<Result<Vec<_>, _>>().await.unwrap();
    let mut lines = Vec::new();
    for group in groups.into_iter().filter_map(|group| group.log_group_name) {
        if group.starts_with("/logferry/") {
            continue;
        }
        let mut from_ms = since_ms;
        loop {
            let events = logs.filter_log_events().log_group_name(&group).start_time(from_ms);
            let pages = events.into_paginator().send().collect::<Result<Vec<_>, _>>().await.unwrap();
            let events: Vec<_> = pages.into_iter().flat_map(|page| page.events.unwrap_or_default()).collect();
            let last_ms = events.last().and_then(|event| event.timestamp);
            let whole = events.len() < MAX_PAGE_EVENTS;
            lines.extend(
                events.into_iter().filter_map(|event| event.message).map(|line| (group.clone(), line)),
            );
            match last_ms.filter(|_| !whole) {
                Some(last_ms) => from_ms = last_ms,
                None => break,
            }
        }
    }
    lines
}

#[tokio::test]
async fn no_secret_token_body_or_record_is_logged_at_the_noisiest_level() {
    let Some(stack) = Stack::running() else { return };
    for function in FUNCTIONS {
        let level = deployed_environment(&stack, function).await.remove("LOG_LEVEL");
        assert_eq!(level.as_deref(), Some("trace"), "{function}");
    }
    let (begun_ms, mut planted) = (SystemClock.now_ms(), Planted::default());
    let app = stack.new_app("secrets").await;
    use_the_service(&stack, &app, &mut planted).await;
    misuse_the_service(&stack, &app, &mut planted).await;
    let keys = upload(&stack, &app, &mut planted).await;
    for key in &keys {
        let row = stack.ended(&app, key).await;
        assert_eq!((&row["counts"]["ok"], &row["counts"]["quarantined"]), (&json!(1), &json!(1)), "{row}");
    }
    call_directly(&stack, &app, &mut planted).await;
    until("the records to be in CloudWatch Logs", async || {
        let sent = stack.cloudwatch(&app).await;
        (sent.len() >= 3 + keys.len()).then_some(())
    })
    .await;
    // The last line of each of the two; their earlier lines are visible when it is.
    let path = format!("/apps/{}/keys", app.app_id);
    let last = [
        stack.call("POST", &path, &[("x-api-key", "x")], None).await,
        stack.call("POST", "/presigned-url", &[("x-api-key", "x")], None).await,
    ];
    let last = last.map(|answer| {
        assert_eq!(answer.status, 401, "{}", answer.text);
        let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(answer.json()["request_id"], json!(id));
        id
    });
    // All lines are read once, since other tests fill the same groups meanwhile.
    for (function, text) in
        ["API", "PRESIGN"].iter().zip(&last).chain(keys.iter().map(|key| (&"INGEST", key)))
    {
        let group = format!("/aws/lambda/{}", stack.value(&format!("FN_{function}")));
        until("the last lines", async || is_logged(&stack, &group, text).await.then_some(())).await;
    }
    let lines = own_logs(&stack, begun_ms).await;
    for function in FUNCTIONS {
        let group = format!("/aws/lambda/{}", stack.value(&format!("FN_{}", function.to_uppercase())));
        assert!(lines.iter().any(|(name, _)| *name == group), "no line of {group}");
    }
    let found: Vec<_> = lines
        .iter()
        .flat_map(|(group, line)| {
            let found = planted.0.iter().filter(|(text, _)| line.contains(text.as_str()));
            found.map(move |(_, place)| format!("{group}: {place}: {line:.300}"))
        })
        .collect();
    assert!(found.is_empty(), "{} lines, such as {}", found.len(), found[0]);
    assert!(planted.0.len() > 200, "{}", planted.0.len());
}

#[tokio::test]
async fn changes_and_refusals_are_in_the_audit_log() {
    let Some(stack) = Stack::running() else { return };
    let begun_ms = SystemClock.now_ms();
    let app = stack.new_app("audit").await;
    let path = format!("/v1/apps/{}", app.app_id);
    let key_id = app.api_key[..16].to_owned();
    let mut expected = Vec::new();
    for (headers, method, path, body, line) in [
        (
            ("x-api-key", app.api_key.as_str()),
            "PATCH",
            path.clone(),
            json!({"name": "x"}),
            json!(["PATCH /apps/{id}", app.app_id, key_id, 200]),
        ),
        (
            ("x-admin-key", stack.value("ADMIN_KEY")),
            "POST",
            format!("{path}/prune"),
            json!({"before": 1_700_000_000_000_i64}),
            json!(["POST /apps/{id}/prune", app.app_id, "admin", 200]),
        ),
        (
            ("x-admin-key", "guess"),
            "GET",
            "/v1/apps".to_owned(),
            Value::Null,
            json!(["GET /apps", null, "admin", 401]),
        ),
        (
            ("x-api-key", app.api_key.as_str()),
            "GET",
            "/apps/another".to_owned(),
            Value::Null,
            json!(["GET /apps/{id}", app.app_id, key_id, 403]),
        ),
        (
            ("x-api-key", app.api_key.as_str()),
            "POST",
            "/presigned-url".to_owned(),
            json!({}),
            json!(["POST /presigned-url", app.app_id, key_id, 200]),
        ),
        (
            ("authorization", "Bearer x.y.z"),
            "POST",
            "/s3/multipart".to_owned(),
            json!({}),
            json!(["POST /s3/multipart", null, "token", 401]),
        ),
    ] {
        let body = (!body.is_null()).then_some(body);
        let answer = stack.call(method, &path, &[headers], body.as_ref()).await;
        let request_id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        expected.push((request_id, line));
    }
    let entries = until("the audit lines", async || {
        let lines = own_logs(&stack, begun_ms).await;
        let entries: BTreeMap<_, _> = lines
            .iter()
            .filter_map(|(_, line)| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["target"] == "audit")
            .map(|line| (line["audit.request_id"].as_str().unwrap_or_default().to_owned(), line))
            .collect();
        expected.iter().all(|(id, _)| entries.contains_key(id)).then_some(entries)
    })
    .await;
    for (request_id, line) in expected {
        let entry = &entries[&request_id];
        let said =
            ["audit.action", "audit.app", "audit.actor", "audit.status"].map(|field| entry[field].clone());
        assert_eq!(json!(said), line, "{entry}");
        assert!(entry["audit.source_ip"].as_str().is_some_and(|ip| !ip.is_empty()), "{entry}");
    }
}

#[tokio::test]
async fn answers_of_both_functions_carry_what_browsers_and_monitors_need() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("manners").await;
    let key = [("x-api-key", app.api_key.as_str())];
    for path in ["/", "/health", "/v1/logs", "/uploads", "/v1/uploads", "/openapi.json"] {
        let got = stack.call("GET", path, &key, None).await;
        let head = stack.call("HEAD", path, &key, None).await;
        assert_eq!((got.status, head.status, head.text.as_str()), (200, 200, ""), "{path}");
        for answer in [&got, &head] {
            assert!(answer.headers.contains_key("x-request-id"), "{path}");
            assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
            assert_eq!(answer.headers["content-type"], "application/json", "{path}");
        }
    }
    for (method, path) in [("GET", "/v1/logs"), ("POST", "/presigned-url"), ("GET", "/v1/uploads")] {
        let refused = stack.call(method, path, &[("x-api-key", "wrong")], None).await;
        assert_eq!(refused.status, 401, "{method} {path}");
        assert!(refused.headers.contains_key("www-authenticate"), "{method} {path}");
        assert_eq!(refused.headers["x-request-id"].to_str().unwrap(), refused.json()["request_id"]);
    }
}
