//! `GET /presigned-url?key`, over fakes of tables and S3.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::atomic::Ordering;

use http::Method;
use logferry_core::ledger::row::{FileRow, FileStatus, UsedBy};
use logferry_core::logfile::outcome::{FileCounts, Reason, ReasonCode};
use logferry_core::model::object::ObjectVersion;
use logferry_presign::{JoinVerifier, LogLimits};
use serde_json::{Value, json};
use support::{
    CHIME_ATTENDEE, CHIME_MEETING, CREATED_MS, NOW_MS, OneMeeting, TestApp, answer, app, app_id, registered,
    request, tokens,
};

async fn bearer(meeting: &str, attendee: &str) -> String {
    let minted = tokens().mint_join(&registered(), meeting, attendee, 3_600, NOW_MS).await.unwrap();
    format!("Bearer {}", minted.token)
}

async fn grant(app: &TestApp, headers: &[(&'static str, &str)], body: &Value) -> String {
    let request = request(Method::POST, "/presigned-url", headers, &body.to_string());
    let (status, answer) = answer(&app.handle(&request, NOW_MS).await);
    assert_eq!(status, 200, "{answer}");
    answer["key"].as_str().unwrap().to_owned()
}

async fn state(app: &TestApp, headers: &[(&'static str, &str)], query: &str, later_ms: i64) -> (u16, Value) {
    let request = request(Method::GET, &format!("/presigned-url{query}"), headers, "");
    answer(&app.handle(&request, NOW_MS + later_ms).await)
}

/// Stores the row of a file as ingest leaves it.
fn ingested(app: &TestApp, key: &str, status: FileStatus, reason: Option<Reason>) {
    let mut granted = app.grants.granted.lock().unwrap();
    let grant = granted.iter_mut().find(|grant| grant.key == key).unwrap();
    let counts = FileCounts { ok: 2, quarantined: 1, pruned: 0, bytes: 50 };
    let row = FileRow { status, reason, counts, ..grant.waiting_row() };
    grant.used = Some(UsedBy { version: ObjectVersion::Id("v-1".to_owned()), etag: None, size_bytes: None });
    app.grants.rows.lock().unwrap().insert(key.to_owned(), row);
}

#[tokio::test]
async fn a_file_is_followed_from_its_grant_to_its_end() {
    let app = app();
    let bearer = bearer("meeting-1", "attendee-1").await;
    let headers = [("authorization", bearer.as_str())];
    let key = grant(&app, &headers, &json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"})).await;
    let query = format!("?key={key}");

    let (status, pending) = state(&app, &headers, &query, 100_500).await;
    assert_eq!(status, 200, "{pending}");
    let expected = json!({"key": key, "received": false, "status": "PENDING", "expiresIn": 199});
    assert_eq!(pending, expected);
    let expired = json!({"key": key, "received": false, "status": "PENDING", "expiresIn": 0});
    assert_eq!(state(&app, &headers, &query, 300_000).await.1, expired);

    app.multipart.put_object(&key, 5);
    let stored = json!({"key": key, "received": true, "status": "PENDING", "expiresIn": 300});
    assert_eq!(state(&app, &headers, &query, 0).await.1, stored);

    ingested(&app, &key, FileStatus::Processing, None);
    let looks = app.multipart.looks.load(Ordering::Relaxed);
    let processing = json!({"key": key, "received": true, "status": "PROCESSING", "expiresIn": 300});
    assert_eq!(state(&app, &headers, &query, 0).await.1, processing);
    ingested(&app, &key, FileStatus::Completed, None);
    let completed = json!({"key": key, "received": true, "status": "COMPLETED", "expiresIn": 300,
        "counts": {"ok": 2, "quarantined": 1, "pruned": 0, "bytes": 50}});
    assert_eq!(state(&app, &headers, &query, 0).await.1, completed);
    let reason = Reason { code: ReasonCode::GzipCorrupt, message: "at byte 7".to_owned() };
    ingested(&app, &key, FileStatus::Failed, Some(reason));
    let (_, failed) = state(&app, &headers, &query, 0).await;
    assert_eq!((&failed["received"], &failed["status"]), (&json!(true), &json!("FAILED")));
    assert_eq!(failed["reason"], json!({"code": "GZIP_CORRUPT", "message": "at byte 7"}));
    assert_eq!(app.multipart.looks.load(Ordering::Relaxed), looks, "the ledger knows, S3 is not asked");
}

#[tokio::test]
async fn a_url_that_expired_unused_says_so() {
    let app = app();
    let api_key = app.apps.key.reveal().to_owned();
    let headers = [("x-api-key", api_key.as_str())];
    let key = grant(&app, &headers, &json!({})).await;
    let reason = Reason { code: ReasonCode::NeverUploaded, message: "unused".to_owned() };
    let row = app.grants.granted.lock().unwrap()[0].waiting_row();
    let row = FileRow { status: FileStatus::Failed, reason: Some(reason), ..row };
    app.grants.rows.lock().unwrap().insert(key.clone(), row);
    let expected = json!({"key": key, "received": false, "status": "FAILED", "expiresIn": 0,
        "reason": {"code": "NEVER_UPLOADED", "message": "unused"}});
    assert_eq!(state(&app, &headers, &format!("?key={key}"), 400_000).await, (200, expected));
}

#[tokio::test]
async fn a_key_that_was_not_granted_to_the_sender_is_404() {
    let app = app();
    let api_key = app.apps.key.reveal().to_owned();
    let service = [("x-api-key", api_key.as_str())];
    let (own, other) = (bearer("meeting-1", "attendee-1").await, bearer("meeting-1", "attendee-2").await);
    let body = json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"});
    let of_attendee = grant(&app, &[("authorization", &own)], &body).await;
    let of_service = grant(&app, &service, &json!({})).await;
    for (headers, key, status) in [
        (("authorization", own.as_str()), of_attendee.as_str(), 200),
        (("authorization", &other), &of_attendee, 404),
        (("authorization", &own), &of_service, 404),
        (service[0], &of_service, 200),
        (service[0], &of_attendee, 200),
        (service[0], "logs/my-app/x.gz", 404),
        (service[0], "uploads/my-app/service/01JQSTRY8DF3BQ4YDT9SFQRQ2B/x.mp4", 404),
        (service[0], "nonsense", 404),
        (service[0], "", 404),
        (service[0], &format!("logs/my-app/{}", "x".repeat(2_000)), 404),
    ] {
        let (got, answer) = state(&app, &[headers], &format!("?key={key}"), 0).await;
        assert_eq!(got, status, "{key}: {answer}");
    }
    // A later app with the same id.
    app.grants.granted.lock().unwrap()[1].registered_ms = CREATED_MS - 1;
    assert_eq!(state(&app, &service, &format!("?key={of_service}"), 0).await.0, 404);
    app.grants.granted.lock().unwrap()[0].app_id = "other".parse().unwrap();
    assert_eq!(state(&app, &service, &format!("?key={of_attendee}"), 0).await.0, 404);
}

#[tokio::test]
async fn bad_requests_and_credentials_are_refused_by_name() {
    let app = app();
    let api_key = app.apps.key.reveal().to_owned();
    let service = [("x-api-key", api_key.as_str())];
    for query in ["", "?key=a&key=b", "?key=a&x=y"] {
        assert_eq!(state(&app, &service, query, 0).await.0, 400, "{query}");
    }
    let headers: [&[(&'static str, &str)]; 3] =
        [&[], &[("x-api-key", "x")], &[("authorization", "Bearer nonsense")]];
    for headers in headers {
        assert_eq!(state(&app, headers, "?key=logs/my-app/x", 0).await.0, 401, "{headers:?}");
    }
}

#[tokio::test]
async fn questions_count_as_requests_of_their_holder() {
    let mut app = app();
    app.log_limits = LogLimits { per_minute_and_holder: 3, ..LogLimits::default() };
    let api_key = app.apps.key.reveal().to_owned();
    let headers = [("x-api-key", api_key.as_str())];
    let key = grant(&app, &headers, &json!({})).await;
    let query = format!("?key={key}");
    assert_eq!(state(&app, &headers, &query, 0).await.0, 200);
    assert_eq!(state(&app, &headers, &query, 0).await.0, 200);
    let (status, refusal) = state(&app, &headers, &query, 0).await;
    assert_eq!((status, &refusal["error"]["code"]), (429, &json!("RATE_LIMITED")));
}

#[tokio::test]
async fn with_chimes_tokens_the_key_names_the_attendee_to_check() {
    let mut app = app();
    app.join_verifier = JoinVerifier::Chime { attendees: OneMeeting::default(), app_id: app_id() };
    let headers = [("authorization", "Bearer chime-join-token")];
    let key = grant(&app, &headers, &json!({"meetingId": CHIME_MEETING, "attendeeId": CHIME_ATTENDEE})).await;
    assert_eq!(state(&app, &headers, &format!("?key={key}"), 0).await.0, 200);
    let wrong = [("authorization", "Bearer another-token")];
    assert_eq!(state(&app, &wrong, &format!("?key={key}"), 0).await.0, 401);
    assert_eq!(state(&app, &headers, "?key=logs/my-app/x", 0).await.0, 404);
}
