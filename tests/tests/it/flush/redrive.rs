//! Events in the failure bucket are sent again, and removed only when they were accepted.

use std::collections::BTreeMap;

use batch_buffer::ErrorClass;
use batch_buffer::testing::{Fault, StrictLogs};
use logferry::redrive_dead_letters::{FileReport, Redriven, Selection};
use logferry_core::model::app::FlushSetting;
use logferry_core::model::block::Block;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::level::Level;
use logferry_core::ports::dead_letters::DeadLetters;
use logferry_flush::Tally;
use serde_json::{Value, json};

use super::world::{Death, NOW_MS, World, block, blocks, failed, ids, inserted, long_block};

const GIVEN_UP: &str = "aws/lambda/3f1c/shardId-00000001-0000/2024/03/01/2024-03-01T11.00.00-7c1e";

fn refused() -> Option<Fault> {
    Some(Fault::Fail(ErrorClass::AccessDenied))
}

/// Blocks of ten records of three apps, all rejected.
async fn three_dead_blocks() -> (World, Vec<Block>) {
    let world = World::with(StrictLogs::at(NOW_MS));
    world.logs().next([refused(); 3]);
    let blocks: Vec<_> = ["a", "b", "c"].into_iter().map(|app| block(app, "s", 10)).collect();
    let records: Vec<_> = blocks.iter().enumerate().map(|(n, block)| inserted(n, block)).collect();
    let handled = world.invoke(&records).await.unwrap();
    assert_eq!(handled.tally, Tally { records_in: 30, dead_lettered: 30, ..Tally::default() });
    assert_eq!((failed(&handled).len(), world.cloud.dead_letters_now().len()), (0, 3));
    (world, blocks)
}

/// Writes a batch as the mapping keeps a discarded one.
async fn give_up(world: &World, records: &[Value]) {
    world.register_all(records);
    let record = json!({
        "requestContext": {"condition": "RetryAttemptsExhausted"},
        "DDBStreamBatchInfo": {"batchSize": records.len()},
        "payload": json!({"Records": records}).to_string(),
    });
    world.cloud.put(GIVEN_UP, record.to_string().into_bytes()).await.unwrap();
}

fn reasons(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(reason, events)| ((*reason).to_owned(), *events)).collect()
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_sent_once_and_only_what_is_refused_again_stays() {
    let (world, blocks) = three_dead_blocks().await;
    world.logs().next([None, refused()]);
    let first = world.redrive().await.unwrap();
    assert_eq!(first, Redriven { files_done: 2, files_kept: 1, events_sent: 20, events_kept: 10 });
    let second = world.redrive().await.unwrap();
    assert_eq!(second, Redriven { files_done: 1, files_kept: 0, events_sent: 10, events_kept: 0 });
    assert_eq!(world.redrive().await.unwrap(), Redriven::default());
    assert!(world.cloud.dead_letters_now().is_empty());
    assert!(world.sent().keys().eq(&ids(&blocks)));
    assert!(world.sent().values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn of_a_file_only_what_is_dead_again_stays_with_its_new_reason() {
    let poison = |event: &batch_buffer::Event| event.message.contains("\"message\":\"3\"");
    let world = World::with(StrictLogs::at(NOW_MS).with_poison(poison));
    world.logs().next([refused()]);
    world.invoke(&[inserted(0, &block("app", "s", 10))]).await.unwrap();
    let first = world.redrive().await.unwrap();
    assert_eq!(first, Redriven { files_done: 0, files_kept: 1, events_sent: 9, events_kept: 1 });
    let (_, content) = world.cloud.dead_letters_now().pop_first().unwrap();
    let line: Value = serde_json::from_slice(&content).unwrap();
    assert_eq!(
        (line["reason"].as_str(), line["detail"].as_str()),
        (Some("INVALID"), Some("refused as invalid: poison"))
    );
    let again = world.redrive().await.unwrap();
    assert_eq!((again.events_sent, again.events_kept, world.sent().len()), (0, 1, 9));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_takes_nothing_leaves_everything_as_it_was_and_is_named() {
    let (world, _) = three_dead_blocks().await;
    let files = world.cloud.dead_letters_now();
    world.logs().next([Some(Fault::Fail(ErrorClass::Throttling)); 12]);
    let (redriven, reports) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!(redriven.unwrap(), Redriven { files_kept: 3, events_kept: 30, ..Redriven::default() });
    assert_eq!(reports[0].reasons, reasons(&[("NOT_SENT", 10)]));
    assert_eq!(reports[0].error.as_deref(), Some("Throttling: as configured"));
    assert_eq!(world.cloud.dead_letters_now(), files);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_taken_says_why() {
    let world = World::new();
    let records = [inserted(0, &block("a", "s", 4))];
    give_up(&world, &records).await;
    let files = world.cloud.dead_letters_now();
    world.logs().next([Some(Fault::Fail(ErrorClass::Throttling)); 12]);
    let (redriven, reports) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!(redriven.unwrap(), Redriven { files_kept: 1, events_kept: 4, ..Redriven::default() });
    assert_eq!(reports[0].reasons, reasons(&[("NOT_SENT", 4)]));
    assert_eq!(reports[0].error.as_deref(), Some("Throttling: as configured"));
    assert_eq!(world.cloud.dead_letters_now(), files);
}

#[tokio::test(start_paused = true)]
async fn an_app_a_day_or_a_prefix_chooses_and_a_dry_run_only_looks() {
    let (world, _) = three_dead_blocks().await;
    give_up(&world, &[inserted(7, &block("b", "t", 4)), inserted(8, &block("c", "t", 5))]).await;
    let files = world.cloud.dead_letters_now();
    let chosen = async |selection: Selection| {
        let before = world.calls();
        let (redriven, reports) = world.redrive_some(&selection, true).await;
        assert_eq!(redriven.unwrap().events_sent, 0);
        assert!(world.calls() > before);
        reports.into_iter().map(|report| (report.file, report.kept, report.reasons)).collect::<Vec<_>>()
    };
    let app = |app: &str| Selection { app_id: Some(app.parse().unwrap()), ..Selection::default() };
    let day = |day: &str| Selection { day: Some(day.parse().unwrap()), ..app("b") };
    let own: Vec<&String> = files.keys().filter(|name| name.starts_with("dead-letters/")).collect();
    let denied = |name: &String| (name.clone(), 10, reasons(&[("REFUSED", 10)]));
    let batch = |events| (GIVEN_UP.to_owned(), events, reasons(&[("RetryAttemptsExhausted", events)]));

    let everything = chosen(Selection::default()).await;
    assert_eq!(everything, [denied(own[0]), denied(own[1]), denied(own[2]), batch(9)]);
    assert_eq!(chosen(app("b")).await, [denied(own[1]), batch(4)]);
    assert_eq!(chosen(app("unknown")).await, []);
    assert_eq!(chosen(day("2024-03-01")).await, [denied(own[1]), batch(4)]);
    assert_eq!(chosen(day("2024-02-29")).await, []);
    let first_of_march = Selection { day: Some("2024-03-01".parse().unwrap()), ..Selection::default() };
    assert_eq!(chosen(first_of_march).await.len(), 4);
    let prefix = Selection { prefix: Some("dead-letters/c".to_owned()), ..Selection::default() };
    assert_eq!(chosen(prefix).await, [denied(own[2])]);
    assert_eq!((world.logs().puts(), &world.cloud.dead_letters_now()), (3, &files));

    // Only the selected records of a batch are sent; the rest stays.
    let (redriven, _) = world.redrive_some(&app("b"), false).await;
    assert_eq!(redriven.unwrap().events_sent, 14);
    assert_eq!(chosen(Selection::default()).await, [denied(own[0]), denied(own[2]), batch(5)]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_given_up_is_sent_and_what_cannot_be_decoded_stays() {
    let world = World::new();
    let all: Vec<_> = (0..6).map(|n| block(["a", "b"][n % 2], &format!("s{n}"), 4)).collect();
    let mut records: Vec<_> = all.iter().enumerate().map(|(n, block)| inserted(n, block)).collect();
    records[2]["dynamodb"]["NewImage"]["data"]["B"] = json!("AAAA");
    records[3]["dynamodb"]["NewImage"]["pk"]["S"] = json!("nonsense");
    // The first two were sent, then the function died, and finally the mapping discarded the batch.
    assert_eq!(world.invoke(&records[..2]).await.unwrap().tally.sent, 8);
    give_up(&world, &records[2..]).await;
    let marks = world.cloud.flush_marks_now();

    let (redriven, reports) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!(redriven.unwrap().events_sent, 8);
    let expect = FileReport {
        file: GIVEN_UP.to_owned(),
        events: 13,
        sent: 8,
        kept: 5,
        // One does not even have a readable app id or number of records.
        reasons: reasons(&[("UNDECODABLE", 5)]),
        ..FileReport::default()
    };
    assert_eq!(reports, [expect]);
    let (_, left) = world.cloud.dead_letters_now().pop_first().unwrap();
    let left: Value = serde_json::from_slice(&left).unwrap();
    let payload: Value = serde_json::from_str(left["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["Records"], json!(records[2..4]));
    assert_eq!(left["DDBStreamBatchInfo"], json!({"batchSize": 4}), "the rest of the file is as it was");
    let good = [0, 1, 4, 5].map(|index| &all[index]);
    assert!(world.sent().keys().eq(&ids(good)) && world.sent().values().all(|times| *times == 1));
    assert_eq!(world.cloud.flush_marks_now(), marks, "the running function's marks are its own");

    // Repaired, it is sent too.
    give_up(&world, &[inserted(2, &all[2]), inserted(3, &all[3])]).await;
    assert_eq!(
        world.redrive().await.unwrap(),
        Redriven { files_done: 1, events_sent: 8, ..Redriven::default() }
    );
    assert_eq!((world.sent().len(), world.cloud.dead_letters_now().len()), (24, 0));
}

#[tokio::test(start_paused = true)]
async fn a_block_that_could_not_be_read_is_sent_once_it_can_be() {
    let world = World::new();
    let (long, record) = long_block(1, "app");
    let handled = world.invoke(&[record, inserted(2, &block("other", "s", 2))]).await.unwrap();
    assert_eq!((failed(&handled).len(), handled.tally.dead_lettered, handled.tally.sent), (0, 1, 2));
    let only = Selection { app_id: Some("app".parse().unwrap()), ..Selection::default() };
    let (redriven, reports) = world.redrive_some(&only, true).await;
    assert_eq!((redriven.unwrap().events_kept, &reports[0].reasons), (1, &reasons(&[("UNDECODABLE", 1)])));
    let files = world.cloud.dead_letters_now();
    assert_eq!(world.redrive_some(&only, false).await.0.unwrap().events_sent, 0);
    assert_eq!(world.cloud.dead_letters_now(), files);

    // Its extents exist again.
    logferry_core::logbook::blocks::BlockTable::put(&world.cloud, vec![long]).await.unwrap();
    let (redriven, _) = world.redrive_some(&only, false).await;
    assert_eq!(redriven.unwrap(), Redriven { files_done: 1, events_sent: 1, ..Redriven::default() });
    assert_eq!((world.sent().len(), world.cloud.dead_letters_now().len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_marks_say_was_sent_is_not_sent_again() {
    let world = World::new();
    let mut records: Vec<_> = (0..5).map(|n| inserted(n, &block("a", &format!("s{n}"), 4))).collect();
    records[0]["dynamodb"]["NewImage"]["data"]["B"] = json!("AAAA");
    // All but the first are sent; writing that one to the bucket fails too, and each response reports it
    // again.
    world.cloud.break_operation("PutObject", Some(FaultClass::Transient));
    for _ in 0..3 {
        assert_eq!(failed(&world.invoke(&records).await.unwrap()).len(), 1);
    }
    world.cloud.break_operation("PutObject", None);
    give_up(&world, &records).await;
    let (_, reports) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!((reports[0].sent, reports[0].sent_before, reports[0].kept), (0, 16, 4));
    assert!(world.sent().values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn an_apps_setting_of_now_decides_and_poison_in_a_batch_becomes_a_dead_letter() {
    let poison = |event: &batch_buffer::Event| event.message.contains("poison");
    let world = World::with(StrictLogs::at(NOW_MS).with_poison(poison));
    let entry = |level: Level, text: &str| (NOW_MS - 5, level, format!("{{\"msg\":\"{text}\"}}"));
    let entries = [entry(Level::Info, "i"), entry(Level::Error, "e"), entry(Level::Error, "poison")];
    give_up(&world, &[inserted(1, &blocks("loud", "s", &entries)[0])]).await;
    world.set_flush("loud", FlushSetting { enabled: true, min_level: Level::Warn });
    let (redriven, reports) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!(
        redriven.unwrap(),
        Redriven { files_done: 0, files_kept: 1, events_sent: 1, events_kept: 1 },
        "it is not done with"
    );
    assert_eq!((reports[0].narrowed, reports[0].sent, reports[0].dead_lettered), (1, 1, 1));
    let names: Vec<_> = world.cloud.dead_letters_now().into_keys().collect();
    assert!(names.len() == 1 && names[0].starts_with("dead-letters/loud/"), "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn broken_files_are_named_and_kept_and_stop_no_other() {
    let (world, _) = three_dead_blocks().await;
    let batch = |text: &str| text.as_bytes().to_vec();
    let broken = [
        ("dead-letters/a/2024-03-01/0/1-000000.jsonl", batch("{\"group\":"), "line 1 is not a dead letter"),
        ("dead-letters/what", batch("\n\nmine"), "line 3 is not a dead letter"),
        ("aws/lambda/1", batch("not json"), "the file is not an invocation record"),
        ("aws/lambda/2", batch("{}"), "the record has no payload, only the batch's position in the stream"),
        ("aws/lambda/3", batch("{\"payload\":\"{\"}"), "the payload is not a stream event"),
        ("aws/lambda/4", batch("{\"payload\":{\"Records\":[{}]}}"), "the payload is not a stream event"),
    ];
    for (name, content, _) in &broken {
        world.cloud.put(name, content.clone()).await.unwrap();
    }
    let (redriven, reports) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!(redriven.unwrap(), Redriven { files_done: 3, files_kept: 6, events_sent: 30, events_kept: 0 });
    for (name, content, problem) in &broken {
        let report = reports.iter().find(|report| report.file == *name).unwrap();
        assert_eq!(report.error.as_deref(), Some(*problem), "{name}");
        assert_eq!(world.cloud.dead_letters_now().get(*name), Some(content), "{name}");
    }
    let stranger = "other/app";
    world.cloud.put(stranger, Vec::new()).await.unwrap();
    let (_, reports) =
        world.redrive_some(&Selection { prefix: Some("oth".into()), ..Selection::default() }, false).await;
    assert_eq!(reports[0].error.as_deref(), Some("the file is neither dead letters nor a discarded batch"));
    assert!(world.cloud.dead_letters_now().contains_key(stranger));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_removed_is_named() {
    let (world, _) = three_dead_blocks().await;
    world.cloud.break_operation("DeleteObject", Some(FaultClass::Denied));
    let (redriven, reports) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!(redriven.unwrap().files_kept, 3);
    let error = reports[0].error.as_deref().unwrap();
    assert!(error.starts_with("sent, but not removed from the file: "), "{error}");
    assert_eq!(world.cloud.dead_letters_now().len(), 3);
    world.cloud.break_operation("GetObject", Some(FaultClass::Denied));
    assert!(world.redrive_some(&Selection::default(), false).await.0.is_err());
}

#[tokio::test(start_paused = true)]
async fn killed_at_every_call_and_run_again_it_loses_nothing_and_repeats_one_file_at_most() {
    let prepared = async || {
        let (world, mut blocks) = three_dead_blocks().await;
        let more: Vec<_> = (0..4).map(|n| block(["d", "e"][n % 2], &format!("s{n}"), 5)).collect();
        give_up(&world, &more.iter().enumerate().map(|(n, block)| inserted(n, block)).collect::<Vec<_>>())
            .await;
        blocks.extend(more);
        world.die(None);
        (world, blocks)
    };
    let (world, _) = prepared().await;
    assert_eq!(world.redrive().await.unwrap().events_sent, 50);
    let calls = world.calls();
    assert!(calls > 15, "{calls} calls");
    for call in 0..calls {
        for death in [Death::Before(call), Death::After(call)] {
            let (world, blocks) = prepared().await;
            world.die(Some(death));
            assert_eq!(world.redrive().await, None, "it dies: {death:?}");
            world.die(None);
            assert_eq!(world.redrive().await.unwrap().events_kept, 0, "{death:?}");
            assert!(world.sent().keys().eq(&ids(&blocks)), "{death:?}");
            assert!(world.cloud.dead_letters_now().is_empty(), "{death:?}");
            let twice = world.sent().values().filter(|times| **times > 1).count();
            assert!(twice <= 20, "{death:?}: {twice} events came twice, more than a file holds");
        }
    }
}
