//! One query over very many apps: pages that are worth their reads.

use logferry_core::logbook::budget::{Budget, MAX_DECOMPRESSED_BYTES, MAX_READ_BYTES};
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::query::{Order, Query, query};
use logferry_core::logbook::records::{Records, Write};
use logferry_core::model::app::App;
use logferry_core::model::block::{BlockBuilder, BlockSource};
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::ids::{RecordId, Seed};
use logferry_core::model::level::Level;
use logferry_core::model::record::{Entry, EntryKind, Marks};
use logferry_core::model::time::{Day, MS_PER_HOUR};
use logferry_sim::{SimCloud, T0};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{ids, never};

const APPS: usize = 500;
const BLOCKS: usize = 4;
const RECORDS: i64 = 10;
/// Padding of each record: blocks have a quarter of the usual size, and so has the budget.
const PADDING: usize = 1_600;
const READ_BYTES: usize = MAX_READ_BYTES / 4;
/// Time span of a block (ms).
const BLOCK_MS: i64 = 60_000;

/// Every app has a few blocks in the current hour.
async fn busy_apps(cloud: &SimCloud) -> (Vec<App>, Vec<String>) {
    let mut random = SmallRng::seed_from_u64(3);
    let hour_ms = T0 / MS_PER_HOUR * MS_PER_HOUR;
    let noise: String = (0..PADDING * 50).map(|_| char::from(random.random_range(35..91))).collect();
    let mut all: Vec<(i64, Seed, u64, RecordId)> = Vec::new();
    let mut apps = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for number in 0..APPS {
        let app = cloud.add_app(&format!("app-{number:03}"));
        for file in 0..BLOCKS {
            let seed = Seed::of(&[app.app_id.as_str().as_bytes(), &[file as u8]]);
            let mut builder = BlockBuilder::default();
            let begin_ms = hour_ms + random.random_range(0..T0 - BLOCK_MS - hour_ms);
            for ordinal in 0..RECORDS {
                let timestamp_ms = begin_ms + random.random_range(0..BLOCK_MS);
                let at = random.random_range(0..noise.len() - PADDING);
                builder.push(&Entry {
                    ordinal: ordinal as u64,
                    timestamp_ms,
                    level: Level::Info,
                    kind: EntryKind::PlainText,
                    timestamp_fallback: false,
                    marks: Marks::NONE,
                    raw: &noise[at..at + PADDING],
                });
                all.push((timestamp_ms, seed, ordinal as u64, seed.record_id(ordinal as u64)));
            }
            let source = BlockSource {
                app_id: &app.app_id,
                seed: &seed,
                format: "",
                source: "",
                registered_ms: app.registered_ms,
                expires_at_secs: None,
            };
            let blocks = builder.build(&source).unwrap();
            assert_eq!(blocks.len(), 1);
            places.insert(seed.0, blocks[0].header.block_id);
            let mut counts = DayCounts::default();
            counts.levels += blocks[0].header.levels;
            let write = Write {
                app_id: app.app_id.clone(),
                registered_ms: app.registered_ms,
                blocks,
                days: [never((Day::of_ms(T0), counts))].into(),
                counter: 0,
                memo: None,
            };
            cloud.write(&write).await.unwrap();
        }
        apps.push(app);
    }
    all.sort_by_key(|(ms, seed, ordinal, _)| std::cmp::Reverse((*ms, places[&seed.0], *ordinal)));
    (apps, all.into_iter().map(|(.., id)| id.to_string()).collect())
}

#[tokio::test]
async fn a_page_over_500_busy_apps_is_full_and_reads_little_more_than_it_answers() {
    let cloud = SimCloud::default();
    let (apps, expected) = busy_apps(&cloud).await;
    let filter = Filter::default();
    let (mut found, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    while pages == 0 || cursor.is_some() {
        // The first pages have the usual size.
        let limit = if pages < 3 { 100 } else { 1_000 };
        let question = Query {
            apps: &apps,
            merged: true,
            filter: &filter,
            order: Order::NewestFirst,
            limit,
            offset: 0,
            cursor: cursor.as_deref(),
            raw: false,
            now_ms: T0,
            budget: Budget {
                read_bytes: READ_BYTES,
                decompressed_bytes: MAX_DECOMPRESSED_BYTES,
                ..Budget::UNLIMITED
            },
        };
        let page = query(&cloud, &question).await.unwrap();
        let cost = page.cost;
        if pages < 3 {
            assert_eq!(page.records.len(), limit, "page {pages} is full");
            // The counters, the newest header of each partition, and the blocks of the result: blocks that
            // were started on earlier pages are read again.
            let blocks = (pages as usize + 1) * 130;
            assert!(cost.pages as usize <= 5 * APPS + 3 * blocks, "page {pages}: {cost:?}");
            assert!(cost.data_bytes <= blocks * (RECORDS as usize * PADDING) + 4 * APPS * 1_024 * 2);
        }
        assert!(!page.records.is_empty() || page.cursor.is_none(), "page {pages} has nothing");
        assert!(cost.most_held <= 8, "page {pages} holds {} blocks at once", cost.most_held);
        found.extend(ids(&page));
        cursor = page.cursor;
        pages += 1;
    }
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "all pages together are the whole answer, in order");
}
