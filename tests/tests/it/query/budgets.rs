//! A query ends within any budget, and its pages together are the whole result.

use std::time::Duration;

use logferry_core::logbook::budget::{Budget, MAX_TIME};
use logferry_core::logbook::cursor;
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::query::{Cost, Order, Query, QueryError, query};
use logferry_core::logbook::records::{Records, Write};
use logferry_core::model::app::App;
use logferry_core::model::block::{Block, BlockBuilder, BlockSource};
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::ids::Seed;
use logferry_core::model::level::Level;
use logferry_core::model::record::{Entry, EntryKind, Marks};
use logferry_core::model::time::{Day, MS_PER_DAY, MS_PER_HOUR, hour_of_ms};
use logferry_core::model::time_bound::TimeBound;
use logferry_core::ports::clock::Clock;
use logferry_sim::{How, SimCloud, T0};
use logferry_tests::api::Api;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{entry_filter, ids, never};

/// Blocks of one record each, a second apart, the newest last.
pub(super) async fn store_singles(cloud: &SimCloud, app: &App, count: i64, text: impl Fn(i64) -> String) {
    for chunk in (0..count).collect::<Vec<_>>().chunks(50) {
        let time_ms = |i: i64| T0 - 2_000_000 + i * 1_000;
        store(cloud, app, chunk.iter().map(|&i| single(app, i, time_ms(i), &text(i))).collect()).await;
    }
}

async fn store(cloud: &SimCloud, app: &App, blocks: Vec<Block>) {
    let mut days = std::collections::BTreeMap::<Day, DayCounts>::new();
    for block in &blocks {
        days.entry(block.header.day()).or_default().levels += block.header.levels;
    }
    let write = Write {
        app_id: app.app_id.clone(),
        registered_ms: app.registered_ms,
        blocks,
        days: days.into_iter().map(never).collect(),
        counter: 0,
        memo: None,
    };
    cloud.write(&write).await.unwrap();
}

pub(super) fn single(app: &App, number: i64, timestamp_ms: i64, raw: &str) -> Block {
    block(app, number, &[timestamp_ms], raw)
}

fn block(app: &App, number: i64, times_ms: &[i64], raw: &str) -> Block {
    let mut builder = BlockBuilder::default();
    for (ordinal, &timestamp_ms) in (0..).zip(times_ms) {
        builder.push(&Entry {
            ordinal,
            timestamp_ms,
            level: Level::Info,
            kind: EntryKind::PlainText,
            timestamp_fallback: false,
            marks: Marks::NONE,
            raw,
        });
    }
    let seed = Seed::of(&[app.app_id.as_str().as_bytes(), &number.to_be_bytes()]);
    let source = BlockSource {
        app_id: &app.app_id,
        seed: &seed,
        format: "",
        source: "",
        registered_ms: app.registered_ms,
        expires_at_secs: Some((T0 + MS_PER_DAY) / 1000),
    };
    builder.build(&source).unwrap().swap_remove(0)
}

fn asked<'a>(apps: &'a [App], filter: &'a Filter, budget: Budget) -> Query<'a> {
    Query {
        apps,
        merged: apps.len() > 1,
        filter,
        order: Order::NewestFirst,
        limit: 100,
        offset: 0,
        cursor: None,
        raw: false,
        now_ms: T0,
        budget,
    }
}

/// Reads all pages and checks that each makes progress. Returns the records, the number of pages, and the
/// cost.
async fn pages(cloud: &SimCloud, asked: &Query<'_>) -> (Vec<String>, usize, Cost) {
    let question = asked.filter.question((!asked.merged).then(|| asked.apps[0].app_id.as_str()), asked.order);
    let (mut all, mut after, mut count, mut cost) = (Vec::new(), None::<String>, 0, Cost::default());
    loop {
        let page = query(cloud, &Query { cursor: after.as_deref(), ..*asked }).await.unwrap();
        all.extend(ids(&page));
        count += 1;
        cost.blocks += page.cost.blocks;
        cost.opened += page.cost.opened;
        let Some(next) = page.cursor else { return (all, count, cost) };
        let below = |text: &str| cursor::decode(text, &question).unwrap().below;
        if let Some(after) = &after {
            assert!(below(&next) < below(after), "page {count} is no further than the one before");
        }
        after = Some(next);
    }
}

#[tokio::test]
async fn whatever_a_query_may_spend_its_pages_are_together_the_whole_answer() {
    let cloud = SimCloud::default();
    let apps: Vec<App> = ["a", "b", "c", "d", "e", "f"].map(|name| cloud.add_app(name)).into();
    for (app, count) in apps.iter().zip([150, 40, 1, 0, 3, 20]) {
        store_singles(&cloud, app, count, |i| {
            format!("record {i}{}", if i % 50 == 7 { " needle" } else { "" })
        })
        .await;
    }
    let none = Budget::UNLIMITED;
    let budgets = [
        Budget { read_bytes: 1, ..none },
        Budget { read_bytes: 0, ..none },
        Budget { decompressed_bytes: 1, ..none },
        Budget { stop_at: Some(Instant::now()), ..none },
        Budget { read_bytes: 0, read_units: 0.0, decompressed_bytes: 0, stop_at: Some(Instant::now()) },
        Budget { read_bytes: 5_000, decompressed_bytes: 300, ..none },
    ];
    let search = |text: &str| entry_filter(&[("search", text)]);
    for filter in [Filter::default(), search("needle"), search("nothing has this")] {
        for own in [&apps[..1], &apps[..2], &apps[..]] {
            let (whole, ..) = pages(&cloud, &asked(own, &filter, none)).await;
            for budget in budgets {
                let (found, count, _) = pages(&cloud, &asked(own, &filter, budget)).await;
                assert_eq!(found, whole, "{} apps, {filter:?}, {budget:?}", own.len());
                assert!(count > 1, "{} apps, {filter:?}, {budget:?}", own.len());
            }
        }
    }
}

#[tokio::test]
async fn pages_of_a_search_do_not_read_again_what_earlier_ones_have_been_through() {
    let cloud = SimCloud::default();
    let apps = [cloud.add_app("a")];
    store_singles(&cloud, &apps[0], 400, |i| format!("record {i}")).await;
    let filter = entry_filter(&[("search", "nowhere")]);
    let budget = Budget { decompressed_bytes: 1, ..Budget::UNLIMITED };
    let (found, count, cost) = pages(&cloud, &asked(&apps, &filter, budget)).await;
    assert_eq!((found.len(), cost.opened), (0, 400), "each is looked into once");
    assert!(count >= 400, "{count} pages");
    // A page starts with the newest block of each of the four partitions, not with those of earlier pages.
    assert!(cost.blocks <= 8 * 401, "{} blocks read", cost.blocks);
}

#[tokio::test]
async fn what_a_block_holds_counts_and_not_what_it_takes() {
    let cloud = SimCloud::default();
    let apps = [cloud.add_app("a")];
    store_singles(&cloud, &apps[0], 20, |_| "x".repeat(1 << 20)).await;
    let filter = entry_filter(&[("search", "y")]);
    let budget = Budget { decompressed_bytes: 4 << 20, ..Budget::UNLIMITED };
    let page = query(&cloud, &asked(&apps, &filter, budget)).await.unwrap();
    assert!(page.cost.data_bytes < 100_000, "{:?}", page.cost);
    assert!((4..=5).contains(&page.cost.opened), "{:?}", page.cost);
    assert!(page.records.is_empty() && page.cursor.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_query_ends_in_time_however_slow_the_table_is() {
    let api = Api::new();
    let key = api.register("shop").await;
    for i in 0..300 {
        let entry = json!({"level": "INFO", "message": format!("entry {i}"), "timestamp": T0 - i * 1_000});
        assert_eq!(api.app(&key, "POST", "/logs", &entry).await.status, 200);
    }
    let call = Duration::from_millis(1_500);
    api.cloud.slow_down(call);
    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let begun = Instant::now();
        let path = format!("/logs?limit=1000&search=entry{cursor}");
        let page = api.app(&key, "GET", &path, &Value::Null).await;
        assert_eq!(page.status, 200, "{}", page.text);
        // The key and the app are read before, and one read may be in flight.
        assert!(begun.elapsed() <= MAX_TIME + 3 * call, "{:?}", begun.elapsed());
        let page = page.json();
        found.extend(page["data"].as_array().unwrap().iter().map(|record| record["message"].clone()));
        pages += 1;
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = (0..300).map(|i| Value::from(format!("entry {i}"))).collect();
    assert_eq!(found, expected);
    assert!(pages > 1, "{pages} pages");
}

#[tokio::test(start_paused = true)]
async fn an_hour_that_is_too_large_for_the_oldest_records_is_refused_before_it_is_read_whole() {
    let cloud = SimCloud::default();
    let apps = [cloud.add_app("a")];
    // Blocks that all begin and end with their hour.
    let hour_ms = hour_of_ms(T0 - MS_PER_HOUR) * MS_PER_HOUR;
    for chunk in (0..1_500).collect::<Vec<_>>().chunks(50) {
        let times = |i: i64| [hour_ms + i, hour_ms + MS_PER_HOUR / 2 + i];
        store(&cloud, &apps[0], chunk.iter().map(|&i| block(&apps[0], i, &times(i), "x")).collect()).await;
    }
    let within = Filter { since: Some(TimeBound::At(hour_ms + 60_000)), ..Filter::default() };
    let oldest = |budget| Query { order: Order::OldestFirst, ..asked(&apps, &within, budget) };
    let whole = query(&cloud, &oldest(Budget::UNLIMITED)).await.unwrap();
    assert_eq!(whole.records.len(), 100);

    // The first headers of each of the four partitions take all read units.
    let calls = cloud.calls();
    let refused = query(&cloud, &oldest(Budget { read_units: 1.0, ..Budget::UNLIMITED })).await;
    assert!(matches!(refused, Err(QueryError::HourTooLarge)), "{refused:?}");
    assert_eq!(cloud.calls() - calls, 5, "and the counters");

    // The headers are listed in time, and the blocks are not read in time.
    let call = Duration::from_millis(500);
    cloud.slow_down(call);
    let begun = Instant::now();
    let refused = query(&cloud, &oldest(Budget::since(begun))).await;
    assert!(matches!(refused, Err(QueryError::HourTooLarge)), "{refused:?}");
    assert!(begun.elapsed() <= MAX_TIME + call, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_read_that_never_answers_ends_the_page_where_it_has_got_to() {
    let cloud = SimCloud::default();
    let apps = [cloud.add_app("a")];
    store_singles(&cloud, &apps[0], 200, |i| format!("record {i}")).await;
    let filter = Filter::default();
    let (whole, ..) = pages(&cloud, &asked(&apps, &filter, Budget::UNLIMITED)).await;
    for call in 6..20 {
        cloud.fail_call(cloud.calls() + call, How::Hang);
        let begun = Instant::now();
        let own = Query { limit: 1_000, ..asked(&apps, &filter, Budget::since(begun)) };
        let page = query(&cloud, &own).await.unwrap();
        assert!(begun.elapsed() <= MAX_TIME);
        let first = ids(&page);
        let hung = cloud.faults_hit() > 0;
        cloud.stop_faults();
        assert_eq!(page.cursor.is_some(), hung && first.len() < 200);
        let rest = match &page.cursor {
            Some(cursor) => {
                let next = Query { cursor: Some(cursor), budget: Budget::UNLIMITED, ..own };
                ids(&query(&cloud, &next).await.unwrap())
            }
            None => Vec::new(),
        };
        assert_eq!([first, rest].concat(), whole, "call {call}");
    }
    assert!(cloud.faults_hit() > 0);
    assert!(cloud.clock().now_ms() >= T0);
}
