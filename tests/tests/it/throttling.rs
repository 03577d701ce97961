//! Ingest above the capacity of the table: the run waits, nothing fails, and nothing is written more often
//! than necessary. Counted in write units, on paused time.

use std::time::Duration;

use logferry_core::ledger::claim::{Claim, Claimed, EndedBy, Lease, Ledger};
use logferry_core::ledger::row::{FileStatus, MAX_ATTEMPTS, MAX_RUNS};
use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::object::ObjectRef;
use logferry_core::ports::clock::Clock;
use logferry_ingest::Ingested;
use logferry_sim::{How, SimCloud, T0};
use logferry_tests::ingest::{BUCKET, event};

use crate::ingest::function;

/// Write units per second and partition key here: a twentieth of DynamoDB's, so that files may be small.
const PER_KEY: f64 = 50.0;
/// A table with four busy keys.
const TABLE: f64 = 4.0 * PER_KEY;
const RUN_MS: i64 = 15 * 60_000;

fn cloud() -> SimCloud {
    let cloud = crate::ingest::cloud();
    cloud.clock().run();
    cloud
}

/// Lines of one day that compress to about half, over eight hours.
fn file(seed: u64, lines: u64) -> String {
    let mut state = seed;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 16
    };
    let line = |i: u64, noise: &mut dyn FnMut() -> u64| {
        let time = T0 - 1 - i64::try_from(i * 8 * 3_600_000 / lines).unwrap();
        let pad: String = (0..8).map(|_| format!("{:012x}", noise())).collect();
        format!("{{\"time\":{time},\"pad\":\"{pad}\"}}\n")
    };
    (0..lines).map(|i| line(i, &mut noise)).collect()
}

/// Returns the write units of one undisturbed file, and the shard of its first block.
async fn alone(text: &str) -> (u64, u8) {
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, "logs/my-app/x", text.to_owned());
    let ended = run(&cloud, &object, RUN_MS).await;
    assert!(matches!(ended, Some(Ingested::Completed { .. })), "{ended:?}");
    (cloud.units_written(), cloud.stream()[0].header.block_id.shard())
}

async fn run(cloud: &SimCloud, object: &ObjectRef, time_ms: i64) -> Option<Ingested> {
    let deadline_ms = cloud.clock().now_ms() + time_ms;
    let ended = function(cloud).handle(&event(object), deadline_ms).await;
    ended.ok().map(|mut ended| ended.remove(0))
}

/// Runs like Lambda and `sweep` until the file has ended. Returns the number of runs.
async fn run_to_the_end(cloud: &SimCloud, object: &ObjectRef, time_ms: i64) -> u64 {
    for runs in 1..200 {
        run(cloud, object, time_ms).await;
        let row = cloud.rows().into_iter().find(|row| row.object.as_ref() == Some(object)).unwrap();
        if row.status.is_terminal() {
            return runs;
        }
        tokio::time::sleep(Duration::from_secs(300)).await;
    }
    panic!("{object:?} does not come to its end: {:?}", cloud.rows());
}

/// Ingests files at 126 % of the table's capacity for four minutes. Returns runs per file, units written
/// and units needed.
async fn sustained(run_ms: i64) -> (f64, u64, u64) {
    const FILE_UNITS: f64 = 140.0;
    let texts: Vec<_> = (0..4).map(|seed| file(seed + 1, 2_600)).collect();
    let mut needed_by = Vec::new();
    for text in &texts {
        needed_by.push(alone(text).await.0);
    }
    assert!(needed_by.iter().all(|&units| (120..170).contains(&units)), "{needed_by:?}");
    let cloud = cloud();
    cloud.throttle_blocks(PER_KEY, TABLE);
    let per_second = 1.26 * TABLE / FILE_UNITS;
    let count = (240.0 * per_second) as usize;
    let mut needed = 0;
    let files: Vec<_> = (0..count)
        .map(|number| {
            needed += needed_by[number % texts.len()];
            let text = texts[number % texts.len()].clone();
            let object = cloud.put_object(BUCKET, &format!("logs/my-app/{number}"), text);
            (object, Duration::from_secs_f64(number as f64 / per_second))
        })
        .collect();
    let runs = files.iter().map(|(object, arrives)| {
        let cloud = &cloud;
        async move {
            tokio::time::sleep(*arrives).await;
            run_to_the_end(cloud, object, run_ms).await
        }
    });
    let runs: u64 = futures::future::join_all(runs).await.into_iter().sum();
    let rows = cloud.rows();
    assert_eq!(rows.len(), count);
    for row in rows {
        assert_eq!(row.status, FileStatus::Completed, "{row:?}");
    }
    (runs as f64 / count as f64, cloud.units_written(), needed)
}

#[tokio::test(start_paused = true)]
async fn four_minutes_above_what_the_table_takes_cost_a_run_a_file_and_no_unit_twice() {
    let (runs, written, needed) = sustained(RUN_MS).await;
    assert!(written as f64 <= 1.5 * needed as f64, "{written} units written of {needed} needed");
    assert!(runs <= 1.0, "{runs} runs a file");
}

#[tokio::test(start_paused = true)]
async fn runs_that_are_too_short_for_a_throttled_table_resume_and_none_fails() {
    let (_, written, needed) = sustained(30_000).await;
    assert!(written as f64 <= 1.5 * needed as f64, "{written} units written of {needed} needed");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_run_does_not_rewrite_blocks_stored_after_the_first_gap() {
    let text = file(7, 20_000);
    let (needed, first_shard) = alone(&text).await;
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, "logs/my-app/x", text);
    // The first block's partition is full: the mark does not move, and three of four blocks are stored.
    cloud.refuse_shard(Some(first_shard));
    assert!(matches!(run(&cloud, &object, 60_000).await, Some(Ingested::Released { blocks: 0 })));
    let row = cloud.rows().remove(0);
    assert!(row.checkpoint.beyond.len() > 3 && row.attempt == 0, "{row:?}");
    cloud.refuse_shard(None);
    assert!(matches!(run(&cloud, &object, 60_000).await, Some(Ingested::Completed { .. })));
    assert_eq!(cloud.units_written(), needed);
}

#[tokio::test(start_paused = true)]
async fn throttling_and_outages_are_no_attempts_however_long_they_last() {
    for operation in ["BatchWriteItem", "GetObject", "UpdateItem"] {
        for class in [FaultClass::RateLimited, FaultClass::Transient, FaultClass::Timeout] {
            let cloud = cloud();
            let object = cloud.put_object(BUCKET, "logs/my-app/x", file(3, 500));
            for _ in 0..MAX_ATTEMPTS + 5 {
                cloud.break_operation(operation, Some(class));
                let outage = async {
                    // It is released when the run ends, or its lease expires.
                    tokio::time::sleep(Duration::from_secs(45)).await;
                    cloud.break_operation(operation, None);
                };
                let (ended, ()) = tokio::join!(run(&cloud, &object, 60_000), outage);
                assert!(!matches!(ended, Some(Ingested::Failed { .. })), "{operation} {class:?}: {ended:?}");
                if matches!(ended, Some(Ingested::Completed { .. })) {
                    break;
                }
                assert_eq!(cloud.rows()[0].attempt, 0, "{operation} {class:?}");
            }
            run_to_the_end(&cloud, &object, 60_000).await;
            assert_eq!(cloud.rows()[0].status, FileStatus::Completed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_is_no_attempt() {
    let mut released = 0;
    for call in 0.. {
        let cloud = cloud();
        let object = cloud.put_object(BUCKET, "logs/my-app/x", file(3, 500));
        cloud.fail_call(cloud.calls() + call, How::Hang);
        // Lambda ends a run that waits for any other call.
        let ended = tokio::time::timeout(Duration::from_secs(60), run(&cloud, &object, 60_000)).await;
        if cloud.faults_hit() == 0 {
            break;
        }
        if let Ok(Some(Ingested::Released { .. })) = ended {
            released += 1;
            assert_eq!(cloud.rows()[0].attempt, 0, "call {call}");
        }
    }
    assert!(released > 0);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_never_comes_to_its_end_is_ended_after_a_bounded_number_of_runs() {
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, "logs/my-app/x", file(3, 500));
    for _ in 1..MAX_RUNS {
        let now_ms = cloud.clock().now_ms();
        let claim = Claim {
            object: object.clone(),
            app_id: Some("my-app".parse().unwrap()),
            granted: false,
            etag: None,
            size_bytes: 1,
            packing: PackFingerprint::default(),
            claim_id: ulid::Ulid::generate().to_string(),
            now_ms,
            lease_until_ms: now_ms + 1,
        };
        let Claimed::Yes(row) = cloud.claim(&claim).await.unwrap() else { panic!() };
        let lease = Lease {
            object: object.clone(),
            app_id: claim.app_id,
            registered_ms: 0,
            pruned_before_ms: None,
            fence: row.fence,
            claimed_ms: now_ms,
            checkpoint: row.checkpoint,
        };
        cloud.release(&lease, row.checkpoint, EndedBy::Outside, now_ms, now_ms).await.unwrap();
    }
    let Some(Ingested::Failed { reason, .. }) = run(&cloud, &object, RUN_MS).await else { panic!() };
    assert_eq!(reason.code, ReasonCode::AttemptsExhausted);
}
