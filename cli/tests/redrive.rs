//! The command against the running local stack: redrives real dead letters.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

use std::process::{Command, Output, Stdio};

use logferry_aws::blocks::DynamoBlocks;
use logferry_aws::dead_letters::S3DeadLetters;
use logferry_aws::item::{Item, Put, b, key, n, s};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::model::block::Block;
use logferry_core::model::level::Level;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::dead_letters::DeadLetters;
use logferry_service::clock::SystemClock;
use logferry_tests::stack::{Stack, TestApp, until};
use logferry_tests::stream;
use serde_json::{Value, json};

async fn block(stack: &Stack, app: &TestApp, source: &str, entries: &[String]) -> Block {
    let hour_ms = SystemClock.now_ms() / 3_600_000 * 3_600_000 - 3_600_000;
    let entry = |(n, raw): (i64, &String)| (hour_ms + n, Level::Info, raw.clone());
    let entries: Vec<_> = (0..).zip(entries).map(entry).collect();
    let mut block = stream::blocks(&app.app_id, source, &entries).remove(0);
    block.header.registered_ms = stack.registered_ms(app).await;
    block
}

async fn store(stack: &Stack, blocks: Vec<Block>) {
    let table = DynamoBlocks::new(stack.aws.dynamodb(), stack.value("TABLE_LOGS"));
    assert!(table.put(blocks).await.unwrap().is_empty());
}

fn bucket(stack: &Stack) -> S3DeadLetters {
    S3DeadLetters::new(stack.aws.s3(), stack.value("FAILURE_BUCKET"))
}

/// The command's exit code, its JSON lines and its other output.
fn redrive(stack: &Stack, args: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.arg("redrive-dead-letters").args(args).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    // As `set -a; . .logferry/local.env` does it.
    for name in [
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "TABLE_APPS",
        "TABLE_LOGS",
        "TABLE_FILES",
        "FAILURE_BUCKET",
    ] {
        command.env(name, stack.value(name));
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    let lines =
        String::from_utf8_lossy(&stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (status.code(), lines, String::from_utf8_lossy(&stderr).into_owned())
}

async fn ids(stack: &Stack, app: &TestApp) -> Vec<String> {
    let events = stack.cloudwatch(app).await;
    let mut ids: Vec<_> = events.iter().map(|event| event["logId"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_dead_letter_is_sent_when_its_reason_is_gone_and_then_never_again() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("redrive").await;
    // The emulator refuses such events while this group exists.
    let poison = format!("/poison/{}", app.app_id);
    stack.aws.logs().create_log_group().log_group_name(&poison).send().await.unwrap();
    let entries = ["one".to_owned(), format!("poison:{poison}"), "three".to_owned()];
    let entries = entries.map(|text| json!({"msg": text}).to_string());
    store(&stack, vec![block(&stack, &app, "test", &entries).await]).await;

    let files = bucket(&stack);
    let folder = format!("dead-letters/{}/", app.app_id);
    let name = until("a dead letter", async || files.names(&folder, None).await.unwrap().pop()).await;
    let content = files.read(&name).await.unwrap();
    let sent = ids(&stack, &app).await;
    assert_eq!(sent.len(), 2);

    let own = ["--app", app.app_id.as_str(), "--prefix", "dead-letters/"];
    let looked = redrive(&stack, &[&own[..], &["--dry-run"]].concat());
    let stays = json!({"file": name, "events": 1, "sent": 0, "kept": 1, "reasons": {"INVALID": 1}});
    assert_eq!((looked.0, looked.1), (Some(0), vec![stays.clone()]), "{}", looked.2);
    assert_eq!(looked.2, "1 files with 1 events; nothing was sent\n");

    let refused = redrive(&stack, &own);
    assert_eq!((refused.0, refused.1), (Some(1), vec![stays]));
    assert_eq!(refused.2, "0 events sent, 1 kept; 0 files done, 1 files left\n");
    assert_eq!(files.read(&name).await.unwrap(), content);
    assert_eq!(ids(&stack, &app).await, sent);

    stack.aws.logs().delete_log_group().log_group_name(&poison).send().await.unwrap();
    let done = redrive(&stack, &own);
    assert_eq!((done.0, done.1), (Some(0), vec![json!({"file": name, "events": 1, "sent": 1, "kept": 0})]));
    assert!(files.names(&folder, None).await.unwrap().is_empty());
    let all = ids(&stack, &app).await;
    assert!(all.len() == 3 && sent.iter().all(|id| all.contains(id)), "{all:?}");

    let again = redrive(&stack, &own);
    assert_eq!(
        (again.0, again.1.len(), again.2.as_str()),
        (Some(0), 0, "0 events sent, 0 kept; 0 files done, 0 files left\n")
    );
    assert_eq!(ids(&stack, &app).await, all);
}

#[tokio::test]
async fn a_block_that_could_not_be_read_is_sent_when_its_reason_is_gone() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("given-up").await;
    // A block whose second half is missing.
    let entries: Vec<_> = (0..4).map(|n| json!({"msg": n.to_string()}).to_string()).collect();
    let Block { header, data } = block(&stack, &app, "test", &entries).await;
    let (first, rest) = data.split_at(data.len() / 2);
    let mut item = key(header.partition().key(), header.sort_key());
    for (name, number) in [
        ("first_ms", header.first_ms),
        ("last_ms", header.last_ms),
        ("count", 4),
        ("epoch", header.registered_ms),
        ("extents", 1),
    ] {
        item.put(name, n(number));
    }
    item.put("format", s(&header.format));
    item.put("source", s(&header.source));
    item.put("data", b(first.to_vec()));
    let put = async |item: Item| {
        let put = stack.aws.dynamodb().put_item().table_name(stack.value("TABLE_LOGS")).set_item(Some(item));
        put.send().await.unwrap();
    };
    put(item).await;

    let own = ["--app", app.app_id.as_str()];
    let looked = until("the block to be put aside", async || {
        let (code, lines, said) = redrive(&stack, &[&own[..], &["--dry-run"]].concat());
        assert_eq!(code, Some(0), "{said}");
        (!lines.is_empty()).then_some(lines)
    })
    .await;
    assert_eq!(looked[0]["reasons"], json!({"UNDECODABLE": 4}));
    let refused = redrive(&stack, &own);
    assert_eq!((refused.0, &refused.1[0]["reasons"]), (Some(1), &json!({"UNDECODABLE": 4})));
    assert_eq!(ids(&stack, &app).await.len(), 0);

    let mut extent = key(header.partition().key(), format!("{}#01", header.sort_key()));
    extent.put("data", b(rest.to_vec()));
    put(extent).await;
    let done = redrive(&stack, &own);
    assert_eq!(
        (done.0, &done.1[0]["sent"], &done.1[0]["kept"]),
        (Some(0), &json!(4), &json!(0)),
        "{}",
        done.2
    );
    let all = ids(&stack, &app).await;
    assert_eq!(all.len(), 4);
    assert_eq!(redrive(&stack, &own).1.len(), 0);
    assert_eq!(ids(&stack, &app).await, all);
}

#[tokio::test]
async fn a_broken_file_is_named_and_kept() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("broken").await;
    let name = format!("dead-letters/{}/2024-03-01/0/100-000000.jsonl", app.app_id);
    let files = bucket(&stack);
    files.put(&name, b"{\"group\":\"/g\"}\n".to_vec()).await.unwrap();
    let own = ["--app", app.app_id.as_str(), "--prefix", "dead-letters/"];
    let (code, lines, _) = redrive(&stack, &own);
    let expect =
        json!({"file": name, "events": 0, "sent": 0, "kept": 0, "error": "line 1 is not a dead letter"});
    assert_eq!((code, lines), (Some(1), vec![expect]));
    files.remove(&name).await.unwrap();
    assert_eq!(redrive(&stack, &own).0, Some(0));
}

#[test]
fn what_is_missing_is_said_at_once() {
    let bare = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
        let output = command.arg("redrive-dead-letters").args(args).env_clear().output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = bare(&[]);
    assert!(code == Some(2) && said.contains("--bucket"), "{said}");
    let (code, said) = bare(&["--bucket", "b"]);
    assert!(code == Some(2) && said.contains("TABLE_APPS is not set; TABLE_LOGS is not set"), "{said}");
    let (code, said) = bare(&["--bucket", "b", "--date", "yesterday"]);
    assert!(code == Some(2) && said.contains("not a day such as 2024-03-01"), "{said}");
}
