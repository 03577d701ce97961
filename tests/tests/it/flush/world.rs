//! Invocations of flush on a simulated cloud; one can die at any of its calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use batch_buffer::testing::StrictLogs;
use logferry::redrive_dead_letters::{FileReport, KnownMarks, Redrive, Redriven, Selection};
use logferry_core::model::app::{App, FlushSetting};
use logferry_core::model::block::{Block, MAX_ITEM_DATA_BYTES, Partition, Payload};
use logferry_core::model::fault::Fault;
use logferry_core::model::level::Level;
use logferry_core::ports::clock::Clock;
use logferry_flush::{Handled, STOP_BEFORE_DEADLINE_MS};
use logferry_sim::{How, SimCloud};
use logferry_tests::stream::{self, EPOCH_MS, event, flush};
pub(super) use logferry_tests::stream::{blocks, sequence};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// 2024-03-01T12:00:00Z
pub(super) const NOW_MS: i64 = 1_709_294_400_000;

/// Longer than any invocation in these tests.
pub(super) const LONG: Duration = Duration::from_secs(86_400);

/// When an invocation dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// In this call, before it had any effect.
    Before(u64),
    /// In this call, after it was processed.
    After(u64),
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) cloud: SimCloud,
    /// Calls before those that count.
    before: Arc<AtomicU64>,
    /// Whether the apps of all blocks are registered.
    registers: bool,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(StrictLogs::at(NOW_MS).empty())
    }

    pub(super) fn with(logs: StrictLogs) -> Self {
        Self { cloud: SimCloud::at(NOW_MS, logs), before: Arc::default(), registers: true }
    }

    /// Only added apps are registered.
    pub(super) fn without_apps(mut self) -> Self {
        self.registers = false;
        self
    }

    /// Registers an app at a time, replacing one with its id.
    pub(super) fn register(&self, app: &str, created_ms: i64) {
        let app = self.cloud.add_app(app);
        self.cloud.set_app(App { registered_ms: created_ms, ..app });
    }

    /// Registers the apps of these stream records, unless their ids are registered.
    pub(super) fn register_all(&self, records: &[Value]) {
        let known: BTreeSet<_> = self.cloud.apps_now().into_iter().map(|app| app.app_id).collect();
        for record in records.iter().filter(|_| self.registers) {
            let image = &record["dynamodb"]["NewImage"];
            let partition = image["pk"]["S"].as_str().and_then(Partition::parse);
            let registered_ms = image["epoch"]["N"].as_str().and_then(|epoch| epoch.parse().ok());
            if let (Some(partition), Some(registered_ms)) = (partition, registered_ms)
                && !known.contains(&partition.app_id)
            {
                self.register(partition.app_id.as_str(), registered_ms);
            }
        }
    }

    pub(super) fn logs(&self) -> &StrictLogs {
        self.cloud.logs()
    }

    /// The deadline of an invocation that starts now and sends for this long.
    pub(super) fn deadline_ms(&self, sends_for: Duration) -> i64 {
        let sends_for_ms = i64::try_from(sends_for.as_millis()).unwrap();
        self.cloud.clock().now_ms() + STOP_BEFORE_DEADLINE_MS + sends_for_ms
    }

    /// Returns the calls since the last [`World::die`].
    pub(super) fn calls(&self) -> u64 {
        self.cloud.calls() - self.before.load(Ordering::SeqCst)
    }

    /// Makes it die in one of the next calls.
    pub(super) fn die(&self, death: Option<Death>) {
        self.cloud.stop_faults();
        let before = self.cloud.calls();
        self.before.store(before, Ordering::SeqCst);
        match death {
            Some(Death::Before(call)) => self.cloud.fail_call(before + call, How::Hang),
            Some(Death::After(call)) => self.cloud.fail_call(before + call, How::HangAfter),
            None => {}
        }
    }

    pub(super) fn set_flush(&self, app: &str, flush: FlushSetting) {
        let app = self.cloud.add_app(app);
        self.cloud.set_app(App { flush, registered_ms: EPOCH_MS, ..app });
    }

    /// Runs one invocation in a fresh environment; `None` if it died.
    pub(super) async fn invoke(&self, records: &[Value]) -> Option<Handled> {
        self.invoke_until(records, None).await
    }

    pub(super) async fn invoke_until(&self, records: &[Value], limit: Option<Duration>) -> Option<Handled> {
        self.register_all(records);
        let deadline_ms = self.deadline_ms(limit.unwrap_or(LONG));
        let (flush, event) = (flush(&self.cloud, self.cloud.clone()), event(records));
        tokio::time::timeout(Duration::from_secs(900), flush.handle(&event, deadline_ms)).await.ok()
    }

    /// Redrives everything in the failure bucket; `None` if the command died.
    pub(super) async fn redrive(&self) -> Option<Redriven> {
        let everything = Selection::default();
        let redriven = self.redrive_some(&everything, false);
        let redriven = tokio::time::timeout(Duration::from_secs(900), redriven).await;
        redriven.ok().map(|(redriven, _)| redriven.unwrap())
    }

    pub(super) async fn redrive_some(
        &self,
        selection: &Selection,
        dry_run: bool,
    ) -> (Result<Redriven, Fault>, Vec<FileReport>) {
        let redrive = Redrive(flush(&self.cloud, KnownMarks(self.cloud.clone())));
        let mut reports = Vec::new();
        let redriven = redrive.run(selection, dry_run, |report| reports.push(report.clone())).await;
        (redriven, reports)
    }

    /// Returns the ids in CloudWatch Logs with their number of occurrences; all pieces of a record count
    /// once.
    pub(super) fn sent(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for (_, _, events) in self.logs().all_stored() {
            for event in events {
                let line: Value = serde_json::from_str(&event.message).expect("a JSON line");
                if line["piece"].as_u64().unwrap_or(1) == 1 {
                    *ids.entry(line["logId"].as_str().unwrap().to_owned()).or_default() += 1;
                }
            }
        }
        ids
    }
}

/// Returns the stream record of a block that arrived just now.
pub(super) fn inserted(number: usize, block: &Block) -> Value {
    stream::inserted(number, block, NOW_MS)
}

/// Returns a block with `count` small INFO records of the last hour.
pub(super) fn block(app: &str, source: &str, count: usize) -> Block {
    let entry =
        |index: usize| (NOW_MS - 1_000 + index as i64 % 900, Level::Info, format!("{{\"msg\":\"{index}\"}}"));
    blocks(app, source, &(0..count).map(entry).collect::<Vec<_>>()).remove(0)
}

/// Returns a block of one record that needs an extent, and the stream record of its item, which has the
/// start of its data.
pub(super) fn long_block(number: usize, app: &str) -> (Block, Value) {
    let mut rng = SmallRng::seed_from_u64(7);
    let noise: String = (0..700_000).map(|_| char::from(rng.random_range(b'#'..b'Z'))).collect();
    let raw = json!({ "msg": noise }).to_string();
    let block = blocks(app, "long", &[(NOW_MS - 9, Level::Info, raw)]).remove(0);
    assert_eq!(block.extents(), 1);
    let mut first = block.clone();
    first.data.truncate(MAX_ITEM_DATA_BYTES);
    let mut record = inserted(number, &first);
    record["dynamodb"]["NewImage"]["extents"] = json!({"N": "1"});
    (block, record)
}

/// The ids of the blocks' records.
pub(super) fn ids<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> BTreeSet<String> {
    let ids = |block: &Block| {
        let payload = Payload::decode(&block.data).unwrap();
        payload.records().map(|record| record.id.to_string()).collect::<Vec<_>>()
    };
    blocks.into_iter().flat_map(ids).collect()
}

/// Returns the records that the response reports as failed.
pub(super) fn failed(handled: &Handled) -> Vec<String> {
    handled.response.batch_item_failures.iter().map(|item| item.item_identifier.as_str().to_owned()).collect()
}
