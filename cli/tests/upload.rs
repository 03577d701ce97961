//! The command against the running local stack, killed as nobody would be kind enough to interrupt it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use logferry_tests::stack::{Stack, TestApp, until};
use serde_json::Value;

const MIB: usize = 1024 * 1024;

/// A folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("logferry-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(stack: &Stack, app: &TestApp, folder: &Folder, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command
        .args(args)
        .env("API_URL", stack.value("API_URL"))
        .env("LOGFERRY_API_KEY", &app.api_key)
        .env("LOGFERRY_STATE_DIR", folder.0.join("state"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The JSON lines that the command printed.
fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Bytes that differ from place to place.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

async fn uploads(stack: &Stack, app: &TestApp) -> Vec<Value> {
    stack.app(app, "GET", "/uploads", None).await.data().as_array().unwrap().clone()
}

/// Each part that S3 has, and when it was sent.
async fn sent(stack: &Stack, upload: &Value) -> Vec<(i32, String, i128)> {
    let (key, id) = (upload["key"].as_str().unwrap(), upload["uploadId"].as_str().unwrap());
    let listed = stack.aws.s3().list_parts().bucket(stack.value("BUCKET")).key(key).upload_id(id);
    let listed = listed.send().await.unwrap();
    let mut sent = Vec::new();
    for part in listed.parts() {
        let time = part.last_modified().unwrap().as_nanos();
        sent.push((part.part_number().unwrap(), part.e_tag().unwrap().to_owned(), time));
    }
    sent
}

/// Runs until so many parts are there, then kills it −9.
async fn kill_after(stack: &Stack, app: &TestApp, mut child: Child, parts: u64) -> Value {
    until(&format!("{parts} parts"), async || {
        let all = uploads(stack, app).await;
        all.first().is_some_and(|upload| upload["parts"].as_u64() >= Some(parts)).then_some(())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    let all = uploads(stack, app).await;
    assert_eq!(all.len(), 1, "one session for all runs");
    assert_eq!(all[0]["status"], "OPEN", "it was killed before its end");
    all[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_killed_twice_goes_on_and_sends_no_part_again() {
    let (stack, folder) = (Stack::new(), Folder::new("killed"));
    let app = stack.new_app("cli-killed").await;
    let content = bytes(8 * 8 * MIB + 12_345);
    let file = folder.file("film.mp4", &content);
    let slow = ["upload", text(&file), "--type", "video/mp4", "--limit-rate", "16M", "--parallel", "2"];

    let mut before = Vec::new();
    for parts in [1, 4] {
        let child = command(&stack, &app, &folder, &slow).spawn().unwrap();
        let upload = kill_after(&stack, &app, child, parts).await;
        let now = sent(&stack, &upload).await;
        assert!(before.iter().all(|part| now.contains(part)), "{before:?} {now:?}");
        before = now;
    }
    let done = lines(&command(&stack, &app, &folder, &["upload", text(&file)]).output().unwrap());
    let key = done[0]["key"].as_str().unwrap();
    let object = stack.aws.s3().get_object().bucket(stack.value("BUCKET")).key(key).send().await.unwrap();
    assert!(object.body.collect().await.unwrap().into_bytes() == content, "the object is the file");
    let all = uploads(&stack, &app).await;
    assert_eq!((all.len(), &all[0]["status"]), (1, &Value::from("COMPLETED")));
    let left: Vec<_> = std::fs::read_dir(folder.0.join("state")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_begins_a_new_upload_and_frees_the_old() {
    let (stack, folder) = (Stack::new(), Folder::new("changed"));
    let app = stack.new_app("cli-changed").await;
    let file = folder.file("film.mp4", &bytes(20 * MIB));
    let slow = ["upload", text(&file), "--limit-rate", "8M", "--parallel", "1"];
    let child = command(&stack, &app, &folder, &slow).spawn().unwrap();
    kill_after(&stack, &app, child, 1).await;

    let file = folder.file("film.mp4", b"something else");
    let done = lines(&command(&stack, &app, &folder, &["upload", text(&file)]).output().unwrap());
    let key = done[0]["key"].as_str().unwrap();
    let object = stack.aws.s3().get_object().bucket(stack.value("BUCKET")).key(key).send().await.unwrap();
    assert_eq!(object.body.collect().await.unwrap().into_bytes().as_ref(), b"something else");
    let mut statuses: Vec<_> = uploads(&stack, &app).await.iter().map(|u| u["status"].to_string()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["\"ABORTED\"", "\"COMPLETED\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_frees_an_interrupted_upload() {
    let (stack, folder) = (Stack::new(), Folder::new("cancel"));
    let app = stack.new_app("cli-cancel").await;
    let file = folder.file("film.mp4", &bytes(20 * MIB));
    let slow = ["upload", text(&file), "--limit-rate", "8M", "--parallel", "1"];
    let child = command(&stack, &app, &folder, &slow).spawn().unwrap();
    kill_after(&stack, &app, child, 1).await;
    for said in ["cancelled", "there is no upload of this file to cancel"] {
        let cancel = command(&stack, &app, &folder, &["upload", text(&file), "--cancel"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&cancel.stderr).trim(), said);
    }
    assert_eq!(uploads(&stack, &app).await[0]["status"], "ABORTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_and_end_in_an_error() {
    let (stack, folder) = (Stack::new(), Folder::new("refused"));
    let app = TestApp { app_id: "nobody".to_owned(), api_key: "0".repeat(48) };
    let file = folder.file("film.mp4", b"x");
    for (args, said) in [
        (["upload", text(&file)], "the API key is not valid (401"),
        (["upload", text(&folder.file("empty", b""))], "the file is empty"),
        (["upload", "/nowhere/at/all"], "No such file"),
        (["upload-logs", text(&file)], "the API key is not valid (401"),
    ] {
        let output = command(&stack, &app, &folder, &args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(said), "{args:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_files_are_compressed_uploaded_and_ingested() {
    let (stack, folder) = (Stack::new(), Folder::new("logs"));
    let app = stack.new_app("cli-logs").await;
    let plain = folder.file("a b.log", b"{\"level\":30,\"msg\":\"one\"}\n{\"level\":50,\"msg\":\"two\"}\n");
    let packed = folder.file("c.gz", &logferry_tests::stack::gzip(b"{\"msg\":\"three\"}\n"));
    let args = ["upload-logs", text(&plain), text(&packed)];
    let sent = lines(&command(&stack, &app, &folder, &args).output().unwrap());
    for (line, ok) in sent.iter().zip([2, 1]) {
        let row = stack.ended(&app, line["key"].as_str().unwrap()).await;
        assert_eq!(
            (&row["status"], &row["counts"]["ok"]),
            (&Value::from("COMPLETED"), &Value::from(ok)),
            "{row}"
        );
    }
}
