//! `logferry ingest FILE` without a stack: what it prints.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn ingest(files: &[&PathBuf], more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_logferry")).arg("ingest").args(files).args(more).output().unwrap()
}

fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("logferry-ingest-{}-{name}", std::process::id()));
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn an_explanation_says_what_a_file_is_taken_for_and_shows_no_secret() {
    let text = "{\"level\":50,\"msg\":\"no stock\",\"password\":\"hunter2\"}\n2025-04-01 18:34:01 WARN slow\n{broken\n";
    let path = file("explain.log", text.as_bytes());
    let output = ingest(&[&path], &["--explain"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}");
    for part in [
        "COMPLETED",
        "1  ndjson: JSON objects",
        "1  dated: date and time",
        "1  records that say no time",
        "1  records whose time leaves out its offset",
        "\"message\":\"no stock\"",
        "\"level\":\"WARN\"",
        "BROKEN_JSON",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let printed = String::from_utf8(ingest(&[&path], &[]).stdout).unwrap();
    assert!(printed.contains("[redacted]"), "{printed}");
    assert!(!shown.contains("hunter2") && !printed.contains("hunter2"));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    // More than is buffered.
    let path = file("full.log", "one line of many\n".repeat(1_000).as_bytes());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    let output = command.arg("ingest").arg(&path).stdout(full).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), &*error),
        (Some(2), "logferry: No space left on device (os error 28)\n")
    );
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_summary_of_many_files_is_a_line_each_and_tells_the_failed_one() {
    let good = file("good.log", b"{\"a\":1}\nready\n");
    let zip = file("x.zip", b"PK\x03\x04x");
    let output = ingest(&[&good, &zip], &["--summary"]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (lines[0]["status"].as_str(), lines[1]["status"].as_str()),
        (Some("COMPLETED"), Some("FAILED"))
    );
    assert_eq!(lines[0]["kinds"], serde_json::json!({"ndjson": 1, "text": 1}));
    assert_eq!(lines[1]["reason"]["code"], "NOT_A_LOG");
    [good, zip].iter().for_each(|path| std::fs::remove_file(path).unwrap());
}
