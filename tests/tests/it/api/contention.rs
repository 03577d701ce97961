//! Very many concurrent writers of one app, which contend for its counters.

use std::time::Duration;

use futures::future::join_all;
use logferry_aws::transact::CONFLICT_ATTEMPTS;
use logferry_tests::api::{Answer, Api};
use serde_json::json;
use tokio::time::Instant;

/// The timeout of a request of the API.
const DEADLINE: Duration = Duration::from_secs(29);

async fn write_at_once(api: &Api, key: &str, writers: u64) -> Vec<Answer> {
    let entry = json!({"level": "INFO", "message": "x"});
    let begun = Instant::now();
    let answers = join_all((0..writers).map(|_| api.app(key, "POST", "/logs", &entry))).await;
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
    assert!(api.cloud.conflicts() <= writers * CONFLICT_ATTEMPTS as u64);
    answers
}

#[tokio::test(start_paused = true)]
async fn a_hundred_writers_at_once_are_all_stored_in_few_tries() {
    let api = Api::new();
    let key = api.register("shop").await;
    api.cloud.hold_transactions(Duration::from_millis(10));
    let answers = write_at_once(&api, &key, 100).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert!(api.cloud.conflicts() > 0, "they have met");
    assert_eq!(api.counted(&key, "shop").await, [0, 100, 0, 0]);
    assert_eq!(api.records(&key, "").await.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn writers_beyond_the_capacity_of_the_counters_are_asked_to_retry_and_store_nothing() {
    let api = Api::new();
    let key = api.register("shop").await;
    api.cloud.hold_transactions(Duration::from_millis(100));
    let answers = write_at_once(&api, &key, 2_000).await;
    let stored = answers.iter().filter(|answer| answer.status == 200).count();
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((refused.status, &refused.headers["retry-after"]), (503, &"1".parse().unwrap()));
    }
    assert!(stored > 100 && stored < 2_000, "{stored} were stored");
    assert_eq!(api.counted(&key, "shop").await, [0, stored as i64, 0, 0]);
    assert_eq!(api.cloud.blocks_stored(), stored);
}
