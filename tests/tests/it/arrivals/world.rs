//! Batches of the stream that are recorded, and a tail that follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use batch_buffer::testing::StrictLogs;
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logbook::budget::Budget;
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::query::{Order, Query};
use logferry_core::logbook::tail::{After, TailError, TailPage, tail};
use logferry_core::model::app::App;
use logferry_core::model::block::Block;
use logferry_core::model::level::Level;
use logferry_core::ports::arrivals::ArrivalLogId;
use logferry_core::ports::clock::Clock;
use logferry_flush::Beside;
use logferry_flush::arrivals::ArrivalRecorder;
use logferry_sim::{How, SimCloud};
use logferry_tests::stream::{EPOCH_MS, blocks, event, inserted};
use serde_json::{Value, json};

/// 2024-03-01T12:00:00Z
pub(super) const NOW_MS: i64 = 1_709_294_400_000;

pub(super) const APP: &str = "shop";

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) cloud: SimCloud,
    pub(super) app: App,
    pub(super) made: Arc<AtomicU64>,
}

impl World {
    pub(super) fn new() -> Self {
        let cloud = SimCloud::at(NOW_MS, StrictLogs::at(NOW_MS).empty());
        let app = App { registered_ms: EPOCH_MS, ..cloud.add_app(APP) };
        cloud.set_app(app.clone());
        Self { cloud, app, made: Arc::default() }
    }

    pub(super) fn log(&self) -> ArrivalLogId {
        ArrivalLogId { app_id: self.app.app_id.clone(), registered_ms: self.app.registered_ms }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.cloud.clock().now_ms()
    }

    /// Stores a block of records of these levels and ages (ms), and returns the stream record of it.
    pub(super) async fn store(&self, entries: &[(Level, i64)]) -> (Block, Value) {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        let entry = |(index, (level, age_ms)): (usize, &(Level, i64))| {
            (self.now_ms() - age_ms, *level, json!({"msg": format!("{number} {index}")}).to_string())
        };
        let entries: Vec<_> = entries.iter().enumerate().map(entry).collect();
        let block = blocks(APP, &format!("source {number}"), &entries).remove(0);
        assert_eq!(self.cloud.put(vec![block.clone()]).await.unwrap(), []);
        let record = inserted(usize::try_from(number).unwrap(), &block, self.now_ms());
        (block, record)
    }

    /// Stores a block of `count` records of an age.
    pub(super) async fn some(&self, count: usize, age_ms: i64) -> Value {
        self.store(&vec![(Level::Info, age_ms); count]).await.1
    }

    /// Runs one invocation in a fresh environment; `None` if it died.
    pub(super) async fn record(&self, records: &[Value]) -> Option<Vec<String>> {
        let event = event(records);
        let recorder = ArrivalRecorder(self.cloud.clone());
        let clock = self.cloud.clock();
        let recorded = recorder.record(&event, &clock);
        let Beside { left, .. } = tokio::time::timeout(Duration::from_secs(60), recorded).await.ok()?;
        Some(left.into_iter().map(str::to_owned).collect())
    }

    /// Makes the cloud die in one of the next calls.
    pub(super) fn die(&self, call: u64, how: How) {
        self.cloud.fail_call(self.cloud.calls() + call, how);
    }

    pub(super) async fn page(&self, tail_of: &Tail, after: After) -> Result<TailPage, TailError> {
        let query = Query {
            apps: std::slice::from_ref(&self.app),
            merged: false,
            filter: &tail_of.filter,
            order: Order::default(),
            limit: tail_of.limit,
            offset: 0,
            cursor: None,
            raw: false,
            now_ms: self.now_ms(),
            budget: tail_of.budget,
        };
        tail(&self.cloud, &self.cloud, &query, &after).await
    }
}

/// A tail, and what it has seen.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) filter: Filter,
    pub(super) limit: usize,
    pub(super) budget: Budget,
    pub(super) after: After,
    pub(super) seen: Vec<Value>,
}

impl Tail {
    /// A tail of everything that has arrived.
    pub(super) fn all() -> Self {
        Self::after("1h")
    }

    pub(super) fn after(after: &str) -> Self {
        Self {
            filter: Filter::default(),
            limit: 1_000,
            budget: Budget::UNLIMITED,
            after: After::parse(after),
            seen: Vec::new(),
        }
    }

    /// Reads a page. Returns whether there is more; a page that fails is read again from the same cursor.
    pub(super) async fn poll(&mut self, world: &World) -> bool {
        let page = loop {
            let page = tokio::time::timeout(Duration::from_secs(60), world.page(self, self.after.clone()));
            match page.await {
                Ok(Ok(page)) => break page,
                Ok(Err(TailError::Fault(_))) | Err(_) => {}
                Ok(Err(error)) => panic!("{error}"),
            }
        };
        self.after = After::Cursor(page.cursor);
        self.seen.extend(page.records.iter().map(|record| serde_json::from_str::<Value>(record).unwrap()));
        page.more
    }

    /// Reads until nothing more has arrived.
    pub(super) async fn drain(&mut self, world: &World) {
        while self.poll(world).await {}
    }

    /// The messages in order.
    pub(super) fn messages(&self) -> Vec<&str> {
        self.seen.iter().map(|record| record["message"].as_str().unwrap()).collect()
    }

    /// How often each record was seen.
    pub(super) fn times(&self) -> BTreeMap<&str, usize> {
        let mut times = BTreeMap::new();
        for record in &self.seen {
            *times.entry(record["id"].as_str().unwrap()).or_default() += 1;
        }
        times
    }

    pub(super) fn assert_once(&self, records: usize, what: &str) {
        let times = self.times();
        assert!(times.values().all(|times| *times == 1), "{what}: {times:?}");
        assert_eq!(times.len(), records, "{what}");
        let arrived: Vec<_> = self.seen.iter().map(|record| record["arrived_at"].as_str().unwrap()).collect();
        assert!(arrived.is_sorted(), "{what}: {arrived:?}");
    }
}
