//! What ends a page, what is not answered, and how long arrivals are kept.

use logferry_core::logbook::blocks::{BlockTable, StoredHeader};
use logferry_core::logbook::budget::Budget;
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::tail::{After, TailError};
use logferry_core::model::app::App;
use logferry_core::model::entry_filter::EntryFilter;
use logferry_core::model::level::Level;
use logferry_core::ports::arrivals::KEEP_MS;
use logferry_tests::api::Api;
use logferry_tests::stream::{blocks, inserted};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::world::{APP, Tail, World};

const HOUR: i64 = 3_600_000;

fn filter(pairs: &[(&str, &str)]) -> Filter {
    Filter { entry: EntryFilter::read(pairs.iter().copied()).unwrap(), ..Filter::default() }
}

#[tokio::test(start_paused = true)]
async fn a_page_of_any_size_ends_anywhere_and_the_next_one_goes_on_there() {
    let world = World::new();
    for blocks in [3, 1, 9, 2] {
        let mut batch = Vec::new();
        for count in 1..=blocks {
            batch.push(world.some(count, 0).await);
        }
        world.record(&batch).await.unwrap();
    }
    let mut whole = Tail::all();
    whole.drain(&world).await;
    whole.assert_once(6 + 1 + 45 + 3, "one page");
    let spent =
        Budget { read_bytes: 0, read_units: 0.0, decompressed_bytes: 0, stop_at: Some(Instant::now()) };
    for limit in [1, 2, 3, 5, 8, 54, 55] {
        for budget in [Budget::UNLIMITED, spent] {
            let mut tail = Tail { limit, budget, ..Tail::all() };
            tail.drain(&world).await;
            assert_eq!(tail.messages(), whole.messages(), "limit {limit} {budget:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn filters_are_those_of_a_query_and_blocks_without_a_wanted_level_are_not_read() {
    let world = World::new();
    let mut batch = Vec::new();
    for level in [Level::Info, Level::Error, Level::Info, Level::Warn] {
        batch.push(world.store(&[(level, 0), (level, 0)]).await.1);
    }
    world.record(&batch).await.unwrap();
    let mut errors = Tail { filter: filter(&[("level", "ERROR")]), ..Tail::all() };
    let before = world.cloud.calls();
    errors.drain(&world).await;
    assert_eq!(errors.messages(), ["1 0", "1 1"]);
    // The beginning, a page of rows, and the block.
    assert_eq!(world.cloud.calls() - before, 4);
    let mut found = Tail { filter: filter(&[("search", "3 1")]), ..Tail::all() };
    found.drain(&world).await;
    assert_eq!(found.messages(), ["3 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_tail_begins_now_or_with_what_arrived_since_a_time() {
    let world = World::new();
    for _ in 0..50 {
        let record = world.some(1, 20 * HOUR).await;
        world.record(&[record]).await.unwrap();
        world.cloud.clock().advance_ms(60_000);
    }
    for (after, records) in [("now", 0), ("30s", 0), ("90s", 1), ("10m", 10), ("1h", 50), ("1d", 50)] {
        let mut tail = Tail::after(after);
        tail.drain(&world).await;
        assert_eq!(tail.seen.len(), records, "{after}");
    }
    let mut tail = Tail::after("now");
    tail.drain(&world).await;
    let record = world.some(1, 0).await;
    world.record(&[record]).await.unwrap();
    tail.drain(&world).await;
    assert_eq!(tail.messages(), ["50 0"]);
}

#[tokio::test(start_paused = true)]
async fn removed_erased_pruned_and_expired_blocks_are_skipped_and_so_is_a_former_app() {
    let world = World::new();
    let (removed, first) = world.store(&[(Level::Info, 0)]).await;
    let second = world.some(1, 3 * HOUR).await;
    let third = world.some(2, 0).await;
    world.record(&[first, second, third]).await.unwrap();
    let stored = StoredHeader { header: removed.header, extents: 0, pruned_to_ms: None };
    world.cloud.remove(&[stored]).await.unwrap();
    let mut tail = Tail::all();
    tail.drain(&world).await;
    assert_eq!(tail.messages(), ["1 0", "2 0", "2 1"]);
    let mut pruned = world.clone();
    pruned.app.pruned_before_ms = Some(world.now_ms() - HOUR);
    let mut tail = Tail::all();
    tail.drain(&pruned).await;
    assert_eq!(tail.messages(), ["2 0", "2 1"]);
    let again =
        World { app: App { registered_ms: world.app.registered_ms + 1, ..world.app.clone() }, ..world };
    let mut tail = Tail::all();
    tail.drain(&again).await;
    assert_eq!(tail.seen, [Value::Null; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_tail_of_a_day_misses_nothing_when_rows_expire_in_any_order_and_an_older_one_is_refused() {
    let world = World::new();
    let record = async |world: &World| {
        let record = world.some(1, 0).await;
        world.record(&[record]).await.unwrap();
    };
    for _ in 0..3 {
        record(&world).await;
    }
    let mut tail = Tail::all();
    tail.drain(&world).await;
    let old = tail.after.clone();
    // Nothing arrives for days, but the tail goes on; the newest row is deleted before an older one.
    for _ in 0..30 {
        world.cloud.clock().advance_ms(2 * HOUR);
        tail.drain(&world).await;
    }
    world.cloud.expire_arrival(&world.log(), 3);
    for _ in 0..2 {
        record(&world).await;
    }
    tail.drain(&world).await;
    world.cloud.expire_arrivals(world.now_ms() - KEEP_MS);
    record(&world).await;
    tail.drain(&world).await;
    tail.assert_once(6, "");
    assert!(matches!(world.page(&tail, old).await, Err(TailError::TooOld)));
    assert!(matches!(world.page(&tail, After::parse("2d")).await, Err(TailError::TooOld)));
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_by_its_name() {
    let api = Api::new();
    let key = api.register("shop").await;
    let ask = async |query: &str| api.app(&key, "GET", &format!("/logs?{query}"), &Value::Null).await;
    let page = ask("after=now").await.json();
    assert_eq!((&page["data"], &page["more"], &page["skipped"]), (&json!([]), &json!(false), &json!(0)));
    let cursor = page["cursor"].as_str().unwrap();
    assert_eq!(ask(&format!("after={cursor}")).await.status, 200);
    for (query, field) in [
        (format!("after={cursor}&level=ERROR"), "after"),
        ("after=soon".to_owned(), "after"),
        ("after=2d".to_owned(), "after"),
        ("after=now&order=asc".to_owned(), "order"),
        ("after=now&offset=1".to_owned(), "offset"),
        (format!("after=now&cursor={cursor}"), "cursor"),
        (format!("cursor={cursor}"), "cursor"),
    ] {
        assert_eq!(ask(&query).await.refused(), (400, field.to_owned()), "{query}");
    }
    api.register("other").await;
    assert_eq!(api.admin("GET", "/logs?after=now", &Value::Null).await.refused(), (400, "after".to_owned()));
    assert_eq!(api.admin("GET", "/logs?after=now&app_id=shop", &Value::Null).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_tail_reads_more_rows_than_one_read_returns_and_ends_a_page_between_them() {
    let world = World::new();
    // A read returns 100 rows.
    for _ in 0..205 {
        let record = world.some(1, 0).await;
        world.record(&[record]).await.unwrap();
    }
    let mut whole = Tail::all();
    let page = world.page(&whole, After::parse("1h")).await.unwrap();
    assert_eq!((page.records.len(), page.more), (205, false));
    // Three reads of rows, and a unit for each of the blocks.
    assert_eq!((page.cost.pages, page.cost.units >= 208.0), (3 + 205, true), "{:?}", page.cost);
    whole.drain(&world).await;
    whole.assert_once(205, "");
    let spent =
        Budget { read_bytes: 0, read_units: 0.0, decompressed_bytes: 0, stop_at: Some(Instant::now()) };
    for (limit, budget) in
        [(99, Budget::UNLIMITED), (100, Budget::UNLIMITED), (101, Budget::UNLIMITED), (1_000, spent)]
    {
        let mut tail = Tail { limit, budget, ..Tail::all() };
        tail.drain(&world).await;
        assert_eq!(tail.messages(), whole.messages(), "limit {limit} {budget:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_of_long_records_ends_before_it_is_longer_than_an_answer_and_the_next_one_goes_on_there() {
    let world = World::new();
    // Quotation marks double in the answer: three of these records are more than 5 MiB.
    let long = "\"".repeat(500_000);
    let entry = |index: i64| {
        let raw = json!({"msg": format!("{index} {long}")}).to_string();
        (world.now_ms() + index, Level::Info, raw)
    };
    let block = blocks(APP, "long", &(0..4).map(entry).collect::<Vec<_>>()).remove(0);
    assert_eq!(world.cloud.put(vec![block.clone()]).await.unwrap(), []);
    world.record(&[inserted(0, &block, world.now_ms())]).await.unwrap();
    let (mut tail, mut pages) = (Tail::all(), Vec::new());
    let mut more = true;
    while more {
        let before = tail.seen.len();
        more = tail.poll(&world).await;
        pages.push(tail.seen.len() - before);
    }
    assert_eq!(pages, [2, 2]);
    let first: Vec<_> = tail.messages().iter().map(|message| &message[..1]).collect();
    assert_eq!(first, ["0", "1", "2", "3"]);
    tail.assert_once(4, "");
}
