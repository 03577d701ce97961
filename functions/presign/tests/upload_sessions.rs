//! Companion's routes, over fakes of the table and S3.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use http::Method;
use logferry_core::model::fault::FaultClass;
use logferry_core::uploads::session::SessionStatus::{Aborted, Completed, Open};
use logferry_presign::UploadLimits;
use serde_json::{Value, json};
use support::{NOW_MS, TestApp, answer, app, registered, request, tokens};

const MIB: u64 = 1024 * 1024;
const DAY_MS: i64 = 86_400_000;

/// Requests of one uploader, with its headers.
struct Client<'a> {
    app: &'a TestApp,
    headers: Vec<(&'static str, String)>,
    base: String,
    now_ms: i64,
}

async fn upload_token(subject: &str, max_bytes: Option<u64>) -> String {
    tokens().mint_upload(&registered(), subject, max_bytes, 30 * 86_400, NOW_MS).await.unwrap().token
}

impl<'a> Client<'a> {
    fn service(app: &'a TestApp) -> Self {
        let key = app.apps.key.reveal().to_owned();
        Self { app, headers: vec![("x-api-key", key)], base: "/s3".to_owned(), now_ms: NOW_MS }
    }

    async fn subject(app: &'a TestApp, subject: &str) -> Self {
        let bearer = format!("Bearer {}", upload_token(subject, None).await);
        Self { app, headers: vec![("authorization", bearer)], base: "/s3".to_owned(), now_ms: NOW_MS }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request(method, &format!("{}{path}", self.base), &headers, &body);
        answer(&self.app.handle(&request, self.now_ms).await)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, Value::Null).await
    }

    async fn create(&self, size: Option<u64>) -> Upload {
        let body = json!({"filename": "film.mp4", "type": "video/mp4", "metadata": {}, "size": size});
        let (status, answer) = self.call(Method::POST, "/multipart", body).await;
        assert_eq!(status, 200, "{answer}");
        Upload {
            id: answer["uploadId"].as_str().unwrap().to_owned(),
            key: answer["key"].as_str().unwrap().to_owned(),
        }
    }

    async fn complete(&self, upload: &Upload, parts: &[(u32, &str)]) -> (u16, Value) {
        let parts: Vec<_> =
            parts.iter().map(|(number, etag)| json!({"PartNumber": number, "ETag": etag})).collect();
        let path = format!("/multipart/{}/complete?key={}", upload.id, upload.key);
        self.call(Method::POST, &path, json!({"parts": parts})).await
    }

    async fn abort(&self, upload: &Upload) -> (u16, Value) {
        let path = format!("/multipart/{}?key={}", upload.id, upload.key);
        self.call(Method::DELETE, &path, Value::Null).await
    }
}

#[derive(Debug, Clone)]
struct Upload {
    id: String,
    key: String,
}

#[tokio::test]
async fn an_upload_goes_from_create_to_complete() {
    let app = app();
    let client = Client::subject(&app, "jo@example.org").await;
    let body = json!({"filename": "Mein Film.mp4", "type": "video/mp4", "size": 13 * MIB,
        "metadata": {"name": "Mein Film.mp4", "relativePath": null, "n": 1, "author": "ü"}});
    let (status, created) = client.call(Method::POST, "/multipart", body).await;
    assert_eq!(status, 200, "{created}");
    let key = created["key"].as_str().unwrap();
    assert!(key.starts_with("uploads/my-app/jo@example.org/") && key.ends_with("/Mein_Film.mp4"), "{key}");
    assert_eq!((&created["bucket"], &created["partSize"]), (&json!("bucket"), &json!(8 * MIB)));
    let upload = Upload { id: created["uploadId"].as_str().unwrap().to_owned(), key: key.to_owned() };

    let (status, signed) = client.get(&format!("/multipart/{}/1?key={key}", upload.id)).await;
    assert_eq!((status, &signed["expires"]), (200, &json!(900)));
    let url = signed["url"].as_str().unwrap();
    assert!(
        url.contains("partNumber=1&uploadId=upload-0001&") && url.contains("content-length%3Bhost&"),
        "{url}"
    );
    assert!(!url.to_lowercase().contains("checksum"), "{url}");

    let first = app.multipart.put_part(&upload.id, 1, 8 * MIB);
    let second = app.multipart.put_part(&upload.id, 2, 5 * MIB);
    let (status, parts) = client.get(&format!("/multipart/{}?key={key}", upload.id)).await;
    assert_eq!(status, 200);
    assert_eq!(
        parts,
        json!([
            {"PartNumber": 1, "ETag": format!("\"{first}\""), "Size": 8 * MIB},
            {"PartNumber": 2, "ETag": format!("\"{second}\""), "Size": 5 * MIB},
        ])
    );
    // With and without quotes, as Uppy sends them, in any order.
    let (status, done) = client.complete(&upload, &[(2, &second), (1, &format!("\"{first}\""))]).await;
    assert_eq!(status, 200, "{done}");
    assert_eq!((done["key"].as_str(), &done["bucket"]), (Some(key), &json!("bucket")));
    let location = done["location"].as_str().unwrap();
    assert!(
        location.starts_with("https://bucket.s3.eu-west-1.amazonaws.com/uploads/my-app/jo%40"),
        "{location}"
    );
    assert_eq!(app.multipart.object_sizes(), [13 * MIB]);
    assert_eq!(app.sessions.statuses(), [Completed]);
}

#[tokio::test]
async fn a_batch_signs_up_to_a_thousand_parts_with_their_lengths_where_declared() {
    let app = app();
    let client = Client::service(&app);
    let upload = client.create(None).await;
    let batch = |query: &str| format!("/multipart/{}/batch?key={}&{query}", upload.id, upload.key);
    let numbers: Vec<_> = (1..=1000).map(|n: u32| n.to_string()).collect();
    let (status, signed) = client.get(&batch(&format!("partNumbers={}", numbers.join(",")))).await;
    assert_eq!((status, signed["presignedUrls"].as_object().unwrap().len()), (200, 1000));

    let (_, signed) = client.get(&batch("partNumbers=7,10000&sizes=5,6")).await;
    let url = signed["presignedUrls"]["10000"].as_str().unwrap();
    assert!(
        url.contains("partNumber=10000&") && url.contains("SignedHeaders=content-length%3Bhost"),
        "{url}"
    );

    for query in ["partNumbers=0", "partNumbers=10001", "partNumbers=1,x", "partNumbers=", "partNumbers=1,"] {
        let (status, refusal) = client.get(&batch(query)).await;
        assert_eq!(
            (status, &refusal["error"]),
            (400, &json!("s3: the part numbers must be a number between 1 and 10000.")),
            "{query}"
        );
    }
    // One size for all: a thousand numbers with their sizes exceed the limit of the request line.
    let (_, signed) = client.get(&batch("partNumbers=1,2,3&sizes=5")).await;
    let urls = signed["presignedUrls"].as_object().unwrap();
    assert!(urls.len() == 3 && urls.values().all(|url| url.to_string().contains("content-length%3Bhost")));

    let too_many = format!("partNumbers={},1001", numbers.join(","));
    for query in [
        too_many.as_str(),
        "partNumbers=1,2,3&sizes=5,6",
        "partNumbers=1&sizes=x",
        "partNumbers=1&sizes=5368709121",
        "partNumbers=1&sizes=-1",
    ] {
        assert_eq!(client.get(&batch(query)).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn no_part_is_signed_that_is_larger_than_its_whole() {
    let app = app();
    let client = Client::service(&app);
    let upload = client.create(Some(6 * MIB)).await;
    for (size, status) in [(6 * MIB, 200), (6 * MIB + 1, 413), (0, 200)] {
        let path = format!("/multipart/{}/1?key={}&size={size}", upload.id, upload.key);
        assert_eq!(client.get(&path).await.0, status, "{size}");
    }
}

fn signed_length(url: &Value) -> bool {
    url.as_str().unwrap().contains("SignedHeaders=content-length%3Bhost&")
}

#[tokio::test]
async fn where_the_size_is_declared_every_length_is_signed_and_no_further_part() {
    let app = app();
    let client = Client::service(&app);
    let upload = client.create(Some(20 * MIB)).await;
    let part = |tail: &str| format!("/multipart/{}/{tail}key={}", upload.id, upload.key);
    for number in 1..=3 {
        let (status, signed) = client.get(&part(&format!("{number}?"))).await;
        assert!(status == 200 && signed_length(&signed["url"]), "{number}: {signed}");
    }
    let (status, signed) = client.get(&part("batch?partNumbers=1,2,3&")).await;
    let urls = signed["presignedUrls"].as_object().unwrap();
    assert!(status == 200 && urls.values().all(signed_length), "{signed}");
    // A part size named by the client; the part numbers for 5 MiB parts and no others.
    assert_eq!(client.get(&part(&format!("4?size={}&", 5 * MIB))).await.0, 200);
    for (tail, error) in [
        (
            "4?".to_owned(),
            "by its partSize of 8388608 bytes the upload has 3 part(s): divide the file by partSize, or name the \
             size of each part.",
        ),
        (
            "5?size=1&".to_owned(),
            "the part number must be a number between 1 and 4: an upload of at most 20971520 bytes has no more \
             parts.",
        ),
        (
            format!("2?size={}&", 11 * MIB),
            "2 parts of 11534336 bytes do not fit into 20971520 bytes: all parts but the last must have one size.",
        ),
        (
            "batch?partNumbers=1,4&".to_owned(),
            "by its partSize of 8388608 bytes the upload has 3 part(s): divide the file by partSize, or name the \
             size of each part.",
        ),
    ] {
        let (status, refusal) = client.get(&part(&tail)).await;
        assert_eq!(
            (status, refusal["error"].as_str()),
            (400, Some(format!("s3: {error}").as_str())),
            "{tail}"
        );
    }
}

#[tokio::test]
async fn a_token_signs_no_more_parts_than_its_limit_has_room_for() {
    let app = app();
    let bearer = format!("Bearer {}", upload_token("jo", Some(11 * MIB)).await);
    let jo = Client { headers: vec![("authorization", bearer)], ..Client::service(&app) };
    let upload = jo.create(None).await;
    let part = |tail: &str| format!("/multipart/{}/{tail}key={}", upload.id, upload.key);
    for (tail, status) in [
        ("1?", 200),
        ("3?", 200),
        ("4?", 400),
        ("10000?", 400),
        ("batch?partNumbers=1,2,3&", 200),
        ("batch?partNumbers=3,4&", 400),
        ("1?size=11534337&", 413),
        ("3?size=4194304&", 400),
    ] {
        let (got, answer) = jo.get(&part(tail)).await;
        assert_eq!(got, status, "{tail}: {answer}");
    }
}

#[tokio::test]
async fn a_session_of_which_more_is_stored_than_it_may_have_is_aborted_at_the_next_look() {
    for look in ["sign", "batch", "list", "complete"] {
        let app = app();
        let bearer = format!("Bearer {}", upload_token("jo", Some(100)).await);
        let jo = Client { headers: vec![("authorization", bearer)], ..Client::service(&app) };
        let upload = jo.create(None).await;
        let a = app.multipart.put_part(&upload.id, 1, 6 * MIB);
        let base = format!("/multipart/{}", upload.id);
        let (status, refusal) = match look {
            "sign" => jo.get(&format!("{base}/1?key={}", upload.key)).await,
            "batch" => jo.get(&format!("{base}/batch?partNumbers=1&key={}", upload.key)).await,
            "list" => jo.get(&format!("{base}?key={}", upload.key)).await,
            _ => jo.complete(&upload, &[(1, &a)]).await,
        };
        assert_eq!(status, if look == "complete" { 409 } else { 413 }, "{look}: {refusal}");
        assert!(refusal["error"].as_str().unwrap().contains("aborted"), "{refusal}");
        assert_eq!((app.multipart.open_uploads(), app.sessions.statuses()), (0, vec![Aborted]), "{look}");
        assert_eq!(jo.complete(&upload, &[(1, &a)]).await.0, 404);
        assert!(app.multipart.object_sizes().is_empty());
    }
}

#[tokio::test]
async fn a_deployment_may_insist_on_the_size_of_sessions() {
    let mut app = app();
    app.log_limits.require_length = true;
    let client = Client::service(&app);
    let body = json!({"filename": "a", "type": "a/b"});
    let (status, refusal) = client.call(Method::POST, "/multipart", body).await;
    assert_eq!((status, &refusal["error"]), (400, &json!("s3: the \"size\" field is required")));
    client.create(Some(5)).await;
}

#[tokio::test]
async fn refusals_have_companions_statuses_and_texts() {
    let app = app();
    let client = Client::service(&app);
    let upload = client.create(None).await;
    let (id, key) = (&upload.id, &upload.key);
    let post = Method::POST;
    let no_key = r#"s3: the object key must be passed as a query parameter. For example: "?key=abc.jpg""#;
    let no_filename = r#"s3: the "filename" field is required and must be a non-empty string"#;
    let bad_parts = "s3: `parts` must be an array of {ETag, PartNumber} objects.";
    let bad_number = "s3: the part number must be a number between 1 and 10000.";
    let complete = format!("/multipart/{id}/complete?key={key}");
    for (method, path, body, error) in [
        (post.clone(), "/multipart", json!({}), no_filename),
        (post.clone(), "/multipart", json!({"filename": "", "type": "a/b"}), no_filename),
        (post.clone(), "/multipart", json!({"filename": 1, "type": "a/b"}), no_filename),
        (post.clone(), "/multipart", json!({"filename": "a"}), "s3: content type must be a string"),
        (
            Method::GET,
            "/params?type=a/b",
            Value::Null,
            r#"s3: the "filename" query parameter is required and must be a non-empty string"#,
        ),
        (Method::GET, &format!("/multipart/{id}"), Value::Null, no_key),
        (Method::GET, &format!("/multipart/{id}?key={key}&key=b"), Value::Null, no_key),
        (Method::GET, &format!("/multipart/{id}/1"), Value::Null, no_key),
        (Method::GET, &format!("/multipart/{id}/batch?partNumbers=1"), Value::Null, no_key),
        (
            Method::GET,
            &format!("/multipart/{id}/batch?key={key}"),
            Value::Null,
            r#"s3: the part numbers must be passed as a comma separated query parameter. For example: "?partNumbers=4,6,7,21""#,
        ),
        (Method::DELETE, &format!("/multipart/{id}"), Value::Null, no_key),
        (Method::GET, &format!("/multipart/{id}/0?key={key}"), Value::Null, bad_number),
        (Method::GET, &format!("/multipart/{id}/10001?key={key}"), Value::Null, bad_number),
        (Method::GET, &format!("/multipart/{id}/-1?key={key}"), Value::Null, bad_number),
        (Method::GET, &format!("/multipart/{id}/x?key={key}"), Value::Null, bad_number),
        (post.clone(), &format!("/multipart/{id}/complete"), json!({"parts": []}), no_key),
        (post.clone(), &complete, json!({}), bad_parts),
        (post.clone(), &complete, json!({"parts": {}}), bad_parts),
        (post.clone(), &complete, json!({"parts": [1]}), bad_parts),
        (post.clone(), &complete, json!({"parts": [{"PartNumber": "1", "ETag": "a"}]}), bad_parts),
        (post.clone(), &complete, json!({"parts": [{"PartNumber": 1}]}), bad_parts),
        (post.clone(), &complete, json!({"parts": [{"PartNumber": 0, "ETag": "a"}]}), bad_number),
    ] {
        let (status, refusal) = client.call(method, path, body.clone()).await;
        assert_eq!((status, refusal["error"].as_str()), (400, Some(error)), "{path} {body}");
    }
    for body in [
        json!({"filename": "a", "type": "a/b", "size": 0}),
        json!({"filename": "a", "type": "a\nb"}),
        json!({"filename": "a", "type": "video/mp4, text/html"}),
        json!({"filename": "a", "type": "video"}),
    ] {
        assert_eq!(client.call(post.clone(), "/multipart", body).await.0, 400);
    }
    assert_eq!(client.get("/sts").await.0, 404);
    assert_eq!(app.multipart.open_uploads(), 1);
}

#[tokio::test]
async fn a_form_for_one_request_is_signed_with_type_metadata_and_the_largest_size() {
    let app = app();
    let bearer = format!("Bearer {}", upload_token("jo", Some(7 * MIB)).await);
    let client = Client { headers: vec![("authorization", bearer)], ..Client::service(&app) };
    let (status, form) = client.get("/params?filename=a.png&type=image%2Fpng&metadata%5Bname%5D=a.png").await;
    assert_eq!(status, 200, "{form}");
    assert_eq!((&form["method"], &form["expires"]), (&json!("POST"), &json!(900)));
    assert!(form["url"].as_str().unwrap().ends_with('/'), "{form}");
    let fields = &form["fields"];
    assert_eq!(fields["success_action_status"], "201");
    assert_eq!((&fields["Content-Type"], &fields["x-amz-meta-name"]), (&json!("image/png"), &json!("a.png")));
    assert!(fields["key"].as_str().unwrap().starts_with("uploads/my-app/jo/"), "{form}");
    use base64::Engine as _;
    let policy = base64::prelude::BASE64_STANDARD.decode(fields["policy"].as_str().unwrap()).unwrap();
    let policy: Value = serde_json::from_slice(&policy).unwrap();
    assert!(policy["conditions"].as_array().unwrap().contains(&json!(["content-length-range", 0, 7 * MIB])));
}

#[tokio::test]
async fn complete_says_409_and_what_differs_and_completes_nothing() {
    let app = app();
    let client = Client::service(&app);
    let upload = client.create(Some(21 * MIB)).await;
    let a = app.multipart.put_part(&upload.id, 1, 8 * MIB);
    let c = app.multipart.put_part(&upload.id, 3, 5 * MIB);
    for (parts, field, numbers) in [
        (vec![], "missing", json!([2])),
        (vec![(1, a.as_str()), (3, c.as_str())], "missing", json!([2])),
        (vec![(1, "x"), (3, &c)], "changed", json!([1])),
        (vec![(1, &a)], "unlisted", json!([3])),
    ] {
        let (status, refusal) = client.complete(&upload, &parts).await;
        assert_eq!((status, &refusal["details"][field]), (409, &numbers), "{parts:?}: {refusal}");
        assert!(refusal["error"].as_str().unwrap().starts_with("s3: the upload is not complete: "));
    }
    let b = app.multipart.put_part(&upload.id, 2, 7 * MIB);
    let (status, refusal) = client.complete(&upload, &[(1, &a), (2, &b), (3, &c)]).await;
    assert_eq!((status, &refusal["details"]["storedBytes"]), (409, &json!(20 * MIB)), "{refusal}");
    assert!(app.multipart.object_sizes().is_empty());

    // A part sent again replaces the first, and the total is within the limit.
    let b = app.multipart.put_part(&upload.id, 2, 8 * MIB);
    assert_eq!(client.complete(&upload, &[(1, &a), (2, &b), (3, &c)]).await.0, 200);
    assert_eq!(app.multipart.object_sizes(), [21 * MIB]);
}

#[tokio::test]
async fn a_part_below_five_mib_completes_only_as_the_last() {
    let app = app();
    let client = Client::service(&app);
    for (first, second, status) in
        [(5 * MIB - 1, 8 * MIB, 409), (5 * MIB, 1, 200), (5 * MIB, 5 * MIB - 1, 200)]
    {
        let upload = client.create(None).await;
        let a = app.multipart.put_part(&upload.id, 1, first);
        let b = app.multipart.put_part(&upload.id, 2, second);
        let (got, body) = client.complete(&upload, &[(1, &a), (2, &b)]).await;
        assert_eq!(got, status, "{first} {second}: {body}");
    }
}

#[tokio::test]
async fn ten_thousand_parts_complete() {
    let app = app();
    let client = Client::service(&app);
    let upload = client.create(Some(10_000 * 5 * MIB)).await;
    let etags: Vec<_> = (1..=10_000).map(|n| (n, app.multipart.put_part(&upload.id, n, 5 * MIB))).collect();
    let parts: Vec<_> = etags.iter().map(|(n, etag)| (*n, etag.as_str())).collect();
    assert_eq!(client.complete(&upload, &parts).await.0, 200);
    assert_eq!(app.multipart.object_sizes(), [50_000 * MIB]);
}

#[tokio::test]
async fn a_complete_whose_answer_was_lost_succeeds_when_repeated() {
    for (lose_s3, lose_row) in [(1, 0), (0, 1), (1, 1)] {
        let app = app();
        *app.multipart.lose_completes.lock().unwrap() = lose_s3;
        *app.sessions.lose_ends.lock().unwrap() = lose_row;
        let client = Client::service(&app);
        let upload = client.create(None).await;
        let a = app.multipart.put_part(&upload.id, 1, 3);
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(client.complete(&upload, &[(1, &a)]).await.0);
        }
        assert_eq!(answers[0], 503);
        assert_eq!(answers[3], 200, "{answers:?}");
        assert_eq!((app.multipart.object_sizes(), app.sessions.statuses()), (vec![3], vec![Completed]));
    }
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_leaves_no_session_open_and_can_be_repeated() {
    for (lose_s3, lose_row) in [(1, 0), (0, 1)] {
        let app = app();
        *app.multipart.lose_creates.lock().unwrap() = lose_s3;
        *app.sessions.lose_opens.lock().unwrap() = lose_row;
        let client = Client::service(&app);
        let body = json!({"filename": "film.mp4", "type": "video/mp4"});
        assert_eq!(client.call(Method::POST, "/multipart", body).await.0, 503);
        assert!(!app.sessions.statuses().contains(&Open), "{:?}", app.sessions.statuses());
        // The bucket's lifecycle rule aborts an upload without a session row.
        assert_eq!(app.multipart.open_uploads(), lose_s3 as usize);
        let upload = client.create(None).await;
        let a = app.multipart.put_part(&upload.id, 1, 3);
        assert_eq!(client.complete(&upload, &[(1, &a)]).await.0, 200);
        assert_eq!(app.multipart.object_sizes(), [3]);
    }
}

#[tokio::test]
async fn a_complete_that_s3_refuses_is_a_409_and_what_is_our_own_fault_is_not() {
    for (class, status) in [
        (FaultClass::Permanent, 409),
        (FaultClass::Denied, 500),
        (FaultClass::Transient, 503),
        (FaultClass::RateLimited, 503),
    ] {
        let app = app();
        let client = Client::service(&app);
        let upload = client.create(None).await;
        let a = app.multipart.put_part(&upload.id, 1, 3);
        *app.multipart.refuse_complete.lock().unwrap() = Some(class);
        assert_eq!(client.complete(&upload, &[(1, &a)]).await.0, status, "{class:?}");
        assert_eq!(client.complete(&upload, &[(1, &a)]).await.0, 200, "{class:?}");
    }
}

#[tokio::test]
async fn an_app_of_an_earlier_ones_id_sees_nothing_of_its_sessions() {
    let mut app = app();
    let upload = Client::service(&app).create(None).await;
    let registered = app.apps.app.as_mut().unwrap();
    // Registered in the same millisecond as the session was created.
    registered.registered_ms = NOW_MS;
    let client = Client { now_ms: NOW_MS + 2, ..Client::service(&app) };
    let path = format!("/multipart/{}/1?key={}", upload.id, upload.key);
    assert_eq!(client.get(&path).await.0, 404);
    assert_eq!(client.complete(&upload, &[]).await.0, 404);
    assert_eq!(client.abort(&upload).await.0, 404);
    let list = Client { base: String::new(), ..client };
    assert_eq!(list.get("/uploads").await, (200, json!({"ok": true, "data": [], "cursor": null})));
}

#[tokio::test]
async fn a_token_for_the_app_itself_is_refused() {
    let app = app();
    let upload = Client::service(&app).create(None).await;
    assert!(upload.key.starts_with("uploads/my-app/service/"), "{upload:?}");
    let posing = Client::subject(&app, "service").await;
    let path = format!("/multipart/{}?key={}", upload.id, upload.key);
    assert_eq!(posing.get(&path).await.0, 403);
    assert_eq!(posing.call(Method::POST, "/multipart", json!({"filename": "a", "type": "a/b"})).await.0, 403);
}

#[tokio::test]
async fn a_name_of_any_length_is_taken_and_shortened() {
    let app = app();
    let client = Client::service(&app);
    for name in ["x".repeat(1_000_000), "ü".repeat(600), format!("x{}", "€".repeat(400))] {
        let body = json!({"filename": name, "type": "a/b"});
        assert_eq!(client.call(Method::POST, "/multipart", body).await.0, 200);
    }
    let list = Client { base: String::new(), ..client };
    let (_, all) = list.get("/uploads").await;
    let lengths: Vec<_> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|upload| upload["filename"].as_str().unwrap().len())
        .collect();
    assert_eq!(lengths, [1_024, 1_024, 1_024]);
}

#[tokio::test]
async fn metadata_is_refused_that_s3_would_not_take() {
    let app = app();
    let client = Client::service(&app);
    for (metadata, status) in [
        (json!({"a": "1", "A": "2"}), 400),
        (json!({"a b": "1"}), 400),
        (json!({"": "1"}), 400),
        (json!({"a": "x".repeat(2_048)}), 400),
        (json!({"a": "x".repeat(2_047)}), 200),
        (json!({"a": " spaced ", "b": "\n", "c": 7, "d": null}), 200),
        (json!([]), 400),
        (json!(null), 200),
    ] {
        let body = json!({"filename": "a", "type": "a/b", "metadata": metadata});
        let (got, answer) = client.call(Method::POST, "/multipart", body).await;
        assert_eq!(got, status, "{metadata}: {answer}");
    }
}

#[tokio::test]
async fn completes_at_the_same_time_make_one_object_and_all_succeed() {
    let app = app();
    let client = Client::service(&app);
    let upload = client.create(None).await;
    let a = app.multipart.put_part(&upload.id, 1, 3);
    let parts = [(1, a.as_str())];
    let answers = futures::future::join_all((0..8).map(|_| client.complete(&upload, &parts))).await;
    assert!(answers.iter().all(|(status, body)| *status == 200 && *body == answers[0].1), "{answers:?}");
    assert_eq!((app.multipart.object_sizes(), app.sessions.statuses()), (vec![3], vec![Completed]));
}

#[tokio::test]
async fn an_aborted_upload_is_gone_and_a_completed_one_stays() {
    let app = app();
    let client = Client::service(&app);
    let upload = client.create(None).await;
    let a = app.multipart.put_part(&upload.id, 1, 3);
    for _ in 0..2 {
        assert_eq!(client.abort(&upload).await, (200, json!({})));
    }
    assert_eq!(client.complete(&upload, &[(1, &a)]).await.0, 404);
    assert_eq!(client.get(&format!("/multipart/{}/1?key={}", upload.id, upload.key)).await.0, 404);
    assert_eq!((app.multipart.open_uploads(), app.multipart.object_sizes().len()), (0, 0));

    let upload = client.create(None).await;
    let a = app.multipart.put_part(&upload.id, 1, 3);
    assert_eq!(client.complete(&upload, &[(1, &a)]).await.0, 200);
    assert_eq!(client.abort(&upload).await.0, 409);
    assert_eq!(app.sessions.statuses(), [Aborted, Completed]);
}

#[tokio::test]
async fn abort_and_complete_at_the_same_time_leave_one_object_or_none() {
    for abort_first in [true, false] {
        let app = app();
        let client = Client::service(&app);
        let upload = client.create(None).await;
        let a = app.multipart.put_part(&upload.id, 1, 3);
        let parts = [(1, a.as_str())];
        let ((completed, _), (aborted, _)) = if abort_first {
            let (aborted, completed) =
                futures::join!(client.abort(&upload), client.complete(&upload, &parts));
            (completed, aborted)
        } else {
            futures::join!(client.complete(&upload, &parts), client.abort(&upload))
        };
        match app.multipart.object_sizes().as_slice() {
            [] => assert_eq!((completed, aborted, app.sessions.statuses()), (404, 200, vec![Aborted])),
            [3] => assert_eq!((completed, aborted, app.sessions.statuses()), (200, 409, vec![Completed])),
            sizes => panic!("{sizes:?}"),
        }
    }
}

#[tokio::test]
async fn a_session_is_inaccessible_to_others() {
    let app = app();
    let jo = Client::subject(&app, "jo").await;
    let upload = jo.create(None).await;
    let other_key = Upload { key: format!("{}x", upload.key), ..upload.clone() };
    let other_id = Upload { id: "upload-9999".to_owned(), ..upload.clone() };
    let mary = Client::subject(&app, "mary").await;
    for (client, upload) in [(&mary, &upload), (&jo, &other_key), (&jo, &other_id)] {
        let base = format!("/multipart/{}", upload.id);
        for (method, path) in [
            (Method::GET, format!("{base}?key={}", upload.key)),
            (Method::GET, format!("{base}/1?key={}", upload.key)),
            (Method::GET, format!("{base}/batch?key={}&partNumbers=1", upload.key)),
            (Method::DELETE, format!("{base}?key={}", upload.key)),
        ] {
            assert_eq!(client.call(method, &path, Value::Null).await.0, 404, "{path}");
        }
        assert_eq!(client.complete(upload, &[(1, "a")]).await.0, 404);
    }
    assert_eq!(app.sessions.statuses(), [Open]);
    // The app itself is allowed to.
    let service = Client::service(&app);
    assert_eq!(service.get(&format!("/multipart/{}/1?key={}", upload.id, upload.key)).await.0, 200);
}

#[tokio::test]
async fn a_token_in_the_path_opens_for_clients_without_headers() {
    let app = app();
    let token = upload_token("jo", None).await;
    let client = |base: String| Client { headers: Vec::new(), base, ..Client::service(&app) };
    let upload = client(format!("/t/{token}/s3")).create(None).await;
    assert!(upload.key.starts_with("uploads/my-app/jo/"));
    let join = tokens().mint_join(&registered(), "m", "a", 60, NOW_MS).await.unwrap().token;
    let expired = tokens().mint_upload(&registered(), "jo", None, 1, NOW_MS - 5_000).await.unwrap().token;
    for (base, status) in [
        ("/t/nonsense/s3".to_owned(), 401),
        (format!("/t/{expired}/s3"), 401),
        (format!("/t/{join}/s3"), 403),
        ("/s3".to_owned(), 401),
    ] {
        let body = json!({"filename": "a", "type": "a/b"});
        let (got, refusal) = client(base.clone()).call(Method::POST, "/multipart", body).await;
        assert_eq!(got, status, "{base}: {refusal}");
        assert!(refusal["error"].as_str().unwrap().starts_with("s3: "), "{refusal}");
    }
    assert_eq!(app.multipart.open_uploads(), 1);
}

#[tokio::test]
async fn limits_of_deployment_and_token_hold() {
    let limits = UploadLimits {
        max_bytes: 100 * MIB,
        content_types: vec!["video/*".to_owned()],
        open_per_app: 4,
        open_per_subject: 2,
        requests_per_minute: 12,
        session_secs: 60,
    };
    let mut app = app();
    app.limits = limits;
    let client = Client::service(&app);
    let new = |content_type: &str, size: u64| json!({"filename": "a", "type": content_type, "size": size});
    let post = |client: &Client<'_>, body| {
        let request_of =
            Client { headers: client.headers.clone(), base: client.base.clone(), ..Client::service(&app) };
        async move { request_of.call(Method::POST, "/multipart", body).await.0 }
    };
    assert_eq!(post(&client, new("video/mp4", 100 * MIB + 1)).await, 413);
    assert_eq!(post(&client, new("image/png", 1)).await, 415);
    let small = format!("Bearer {}", upload_token("jo", Some(5)).await);
    let small = Client { headers: vec![("authorization", small)], ..Client::service(&app) };
    assert_eq!(post(&small, new("video/mp4", 6)).await, 413);

    assert_eq!(post(&small, new("video/mp4", 1)).await, 200);
    assert_eq!(post(&small, new("video/mp4", 1)).await, 200);
    assert_eq!(post(&small, new("video/mp4", 1)).await, 429, "two of the subject are open");
    assert_eq!(post(&client, new("video/mp4", 1)).await, 200);
    assert_eq!(post(&client, new("video/mp4", 1)).await, 200, "a service has the limit of its app");
    assert_eq!(post(&client, new("video/mp4", 1)).await, 429, "four of the app are open");
    assert_eq!(app.multipart.open_uploads(), 4, "what was refused is not left in S3");
    for _ in 0..3 {
        post(&client, new("video/mp4", 1)).await;
    }
    assert_eq!(post(&small, new("video/mp4", 1)).await, 429);
    let (_, refusal) = small.call(Method::POST, "/multipart", new("video/mp4", 1)).await;
    assert_eq!(refusal["error"], "s3: more than 12 requests in a minute");
    let later = Client { now_ms: NOW_MS + 60_000, ..small };
    let (_, refusal) = later.call(Method::POST, "/multipart", new("video/mp4", 1)).await;
    assert!(refusal["error"].as_str().unwrap().contains("too many uploads of this app"), "{refusal}");
}

#[tokio::test]
async fn an_expired_session_takes_no_more_parts() {
    let app = app();
    let client = Client::service(&app);
    let upload = client.create(None).await;
    let a = app.multipart.put_part(&upload.id, 1, 3);
    let late = Client { now_ms: NOW_MS + 7 * DAY_MS, ..Client::service(&app) };
    let path = format!("/multipart/{}/1?key={}", upload.id, upload.key);
    assert_eq!(late.get(&path).await, (404, json!({"error": "s3: the upload has expired"})));
    assert_eq!(late.complete(&upload, &[(1, &a)]).await.0, 404);
    let early = Client { now_ms: NOW_MS + 7 * DAY_MS - 1, ..Client::service(&app) };
    assert_eq!(early.get(&path).await.0, 200);
}

#[tokio::test]
async fn uploads_are_listed_with_their_progress() {
    let app = app();
    let (jo, service) = (Client::subject(&app, "jo").await, Client::service(&app));
    let upload = jo.create(Some(13 * MIB)).await;
    app.multipart.put_part(&upload.id, 1, 8 * MIB);
    let done = service.create(None).await;
    let a = app.multipart.put_part(&done.id, 1, 3);
    assert_eq!(service.complete(&done, &[(1, &a)]).await.0, 200);

    let list = |client: &Client<'_>, query: &str| {
        let client = Client { headers: client.headers.clone(), base: String::new(), ..Client::service(&app) };
        let query = query.to_owned();
        async move { client.get(&format!("/uploads{query}")).await }
    };
    let (status, all) = list(&service, "?progress=true").await;
    assert_eq!((status, all["data"].as_array().unwrap().len()), (200, 2), "{all}");
    let shown = &all["data"][0];
    assert_eq!((&shown["uploadId"], &shown["status"]), (&json!(upload.id), &json!("OPEN")));
    assert_eq!((&shown["size"], &shown["uploaded_bytes"]), (&json!(13 * MIB), &json!(8 * MIB)));
    assert_eq!(shown["expires_at"], "2025-04-08T18:34:01.581Z");
    assert_eq!(
        (&all["data"][1]["status"], &all["data"][1]["uploaded_bytes"]),
        (&json!("COMPLETED"), &json!(3))
    );

    let (_, own) = list(&jo, "").await;
    assert_eq!(own["data"].as_array().unwrap().len(), 1);
    let (_, first) = list(&service, "?limit=1").await;
    let cursor = first["cursor"].as_str().unwrap();
    let (_, second) = list(&service, &format!("?limit=1&cursor={cursor}")).await;
    assert_eq!(second["data"][0]["uploadId"], json!(done.id));
    assert_eq!(second["cursor"], Value::Null);
    assert!(second["data"][0].get("uploaded_bytes").is_none(), "only on request: {second}");
    for query in [
        "?limit=1&limit=2",
        "?foo=1",
        "?progress=yes",
        "?limit=0",
        "?limit=101",
        "?limit=x",
        &format!("?cursor={}", "x".repeat(901)),
    ] {
        assert_eq!(list(&service, query).await.0, 400, "{query}");
    }
    assert_eq!(jo.abort(&upload).await.0, 200);
    let (_, all) = list(&service, "?cursor=&progress=true").await;
    assert_eq!(
        (&all["data"][0]["status"], &all["data"][0]["uploaded_bytes"]),
        (&json!("ABORTED"), &json!(0))
    );
}

#[tokio::test]
async fn progress_is_a_request_of_s3_for_each_session_and_counted_as_such() {
    let limits = UploadLimits { requests_per_minute: 20, ..UploadLimits::default() };
    let mut app = app();
    app.limits = limits;
    let client = Client::service(&app);
    for _ in 0..5 {
        client.create(None).await;
    }
    let list = Client { base: String::new(), ..client };
    let looks = || app.multipart.looks.load(std::sync::atomic::Ordering::Relaxed);
    let before = looks();
    assert_eq!(list.get("/uploads").await.0, 200);
    assert_eq!(looks(), before, "a list asks the table alone");
    // 6 requests so far, and 6 for each of these.
    assert_eq!(list.get("/uploads?progress=true").await.0, 200);
    assert_eq!(looks(), before + 5);
    assert_eq!(list.get("/uploads?progress=true").await.0, 200);
    assert_eq!(list.get("/uploads?progress=true").await.0, 429);
    assert_eq!(looks(), before + 10);
}

#[test]
fn the_api_page_has_a_curl_for_every_route() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md")).unwrap();
    for route in [
        "POST /presigned-url",
        "GET /s3/params",
        "POST /s3/multipart",
        "GET /s3/multipart/{uploadId}",
        "GET /s3/multipart/{uploadId}/batch",
        "GET /s3/multipart/{uploadId}/{partNumber}",
        "POST /s3/multipart/{uploadId}/complete",
        "DELETE /s3/multipart/{uploadId}",
        "GET /uploads",
    ] {
        let section = page.split(&format!("### `{route}`\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("no section {route}")).split("\n### ").next().unwrap();
        assert!(section.contains("curl "), "{route} has no curl");
    }
}
