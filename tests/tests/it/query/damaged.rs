//! Blocks that cannot be read, or that expire while they are read.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use logferry_core::logbook::budget::Budget;
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::query::{Order, Query, query};
use logferry_core::logbook::records::{Records, Write};
use logferry_core::model::app::App;
use logferry_core::model::block::Block;
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::quota::Quota;
use logferry_core::model::time::MS_PER_DAY;
use logferry_service::metrics::BLOCKS_SKIPPED;
use logferry_sim::{SimCloud, T0};
use logferry_tests::api::Api;
use serde_json::{Value, json};

use super::budgets::single;
use super::never;

/// Text that does not compress: a block of three items.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(33 + u8::try_from((state >> 33) % 90).unwrap_or(0))
    };
    (0..1 << 20).map(|_| next()).collect()
}

async fn store(cloud: &SimCloud, app: &App, blocks: Vec<Block>) {
    let mut days: BTreeMap<_, DayCounts> = BTreeMap::new();
    for block in &blocks {
        days.entry(block.header.day()).or_default().levels += block.header.levels;
    }
    for blocks in blocks.chunks(3) {
        let write = Write {
            app_id: app.app_id.clone(),
            registered_ms: app.registered_ms,
            blocks: blocks.to_vec(),
            days: std::mem::take(&mut days).into_iter().map(never).collect(),
            counter: 0,
            memo: None,
        };
        cloud.write(&write).await.unwrap();
    }
}

/// Large and small blocks; every other one expires now.
fn blocks(app: &App) -> Vec<Block> {
    let mut blocks: Vec<Block> = (0..24)
        .map(|i| {
            let large = i % 4 < 2;
            let text = if large { noise(i) } else { format!("small {i}") };
            single(app, i as i64, T0 - 1_000 - (i as i64) * 10, &text)
        })
        .collect();
    for block in blocks.iter_mut().step_by(2) {
        block.header.expires_at_secs = Some(T0 / 1000);
    }
    blocks
}

fn asked<'a>(apps: &'a [App], merged: bool, limit: usize, cursor: Option<&'a str>) -> Query<'a> {
    static ANY: LazyLock<Filter> = LazyLock::new(Filter::default);
    Query {
        apps,
        merged,
        filter: &ANY,
        order: Order::NewestFirst,
        limit,
        offset: 0,
        cursor,
        raw: false,
        now_ms: T0,
        budget: Budget::UNLIMITED,
    }
}

#[tokio::test]
async fn a_block_that_dynamodb_has_deleted_in_part_is_no_fault_and_expiry_comes_first() {
    let own = blocks(&SimCloud::default().add_app("shop"));
    for seed in 0..4 {
        let cloud = SimCloud::default();
        let mut apps = vec![cloud.add_app("shop")];
        // With very many apps, headers are read first.
        apps.extend((0..seed % 2 * 6).map(|i| cloud.add_app(&format!("app{i}"))));
        store(&cloud, &apps[0], own.clone()).await;
        let mut left = 24;
        for pass in 0..4 {
            let mut found = 0;
            let mut cursor = None;
            loop {
                let page = query(&cloud, &asked(&apps, true, 3, cursor.as_deref())).await.unwrap();
                assert_eq!(page.cost.skipped, 0, "seed {seed}, pass {pass}: what has expired is not missed");
                found += page.records.len();
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, 12, "seed {seed}, pass {pass}");
            cloud.expire_blocks(T0, 40, seed * 10 + pass);
            assert!(cloud.blocks_stored() <= left);
            left = cloud.blocks_stored();
        }
        cloud.expire_blocks(T0, 100, seed);
        assert_eq!(cloud.blocks_stored(), 12);
    }
}

#[tokio::test]
async fn an_unreadable_block_is_skipped_counted_and_reported_by_api_and_rpc() {
    let api = Api::new();
    let key = api.register("shop").await;
    let app = api.cloud.apps_now().swap_remove(0);
    store(&api.cloud, &app, blocks(&app)).await;
    // Six of the twelve unexpired ones have extents.
    assert!(api.cloud.lose_extents() > 0);
    let rpc = logferry_rpc::App {
        book: api.cloud.clone(),
        apps: api.cloud.clone(),
        metrics_namespace: "Test".to_owned(),
        default_retention_days: 90,
        redactor: Default::default(),
        quota: Quota::NONE,
    };
    let by_invoke = async || -> Value {
        let event = json!({"method": "query", "app_id": "shop"}).to_string();
        let event = serde_json::value::RawValue::from_string(event).unwrap();
        serde_json::from_str(rpc.handle(&event, "r-1", T0).await.get()).unwrap()
    };
    for (skipped, found) in [(6, 6), (12, 0)] {
        let page = api.app(&key, "GET", "/logs", &Value::Null).await.json();
        assert_eq!((page["skipped"].clone(), page["cursor"].clone()), (json!(skipped), Value::Null));
        assert_eq!(page["data"].as_array().unwrap().len(), found);
        assert_eq!(by_invoke().await, page, "the same by direct invoke");
        let merged = api.admin("GET", "/logs", &Value::Null).await.json();
        assert_eq!(merged["skipped"], json!(skipped));
        // A filter that excludes it, or a page that does not reach it, reports nothing.
        let errors = api.app(&key, "GET", "/logs?level=ERROR", &Value::Null).await.json();
        assert_eq!((errors["skipped"].clone(), errors["data"].clone()), (json!(0), json!([])));
        assert_eq!(api.cloud.damage_blocks(1).len(), 24);
    }
    let answer = api.admin("GET", "/logs", &Value::Null).await;
    assert_eq!(answer.metrics, [(BLOCKS_SKIPPED, 12)]);
}

#[tokio::test]
async fn a_prune_removes_blocks_that_cannot_be_read_and_their_counts() {
    let api = Api::new();
    let key = api.register("shop").await;
    let app = api.cloud.apps_now().swap_remove(0);
    let mut own = blocks(&app);
    own.iter_mut().for_each(|block| block.header.expires_at_secs = Some((T0 + MS_PER_DAY) / 1000));
    store(&api.cloud, &app, own).await;
    assert_eq!(api.counted(&key, "shop").await, [0, 24, 0, 0]);
    api.cloud.lose_extents();
    api.cloud.damage_blocks(3);
    let pruned = api.app(&key, "POST", "/apps/shop/prune", &json!({"before": T0})).await;
    assert_eq!((pruned.status, &pruned.data()["deleted"]), (200, &json!(24)), "{}", pruned.text);
    assert_eq!(api.cloud.blocks_stored(), 0);
    assert_eq!(api.counted(&key, "shop").await, [0; 4]);
}
