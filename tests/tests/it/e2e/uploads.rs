//! Multipart upload sessions through Companion's routes, with parts in the bucket.

use logferry_aws::item::{key, n};
use logferry_aws::multipart::S3Multipart;
use logferry_aws::sessions::DynamoSessions;
use logferry_core::model::app::AppId;
use logferry_core::ports::clock::Clock as _;
use logferry_core::uploads::session::{ListedPart, Session, SessionStatus, bare_etag};
use logferry_core::uploads::table::{Multipart as _, OpenLimits, Opened, Rate, Sessions as _};
use logferry_service::clock::SystemClock;
use logferry_tests::stack::{Answer, Stack, TestApp, encode};
use serde_json::{Value, json};
use sha2::Digest as _;

const MIB: usize = 1024 * 1024;

struct Upload<'a> {
    stack: &'a Stack,
    app: &'a TestApp,
    id: String,
    key: String,
}

impl<'a> Upload<'a> {
    async fn create(stack: &'a Stack, app: &'a TestApp, size: Option<usize>) -> Self {
        let body =
            json!({"filename": "film.mp4", "type": "video/mp4", "metadata": {"name": "ü"}, "size": size});
        let answer = stack.app(app, "POST", "/s3/multipart", Some(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answer = answer.json();
        let text = |field: &str| answer[field].as_str().unwrap().to_owned();
        Self { stack, app, id: text("uploadId"), key: text("key") }
    }

    async fn call(&self, method: &str, tail: &str, body: Option<&Value>) -> Answer {
        let and = if tail.contains('?') { '&' } else { '?' };
        let path = format!("/s3/multipart/{}{tail}{and}key={}", encode(&self.id), encode(&self.key));
        self.stack.app(self.app, method, &path, body).await
    }

    /// Signs a part with its length and sends it. Returns its ETag with quotes.
    async fn put(&self, number: u32, bytes: Vec<u8>) -> String {
        let signed = self.call("GET", &format!("/{number}?size={}", bytes.len()), None).await.json();
        let put = self.stack.put_url(signed["url"].as_str().unwrap(), bytes).await;
        assert_eq!(put.status, 200, "{}", put.text);
        put.headers["etag"].to_str().unwrap().to_owned()
    }

    async fn complete(&self, parts: &[(u32, &str)]) -> Answer {
        let parts: Vec<_> = parts.iter().map(|(n, etag)| json!({"PartNumber": n, "ETag": etag})).collect();
        self.call("POST", "/complete", Some(&json!({"parts": parts}))).await
    }
}

#[tokio::test]
async fn an_upload_is_completed_to_the_byte_and_a_retry_succeeds() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("upload").await;
    let upload = Upload::create(&stack, &app, Some(11 * MIB)).await;
    let second = upload.put(2, vec![b'2'; 5 * MIB]).await;
    let third = upload.put(3, vec![b'3'; MIB]).await;
    let refused = upload.complete(&[(2, &second), (3, &third)]).await;
    assert_eq!(
        (refused.status, &refused.json()["details"]["missing"]),
        (409, &json!([1])),
        "{}",
        refused.text
    );

    let first = upload.put(1, vec![b'1'; 5 * MIB]).await;
    let listed = upload.call("GET", "", None).await.json();
    let sizes: Vec<_> = listed.as_array().unwrap().iter().map(|part| part["Size"].as_u64()).collect();
    assert_eq!(sizes, [5 * MIB as u64, 5 * MIB as u64, MIB as u64].map(Some));
    let uploads = stack.app(&app, "GET", "/uploads?progress=true", None).await.data();
    assert_eq!((&uploads[0]["uploaded_bytes"], &uploads[0]["size"]), (&json!(11 * MIB), &json!(11 * MIB)));

    let parts = [(3, third.as_str()), (1, first.trim_matches('"')), (2, &second)];
    for _ in 0..2 {
        let done = upload.complete(&parts).await;
        assert_eq!(done.status, 200, "{}", done.text);
        assert_eq!(
            (done.json()["key"].as_str(), done.json()["bucket"].as_str()),
            (Some(upload.key.as_str()), Some(stack.value("BUCKET")))
        );
    }
    let object =
        stack.aws.s3().get_object().bucket(stack.value("BUCKET")).key(&upload.key).send().await.unwrap();
    assert_eq!(object.content_type(), Some("video/mp4"));
    let bytes = object.body.collect().await.unwrap().into_bytes();
    let expected = [vec![b'1'; 5 * MIB], vec![b'2'; 5 * MIB], vec![b'3'; MIB]].concat();
    assert!(bytes.as_ref() == expected.as_slice(), "{} bytes", bytes.len());
    assert_eq!(stack.app(&app, "GET", "/uploads", None).await.data()[0]["status"], "COMPLETED");
}

#[tokio::test]
async fn a_part_of_another_length_than_signed_is_refused_by_the_bucket() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("part-length").await;
    let upload = Upload::create(&stack, &app, None).await;
    let signed = upload.call("GET", "/batch?partNumbers=1,2&sizes=3,4", None).await.json();
    let url = signed["presignedUrls"]["2"].as_str().unwrap();
    assert_eq!(stack.put_url(url, vec![0; 5]).await.status, 403);
    assert_eq!(stack.put_url(url, vec![0; 4]).await.status, 200);
}

#[tokio::test]
async fn another_app_and_an_aborted_upload_find_nothing() {
    let Some(stack) = Stack::running() else { return };
    let (app, other) = (stack.new_app("owner").await, stack.new_app("stranger").await);
    let upload = Upload::create(&stack, &app, None).await;
    let etag = upload.put(1, vec![1; 10]).await;
    let theirs = Upload { stack: &stack, app: &other, id: upload.id.clone(), key: upload.key.clone() };
    assert_eq!(theirs.call("GET", "/1", None).await.status, 404);
    assert_eq!(theirs.call("DELETE", "", None).await.status, 404);
    assert_eq!(theirs.complete(&[(1, &etag)]).await.status, 404);

    for _ in 0..2 {
        assert_eq!(upload.call("DELETE", "", None).await.text, "{}");
    }
    assert_eq!(upload.complete(&[(1, &etag)]).await.status, 404);
    let head = stack.aws.s3().head_object().bucket(stack.value("BUCKET")).key(&upload.key).send().await;
    assert!(head.is_err(), "nothing was written");
}

#[tokio::test]
async fn a_token_in_the_path_uploads_in_one_form() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("path-token").await;
    let path = format!("/apps/{}/upload-tokens", app.app_id);
    let minted = stack.app(&app, "POST", &path, Some(&json!({"sub": "jo", "max_bytes": 10}))).await.data();
    let token = minted["token"].as_str().unwrap();
    let path = format!("/t/{token}/s3/params?filename=a.txt&type=text%2Fplain&metadata%5Bname%5D=a.txt");
    let form = stack.call("GET", &path, &[], None).await;
    assert_eq!(form.status, 200, "{}", form.text);
    for (size, status) in [(11, 400), (10, 201)] {
        assert_eq!(super::presigned_urls::post_form(&form.json(), &vec![b'x'; size]).await, status, "{size}");
    }
    let body = json!({"filename": "a", "type": "a/b", "size": 11});
    let refused = stack.call("POST", &format!("/t/{token}/s3/multipart"), &[], Some(&body)).await;
    assert_eq!(refused.status, 413, "{}", refused.text);
}

/// Makes the session expire.
async fn expire(stack: &Stack, upload: &Upload<'_>) {
    stack
        .aws
        .dynamodb()
        .update_item()
        .table_name(stack.value("TABLE_UPLOADS"))
        .set_key(Some(key(&upload.app.app_id, format!("s#{}", upload.id))))
        .update_expression("SET due_at = :then, session_expires_ms = :then")
        .expression_attribute_values(":then", n(1))
        .send()
        .await
        .unwrap();
}

async fn status_of(stack: &Stack, upload: &Upload<'_>) -> Value {
    let uploads = stack.app(upload.app, "GET", "/uploads", None).await.data();
    let found = uploads.as_array().unwrap().iter().find(|shown| shown["uploadId"] == upload.id.as_str());
    found.unwrap_or_else(|| panic!("{uploads}"))["status"].clone()
}

#[tokio::test]
async fn sweep_ends_what_has_expired_frees_its_parts_and_finds_what_was_completed() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("expired").await;
    let (upload, done) = (Upload::create(&stack, &app, None).await, Upload::create(&stack, &app, None).await);
    let etag = upload.put(1, vec![1; 10]).await;
    // Completed, with the response lost.
    let part = ListedPart { number: 1, etag: bare_etag(&done.put(1, vec![1; 10]).await).to_owned() };
    let s3 = S3Multipart::new(stack.aws.s3(), stack.value("BUCKET"));
    s3.complete(&done.key, &done.id, &[part], 10).await.unwrap();
    expire(&stack, &upload).await;
    expire(&stack, &done).await;
    assert_eq!(upload.complete(&[(1, &etag)]).await.status, 404);
    // A scheduled sweep may have been faster.
    stack.invoke("FN_SWEEP", &json!({})).await;
    assert_eq!(
        (status_of(&stack, &upload).await, status_of(&stack, &done).await),
        (json!("ABORTED"), json!("COMPLETED"))
    );
    let parts = stack.aws.s3().list_parts().bucket(stack.value("BUCKET")).key(&upload.key);
    assert!(parts.upload_id(&upload.id).send().await.is_err(), "the parts are freed");
}

#[tokio::test]
async fn completes_at_once_make_one_object_and_all_succeed() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("at-once").await;
    let upload = Upload::create(&stack, &app, Some(5 * MIB + 1)).await;
    let (first, second) = (upload.put(1, vec![b'1'; 5 * MIB]).await, upload.put(2, vec![b'2']).await);
    let parts = [(1, first.as_str()), (2, second.as_str())];
    let answers = futures::future::join_all((0..4).map(|_| upload.complete(&parts))).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.text), (200, &answers[0].text));
    }
    let versions = stack.aws.s3().list_object_versions().bucket(stack.value("BUCKET")).prefix(&upload.key);
    let versions = versions.send().await.unwrap();
    assert_eq!(
        versions.versions().iter().map(|v| v.size().unwrap()).collect::<Vec<_>>(),
        [5 * MIB as i64 + 1]
    );
}

#[tokio::test]
async fn of_two_clients_on_one_session_the_later_part_counts_and_a_stale_list_completes_nothing() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("two-clients").await;
    let upload = Upload::create(&stack, &app, Some(3)).await;
    let (stale, current) = (upload.put(1, b"old".to_vec()).await, upload.put(1, b"new".to_vec()).await);
    let refused = upload.complete(&[(1, &stale)]).await;
    assert_eq!(
        (refused.status, &refused.json()["details"]["changed"]),
        (409, &json!([1])),
        "{}",
        refused.text
    );
    assert_eq!(upload.complete(&[(1, &current)]).await.status, 200);
    let object =
        stack.aws.s3().get_object().bucket(stack.value("BUCKET")).key(&upload.key).send().await.unwrap();
    assert_eq!(object.body.collect().await.unwrap().into_bytes().as_ref(), b"new");
}

#[tokio::test]
async fn an_abort_while_parts_arrive_leaves_neither_parts_nor_object() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("abort").await;
    let upload = Upload::create(&stack, &app, None).await;
    let kept = upload.put(1, vec![1; 5 * MIB]).await;
    let signed = upload.call("GET", "/batch?partNumbers=2,3,4", None).await.json();
    let urls: Vec<_> =
        signed["presignedUrls"].as_object().unwrap().values().map(|url| url.as_str().unwrap()).collect();
    let puts = futures::future::join_all(urls.iter().map(|url| stack.put_url(url, vec![2; 5 * MIB])));
    let (puts, aborted) = futures::join!(puts, upload.call("DELETE", "", None));
    assert_eq!((aborted.status, aborted.text.as_str()), (200, "{}"));
    assert!(puts.iter().all(|put| [200, 404].contains(&put.status)), "whole or refused");
    assert_eq!(stack.put_url(urls[0], vec![2; 5]).await.status, 404, "a URL that is left over is of no use");
    assert_eq!(upload.complete(&[(1, &kept)]).await.status, 404);
    let parts = stack.aws.s3().list_parts().bucket(stack.value("BUCKET")).key(&upload.key);
    assert!(parts.upload_id(&upload.id).send().await.is_err(), "the parts are freed");
    let head = stack.aws.s3().head_object().bucket(stack.value("BUCKET")).key(&upload.key).send().await;
    assert!(head.is_err(), "nothing was written");
}

/// A browser's preflight request, and the headers that it needs.
#[tokio::test]
async fn browsers_of_other_origins_may_upload_and_see_the_etag() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("cors").await;
    let upload = Upload::create(&stack, &app, None).await;
    let url = upload.call("GET", "/1", None).await.json()["url"].as_str().unwrap().to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let origin = ("origin", "https://shop.example.com");
    let preflight = |url: String, method: &'static str, headers: &'static str| {
        let request = http.request(reqwest::Method::OPTIONS, url).header(origin.0, origin.1);
        request
            .header("access-control-request-method", method)
            .header("access-control-request-headers", headers)
            .send()
    };
    let allowed = |answer: &reqwest::Response, name: &str| {
        answer
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_ascii_lowercase())
            .unwrap_or_default()
    };
    let answer = preflight(url.clone(), "PUT", "content-type").await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    assert!(allowed(&answer, "access-control-allow-methods").contains("put"));
    let put = http.put(&url).header(origin.0, origin.1).body("x").send().await.unwrap();
    assert!(put.status().is_success() && put.headers().contains_key("etag"));
    assert!(allowed(&put, "access-control-expose-headers").contains("etag"), "{:?}", put.headers());

    let multipart = format!("{}/s3/multipart", stack.value("API_URL"));
    let answer = preflight(multipart, "POST", "authorization,content-type,x-api-key").await.unwrap();
    let headers = allowed(&answer, "access-control-allow-headers");
    assert!(
        ["authorization", "content-type", "x-api-key"].iter().all(|name| headers.contains(name)),
        "{headers}"
    );
}

/// The published Uppy from npm, without any knowledge of Logferry; `make uppy` installs it and runs this
/// test.
#[tokio::test]
#[ignore = "needs node and the packages of tests/uppy: make uppy"]
async fn the_published_uppy_uploads_thirty_mib_in_parts_and_a_small_file_by_form() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("uppy").await;
    let path = format!("/apps/{}/upload-tokens", app.app_id);
    let minted = stack.app(&app, "POST", &path, Some(&json!({"sub": "jo@example.org"}))).await.data();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/uppy/upload.mjs");
    let output = std::process::Command::new("node")
        .args([script, stack.value("API_URL"), minted["token"].as_str().unwrap(), &(30 * MIB).to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (kind, size) in [("multipart", 30 * MIB), ("form", 1000)] {
        let key = shown[kind]["key"].as_str().unwrap();
        let object = stack.aws.s3().get_object().bucket(stack.value("BUCKET")).key(key).send().await.unwrap();
        let bytes = object.body.collect().await.unwrap().into_bytes();
        let sha256 = hex::encode(sha2::Sha256::digest(&bytes));
        assert_eq!((bytes.len(), shown[kind]["sha256"].as_str()), (size, Some(sha256.as_str())), "{shown}");
    }
    let uploads = stack.app(&app, "GET", "/uploads", None).await.data();
    assert_eq!((uploads.as_array().unwrap().len(), &uploads[0]["status"]), (1, &json!("COMPLETED")));
}

/// The table as seen by two instances of the function.
fn two_instances() -> Option<[DynamoSessions; 2]> {
    let instance = || {
        let stack = Stack::running()?;
        Some(DynamoSessions::new(stack.aws.dynamodb(), stack.value("TABLE_UPLOADS")))
    };
    Some([instance()?, instance()?])
}

/// The table itself: guarantees that need conditional writes.
#[tokio::test]
async fn the_table_counts_open_sessions_of_all_instances_exactly_and_a_session_ends_once() {
    let Some([table, other]) = two_instances() else { return };
    let app_id = |name: &str| format!("{name}-{}", ulid::Ulid::generate().to_string().to_lowercase());
    let app: AppId = app_id("table").parse().unwrap();
    // In the future, so that neither a sweep nor the time to live removes it meanwhile.
    let expires_ms = SystemClock.now_ms() + 3_600_000;
    let session = |id: &str, subject: &str| Session {
        upload_id: id.to_owned(),
        app_id: app.clone(),
        registered_ms: 0,
        subject: subject.parse().unwrap(),
        bucket: "b".to_owned(),
        key: format!("uploads/{id}"),
        filename: "ü.mp4".to_owned(),
        content_type: "video/mp4".to_owned(),
        size_bytes: Some(7),
        max_bytes: 9,
        status: SessionStatus::Open,
        created_ms: expires_ms - 1_000,
        expires_ms,
    };
    let limits = OpenLimits { per_app: 3, per_subject: 2 };
    let all = ["a", "b", "c", "d", "e", "f"].map(|id| session(id, "jo"));
    let opened = futures::future::join_all(
        all.iter()
            .zip([&table, &other].into_iter().cycle())
            .map(|(session, table)| table.open(session, limits)),
    )
    .await;
    let taken: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
    assert_eq!(taken.iter().filter(|opened| **opened == Opened::Yes).count(), 2, "{taken:?}");
    assert!(taken.iter().all(|opened| matches!(opened, Opened::Yes | Opened::TooManyOfSubject)), "{taken:?}");
    assert_eq!(table.open(&session("g", "mary"), limits).await.unwrap(), Opened::Yes);
    assert_eq!(table.open(&session("h", "ann"), limits).await.unwrap(), Opened::TooManyOfApp);

    let found = table.find(&app, "g").await.unwrap();
    assert_eq!(found, Some(session("g", "mary")));
    assert_eq!(table.find(&app_id("other").parse().unwrap(), "g").await.unwrap(), None);
    let jo = all.iter().zip(&taken).filter(|(_, opened)| **opened == Opened::Yes).map(|(session, _)| session);
    let jo: Vec<_> = jo.collect();
    let page = table.list(&app, None, 2, None).await.unwrap();
    let rest = table.list(&app, None, 2, page.next.as_deref()).await.unwrap();
    assert_eq!((page.sessions.len(), rest.sessions.len(), rest.next), (2, 1, None));
    let of_jo = table.list(&app, Some(&jo[0].subject), 2, None).await.unwrap();
    assert_eq!((of_jo.sessions.len(), of_jo.next), (2, None));
    let first = table.list(&app, Some(&jo[0].subject), 1, None).await.unwrap();
    let second = table.list(&app, Some(&jo[0].subject), 1, first.next.as_deref()).await.unwrap();
    assert_eq!([first.sessions, second.sessions].concat(), of_jo.sessions);
    assert_eq!(second.next, None);

    let ends = futures::future::join_all((0..4).map(|_| table.end(jo[0], SessionStatus::Aborted, 5))).await;
    assert_eq!(ends.into_iter().filter(|ended| *ended.as_ref().unwrap()).count(), 1);
    assert_eq!(table.open(&session("i", "ann"), limits).await.unwrap(), Opened::Yes);
    assert_eq!(table.open(&session("j", "ann"), limits).await.unwrap(), Opened::TooManyOfApp);
    assert!(!table.end(jo[0], SessionStatus::Completed, 5).await.unwrap());
    let ended = table.find(&app, &jo[0].upload_id).await.unwrap().unwrap();
    assert_eq!(ended.status, SessionStatus::Completed, "what is completed was not aborted");

    let due = table.overdue(expires_ms, 1_000, None).await.unwrap().sessions;
    let due: Vec<_> =
        due.iter().filter(|session| session.app_id == app).map(|s| s.upload_id.as_str()).collect();
    assert_eq!(due.len(), 3, "{due:?}");
    assert!(!due.contains(&jo[0].upload_id.as_str()));
    for session in table.list(&app, None, 10, None).await.unwrap().sessions {
        table.end(&session, SessionStatus::Aborted, 5).await.unwrap();
    }
}

#[tokio::test]
async fn the_table_counts_requests_of_a_minute_of_all_instances() {
    let Some([table, other]) = two_instances() else { return };
    let app: AppId = format!("rate-{}", ulid::Ulid::generate().to_string().to_lowercase()).parse().unwrap();
    // A minute in the future: the time to live removes counters of past ones.
    let minute_ms = 60_000 * (SystemClock.now_ms() / 60_000 + 60);
    let instances = [&table, &other].into_iter().cycle().take(16);
    let counted = instances.map(|table| table.count(&app, &Rate::Uploads, 1, 5, minute_ms));
    let counted = futures::future::join_all(counted).await;
    assert_eq!(counted.into_iter().filter(|counted| *counted.as_ref().unwrap()).count(), 5);
    let count = |rate: Rate, requests, ms| {
        let (other, app) = (&other, &app);
        async move { other.count(app, &rate, requests, 5, minute_ms + ms).await.unwrap() }
    };
    assert!(!count(Rate::Uploads, 1, 59_999).await);
    assert!(count(Rate::Uploads, 1, 60_000).await);
    // Several requests are counted together or not at all.
    assert!(!count(Rate::Uploads, 5, 60_000).await);
    assert!(count(Rate::Uploads, 4, 60_000).await);
    assert!(!count(Rate::LogUrls, 6, 0).await);
    // Each kind and each holder is counted separately.
    for rate in ["a", "b"].map(|holder| Rate::LogUrlsOf(holder.to_owned())) {
        assert!(count(rate, 5, 0).await);
    }
    for rate in [Rate::LogUrls, Rate::Joins, Rate::JoinsOf("a".to_owned())] {
        assert!(count(rate, 5, 0).await);
    }
}

#[tokio::test]
async fn more_parts_than_a_page_are_all_listed() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("pages").await;
    let upload = Upload::create(&stack, &app, None).await;
    let numbers: Vec<_> = (1..=1000).map(|n: u32| n.to_string()).collect();
    let first = upload.call("GET", &format!("/batch?partNumbers={}", numbers.join(",")), None).await.json();
    let second = upload.call("GET", "/batch?partNumbers=1001,10000", None).await.json();
    let urls: Vec<_> = [&first, &second]
        .into_iter()
        .flat_map(|batch| batch["presignedUrls"].as_object().unwrap().values())
        .map(|url| url.as_str().unwrap())
        .collect();
    assert_eq!(urls.len(), 1002);
    for urls in urls.chunks(16) {
        let put = futures::future::join_all(urls.iter().map(|url| stack.put_url(url, vec![1]))).await;
        assert!(put.iter().all(|put| put.status == 200));
    }
    let listed = upload.call("GET", "", None).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1002);
    assert_eq!(upload.call("DELETE", "", None).await.status, 200);
}
