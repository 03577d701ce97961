//! The query engine compared with the simplest one: filter everything, sort everything.

use std::collections::BTreeMap;

use logferry_core::logbook::budget::Budget;
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::query::{Order, Page, Query, QueryError, query};
use logferry_core::logbook::records::{Records, Write};
use logferry_core::model::app::{App, AppId};
use logferry_core::model::block::{BlockBuilder, BlockSource, Payload};
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::entry_filter::EntryFilter;
use logferry_core::model::expiry::{Expiring, NEVER};
use logferry_core::model::ids::{BlockId, RecordId, Seed};
use logferry_core::model::level::Level;
use logferry_core::model::record::{Entry, EntryKind, Marks};
use logferry_core::model::time::{Day, MS_PER_DAY, MS_PER_HOUR, hour_of_ms, rfc3339_ms};
use logferry_core::model::time_bound::TimeBound;
use logferry_sim::{SimCloud, T0};
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::time::Instant;

mod budgets;
mod damaged;
mod merged;

/// A record in the simple engine.
#[derive(Debug, Clone)]
struct Known {
    app_id: AppId,
    id: RecordId,
    /// Orders records of the same time: block, then ordinal.
    tie: (BlockId, u64),
    timestamp_ms: i64,
    level: Level,
    kind: EntryKind,
    message: String,
    request_id: Option<String>,
    context: Option<Value>,
    raw: String,
}

fn some_record(random: &mut SmallRng, app_id: &AppId, timestamp_ms: i64) -> Known {
    let words = ["alpha", "Beta", "ÜBER", "delta \"quoted\"", "back\\slash", "Kelvin \u{212a}", "zeta"];
    let message = format!("{} {}", words.choose(random).unwrap(), words.choose(random).unwrap());
    let level = *Level::ALL.choose(random).unwrap();
    let mut known = Known {
        app_id: app_id.clone(),
        id: RecordId([0; 16]),
        tie: (BlockId([0; 16]), 0),
        timestamp_ms,
        level,
        kind: EntryKind::Json,
        message: message.clone(),
        request_id: None,
        context: None,
        raw: String::new(),
    };
    match random.random_range(0..10) {
        0 => {
            known.kind = EntryKind::PlainText;
            known.raw = message;
        }
        1 => {
            known.kind = EntryKind::WorkerText;
            known.raw = format!("{} [{level}] {message}", rfc3339_ms(timestamp_ms));
        }
        kind => {
            let mut entry = json!({"level": level.as_str(), "msg": message});
            if kind > 4 {
                let id = random.random_range(0..4).to_string();
                entry["request_id"] = id.clone().into();
                known.request_id = Some(id);
            }
            if kind > 6 {
                let context = json!({"n": random.random_range(0..3), "user": {"name": "jo", "ok": random.random_bool(0.5)}});
                entry["context"] = context.clone();
                known.context = Some(context);
            }
            known.raw = entry.to_string();
        }
    }
    known
}

/// Counts of records that never expire.
fn never((day, counts): (Day, DayCounts)) -> (Day, Expiring) {
    (day, Expiring::one(NEVER, counts))
}

/// Stores records as files would: many sources, each with records of any time, so that blocks overlap.
async fn store(cloud: &SimCloud, random: &mut SmallRng, app: &App, mut records: Vec<Known>) -> Vec<Known> {
    records.shuffle(random);
    let mut rest = records.as_mut_slice();
    let mut source_number = 0;
    while !rest.is_empty() {
        let count = random.random_range(1..=rest.len().min(400));
        let (own, after) = rest.split_at_mut(count);
        rest = after;
        source_number += 1;
        let seed =
            Seed::of(&[app.app_id.as_str().as_bytes(), &app.registered_ms.to_be_bytes(), &[source_number]]);
        let mut hours: BTreeMap<i64, BlockBuilder> = BTreeMap::new();
        let mut days: BTreeMap<Day, DayCounts> = BTreeMap::new();
        let mut blocks = Vec::new();
        let block_source = BlockSource {
            app_id: &app.app_id,
            seed: &seed,
            format: "test",
            source: "test",
            registered_ms: app.registered_ms,
            expires_at_secs: None,
        };
        for (ordinal, record) in (0..).zip(own.iter_mut()) {
            record.id = seed.record_id(ordinal);
            let builder = hours.entry(hour_of_ms(record.timestamp_ms)).or_default();
            builder.push(&Entry {
                ordinal,
                timestamp_ms: record.timestamp_ms,
                level: record.level,
                kind: record.kind,
                timestamp_fallback: false,
                marks: Marks::NONE,
                raw: &record.raw,
            });
            days.entry(Day::of_ms(record.timestamp_ms)).or_default().levels.count(record.level);
            if builder.len() >= 60 {
                blocks.extend(std::mem::take(builder).build(&block_source).unwrap());
            }
        }
        for builder in hours.values() {
            blocks.extend(builder.build(&block_source).unwrap());
        }
        for block in &blocks {
            for entry in Payload::decode(&block.data).unwrap().entries() {
                own[usize::try_from(entry.ordinal).unwrap()].tie = (block.header.block_id, entry.ordinal);
            }
        }
        // In parts that fit a transaction.
        let mut days = Some(days);
        for blocks in blocks.chunks(50) {
            let write = Write {
                app_id: app.app_id.clone(),
                registered_ms: app.registered_ms,
                blocks: blocks.to_vec(),
                days: days.take().unwrap_or_default().into_iter().map(never).collect(),
                counter: 0,
                memo: None,
            };
            cloud.write(&write).await.unwrap();
        }
    }
    records
}

/// A filter of an entry alone.
fn entry_filter(pairs: &[(&str, &str)]) -> Filter {
    Filter { entry: EntryFilter::read(pairs.iter().copied()).unwrap(), ..Filter::default() }
}

fn plainly_matches(filter: &Filter, record: &Known, app: &App) -> bool {
    let at = |path: &str| {
        let pointer = format!("/{}", path.replace('.', "/"));
        let found = record.context.as_ref().and_then(|context| context.pointer(&pointer));
        found.map(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    };
    let holds = |(name, value): &(String, String)| match (name.as_str(), name.strip_prefix("context.")) {
        ("level", _) => value.split(',').any(|level| level == record.level.as_str()),
        ("request_id", _) => record.request_id.as_ref() == Some(value),
        ("search", _) => record.message.to_lowercase().contains(&value.to_lowercase()),
        (_, Some(path)) => match (value.as_str(), value.strip_prefix(">=")) {
            ("*", _) => at(path).is_some(),
            (_, Some(least)) => at(path).is_some_and(|found| found.parse::<f64>().ok() >= least.parse().ok()),
            _ => at(path).as_ref() == Some(value),
        },
        _ => unreachable!("{name}"),
    };
    filter.since.is_none_or(|since| record.timestamp_ms >= since.ms(T0))
        && filter.until.is_none_or(|until| record.timestamp_ms < until.ms(T0))
        && app.pruned_before_ms.is_none_or(|pruned| record.timestamp_ms >= pruned)
        && filter.entry.pairs().iter().all(holds)
}

fn plain_answer<'r>(filter: &Filter, apps: &[App], records: &'r [Known]) -> Vec<&'r Known> {
    let of = |record: &Known| apps.iter().find(|app| app.app_id == record.app_id).cloned();
    let mut found: Vec<&Known> = records
        .iter()
        .filter(|record| of(record).is_some_and(|app| plainly_matches(filter, record, &app)))
        .collect();
    found.sort_by_key(|record| std::cmp::Reverse((record.timestamp_ms, record.tie)));
    found
}

fn some_filter(random: &mut SmallRng, times: &[i64]) -> Filter {
    let mut filter = Filter::default();
    let mut pairs = Vec::new();
    if random.random_bool(0.3) {
        let count = random.random_range(1..3);
        let levels: Vec<_> = Level::ALL.choose_multiple(random, count).map(|level| level.as_str()).collect();
        pairs.push(("level", levels.join(",")));
    }
    let near = |random: &mut SmallRng| {
        let time = times.choose(random).map_or(T0, |t| t + random.random_range(-1..=1));
        if random.random_bool(0.5) { TimeBound::At(time) } else { TimeBound::Ago(T0 - time) }
    };
    if random.random_bool(0.4) {
        filter.since = Some(near(random));
    }
    if random.random_bool(0.4) {
        filter.until = Some(near(random));
    }
    if random.random_bool(0.15) {
        pairs.push(("request_id", random.random_range(0..5).to_string()));
    }
    if random.random_bool(0.25) {
        let texts = ["ALPHA", "b", "über", "k", "\"quoted\"", "\\", "nowhere", ""];
        pairs.extend(texts.choose(random).map(|text| ("search", (*text).to_owned())));
    }
    if random.random_bool(0.15) {
        let all = [
            ("context.n", "1"),
            ("context.n", ">=1"),
            ("context.user.ok", "true"),
            ("context.user.name", "jo"),
            ("context.user", "jo"),
            ("context.user", "*"),
            ("context.x", "y"),
        ];
        pairs.extend(all.choose(random).map(|(name, value)| (*name, (*value).to_owned())));
    }
    filter.entry = EntryFilter::read(pairs).unwrap();
    filter
}

/// From nothing to unlimited.
fn some_budget(random: &mut SmallRng) -> Budget {
    let bytes = |random: &mut SmallRng| *[1, 20_000, usize::MAX].choose(random).unwrap();
    Budget {
        read_bytes: bytes(random),
        read_units: f64::INFINITY,
        decompressed_bytes: bytes(random),
        stop_at: random.random_bool(0.3).then(Instant::now),
    }
}

fn ids(page: &Page) -> Vec<String> {
    let id = |json: &String| serde_json::from_str::<Value>(json).unwrap()["id"].as_str().unwrap().to_owned();
    page.records.iter().map(id).collect()
}

/// All pages of a result.
async fn walk(cloud: &SimCloud, asked: &Query<'_>) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = query(cloud, &Query { cursor: cursor.as_deref(), ..*asked }).await.unwrap();
        assert!(page.records.len() <= asked.limit);
        all.extend(ids(&page));
        match page.cursor {
            Some(next) => {
                assert_ne!(Some(&next), cursor.as_ref(), "no progress");
                cursor = Some(next);
            }
            None => return all,
        }
    }
}

/// Times that are close together, far apart, and equal.
fn some_times(random: &mut SmallRng, count: usize) -> Vec<i64> {
    let spread = *[1, 50, MS_PER_HOUR, MS_PER_DAY, 40 * MS_PER_DAY].choose(random).unwrap();
    let begin = Day::of_ms(T0).end_ms() - spread / 2;
    let grain = *[1, 7, 1_000].choose(random).unwrap();
    (0..count).map(|_| begin + random.random_range(0..=spread) / grain * grain).collect()
}

#[tokio::test]
async fn every_answer_equals_a_plain_filter_over_everything_sorted() {
    for round in 0..40 {
        let mut random = SmallRng::seed_from_u64(round);
        let cloud = SimCloud::default();
        let mut apps = Vec::new();
        let mut records = Vec::new();
        for name in ["a", "b", "c", "d", "e", "f", "g"].iter().take(random.random_range(1..=7)) {
            let mut app = cloud.add_app(name);
            // Data of an earlier app with the same id must not be visible.
            let mut earlier = app.clone();
            earlier.registered_ms -= 1;
            let times = some_times(&mut random, 20);
            let left = times.iter().map(|&time| some_record(&mut random, &app.app_id, time)).collect();
            store(&cloud, &mut random, &earlier, left).await;
            let count = random.random_range(0..900);
            let times = some_times(&mut random, count);
            let own = times.iter().map(|&time| some_record(&mut random, &app.app_id, time)).collect();
            records.extend(store(&cloud, &mut random, &app, own).await);
            if random.random_bool(0.2) {
                app.pruned_before_ms = times.choose(&mut random).copied();
            }
            apps.push(app);
        }
        let times: Vec<i64> = records.iter().map(|record| record.timestamp_ms).collect();
        for _ in 0..6 {
            let filter = some_filter(&mut random, &times);
            let merged = random.random_bool(0.4);
            let asked = if merged { &apps[..] } else { &apps[..1] };
            let expected = plain_answer(&filter, asked, &records);
            let limit = *[1, 2, 3, 10, 99, 100, 1000].choose(&mut random).unwrap();
            let question = Query {
                apps: asked,
                merged,
                filter: &filter,
                order: Order::NewestFirst,
                limit: if expected.len() > 200 { limit.max(10) } else { limit },
                offset: 0,
                cursor: None,
                raw: false,
                now_ms: T0,
                budget: some_budget(&mut random),
            };
            let expected: Vec<String> = expected.iter().map(|record| record.id.to_string()).collect();
            let found = walk(&cloud, &question).await;
            assert_eq!(found, expected, "round {round}: {question:?}");

            if !merged {
                // An hour is listed as a whole, in the time that a request has.
                let budget = Budget { stop_at: None, ..question.budget };
                let oldest = Query { order: Order::OldestFirst, budget, ..question };
                let mut found = walk(&cloud, &oldest).await;
                found.reverse();
                assert_eq!(found, expected, "round {round}, oldest first: {question:?}");
            }

            let offset = random.random_range(0..=expected.len() + 1).min(10_000);
            let from_there = Query { offset, budget: Budget::UNLIMITED, ..question };
            let page = query(&cloud, &from_there).await.unwrap();
            let rest = expected.iter().skip(offset).take(question.limit).cloned().collect::<Vec<_>>();
            assert_eq!(ids(&page), rest, "round {round}, offset {offset}: {question:?}");
        }
    }
}

#[tokio::test]
async fn every_page_size_gives_the_same_records_in_the_same_order() {
    let mut random = SmallRng::seed_from_u64(7);
    let cloud = SimCloud::default();
    let app = cloud.add_app("one");
    let records: Vec<_> =
        (0..120).map(|i| some_record(&mut random, &app.app_id, T0 + i64::from(i / 40) * 1_000)).collect();
    let records = store(&cloud, &mut random, &app, records).await;
    let apps = [app];
    let filter = Filter::default();
    let expected: Vec<_> =
        plain_answer(&filter, &apps, &records).iter().map(|record| record.id.to_string()).collect();
    for limit in 1..=121 {
        let question = Query {
            apps: &apps,
            merged: false,
            filter: &filter,
            order: Order::NewestFirst,
            limit,
            offset: 0,
            cursor: None,
            raw: false,
            now_ms: T0,
            budget: Budget::UNLIMITED,
        };
        assert_eq!(walk(&cloud, &question).await, expected, "pages of {limit}");
        let page = query(&cloud, &question).await.unwrap();
        assert_eq!(page.cursor.is_some(), limit < 120, "a cursor is there when there is more");
    }
}

#[tokio::test]
async fn an_entry_says_what_was_stored_and_names_its_app_only_where_apps_are_merged() {
    let mut random = SmallRng::seed_from_u64(3);
    let cloud = SimCloud::default();
    let app = cloud.add_app("one");
    let records = vec![some_record(&mut random, &app.app_id, T0); 30];
    let records = store(&cloud, &mut random, &app, records).await;
    let by_id: BTreeMap<String, Known> = records.into_iter().map(|r| (r.id.to_string(), r)).collect();
    let apps = [app];
    for (merged, raw) in [(false, false), (true, false), (false, true), (true, true)] {
        let question = Query {
            apps: &apps,
            merged,
            filter: &Filter::default(),
            order: Order::NewestFirst,
            limit: 100,
            offset: 0,
            cursor: None,
            raw,
            now_ms: T0,
            budget: Budget::UNLIMITED,
        };
        let page = query(&cloud, &question).await.unwrap();
        assert_eq!(page.records.len(), 30);
        for json in &page.records {
            let entry: Value = serde_json::from_str(json).unwrap();
            let known = &by_id[entry["id"].as_str().unwrap()];
            assert_eq!(entry["message"], known.message);
            assert_eq!(entry["level"], known.level.as_str());
            assert_eq!(entry["timestamp"], rfc3339_ms(known.timestamp_ms));
            assert_eq!(entry.get("app_id").and_then(Value::as_str), merged.then_some("one"));
            let raw_data = match known.kind {
                EntryKind::Json => serde_json::from_str(&known.raw).unwrap(),
                EntryKind::WorkerText | EntryKind::PlainText | EntryKind::LogText => {
                    Value::from(known.raw.as_str())
                }
            };
            assert_eq!(entry.get("rawData"), raw.then_some(&raw_data));
        }
    }
}

#[tokio::test]
async fn a_cursor_of_another_question_or_none_at_all_is_refused() {
    let mut random = SmallRng::seed_from_u64(5);
    let cloud = SimCloud::default();
    let apps = [cloud.add_app("one"), cloud.add_app("two")];
    for app in &apps {
        let records = (0..20).map(|i| some_record(&mut random, &app.app_id, T0 + i)).collect();
        store(&cloud, &mut random, app, records).await;
    }
    let (any, errors) = (Filter::default(), entry_filter(&[("level", "ERROR")]));
    let question = Query {
        apps: &apps[..1],
        merged: false,
        filter: &any,
        order: Order::NewestFirst,
        limit: 5,
        offset: 0,
        cursor: None,
        raw: false,
        now_ms: T0,
        budget: Budget::UNLIMITED,
    };
    let cursor = query(&cloud, &question).await.unwrap().cursor.unwrap();
    let own = Query { cursor: Some(&cursor), ..question };
    assert_eq!(query(&cloud, &own).await.unwrap().records.len(), 5);
    for other in [
        Query { apps: &apps[1..], ..own },
        Query { merged: true, ..own },
        Query { filter: &errors, ..own },
        Query { cursor: Some("AAAA"), ..own },
        Query { cursor: Some(""), ..own },
    ] {
        assert!(matches!(query(&cloud, &other).await, Err(QueryError::BadCursor)), "{other:?}");
    }
}

#[tokio::test]
async fn the_newest_records_cost_the_same_however_many_older_ones_there_are() {
    let mut costs = Vec::new();
    for days in [1, 200] {
        let mut random = SmallRng::seed_from_u64(11);
        let cloud = SimCloud::default();
        let app = cloud.add_app("one");
        for day in 0..days {
            let begin = T0 - day * MS_PER_DAY;
            let records = (0..200).map(|i| some_record(&mut random, &app.app_id, begin + i * 10)).collect();
            store(&cloud, &mut random, &app, records).await;
        }
        let apps = [app];
        let question = Query {
            apps: &apps,
            merged: false,
            filter: &Filter::default(),
            order: Order::NewestFirst,
            limit: 20,
            offset: 0,
            cursor: None,
            raw: false,
            now_ms: T0,
            budget: Budget::UNLIMITED,
        };
        let page = query(&cloud, &question).await.unwrap();
        assert_eq!(page.records.len(), 20);
        costs.push(page.cost.pages);
    }
    assert!(costs[1] <= costs[0] + 2, "pages read: {costs:?}");
}

#[tokio::test]
async fn records_that_have_expired_are_not_shown() {
    let cloud = SimCloud::default();
    let app = cloud.add_app("one");
    let seed = Seed::of(&[b"x"]);
    let mut builder = BlockBuilder::default();
    builder.push(&Entry {
        ordinal: 0,
        timestamp_ms: T0,
        level: Level::Info,
        kind: EntryKind::PlainText,
        timestamp_fallback: false,
        marks: Marks::NONE,
        raw: "x",
    });
    let source = BlockSource {
        app_id: &app.app_id,
        seed: &seed,
        format: "",
        source: "",
        registered_ms: app.registered_ms,
        expires_at_secs: Some(T0 / 1000 + 60),
    };
    let mut days = BTreeMap::from([(Day::of_ms(T0), DayCounts::default())]);
    days.values_mut().for_each(|counts| counts.levels.count(Level::Info));
    let write = Write {
        app_id: app.app_id.clone(),
        registered_ms: app.registered_ms,
        blocks: builder.build(&source).unwrap(),
        days: days.into_iter().map(never).collect(),
        counter: 0,
        memo: None,
    };
    cloud.write(&write).await.unwrap();
    let apps = [app];
    let question = Query {
        apps: &apps,
        merged: false,
        filter: &Filter::default(),
        order: Order::NewestFirst,
        limit: 20,
        offset: 0,
        cursor: None,
        raw: false,
        now_ms: T0 + 59_999,
        budget: Budget::UNLIMITED,
    };
    assert_eq!(query(&cloud, &question).await.unwrap().records.len(), 1);
    let later = Query { now_ms: T0 + 60_000, ..question };
    assert_eq!(query(&cloud, &later).await.unwrap().records.len(), 0);
}
