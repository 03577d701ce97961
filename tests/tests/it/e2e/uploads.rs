//! Multipart upload sessions through Companion's routes, with parts in the bucket.

use logferry_aws::item::{key, n};
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

    /// Signs, with its length, and sends a part; returns its ETag with quotes.
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
async fn an_upload_is_completed_to_the_byte_and_a_repeat_succeeds() {
    let stack = Stack::new();
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
    let uploads = stack.app(&app, "GET", "/uploads", None).await.data();
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
    let stack = Stack::new();
    let app = stack.new_app("part-length").await;
    let upload = Upload::create(&stack, &app, None).await;
    let signed = upload.call("GET", "/batch?partNumbers=1,2&sizes=3,4", None).await.json();
    let url = signed["presignedUrls"]["2"].as_str().unwrap();
    assert_eq!(stack.put_url(url, vec![0; 5]).await.status, 403);
    assert_eq!(stack.put_url(url, vec![0; 4]).await.status, 200);
}

#[tokio::test]
async fn another_app_and_an_aborted_upload_find_nothing() {
    let stack = Stack::new();
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
    let stack = Stack::new();
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

#[tokio::test]
async fn sweep_ends_what_has_expired_and_frees_its_parts() {
    let stack = Stack::new();
    let app = stack.new_app("expired").await;
    let upload = Upload::create(&stack, &app, None).await;
    let etag = upload.put(1, vec![1; 10]).await;
    stack
        .aws
        .dynamodb()
        .update_item()
        .table_name(stack.value("TABLE_UPLOADS"))
        .set_key(Some(key(&app.app_id, format!("s#{}", upload.id))))
        .update_expression("SET due_at = :then, session_expires_ms = :then")
        .expression_attribute_values(":then", n(1))
        .send()
        .await
        .unwrap();
    assert_eq!(upload.complete(&[(1, &etag)]).await.status, 404);
    let swept = stack.invoke("FN_SWEEP", &json!({})).await;
    assert!(swept["uploads"]["aborted"].as_u64() >= Some(1), "{swept}");
    assert_eq!(stack.app(&app, "GET", "/uploads", None).await.data()[0]["status"], "ABORTED");
    let parts = stack.aws.s3().list_parts().bucket(stack.value("BUCKET")).key(&upload.key);
    assert!(parts.upload_id(&upload.id).send().await.is_err(), "the parts are freed");
}

/// Uppy as npm has it, which knows nothing of Logferry; `make uppy` installs it and runs this.
#[tokio::test]
#[ignore = "needs node and the packages of tests/uppy: make uppy"]
async fn the_published_uppy_uploads_thirty_mib_in_parts_and_a_small_file_by_form() {
    let stack = Stack::new();
    let app = stack.new_app("uppy").await;
    let path = format!("/apps/{}/upload-tokens", app.app_id);
    let minted = stack.app(&app, "POST", &path, Some(&json!({"sub": "jo@example.org"}))).await.data();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/uppy/upload.mjs");
    let output = std::process::Command::new("node")
        .args([script, stack.value("API_URL"), minted["token"].as_str().unwrap(), &(30 * MIB).to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (kind, size) in [("multipart", 30 * MIB), ("form", 1000)] {
        let key = told[kind]["key"].as_str().unwrap();
        let object = stack.aws.s3().get_object().bucket(stack.value("BUCKET")).key(key).send().await.unwrap();
        let bytes = object.body.collect().await.unwrap().into_bytes();
        let sha256 = hex::encode(sha2::Sha256::digest(&bytes));
        assert_eq!((bytes.len(), told[kind]["sha256"].as_str()), (size, Some(sha256.as_str())), "{told}");
    }
    let uploads = stack.app(&app, "GET", "/uploads", None).await.data();
    assert_eq!((uploads.as_array().unwrap().len(), &uploads[0]["status"]), (1, &json!("COMPLETED")));
}
