//! Writes that need more than one transaction: all of a write is stored or nothing, wherever its writer
//! ends.

use std::time::Duration;

use logferry_core::logbook::prune;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::time::{MS_PER_DAY, rfc3339_ms};
use logferry_core::ports::clock::Clock;
use logferry_sim::{How, T0};
use logferry_tests::api::{Answer, Api};
use logferry_tests::in_a_minute;
use serde_json::{Value, json};

use super::NONE;

/// Entries of a write, a day apart: two transactions besides the one that starts it.
const DAYS: i64 = 72;

/// The timeout of a request of the API.
const DEADLINE: Duration = Duration::from_secs(29);

fn body() -> Value {
    let entry = |i: i64| json!({"level": "INFO", "message": i.to_string(), "timestamp": T0 - i * MS_PER_DAY});
    json!({"logs": (0..DAYS).map(entry).collect::<Vec<_>>()})
}

async fn write(api: &Api, key: &str, idempotency_key: Option<&str>) -> Option<Answer> {
    let mut headers = vec![("x-api-key", key)];
    headers.extend(idempotency_key.map(|idempotency_key| ("idempotency-key", idempotency_key)));
    tokio::time::timeout(DEADLINE, api.call("POST", "/logs", &headers, &body())).await.ok()
}

/// Runs a sweep when no writer can be running any more.
async fn sweep(api: &Api) {
    api.cloud.clock().advance_ms(60_000);
    prune::go_on(&api.cloud, &api.cloud, api.cloud.clock().now_ms(), in_a_minute()).await.unwrap();
}

fn is_settled(api: &Api) -> bool {
    api.cloud.apps_now().iter().all(|app| app.open_writes.is_empty())
}

/// Returns the number of the app's records, which must be all or none, and counted.
async fn all_or_nothing(api: &Api, key: &str, what: &str) -> i64 {
    let records = api.records(key, "").await.len() as i64;
    assert!(records == 0 || records == DAYS, "{what}: {records} records");
    assert_eq!(api.counted(key, "shop").await, [0, records, 0, 0], "{what}");
    records
}

#[tokio::test(start_paused = true)]
async fn whichever_call_of_a_long_write_goes_wrong_all_of_it_is_stored_or_nothing() {
    let ways = [How::Before(FaultClass::Permanent), How::ReplyLost(FaultClass::Timeout), How::HangAfter];
    let after: [(Option<&str>, &[&str]); 2] = [(None, &["a reader", "a sweep"]), (Some("k"), &["a retry"])];
    for (idempotency_key, after) in after {
        for how in ways {
            for call in 0.. {
                let mut hit = false;
                for &next in after {
                    let what = format!("{how:?} at call {call}, then {next}, key {idempotency_key:?}");
                    let api = Api::new();
                    let key = api.register("shop").await;
                    api.cloud.fail_call(api.cloud.calls() + call, how);
                    let answer = write(&api, &key, idempotency_key).await;
                    hit = api.cloud.faults_hit() > 0;
                    api.cloud.stop_faults();
                    if next == "a sweep" {
                        sweep(&api).await;
                        let stored = api.cloud.blocks_stored() as i64;
                        assert!(stored == 0 || stored == DAYS, "{what}: {stored} blocks");
                    }
                    if next == "a retry" {
                        let again = write(&api, &key, idempotency_key).await.unwrap();
                        assert_eq!(again.status, 200, "{what}");
                        if let Some(first) = answer.as_ref().filter(|first| first.status == 200) {
                            assert_eq!(first.text, again.text, "{what}");
                        }
                        assert_eq!(all_or_nothing(&api, &key, &what).await, DAYS, "{what}");
                        assert_eq!(Value::from(api.records(&key, "").await), again.data(), "{what}");
                    }
                    let records = all_or_nothing(&api, &key, &what).await;
                    if answer.is_some_and(|answer| answer.status == 200) {
                        assert_eq!(records, DAYS, "{what}: it was answered");
                    }
                    assert!(is_settled(&api), "{what}");
                }
                if !hit {
                    assert!(call > 5, "a long write takes more calls than {call}");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_long_write_of_an_app_that_is_removed_meanwhile_leaves_its_successor_alone() {
    let api = Api::new();
    let key = api.register("shop").await;
    // After the key, the app, its usage, and the start of the write.
    api.cloud.fail_call(api.cloud.calls() + 4, How::Before(FaultClass::Transient));
    assert_eq!(write(&api, &key, None).await.unwrap().status, 200);
    assert!(!is_settled(&api));
    assert_eq!(api.admin("DELETE", "/apps/shop", &NONE).await.status, 200);
    let again = api.register("shop").await;
    sweep(&api).await;
    assert_eq!(api.records(&again, "").await, [NONE; 0]);
    assert_eq!(api.counted(&again, "shop").await, [0; 4]);
}

#[tokio::test]
async fn a_prune_finishes_the_long_writes_that_it_meets() {
    let api = Api::new();
    let key = api.register("shop").await;
    api.cloud.fail_call(api.cloud.calls() + 5, How::Before(FaultClass::Transient));
    assert_eq!(write(&api, &key, None).await.unwrap().status, 200);
    assert!(!is_settled(&api) && api.cloud.blocks_stored() > 0);
    let before = T0 - 2 * MS_PER_DAY;
    let answer =
        api.app(&key, "POST", "/apps/shop/prune", &json!({"before": rfc3339_ms(before)})).await.data();
    // The newest, and those of the two days before, are left.
    assert_eq!(answer, json!({"deleted": DAYS - 3, "complete": true}));
    assert!(is_settled(&api));
    assert_eq!(api.cloud.blocks_stored(), 3);
    assert_eq!(api.counted(&key, "shop").await, [0, 3, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn long_writes_at_once_and_their_readers_do_not_get_in_each_others_way() {
    for seed in 0..5 {
        let api = Api::new();
        let key = api.register("shop").await;
        // Calls take time, in any order.
        api.cloud.fail_at_random(seed, 0);
        let writers = ["a", "a", "b", "c"].map(|idempotency_key| write(&api, &key, Some(idempotency_key)));
        let readers = (0..6).map(|_| api.app(&key, "GET", "/logs?limit=1", &NONE));
        let (written, read) =
            tokio::join!(futures::future::join_all(writers), futures::future::join_all(readers));
        let written: Vec<_> = written.into_iter().flatten().collect();
        assert!(written.iter().all(|answer| answer.status == 200) && written.len() == 4);
        assert_eq!(written[0].text, written[1].text);
        assert!(read.iter().all(|answer| answer.status == 200));
        assert_eq!(api.records(&key, "").await.len() as i64, 3 * DAYS, "seed {seed}");
        assert_eq!(api.counted(&key, "shop").await, [0, 3 * DAYS, 0, 0], "seed {seed}");
        assert!(is_settled(&api));
    }
}
