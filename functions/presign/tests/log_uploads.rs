//! `POST /presigned-url`, over fakes of tables and secrets. Signatures are checked in `logferry_aws`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::sync::atomic::Ordering;

use http::Method;
use logferry_core::model::app::App as Registered;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::object_key::ObjectKey;
use logferry_core::model::quota::{Quota, Used};
use logferry_presign::{JoinVerifier, LogLimits};
use serde_json::{Value, json};
use support::{
    CHIME_ATTENDEE, CHIME_MEETING, CREATED_MS, MAX_BYTES, NOW_MS, OneMeeting, TestApp, answer, app, app_id,
    registered, request, tokens,
};

async fn join_token(meeting: &str, attendee: &str) -> String {
    tokens().mint_join(&registered(), meeting, attendee, 60, NOW_MS).await.unwrap().token
}

async fn ask(app: &TestApp, headers: &[(&'static str, &str)], body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = request(Method::POST, "/presigned-url", headers, &body);
    answer(&app.handle(&request, NOW_MS).await)
}

/// Sends a request as the attendee of a valid token.
async fn ask_as_attendee(app: &TestApp, body: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {}", join_token("meeting-1", "attendee-1").await);
    ask(app, &[("authorization", &bearer)], body).await
}

fn granted_keys(app: &TestApp) -> Vec<String> {
    app.grants.granted.lock().unwrap().iter().map(|grant| grant.key.clone()).collect()
}

#[tokio::test]
async fn an_attendee_gets_a_url_for_a_key_that_the_ledger_knows() {
    let app = app();
    let body = json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"});
    let (status, answer) = ask_as_attendee(&app, &body).await;
    assert_eq!(status, 200, "{answer}");

    let key = answer["key"].as_str().unwrap();
    let Ok(ObjectKey::Chime(parsed)) = ObjectKey::parse(key) else { panic!("{key}") };
    assert_eq!(
        (parsed.region.as_str(), parsed.account.as_str(), parsed.meeting.as_str(), parsed.attendee.as_str()),
        ("eu-west-1", "123456789012", "meeting-1", "attendee-1")
    );
    assert_eq!((parsed.filename.as_str(), parsed.ulid.unwrap().timestamp_ms()), ("logs.gz", NOW_MS as u64));

    let url = answer["presignedUrl"].as_str().unwrap();
    assert!(url.starts_with(&format!("https://bucket.s3.eu-west-1.amazonaws.com/{key}?")), "{url}");
    assert!(url.contains("x-amz-meta-meetingid=meeting-1&x-amz-meta-attendeeid=attendee-1&"), "{url}");
    assert!(url.contains("X-Amz-SignedHeaders=content-type%3Bhost"), "{url}");
    assert_eq!(answer["method"], "PUT");
    assert_eq!(answer["headers"], json!({"Content-Type": "application/gzip"}));
    assert_eq!(answer["expiresIn"], 300);
    assert_eq!(answer["maxBytes"], MAX_BYTES);
    assert_eq!(answer["post"]["fields"]["key"], key);
    assert_eq!(answer["post"]["fields"]["x-amz-meta-meetingid"], "meeting-1");
    let policy = BASE64_STANDARD.decode(answer["post"]["fields"]["policy"].as_str().unwrap()).unwrap();
    let policy: Value = serde_json::from_slice(&policy).unwrap();
    let conditions = policy["conditions"].as_array().unwrap();
    assert!(conditions.contains(&json!(["content-length-range", 1, MAX_BYTES])), "{policy}");

    let grants = app.grants.granted.lock().unwrap();
    let [grant] = grants.as_slice() else { panic!("{grants:?}") };
    assert_eq!((grant.key.as_str(), grant.bucket.as_str(), &grant.app_id), (key, "bucket", &app_id()));
    assert_eq!(grant.meeting, Some(("meeting-1".to_owned(), "attendee-1".to_owned())));
    assert_eq!((grant.size_bytes, grant.expires_ms), (None, NOW_MS + 300_000));
}

#[tokio::test]
async fn a_service_gets_a_url_under_its_own_prefix() {
    let app = app();
    let key = app.apps.key.reveal().to_owned();
    for body in [Value::Null, json!({}), json!({"filename": "logs.gz", "contentLength": null})] {
        let (status, answer) = ask(&app, &[("x-api-key", &key)], &body).await;
        assert_eq!(status, 200, "{answer}");
        let key = answer["key"].as_str().unwrap();
        assert!(key.starts_with("logs/my-app/2025/04/01/") && key.ends_with("-logs.gz"), "{key}");
        assert!(!answer.to_string().contains("x-amz-meta-"), "{answer}");
    }
    assert_eq!(granted_keys(&app).len(), 3);
}

#[tokio::test]
async fn a_declared_length_is_signed_and_noted() {
    let app = app();
    let body = json!({"meetingId": "meeting-1", "attendeeId": "attendee-1", "filename": "a.txt",
        "contentLength": MAX_BYTES});
    let (status, answer) = ask_as_attendee(&app, &body).await;
    assert_eq!(status, 200, "{answer}");
    let url = answer["presignedUrl"].as_str().unwrap();
    assert!(url.contains("X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost"), "{url}");
    assert_eq!(app.grants.granted.lock().unwrap()[0].size_bytes, Some(MAX_BYTES));
}

#[tokio::test]
async fn every_bad_body_is_a_400_or_413_that_names_its_field_and_grants_nothing() {
    let app = app();
    let body = |field: &str, value: Value| {
        let mut body = json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"});
        body[field] = value;
        body
    };
    for (body, status, field) in [
        (body("meetingId", json!("../x")), 400, "meetingId"),
        (body("meetingId", json!("")), 400, "meetingId"),
        (body("meetingId", json!("a/b")), 400, "meetingId"),
        (body("meetingId", json!("x".repeat(65))), 400, "meetingId"),
        (body("meetingId", json!(7)), 400, "meetingId"),
        (body("meetingId", Value::Null), 400, "meetingId"),
        (body("attendeeId", json!("ä")), 400, "attendeeId"),
        (body("attendeeId", json!("a b")), 400, "attendeeId"),
        (body("filename", json!("../logs.gz")), 400, "filename"),
        (body("filename", json!(".gz")), 400, "filename"),
        (body("filename", json!("a\nb")), 400, "filename"),
        (body("contentLength", json!(0)), 400, "contentLength"),
        (body("contentLength", json!(-1)), 400, "contentLength"),
        (body("contentLength", json!(1.5)), 400, "contentLength"),
        (body("contentLength", json!("5")), 400, "contentLength"),
        (body("contentLength", json!(MAX_BYTES + 1)), 413, "contentLength"),
        (body("content_length", json!(0)), 400, "contentLength"),
        (body("meeting_id", json!("meeting-2")), 400, "meeting_id"),
        (body("app", json!("other")), 400, "app"),
        (json!([]), 400, "body"),
        (json!("x"), 400, "body"),
        (Value::Null, 400, "meetingId"),
    ] {
        let (got, answer) = ask_as_attendee(&app, &body).await;
        assert_eq!((got, &answer["error"]["details"]["field"]), (status, &json!(field)), "{body}: {answer}");
        assert_eq!(answer["ok"], false);
    }
    let bearer = format!("Bearer {}", join_token("meeting-1", "attendee-1").await);
    let request = request(Method::POST, "/presigned-url", &[("authorization", &bearer)], "{\"meetingId");
    assert_eq!(answer(&app.handle(&request, NOW_MS).await).0, 400);
    assert!(granted_keys(&app).is_empty());
}

#[tokio::test]
async fn names_in_snake_case_are_taken_as_well_but_not_both() {
    let app = app();
    let body = json!({"meeting_id": "meeting-1", "attendee_id": "attendee-1", "content_length": 5});
    assert_eq!(ask_as_attendee(&app, &body).await.0, 200);
    let both = json!({"meetingId": "meeting-1", "meeting_id": "meeting-1", "attendeeId": "attendee-1"});
    let (status, answer) = ask_as_attendee(&app, &both).await;
    assert_eq!((status, &answer["error"]["details"]["field"]), (400, &json!("meeting_id")));
}

#[tokio::test]
async fn every_bad_credential_is_a_401_or_403_and_grants_nothing() {
    let app = app();
    let body = json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"});
    let good = join_token("meeting-1", "attendee-1").await;
    let key = app.apps.key.reveal().to_owned();
    let bearer = |token: &str| format!("Bearer {token}");
    let mint = |ttl, at| tokens_of("my-app", ttl, at);
    let expired = mint(60, NOW_MS - 60_000).await;
    let of_unknown_app = tokens_of("other-app", 60, NOW_MS).await;
    let of_earlier_app = mint(600, CREATED_MS - 1_000).await;
    let upload = tokens().mint_upload(&registered(), "jo", None, 60, NOW_MS).await.unwrap().token;
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);

    for (what, headers, status) in [
        ("nothing", vec![], 401),
        ("basic", vec![("authorization", "Basic abc".to_owned())], 401),
        ("no token", vec![("authorization", "Bearer".to_owned())], 401),
        ("empty token", vec![("authorization", "Bearer ".to_owned())], 401),
        ("garbage", vec![("authorization", bearer("a.b.c"))], 401),
        ("unsigned", vec![("authorization", bearer(&unsigned))], 401),
        ("expired", vec![("authorization", bearer(&expired))], 401),
        ("upload token", vec![("authorization", bearer(&upload))], 403),
        ("unknown app", vec![("authorization", bearer(&of_unknown_app))], 403),
        ("earlier app", vec![("authorization", bearer(&of_earlier_app))], 403),
        ("other meeting", vec![("authorization", bearer(&join_token("other", "attendee-1").await))], 403),
        ("other attendee", vec![("authorization", bearer(&join_token("meeting-1", "o").await))], 403),
        ("wrong key", vec![("x-api-key", "0".repeat(48))], 401),
        ("no key at all", vec![("x-api-key", String::new())], 401),
        ("app id alone", vec![("x-app-id", "my-app".to_owned())], 401),
        ("other app", vec![("x-api-key", key.clone()), ("x-app-id", "other".to_owned())], 403),
        ("both", vec![("x-api-key", key.clone()), ("authorization", bearer(&good))], 400),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (got, answer) = ask(&app, &headers, &body).await;
        assert_eq!(got, status, "{what}: {answer}");
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
    }
    assert!(granted_keys(&app).is_empty());
}

async fn tokens_of(app: &str, ttl_secs: u32, now_ms: i64) -> String {
    let created_ms = CREATED_MS.min(now_ms);
    let app = Registered { app_id: app.parse().unwrap(), registered_ms: created_ms, ..registered() };
    tokens().mint_join(&app, "meeting-1", "attendee-1", ttl_secs, now_ms).await.unwrap().token
}

#[tokio::test]
async fn without_a_ledger_row_no_url_is_handed_out() {
    let body = json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"});
    for (failures, status, granted) in [
        (vec![FaultClass::Transient], 503, 0),
        (vec![FaultClass::Denied], 500, 0),
        (vec![FaultClass::Conflict], 200, 1),
        (vec![FaultClass::Conflict, FaultClass::Conflict], 500, 0),
    ] {
        let app = app();
        app.grants.failures.lock().unwrap().clone_from(&failures);
        let (got, answer) = ask_as_attendee(&app, &body).await;
        assert_eq!((got, granted_keys(&app).len()), (status, granted), "{failures:?}: {answer}");
        assert_eq!(answer.get("presignedUrl").is_some(), status == 200);
    }
}

#[tokio::test]
async fn two_requests_never_get_the_same_key() {
    let app = app();
    let body = json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"});
    for _ in 0..50 {
        assert_eq!(ask_as_attendee(&app, &body).await.0, 200);
    }
    let mut keys = granted_keys(&app);
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 50);
}

fn chime_app() -> TestApp {
    let join_verifier = JoinVerifier::Chime { attendees: OneMeeting::default(), app_id: app_id() };
    let mut app = app();
    app.join_verifier = join_verifier;
    app
}

fn asked(app: &TestApp) -> u32 {
    let JoinVerifier::Chime { attendees, .. } = &app.join_verifier else { panic!("no Chime") };
    attendees.asked.load(Ordering::Relaxed)
}

#[tokio::test]
async fn chime_is_not_asked_about_what_cannot_be_its_own() {
    let app = chime_app();
    let long = format!("Bearer {}", "x".repeat(2_049));
    for (token, meeting, attendee) in [
        ("Bearer chime-join-token", "meeting-1", CHIME_ATTENDEE),
        ("Bearer chime-join-token", CHIME_MEETING, "attendee-1"),
        ("Bearer chime-join-token", &CHIME_MEETING.replace('-', "a"), CHIME_ATTENDEE),
        ("Bearer chime-join-token", &CHIME_MEETING.replace('b', "g"), CHIME_ATTENDEE),
        ("Bearer x", CHIME_MEETING, CHIME_ATTENDEE),
        ("Bearer two words", CHIME_MEETING, CHIME_ATTENDEE),
        ("Bearer a.b.c", CHIME_MEETING, CHIME_ATTENDEE),
        (&long, CHIME_MEETING, CHIME_ATTENDEE),
    ] {
        let body = json!({"meetingId": meeting, "attendeeId": attendee});
        assert_eq!(
            ask(&app, &[("authorization", token)], &body).await.0,
            401,
            "{token} {meeting} {attendee}"
        );
    }
    assert_eq!(asked(&app), 0);
}

#[tokio::test]
async fn calls_of_chime_are_counted_and_one_meeting_does_not_use_up_those_of_others() {
    let mut app = chime_app();
    app.log_limits.per_minute = 2_010;
    let knock = async |meeting: &str, times: u32| {
        let body = json!({"meetingId": meeting, "attendeeId": CHIME_ATTENDEE});
        let mut refused = 0;
        for _ in 0..times {
            let (status, _) = ask(&app, &[("authorization", "Bearer guess")], &body).await;
            refused += u32::from(status == 429);
        }
        (asked(&app), refused)
    };
    assert_eq!(knock(CHIME_MEETING, 2_005).await, (2_000, 5), "of one meeting");
    assert_eq!(knock(&CHIME_MEETING.replace('0', "1"), 15).await, (2_010, 5), "of all");
}

#[tokio::test]
async fn urls_are_counted_per_holder_and_per_app_and_grant_nothing_beyond() {
    let mut app = app();
    app.log_limits = LogLimits { per_minute_and_holder: 3, per_minute: 5, ..app.log_limits };
    let body = |attendee: &str| json!({"meetingId": "meeting-1", "attendeeId": attendee});
    let as_attendee = async |app: &TestApp, attendee: &str, now_ms: i64| {
        let token =
            tokens().mint_join(&registered(), "meeting-1", attendee, 600, NOW_MS).await.unwrap().token;
        let bearer = format!("Bearer {token}");
        let request = request(
            Method::POST,
            "/presigned-url",
            &[("authorization", &bearer)],
            &body(attendee).to_string(),
        );
        app.handle(&request, now_ms).await
    };
    let mut statuses = Vec::new();
    for attendee in ["a", "a", "a", "a", "a", "b", "c", "c"] {
        statuses.push(as_attendee(&app, attendee, NOW_MS).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429, 200, 200, 429]);
    assert_eq!(granted_keys(&app).len(), 5);
    let refused = as_attendee(&app, "a", NOW_MS).await;
    // NOW_MS is 1.581 s into its minute.
    assert_eq!(refused.headers["retry-after"], "59");
    assert_eq!(answer(&refused).1["error"]["code"], "RATE_LIMITED");
    assert_eq!(as_attendee(&app, "a", NOW_MS + 59_000).await.status, 200, "the next minute");

    // An API key is a holder too.
    app.log_limits.per_minute = 100;
    let key = app.apps.key.reveal().to_owned();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(&app, &[("x-api-key", &key)], &Value::Null).await.0);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    // Requests refused for other reasons are not counted.
    app.log_limits = LogLimits { per_minute_and_holder: 1, per_minute: 1, ..app.log_limits };
    app.sessions = Default::default();
    for _ in 0..3 {
        assert_eq!(ask(&app, &[("x-api-key", &key)], &json!({"contentLength": 0})).await.0, 400);
    }
    assert_eq!(ask(&app, &[("x-api-key", &key)], &Value::Null).await.0, 200);
}

#[tokio::test]
async fn no_url_is_handed_out_for_a_file_that_the_quota_of_the_day_does_not_allow() {
    let mut app = app();
    app.log_limits.quota = Quota::of(1_000, 10, 2);
    let key = app.apps.key.reveal().to_owned();
    for (used, length, which) in [
        ((999, 9, 1), None, None),
        ((1_000, 0, 0), None, Some("bytes")),
        ((900, 0, 0), Some(100), None),
        ((900, 0, 0), Some(101), Some("bytes")),
        ((0, 10, 0), None, Some("records")),
        ((0, 0, 2), None, Some("files")),
    ] {
        let (bytes, records, files) = used;
        *app.grants.used.lock().unwrap() = Used { bytes, records, files };
        let granted = granted_keys(&app).len();
        let body = json!({"contentLength": length}).to_string();
        let request = request(Method::POST, "/presigned-url", &[("x-api-key", &key)], &body);
        let response = app.handle(&request, NOW_MS).await;
        let Some(which) = which else {
            assert_eq!(response.status, 200, "{used:?}: {}", response.body);
            continue;
        };
        assert_eq!(response.status, 429, "{used:?}");
        // 2025-04-01T18:34:01.581Z: 19,558.419 s are left of the day.
        assert_eq!(response.headers["retry-after"], "19559");
        let error = answer(&response).1["error"].take();
        assert_eq!((&error["code"], &error["details"]["quota"]), (&json!("QUOTA_EXCEEDED"), &json!(which)));
        assert_eq!(granted_keys(&app).len(), granted);
    }
}

#[tokio::test]
async fn a_deployment_may_insist_on_the_length_of_files() {
    let mut app = app();
    app.log_limits.require_length = true;
    let key = app.apps.key.reveal().to_owned();
    let (status, refusal) = ask(&app, &[("x-api-key", &key)], &Value::Null).await;
    assert_eq!((status, &refusal["error"]["details"]["field"]), (400, &json!("contentLength")));
    assert_eq!(ask(&app, &[("x-api-key", &key)], &json!({"contentLength": 5})).await.0, 200);
}

#[tokio::test]
async fn a_grant_names_the_registration_of_its_app_whatever_the_clock_says() {
    let mut app = app();
    app.log_limits.quota = Quota::NONE;
    app.apps.app = Some(Registered { registered_ms: NOW_MS + 40, ..registered() });
    let key = app.apps.key.reveal().to_owned();
    assert_eq!(ask(&app, &[("x-api-key", &key)], &Value::Null).await.0, 200);
    assert_eq!(app.grants.granted.lock().unwrap()[0].registered_ms, NOW_MS + 40);
}

#[tokio::test]
async fn a_token_of_a_former_app_of_the_same_id_opens_nothing_even_within_its_second() {
    let mut app = app();
    app.apps.app = Some(Registered { registered_ms: NOW_MS, ..registered() });
    let former = Registered { registered_ms: NOW_MS - 1, ..registered() };
    let body = json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"});
    let token = tokens().mint_join(&former, "meeting-1", "attendee-1", 60, NOW_MS).await.unwrap().token;
    assert_eq!(ask(&app, &[("authorization", &format!("Bearer {token}"))], &body).await.0, 403);
    let upload = tokens().mint_upload(&former, "jo", None, 60, NOW_MS).await.unwrap().token;
    let list = request(Method::GET, "/uploads", &[("authorization", &format!("Bearer {upload}"))], "");
    assert_eq!(answer(&app.handle(&list, NOW_MS).await).0, 403);
}

#[tokio::test]
async fn where_chime_vouches_for_attendees_its_token_opens_and_no_other_does() {
    let app = chime_app();
    let body = |attendee: &str| json!({"meetingId": CHIME_MEETING, "attendeeId": attendee});
    let own = format!("Bearer {}", join_token(CHIME_MEETING, CHIME_ATTENDEE).await);
    let other = CHIME_ATTENDEE.replace('5', "6");
    for (token, attendee, status) in [
        ("Bearer chime-join-token", CHIME_ATTENDEE, 200),
        ("Bearer chime-join-token", &other, 401),
        ("Bearer chime-join-toke", CHIME_ATTENDEE, 401),
        ("Bearer ", &other, 401),
        (&own, CHIME_ATTENDEE, 401),
    ] {
        let (got, answer) = ask(&app, &[("authorization", token)], &body(attendee)).await;
        assert_eq!(got, status, "{token} {attendee}: {answer}");
    }
    assert_eq!(app.grants.granted.lock().unwrap()[0].app_id, app_id());
}

#[tokio::test]
async fn other_paths_and_methods_are_404_and_405() {
    let app = app();
    for (method, path, status) in [
        (Method::PUT, "/presigned-url", 405),
        (Method::POST, "/presigned-url/", 404),
        (Method::POST, "/presigned-url?filename=a.gz", 400),
        (Method::POST, "/", 404),
    ] {
        let response = app.handle(&request(method, path, &[], ""), NOW_MS).await;
        assert_eq!(answer(&response).0, status, "{path}");
    }
}

/// `sam local invoke` sends the sample events.
#[tokio::test]
async fn the_sample_events_are_understood() {
    let app = app();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/presign")).unwrap() {
        let path = entry.unwrap().path();
        let event = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let (status, body) = answer(&app.handle(&event, NOW_MS).await);
        assert_eq!(status, 401, "a made-up token or key: {}: {body}", path.display());
    }
}
