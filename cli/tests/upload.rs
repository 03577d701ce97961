//! The command against the running local stack, killed with SIGKILL.
//!
//! `LOGFERRY_UPLOAD_MIB` and `LOGFERRY_UPLOAD_KILLS` set the file size and the number of kills:
//!
//! ```text
//! LOGFERRY_UPLOAD_MIB=1024 LOGFERRY_UPLOAD_KILLS=10 cargo test -p logferry --test upload killed -- --nocapture
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use logferry_tests::stack::{Stack, TestApp, until};
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const MIB: usize = 1024 * 1024;

/// A temporary folder, removed at the end of the test.
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

/// Bytes that differ at each position.
fn bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SmallRng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
}

/// A number from the environment, or the default for everyday tests.
fn setting(name: &str, everyday: usize) -> usize {
    std::env::var(name).map_or(everyday, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

async fn object(stack: &Stack, key: &str) -> Vec<u8> {
    let object = stack.aws.s3().get_object().bucket(stack.value("BUCKET")).key(key).send().await.unwrap();
    object.body.collect().await.unwrap().to_vec()
}

async fn uploads(stack: &Stack, app: &TestApp) -> Vec<Value> {
    stack.app(app, "GET", "/uploads?progress=true", None).await.data().as_array().unwrap().clone()
}

/// A part stored in S3, and when it was sent.
#[derive(Debug, Clone, PartialEq)]
struct SentPart {
    number: i32,
    etag: String,
    size: i64,
    sent_ns: i128,
}

async fn sent_parts(stack: &Stack, upload: &Value) -> Vec<SentPart> {
    let (key, id) = (upload["key"].as_str().unwrap(), upload["uploadId"].as_str().unwrap());
    let listed = stack.aws.s3().list_parts().bucket(stack.value("BUCKET")).key(key).upload_id(id);
    let listed = listed.send().await.unwrap();
    let parts = listed.parts().iter().map(|part| SentPart {
        number: part.part_number().unwrap(),
        etag: part.e_tag().unwrap().to_owned(),
        size: part.size().unwrap(),
        sent_ns: part.last_modified().unwrap().as_nanos(),
    });
    parts.collect()
}

/// Waits until this many parts are stored and a random time longer, then kills the command with SIGKILL.
async fn kill_after(stack: &Stack, app: &TestApp, mut child: Child, parts: u64) -> Value {
    until(&format!("{parts} parts"), async || {
        let all = uploads(stack, app).await;
        all.first().is_some_and(|upload| upload["parts"].as_u64() >= Some(parts)).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..300))).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let all = uploads(stack, app).await;
    assert_eq!(all.len(), 1, "one session for all runs");
    assert_eq!(all[0]["status"], "OPEN", "it was killed before its end");
    all[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_killed_again_and_again_goes_on_and_sends_no_part_twice() {
    let (mib, kills) = (setting("LOGFERRY_UPLOAD_MIB", 64), setting("LOGFERRY_UPLOAD_KILLS", 2));
    let Some(stack) = Stack::running() else { return };
    let folder = Folder::new("killed");
    let app = stack.new_app("cli-killed").await;
    let content = bytes(mib * MIB + 12_345);
    let file = folder.file("film.mp4", &content);
    // Slow enough that the last kill, five parts before the end, comes before the end.
    let slow = ["upload", text(&file), "--type", "video/mp4", "--limit-rate", "16M", "--parallel", "2"];

    let all_parts = content.len().div_ceil(part_size(content.len()));
    let mut before: Vec<SentPart> = Vec::new();
    for kill in 1..=kills {
        let parts = (all_parts - 5) * kill / kills;
        let child = command(&stack, &app, &folder, &slow).spawn().unwrap();
        let upload = kill_after(&stack, &app, child, parts.max(1) as u64).await;
        let now = sent_parts(&stack, &upload).await;
        assert!(before.iter().all(|part| now.contains(part)), "sent again: {before:?} {now:?}");
        println!("kill {kill}: {} of {all_parts} parts are there", now.len());
        before = now;
    }
    let done = lines(&command(&stack, &app, &folder, &["upload", text(&file)]).output().unwrap());
    let there: i64 = before.iter().map(|part| part.size).sum();
    let (size, sent) = (done[0]["size"].as_i64().unwrap(), done[0]["sent"].as_i64().unwrap());
    assert!(sent <= size - there, "{there} bytes were there and {sent} of {size} were sent");
    println!("the last run: {there} bytes were there, {sent} of {size} were sent");

    let stored = object(&stack, done[0]["key"].as_str().unwrap()).await;
    let [stored, file] = [&stored, &content].map(|bytes| hex::encode(Sha256::digest(bytes)));
    println!("SHA-256 of the file {file}\n    of the object   {stored}");
    assert_eq!(stored, file);
    let all = uploads(&stack, &app).await;
    assert_eq!((all.len(), &all[0]["status"]), (1, &Value::from("COMPLETED")));
    let left: Vec<_> = std::fs::read_dir(folder.0.join("state")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// As the service divides a file.
fn part_size(size: usize) -> usize {
    usize::try_from(logferry_core::uploads::session::part_size_bytes(Some(size as u64))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_begins_a_new_upload_and_frees_the_old() {
    let Some(stack) = Stack::running() else { return };
    let folder = Folder::new("changed");
    let app = stack.new_app("cli-changed").await;
    let file = folder.file("film.mp4", &bytes(20 * MIB));
    let slow = ["upload", text(&file), "--limit-rate", "8M", "--parallel", "1"];
    let child = command(&stack, &app, &folder, &slow).spawn().unwrap();
    kill_after(&stack, &app, child, 1).await;

    let file = folder.file("film.mp4", b"something else");
    let done = lines(&command(&stack, &app, &folder, &["upload", text(&file)]).output().unwrap());
    let key = done[0]["key"].as_str().unwrap();
    assert_eq!(object(&stack, key).await, b"something else");
    let mut statuses: Vec<_> = uploads(&stack, &app).await.iter().map(|u| u["status"].to_string()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["\"ABORTED\"", "\"COMPLETED\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_frees_an_interrupted_upload() {
    let Some(stack) = Stack::running() else { return };
    let folder = Folder::new("cancel");
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
async fn refusals_are_printed_and_end_in_an_error() {
    let Some(stack) = Stack::running() else { return };
    let folder = Folder::new("refused");
    let app = TestApp { app_id: "unknown".to_owned(), api_key: "0".repeat(48) };
    let file = folder.file("film.mp4", b"x");
    for (args, said) in [
        (
            vec!["upload", text(&file)],
            "logferry: the service refused the credential from LOGFERRY_API_KEY: the API key is invalid\n",
        ),
        (
            vec!["upload", text(&folder.file("empty", b""))],
            "empty is empty: an upload needs at least one byte\n",
        ),
        (vec!["upload", "/nowhere/at/all"], "logferry: /nowhere/at/all cannot be read: No such file"),
        (vec!["upload", text(&folder.0)], "is a folder; name the files in it\n"),
        (
            vec!["upload", text(&file), "--url", "nowhere"],
            "--url must begin with http:// or https://, and is nowhere",
        ),
        (vec!["upload", text(&file), "--type", "film"], "not a content type such as video/mp4"),
        (vec!["upload", text(&file), "--limit-rate", "0"], "expected a number such as 500k or 10M"),
    ] {
        let output = command(&stack, &app, &folder, &args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(said) && output.stdout.is_empty(), "{args:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_log_files_are_reported_and_the_others_are_uploaded() {
    let Some(stack) = Stack::running() else { return };
    let folder = Folder::new("some-fail");
    let app = stack.new_app("cli-some-fail").await;
    let [first, last] = ["a.log", "b.log"].map(|name| folder.file(name, b"{\"msg\":\"one\"}\n"));
    let missing = folder.0.join("missing.log");
    // gzip cannot compress it below ten megabytes.
    let large = folder.file("large.log", &bytes(11 * MIB));
    let args = ["upload-logs", text(&first), text(&missing), text(&large), text(&last)];
    let output = command(&stack, &app, &folder, &args).output().unwrap();
    let lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(output.status.code(), Some(1));
    assert!(lines.iter().zip(&args[1..]).all(|(line, file)| line["file"] == *file), "{lines:?}");
    assert!(lines[0]["key"].is_string() && lines[3]["key"].is_string(), "{lines:?}");
    assert!(lines[1]["error"].as_str().unwrap().contains("cannot be read: No such file"), "{lines:?}");
    assert!(lines[2]["error"].as_str().unwrap().contains("larger than the 10 MiB"), "{lines:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.ends_with("logferry: 2 of 4 files failed\n"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_files_are_compressed_uploaded_and_ingested() {
    let Some(stack) = Stack::running() else { return };
    let folder = Folder::new("logs");
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

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_with_what_became_of_each_file() {
    let Some(stack) = Stack::running() else { return };
    let folder = Folder::new("wait");
    let app = stack.new_app("cli-wait").await;
    let good = folder.file("good.log", b"{\"msg\":\"one\"}\n{broken\n");
    let packed = logferry_tests::stack::gzip(b"{\"msg\":\"two\"}\n");
    let cut = folder.file("cut.log.gz", &packed[..packed.len() - 9]);
    let output =
        command(&stack, &app, &folder, &["upload-logs", text(&good), text(&cut), "--wait"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let counts = |line: &Value| [&line["status"], &line["records"], &line["bad"]].map(ToString::to_string);
    assert_eq!(counts(&lines[0]), ["\"COMPLETED\"", "1", "1"], "{printed}");
    assert_eq!(lines[1]["status"], "FAILED", "{printed}");
    assert!(lines[1]["error"].as_str().unwrap().starts_with("GZIP_TRUNCATED: "), "{printed}");
    assert!(
        error.contains("cut.log.gz: GZIP_TRUNCATED: ") && error.ends_with("1 of 2 files failed\n"),
        "{error}"
    );
}
