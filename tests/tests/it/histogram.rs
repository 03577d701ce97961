//! `GET /logs/counts` counts what `GET /logs` finds.

use std::collections::BTreeMap;
use std::time::Duration;

use logferry_core::logbook::budget::Budget;
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::histogram::{self, Question};
use logferry_core::logbook::records::{Records, Write};
use logferry_core::model::app::App;
use logferry_core::model::block::{BlockBuilder, BlockSource};
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::expiry::{Expiring, NEVER};
use logferry_core::model::ids::Seed;
use logferry_core::model::level::Level;
use logferry_core::model::record::{Entry, EntryKind, Marks};
use logferry_core::model::time::{Day, MS_PER_DAY, MS_PER_HOUR, parse_rfc3339_ms, rfc3339_ms};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_sim::{SimCloud, T0};
use logferry_tests::api::Api;
use serde_json::{Value, json};
use tokio::time::Instant;

const NONE: Value = Value::Null;

/// An app with records over three days, of all levels, in several writes.
async fn written() -> (Api, String, i64) {
    let api = Api::new();
    let key = api.register("shop").await;
    let now = api.cloud.clock().now_ms();
    for part in 0..12 {
        let entries: Vec<Value> = (0..40)
            .map(|n| {
                let at = now - part * 5 * MS_PER_HOUR - n * 97_001;
                let level = ["DEBUG", "INFO", "WARN", "ERROR"][usize::try_from((n * 7 + part) % 4).unwrap()];
                json!({"level": level, "message": format!("record {n}"), "timestamp": rfc3339_ms(at)})
            })
            .collect();
        assert_eq!(api.app(&key, "POST", "/logs", &json!({"logs": entries})).await.status, 200);
    }
    (api, key, now)
}

/// The buckets that the records of a query give, by their start and level.
async fn expected(api: &Api, key: &str, filter: &str, bucket_ms: i64) -> BTreeMap<(i64, String), i64> {
    let mut counts = BTreeMap::new();
    for record in api.records(key, filter).await {
        let at = parse_rfc3339_ms(record["timestamp"].as_str().unwrap()).unwrap();
        let level = record["level"].as_str().unwrap().to_lowercase();
        *counts.entry((at.div_euclid(bucket_ms) * bucket_ms, level)).or_insert(0) += 1;
    }
    counts
}

fn counted(data: &Value) -> BTreeMap<(i64, String), i64> {
    let mut counts = BTreeMap::new();
    for bucket in data["buckets"].as_array().unwrap() {
        let start = parse_rfc3339_ms(bucket["start"].as_str().unwrap()).unwrap();
        for level in ["debug", "info", "warn", "error"] {
            let records = bucket[level].as_i64().unwrap();
            if records > 0 {
                counts.insert((start, level.to_owned()), records);
            }
        }
    }
    counts
}

#[tokio::test]
async fn the_counts_are_those_of_the_records_that_a_query_finds() {
    let (api, key, now) = written().await;
    for (back, bucket_ms) in [
        (80 * MS_PER_HOUR, MS_PER_HOUR),
        (80 * MS_PER_HOUR, 24 * MS_PER_HOUR),
        (20 * MS_PER_HOUR, 600_000),
        (MS_PER_HOUR + 12_345, 60_000),
    ] {
        for filter in ["", "&level=ERROR,WARN", "&search=record%203", "&level=INFO&search=RECORD%201"] {
            let range = format!("since={}&until={}{filter}", now - back, now - 61_234);
            let answer =
                api.app(&key, "GET", &format!("/logs/counts?bucket_ms={bucket_ms}&{range}"), &NONE).await;
            let data = answer.data();
            assert_eq!(counted(&data), expected(&api, &key, &range, bucket_ms).await, "{range} {bucket_ms}");
            assert_eq!((&data["complete_from"], &data["skipped"]), (&NONE, &json!(0)));
        }
    }
}

#[tokio::test]
async fn hidden_expired_and_other_apps_records_are_not_counted() {
    let (api, key, now) = written().await;
    let other = api.register("other").await;
    let before = json!({"before": now - 10 * MS_PER_HOUR});
    assert_eq!(api.app(&key, "POST", "/apps/shop/prune", &before).await.status, 200);
    let range = format!("since={}&until={}", now - 80 * MS_PER_HOUR, now + 1);
    let path = format!("/logs/counts?bucket_ms={MS_PER_HOUR}&{range}");
    let data = api.app(&key, "GET", &path, &NONE).await.data();
    let found = counted(&data);
    assert!(!found.is_empty() && found.keys().all(|(start, _)| *start >= now - 11 * MS_PER_HOUR));
    assert_eq!(found, expected(&api, &key, &range, MS_PER_HOUR).await);
    assert!(counted(&api.app(&other, "GET", &path, &NONE).await.data()).is_empty());
    // The administration counts all apps.
    assert_eq!(counted(&api.admin("GET", &path, &NONE).await.data()), found);
}

#[tokio::test]
async fn a_range_has_a_round_number_of_buckets_and_too_many_are_refused() {
    let (api, key, now) = written().await;
    let data = api.app(&key, "GET", "/logs/counts", &NONE).await.data();
    assert_eq!(data["bucket_ms"], 1_800_000);
    assert_eq!(data["buckets"].as_array().unwrap().len(), 49);
    let range = format!("since={}&until={now}", now - 24 * MS_PER_HOUR);
    let refused = api.app(&key, "GET", &format!("/logs/counts?bucket_ms=60000&{range}"), &NONE).await;
    assert_eq!(refused.refused(), (400, "bucket_ms".to_owned()));
    let nothing = format!("/logs/counts?since={now}&until={}", now - 5);
    assert_eq!(api.app(&key, "GET", &nothing, &NONE).await.refused(), (400, "until".to_owned()));
}

#[tokio::test]
async fn the_read_of_a_block_takes_whole_units() {
    let (api, _, now) = written().await;
    let app = api.cloud.find(&"shop".parse().unwrap()).await.unwrap().unwrap();
    // Blocks that lie in several buckets are read.
    let question = Question {
        apps: std::slice::from_ref(&app),
        filter: &Filter::default(),
        since_ms: now - 80 * MS_PER_HOUR,
        until_ms: now,
        bucket_ms: 1_000,
        now_ms: now,
        budget: Budget::UNLIMITED,
    };
    let units = histogram::count(&api.cloud, &question).await.unwrap().read_units;
    // The rows of counters take halves: their reads are eventually consistent.
    assert!(units > 0.0 && (units * 2.0).fract() == 0.0, "{units}");
}

#[tokio::test]
async fn counting_that_is_cut_off_says_from_where_on_it_is_complete_and_can_be_continued() {
    let (api, key, now) = written().await;
    let app = api.cloud.find(&"shop".parse().unwrap()).await.unwrap().unwrap();
    let since_ms = now - 80 * MS_PER_HOUR;
    let filter = Filter::default();
    let all = expected(&api, &key, &format!("since={since_ms}&until={now}"), MS_PER_HOUR).await;
    let question = Question {
        apps: std::slice::from_ref(&app),
        filter: &filter,
        since_ms,
        until_ms: now,
        bucket_ms: MS_PER_HOUR,
        now_ms: now,
        budget: Budget { read_units: 0.000_001, ..Budget::UNLIMITED },
    };
    let (sum, rounds) = in_rounds(&api.cloud, question).await;
    assert!(rounds > 2, "it was cut off {rounds} times");
    assert_eq!(sum.values().sum::<i64>(), all.values().sum::<i64>());
}

/// Counts until nothing is missing, and checks that each answer gets further. Returns the records by start of
/// the bucket, and the number of answers.
async fn in_rounds(cloud: &SimCloud, mut question: Question<'_>) -> (BTreeMap<i64, i64>, usize) {
    let (mut sum, mut rounds) = (BTreeMap::new(), 0);
    loop {
        rounds += 1;
        let found = histogram::count(cloud, &question).await.unwrap();
        for (start, levels) in found.buckets.iter().filter(|(_, levels)| !levels.is_zero()) {
            *sum.entry(*start).or_default() += levels.total();
            let is_complete = found.complete_from_ms.is_none_or(|from| start + question.bucket_ms > from);
            assert!(is_complete, "{start} is before {:?}", found.complete_from_ms);
        }
        let Some(from) = found.complete_from_ms else { return (sum, rounds) };
        assert!(from < question.until_ms, "{from} is no progress from {}", question.until_ms);
        question.until_ms = from;
    }
}

/// Stores a block with a record every five seconds of an hour. Returns their times.
async fn store_hour(cloud: &SimCloud, app: &App, part: u8, hour_ms: i64, records: u64) -> Vec<i64> {
    let mut builder = BlockBuilder::default();
    let times: Vec<i64> = (0..records).map(|n| hour_ms + n as i64 * 5_000).collect();
    for (ordinal, timestamp_ms) in (0..).zip(&times) {
        builder.push(&Entry {
            ordinal,
            timestamp_ms: *timestamp_ms,
            level: Level::Info,
            kind: EntryKind::PlainText,
            timestamp_fallback: false,
            marks: Marks::NONE,
            raw: "x",
        });
    }
    let source = BlockSource {
        app_id: &app.app_id,
        seed: &Seed::of(&[app.app_id.as_str().as_bytes(), &hour_ms.to_be_bytes(), &[part]]),
        format: "",
        source: "",
        registered_ms: app.registered_ms,
        expires_at_secs: None,
    };
    let blocks = builder.build(&source).unwrap();
    let mut counts = DayCounts::default();
    blocks.iter().for_each(|block| counts.levels += block.header.levels);
    let write = Write {
        app_id: app.app_id.clone(),
        registered_ms: app.registered_ms,
        blocks,
        days: BTreeMap::from([(Day::of_ms(hour_ms), Expiring::one(NEVER, counts))]),
        counter: 0,
        memo: None,
    };
    cloud.write(&write).await.unwrap();
    times
}

#[tokio::test]
async fn an_app_with_very_many_records_in_a_day_is_counted_within_any_limits_also_beside_others() {
    let cloud = SimCloud::default();
    let apps = [cloud.add_app("busy"), cloud.add_app("quiet")];
    let day_ms = Day::of_ms(T0 - MS_PER_DAY).start_ms();
    let (mut busy, mut quiet) = (Vec::new(), Vec::new());
    for hour_ms in (0..24).map(|hour| day_ms + hour * MS_PER_HOUR) {
        for part in 0..3 {
            busy.extend(store_hour(&cloud, &apps[0], part, hour_ms, 700).await);
        }
        quiet.extend(store_hour(&cloud, &apps[1], 0, hour_ms, 2).await);
        quiet.extend(store_hour(&cloud, &apps[1], 0, hour_ms - MS_PER_DAY, 1).await);
    }
    assert!(busy.len() >= 50_000, "its hours are read by themselves");
    // Some hours of the day are after the range.
    let (since_ms, until_ms) = (day_ms - MS_PER_HOUR, day_ms + 13 * MS_PER_HOUR + 1_234_567);
    let by_units = Budget { read_units: 0.000_001, ..Budget::UNLIMITED };
    let by_bytes = Budget { decompressed_bytes: 1, ..Budget::UNLIMITED };
    for (asked, times) in [(&apps[..1], busy.clone()), (&apps[..], [busy, quiet].concat())] {
        // Blocks lie in one bucket, or must be opened.
        for (bucket_ms, budget) in
            [(MS_PER_HOUR, by_units), (1_800_000, by_bytes), (4 * MS_PER_HOUR, by_units)]
        {
            let mut expected = BTreeMap::<i64, i64>::new();
            for time_ms in times.iter().filter(|time| (since_ms..until_ms).contains(*time)) {
                *expected.entry(time_ms.div_euclid(bucket_ms) * bucket_ms).or_default() += 1;
            }
            let filter = &Filter::default();
            let question =
                Question { apps: asked, filter, since_ms, until_ms, bucket_ms, now_ms: T0, budget };
            let (sum, rounds) = in_rounds(&cloud, question).await;
            assert_eq!(sum, expected, "{} apps, {bucket_ms} ms", asked.len());
            assert!(rounds > 2, "it was cut off {rounds} times");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_days_of_many_apps_are_read_in_parallel_until_the_time_is_over() {
    let cloud = SimCloud::default();
    let apps: Vec<App> = (0..100).map(|n| cloud.add_app(&format!("app{n}"))).collect();
    cloud.slow_down(Duration::from_millis(100));
    let began = Instant::now();
    let filter = Filter::default();
    let question = |budget| Question {
        apps: &apps,
        filter: &filter,
        since_ms: T0 - MS_PER_DAY,
        until_ms: T0,
        bucket_ms: MS_PER_HOUR,
        now_ms: T0,
        budget,
    };
    let all = histogram::count(&cloud, &question(Budget::UNLIMITED)).await.unwrap();
    assert_eq!((all.complete_from_ms, cloud.calls()), (None, 100));
    assert_eq!(began.elapsed(), Duration::from_millis(700), "sixteen at once");
    let stop_at = Some(Instant::now() + Duration::from_millis(150));
    let cut = histogram::count(&cloud, &question(Budget { stop_at, ..Budget::UNLIMITED })).await.unwrap();
    assert_eq!((cut.complete_from_ms, cloud.calls()), (Some(T0), 132));
}

#[tokio::test(start_paused = true)]
async fn counts_of_all_apps_that_would_get_no_further_ask_for_an_app() {
    let api = Api::new();
    for n in 0..120 {
        api.cloud.add_app(&format!("app{n}"));
    }
    let key = api.register("shop").await;
    // The counters of all apps take longer than an answer has.
    api.cloud.slow_down(Duration::from_secs(2));
    let refused = api.admin("GET", "/logs/counts", &Value::Null).await;
    assert_eq!((refused.status, &refused.json()["error"]["details"]["field"]), (400, &json!("app_id")));
    assert_eq!(api.app(&key, "GET", "/logs/counts", &Value::Null).await.status, 200);
}
