//! What flush talks to, in memory: every call is counted, and at any of them the invocation can die.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use batch_buffer::testing::StrictLogs;
use batch_buffer::{Accepted, Request, RetryPolicy, SendError, Sender};
use logferry_domain::app::{App, AppId, FlushSetting};
use logferry_domain::block::{Block, BlockBuilder, BlockHeader, BlockSource, Partition};
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::hex128::Seed;
use logferry_domain::record::{Entry, EntryKind, Level};
use logferry_flush::stream::StreamEvent;
use logferry_flush::{Flush, Handled, Sending};
use logferry_ports::apps::KeyRow;
use logferry_ports::blocks::{BlockPage, BlockPosition, BlockRange};
use logferry_ports::flush_marks::FlushMark;
use logferry_ports::{Apps, BlockTable, Clock, DeadLetters, FlushMarks};
use serde_json::{Value, json};

/// 2024-03-01T12:00:00Z
pub(crate) const NOW_MS: i64 = 1_709_294_400_000;

/// When an invocation dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// In this call, before anything came of it.
    Before(usize),
    /// In this call, after it was carried out.
    After(usize),
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) settings: BTreeMap<String, FlushSetting>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) marks: BTreeMap<String, FlushMark>,
    pub(crate) extents: Vec<u8>,
    pub(crate) files_fail: bool,
    pub(crate) apps_fail: bool,
    pub(crate) death: Option<Death>,
}

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) logs: StrictLogs,
    pub(crate) state: Arc<Mutex<State>>,
    calls: Arc<AtomicUsize>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(StrictLogs::at(NOW_MS).empty())
    }

    pub(crate) fn with(logs: StrictLogs) -> Self {
        Self { logs, state: Arc::default(), calls: Arc::default() }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Dies in one of the next calls.
    pub(crate) fn die(&self, death: Option<Death>) {
        self.calls.store(0, Ordering::SeqCst);
        self.state.lock().unwrap().death = death;
    }

    async fn call<T>(&self, effect: impl Future<Output = T>) -> T {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let death = self.state.lock().unwrap().death;
        if death == Some(Death::Before(number)) {
            std::future::pending::<()>().await;
        }
        let value = effect.await;
        if death == Some(Death::After(number)) {
            std::future::pending::<()>().await;
        }
        value
    }

    /// One invocation in a fresh environment; `None` when it died.
    pub(crate) async fn invoke(&self, records: &[Value]) -> Option<Handled> {
        self.invoke_until(records, None).await
    }

    pub(crate) async fn invoke_until(&self, records: &[Value], limit: Option<Duration>) -> Option<Handled> {
        let event: StreamEvent = serde_json::from_str(&json!({ "Records": records }).to_string()).unwrap();
        let sending = Sending {
            group_prefix: "/logferry".into(),
            retention_days: Some(30),
            retry: RetryPolicy::default(),
        };
        let world = || self.clone();
        let flush = Flush::new(world(), world(), world(), world(), world(), world(), sending);
        let deadline = limit.map(|limit| tokio::time::Instant::now() + limit);
        let handled = flush.handle(&event, deadline);
        tokio::time::timeout(Duration::from_secs(900), handled).await.ok()
    }

    /// The ids in CloudWatch Logs, pieces counting once together, with how often each is there.
    pub(crate) fn sent(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for (_, _, events) in self.logs.all_stored() {
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

impl Sender for World {
    async fn send(&self, request: Request) -> Result<Accepted, SendError> {
        self.call(self.logs.send(request)).await
    }

    async fn create(&self, group: &str, stream: &str) -> Result<(), SendError> {
        self.call(self.logs.create(group, stream)).await
    }
}

impl Apps for World {
    async fn find(&self, app_id: &AppId) -> Result<Option<App>, Fault> {
        self.call(async {
            let state = self.state.lock().unwrap();
            if state.apps_fail {
                return Err(Fault::new(FaultClass::Transient, "GetItem", "InternalServerError"));
            }
            Ok(state.settings.get(app_id.as_str()).map(|flush| App {
                app_id: app_id.clone(),
                name: "an app".into(),
                created_ms: 1,
                retention_days: None,
                pruned_before_ms: None,
                flush: *flush,
                health_checks: json!([]),
            }))
        })
        .await
    }

    async fn find_key(&self, _: &str) -> Result<Option<KeyRow>, Fault> {
        unreachable!("flush asks for no key")
    }

    async fn list(&self) -> Result<Vec<App>, Fault> {
        unreachable!("flush lists no apps")
    }
}

impl BlockTable for World {
    async fn put(&self, _: Vec<Block>) -> Result<Vec<Block>, Fault> {
        unreachable!("flush writes no block")
    }

    async fn newest(&self, _: &BlockRange, _: u32, _: Option<&BlockPosition>) -> Result<BlockPage, Fault> {
        unreachable!("flush queries no range")
    }

    async fn with_extents(&self, _: &BlockHeader, mut first: Vec<u8>, _: u8) -> Result<Vec<u8>, Fault> {
        self.call(async {
            first.extend_from_slice(&self.state.lock().unwrap().extents);
            Ok(first)
        })
        .await
    }
}

impl DeadLetters for World {
    async fn put(&self, name: &str, lines: Vec<u8>) -> Result<(), Fault> {
        self.call(async {
            let mut state = self.state.lock().unwrap();
            if state.files_fail {
                return Err(Fault::new(FaultClass::Denied, "PutObject", "AccessDenied"));
            }
            state.files.insert(name.to_owned(), lines);
            Ok(())
        })
        .await
    }

    async fn names(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, Fault> {
        let state = self.state.lock().unwrap();
        let later =
            |name: &&String| name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after);
        // Pages of two.
        Ok(state.files.keys().filter(later).take(2).cloned().collect())
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, Fault> {
        Ok(self.state.lock().unwrap().files[name].clone())
    }

    async fn remove(&self, name: &str) -> Result<(), Fault> {
        self.state.lock().unwrap().files.remove(name);
        Ok(())
    }
}

impl FlushMarks for World {
    async fn find(&self, partitions: &[Partition]) -> Result<Vec<(Partition, FlushMark)>, Fault> {
        self.call(async {
            let state = self.state.lock().unwrap();
            let mark = |partition: &Partition| {
                state.marks.get(&partition.key()).map(|mark| (partition.clone(), mark.clone()))
            };
            Ok(partitions.iter().filter_map(mark).collect())
        })
        .await
    }

    async fn set(&self, partition: &Partition, mark: &FlushMark, _: i64) -> Result<(), Fault> {
        self.call(async {
            self.state.lock().unwrap().marks.insert(partition.key(), mark.clone());
            Ok(())
        })
        .await
    }
}

impl Clock for World {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }
}

/// Entries of one hour of an app as the blocks they make, in the order of their ordinals.
pub(crate) fn blocks(app: &str, source: &str, entries: &[(i64, Level, String)]) -> Vec<Block> {
    let app_id: AppId = app.parse().unwrap();
    let seed = Seed::of(&[app.as_bytes(), source.as_bytes()]);
    let mut builder = BlockBuilder::default();
    for (ordinal, (timestamp_ms, level, raw)) in (0u64..).zip(entries) {
        builder.push(&Entry {
            ordinal,
            timestamp_ms: *timestamp_ms,
            level: *level,
            kind: EntryKind::Json,
            timestamp_fallback: false,
            raw,
        });
    }
    let source = BlockSource {
        app_id: &app_id,
        seed: &seed,
        format: "ndjson",
        source,
        epoch_ms: 1,
        expires_at_secs: Some(9),
    };
    builder.build(&source).unwrap()
}

/// One block with `count` small INFO records of the hour before now.
pub(crate) fn block(app: &str, source: &str, count: usize) -> Block {
    let entry =
        |index: usize| (NOW_MS - 1_000 + index as i64 % 900, Level::Info, format!("{{\"msg\":\"{index}\"}}"));
    blocks(app, source, &(0..count).map(entry).collect::<Vec<_>>()).remove(0)
}

/// The stream's record of a block's insertion.
pub(crate) fn inserted(sequence: usize, block: &Block) -> Value {
    let header = &block.header;
    let levels: serde_json::Map<String, Value> = header
        .levels
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(level, count)| (level.as_str().to_lowercase(), json!({"N": count.to_string()})))
        .collect();
    json!({
        "eventName": "INSERT",
        "dynamodb": {
            "SequenceNumber": (100_000_000_000_000_000_000_u128 + sequence as u128).to_string(),
            "NewImage": {
                "pk": {"S": header.partition().key()},
                "sk": {"S": header.sort_key()},
                "first_ms": {"N": header.first_ms.to_string()},
                "last_ms": {"N": header.last_ms.to_string()},
                "count": {"N": header.count.to_string()},
                "levels": {"M": levels},
                "format": {"S": header.format},
                "source": {"S": header.source},
                "epoch": {"N": header.epoch_ms.to_string()},
                "expires_at": {"N": "9"},
                "data": {"B": STANDARD.encode(&block.data)},
            },
        },
    })
}

pub(crate) fn sequence(record: &Value) -> String {
    record["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned()
}

/// What the answer names as failed.
pub(crate) fn failed(handled: &Handled) -> Vec<String> {
    handled.response.batch_item_failures.iter().map(|item| item.item_identifier.as_str().to_owned()).collect()
}
