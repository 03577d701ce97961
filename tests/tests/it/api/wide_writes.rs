//! Writes over many hours: stored whole or not at all, and refused if they exceed one transaction.

use std::time::Duration;

use logferry_core::model::fault::FaultClass;
use logferry_core::model::time::{MS_PER_DAY, MS_PER_HOUR};
use logferry_sim::{How, T0};
use logferry_tests::api::{Answer, Api};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Entries of the widest write: one per hour.
const HOURS: i64 = 72;

/// The timeout of a request of the API.
const DEADLINE: Duration = Duration::from_secs(29);

/// Entries at these distances before now.
fn body(count: i64, distance_ms: i64) -> Value {
    let entry =
        |i: i64| json!({"level": "INFO", "message": i.to_string(), "timestamp": T0 - i * distance_ms});
    json!({"logs": (0..count).map(entry).collect::<Vec<_>>()})
}

async fn write(api: &Api, key: &str, idempotency_key: Option<&str>) -> Option<Answer> {
    let mut headers = vec![("x-api-key", key)];
    headers.extend(idempotency_key.map(|idempotency_key| ("idempotency-key", idempotency_key)));
    let body = body(HOURS, MS_PER_HOUR);
    tokio::time::timeout(DEADLINE, api.call("POST", "/logs", &headers, &body)).await.ok()
}

/// Returns the number of the app's records, which must be all or none, and counted.
async fn all_or_nothing(api: &Api, key: &str, what: &str) -> i64 {
    let records = api.records(key, "").await.len() as i64;
    assert!(records == 0 || records == HOURS, "{what}: {records} records");
    assert_eq!(api.counted(key, "shop").await, [0, records, 0, 0], "{what}");
    records
}

#[tokio::test(start_paused = true)]
async fn whichever_call_of_a_write_goes_wrong_all_of_it_is_stored_or_nothing() {
    let ways = [How::Before(FaultClass::Permanent), How::ReplyLost(FaultClass::Timeout), How::HangAfter];
    for idempotency_key in [None, Some("k")] {
        for how in ways {
            for call in 0.. {
                let what = format!("{how:?} at call {call}, key {idempotency_key:?}");
                let api = Api::new();
                let key = api.register("shop").await;
                api.cloud.fail_call(api.cloud.calls() + call, how);
                let answer = write(&api, &key, idempotency_key).await;
                let hit = api.cloud.faults_hit() > 0;
                api.cloud.stop_faults();
                let mut records = all_or_nothing(&api, &key, &what).await;
                if idempotency_key.is_some() {
                    let again = write(&api, &key, idempotency_key).await.unwrap();
                    assert_eq!(again.status, 200, "{what}");
                    if let Some(first) = answer.as_ref().filter(|first| first.status == 200) {
                        assert_eq!(first.text, again.text, "{what}");
                    }
                    assert_eq!(Value::from(api.records(&key, "").await), again.data(), "{what}");
                    records = all_or_nothing(&api, &key, &what).await;
                    assert_eq!(records, HOURS, "{what}");
                }
                if answer.is_some_and(|answer| answer.status == 200) {
                    assert_eq!(records, HOURS, "{what}: it was answered");
                }
                if !hit {
                    assert!(call > 3, "a write takes more calls than {call}");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn entries_of_too_many_days_for_one_transaction_are_400_and_nothing_is_stored() {
    let api = Api::new();
    let key = api.register("shop").await;
    for (days, accepted) in [(49, true), (50, false), (72, false)] {
        let before = api.cloud.blocks_stored();
        let answer = api.app(&key, "POST", "/logs", &body(days, MS_PER_DAY)).await;
        if accepted {
            assert_eq!(answer.status, 200, "{days}: {}", answer.text);
            continue;
        }
        assert_eq!(answer.refused(), (400, "logs".to_owned()), "{days}");
        assert!(answer.text.contains("must lie within 72 hours"), "{}", answer.text);
        assert_eq!(api.cloud.blocks_stored(), before, "{days}");
    }
}

#[tokio::test]
async fn four_mebibytes_that_hardly_compress_in_72_hours_fit_one_transaction() {
    let mut rng = SmallRng::seed_from_u64(11);
    // Entries slightly larger than half a block: the most blocks for this many bytes.
    let sizes = (0..HOURS).map(|hour| if hour < 20 { 200_000 } else { 20 });
    let mut noise =
        |size| -> String { (0..size).map(|_| char::from(rng.random_range(b'#'..=b'['))).collect() };
    let entries: Vec<_> = sizes
        .enumerate()
        .map(|(hour, size)| {
            let timestamp = T0 - hour as i64 * MS_PER_HOUR;
            json!({"level": "INFO", "message": noise(size), "timestamp": timestamp})
        })
        .collect();
    let api = Api::new();
    let key = api.register("shop").await;
    let answer = api.app(&key, "POST", "/logs", &json!({"logs": entries})).await;
    assert_eq!(answer.status, 200, "{}", answer.text.chars().take(200).collect::<String>());
    assert_eq!(api.counted(&key, "shop").await, [0, HOURS, 0, 0]);
}
