//! Presigned URLs and forms with the bucket itself.

use logferry_tests::stack::{Answer, Stack, TestApp, gzip, until};
use serde_json::{Value, json};

async fn join_token(stack: &Stack, app: &TestApp, meeting: &str) -> String {
    let path = format!("/apps/{}/join-tokens", app.app_id);
    let body = json!({"meetingId": meeting, "attendeeId": "attendee-1"});
    let minted = stack.app(app, "POST", &path, Some(&body)).await.data();
    minted["token"].as_str().unwrap().to_owned()
}

async fn ask(stack: &Stack, token: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    stack.call("POST", "/presigned-url", &[("authorization", &bearer)], Some(body)).await
}

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_else(|| panic!("no {field}: {answer}")).to_owned()
}

#[tokio::test]
async fn a_client_that_knows_only_the_url_puts_its_file_and_the_metadata_arrives() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("plain-put").await;
    let token = join_token(&stack, &app, "meeting-1").await;
    let answer = ask(&stack, &token, &json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let (url, key) = (text(&answer.json(), "presignedUrl"), text(&answer.json(), "key"));
    let put = stack.put_url(&url, gzip(b"{\"msg\":\"hello\"}\n")).await;
    assert_eq!(put.status, 200, "{}", put.text);
    let head = stack.aws.s3().head_object().bucket(stack.value("BUCKET")).key(&key).send().await.unwrap();
    let metadata = head.metadata().unwrap();
    assert_eq!(metadata.get("meetingid").map(String::as_str), Some("meeting-1"));
    assert_eq!(metadata.get("attendeeid").map(String::as_str), Some("attendee-1"));
    assert_eq!(head.content_type(), Some("application/gzip"));
}

/// Runs the example that mints tokens; returns the token.
fn minted_by_the_example(stack: &Stack, app: &TestApp, arguments: &[&str]) -> String {
    // Cargo builds examples beside the folder of the tests.
    let tests = std::env::current_exe().unwrap();
    let example = tests.parent().unwrap().parent().unwrap().join("examples/mint_token");
    let output = std::process::Command::new(example)
        .args(arguments)
        .env("LOGFERRY_URL", stack.value("API_URL").trim_end_matches('/'))
        .env("LOGFERRY_APP", &app.app_id)
        .env("LOGFERRY_API_KEY", &app.api_key)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_server_of_an_app_mints_tokens_for_logs_and_for_uploads() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("mint").await;
    let token = minted_by_the_example(&stack, &app, &["join", "meeting-1", "attendee-1"]);
    let body = json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"});
    assert_eq!(ask(&stack, &token, &body).await.status, 200);
    let other = json!({"meetingId": "meeting-2", "attendeeId": "attendee-1"});
    assert_eq!(ask(&stack, &token, &other).await.status, 403);
    let token = minted_by_the_example(&stack, &app, &["upload", "user-7"]);
    let bearer = format!("Bearer {token}");
    let body = json!({"filename": "film.mp4", "type": "video/mp4", "size": 7, "metadata": {}});
    let begun = stack.call("POST", "/s3/multipart", &[("authorization", &bearer)], Some(&body)).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
}

#[tokio::test]
async fn the_bucket_refuses_another_length_key_or_method_than_was_signed() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("refused-put").await;
    let token = join_token(&stack, &app, "meeting-1").await;
    let body = json!({"meetingId": "meeting-1", "attendeeId": "attendee-1", "contentLength": 5});
    let answer = ask(&stack, &token, &body).await.json();
    let url = text(&answer, "presignedUrl");
    assert_eq!(stack.put_url(&url, b"hello!".to_vec()).await.status, 403);
    assert_eq!(stack.put_url(&url, b"hell".to_vec()).await.status, 403);
    assert_eq!(stack.put_url(&url.replace("-logs.gz", "-logs.zz"), b"hello".to_vec()).await.status, 403);
    assert_eq!(stack.put_url(&url.replace("=meeting-1", "=meeting-2"), b"hello".to_vec()).await.status, 403);
    assert_eq!(stack.put_url(&url, b"hello".to_vec()).await.status, 200);
}

#[tokio::test]
async fn a_form_takes_one_byte_to_ten_mib() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("form").await;
    let headers = [("x-api-key", app.api_key.as_str())];
    let answer = stack.call("POST", "/presigned-url", &headers, Some(&json!({"filename": "a.json"}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    assert!(text(&answer, "key").starts_with(&format!("logs/{}/", app.app_id)), "{answer}");
    for (size, status) in [(0, 400), (10 * 1024 * 1024 + 1, 400), (1, 204), (10 * 1024 * 1024, 204)] {
        let sent = post_form(&answer["post"], &vec![b'x'; size]).await;
        assert_eq!(sent, status, "{size} bytes");
    }
}

/// Sends a form as a browser does: fields first, then the file.
pub(super) async fn post_form(post: &Value, file: &[u8]) -> u16 {
    const BOUNDARY: &str = "a-boundary-that-is-in-no-file";
    let mut body = Vec::new();
    for (name, value) in post["fields"].as_object().unwrap() {
        let value = value.as_str().unwrap();
        body.extend(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .into_bytes(),
        );
    }
    let file_head = "Content-Disposition: form-data; name=\"file\"; filename=\"f\"";
    body.extend(format!("--{BOUNDARY}\r\n{file_head}\r\n\r\n").into_bytes());
    body.extend_from_slice(file);
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let request = client.post(post["url"].as_str().unwrap()).header("content-type", content_type);
    request.body(body).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn wrong_tokens_and_ids_are_refused() {
    let Some(stack) = Stack::running() else { return };
    let (app, other) = (stack.new_app("refused").await, stack.new_app("other").await);
    let token = join_token(&stack, &app, "meeting-1").await;
    let body = |meeting: &str| json!({"meetingId": meeting, "attendeeId": "attendee-1"});
    let (head, rest) = token.split_once('.').unwrap();
    let foreign = join_token(&stack, &other, "meeting-2").await;
    for (token, meeting, refusal) in [
        (token.as_str(), "../x", (400, "BAD_REQUEST")),
        (&token, "meeting-2", (403, "FORBIDDEN")),
        (&foreign, "meeting-1", (403, "FORBIDDEN")),
        (&format!("{head}.{}", rest.replace('.', "x.")), "meeting-1", (401, "UNAUTHORIZED")),
        (&format!("{}A", token), "meeting-1", (401, "UNAUTHORIZED")),
        ("nonsense", "meeting-1", (401, "UNAUTHORIZED")),
    ] {
        let answer = ask(&stack, token, &body(meeting)).await;
        let (status, code) = answer.refusal();
        assert_eq!((status, code.as_str()), refusal, "{}", answer.text);
    }
    assert_eq!(stack.call("POST", "/presigned-url", &[], Some(&body("meeting-1"))).await.status, 401);
}

#[tokio::test]
async fn a_client_learns_whether_its_file_has_arrived_and_how_it_ended() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("file-status").await;
    let token = join_token(&stack, &app, "meeting-1").await;
    let granted = ask(&stack, &token, &json!({"meetingId": "meeting-1", "attendeeId": "attendee-1"})).await;
    let (url, key) = (text(&granted.json(), "presignedUrl"), text(&granted.json(), "key"));
    let (path, bearer) = (format!("/presigned-url?key={key}"), format!("Bearer {token}"));
    let state = || async {
        let answer = stack.call("GET", &path, &[("authorization", &bearer)], None).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    };
    let before = state().await;
    assert_eq!((&before["received"], &before["status"]), (&json!(false), &json!("PENDING")), "{before}");
    assert!((1..=300).contains(&before["expiresIn"].as_i64().unwrap()), "{before}");

    let put = stack.put_url(&url, gzip(b"{\"msg\":\"hello\"}\n[1]\n")).await;
    assert_eq!(put.status, 200, "{}", put.text);
    assert_eq!(state().await["received"], true);
    let after = until("the file is completed", async || {
        Some(state().await).filter(|answer| answer["status"] == "COMPLETED")
    })
    .await;
    assert_eq!((&after["counts"]["ok"], &after["counts"]["quarantined"]), (&json!(1), &json!(1)), "{after}");

    let service = [("x-api-key", app.api_key.as_str())];
    let mut by_key = stack.call("GET", &path, &service, None).await.json();
    // The time that is left goes on.
    by_key["expiresIn"] = after["expiresIn"].clone();
    assert_eq!(by_key, after);
    let other = stack.new_app("file-status-other").await;
    let other = [("x-api-key", other.api_key.as_str())];
    assert_eq!(stack.call("GET", &path, &other, None).await.refusal().0, 404);
    let head = stack.call("HEAD", &path, &service, None).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    let refused = stack.call("DELETE", &path, &service, None).await;
    assert_eq!(refused.status, 405, "{}", refused.text);
}
