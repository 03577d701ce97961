//! A cloud in memory that enforces the rules which the handlers rely on: conditions, fences, transactions,
//! unprocessed items, a stream that reports only changes. Calls can fail before they act, or act and lose
//! their response. It passes the same contract suite as the real adapters.

mod alerts;
mod apps;
mod arrivals;
mod backlog;
mod blocks;
mod bucket;
pub mod contract;
mod erasures;
mod expiry;
mod faults;
mod files;
mod flush;
mod ledger;
mod objects;
mod records;
mod secrets;
mod throughput;
mod uploads;
mod usage;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use batch_buffer::testing::StrictLogs;
use faults::Faults;
pub use faults::How;
use logferry_aws::transact::conflict_pauses;
use logferry_core::ledger::bucket::Bookmark;
use logferry_core::ledger::row::{FileRow, FileStatus};
use logferry_core::logbook::records::Memo;
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::model::app::{App, AppId};
use logferry_core::model::block::{Block, Payload};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::level::LevelCounts;
use logferry_core::model::object::ObjectRef;
use logferry_core::model::quota::Used;
use logferry_core::model::time::Day;
use logferry_core::ports::alerts::AlertKey;
use logferry_core::ports::app_admin::{Job, RedriveJob};
use logferry_core::ports::apps::KeyRow;
use logferry_core::ports::arrivals::{ArrivalLogId, ArrivalRow};
use logferry_core::ports::clock::Clock;
use logferry_core::ports::erasures::{Erasure, ErasureKey};
use logferry_core::ports::flush_marks::{FlushMark, Insertion};
use logferry_core::ports::usage::UsageDay;
use logferry_core::uploads::session::Session;
use logferry_health_checks::notifier::Notification;
pub use objects::UNVERSIONED;
use throughput::Throughput;
use tokio::time::Instant;

/// 2025-10-09T08:53:20Z, the start of every simulation.
pub const T0: i64 = 1_760_000_000_000;

/// Maximum length of a partition key in DynamoDB (bytes).
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-partition-sort-keys>
const MAX_PARTITION_KEY_BYTES: usize = 2_048;

/// Refuses a key as DynamoDB does.
fn legal_key(key: &str) -> Result<(), Fault> {
    if key.is_empty() || key.len() > MAX_PARTITION_KEY_BYTES {
        return Err(Fault::new(FaultClass::Permanent, "DynamoDB", "ValidationException"));
    }
    Ok(())
}

type FileKey = (String, String, String);

fn file_key(object: &ObjectRef) -> FileKey {
    (object.bucket.clone(), object.key.clone(), object.version.as_str().to_owned())
}

/// The cloud. Clones share its state.
#[derive(Debug, Clone, Default)]
pub struct SimCloud {
    state: Arc<Mutex<State>>,
    clock: SimClock,
    logs: StrictLogs,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    objects: BTreeMap<(String, String), Vec<objects::Stored>>,
    apps: BTreeMap<AppId, App>,
    /// By partition and sort key, with all of their data.
    blocks: BTreeMap<(String, String), Block>,
    /// Blocks whose items cannot be read.
    damaged_items: BTreeSet<(String, String)>,
    /// Extents of large blocks, and when each may be deleted (s).
    extents: BTreeMap<(String, String), Option<i64>>,
    /// Changes that the stream of the blocks' table would have reported.
    stream: Vec<Change>,
    unprocessed_every: usize,
    puts: usize,
    /// Of the table of blocks; `None` for unlimited.
    throughput: Option<Throughput>,
    units_written: u64,
    refused_shard: Option<u8>,
    /// Number of calls to store blocks before the next ones hang.
    puts_until_hang: Option<usize>,
    files: BTreeMap<FileKey, ledger::File>,
    /// Last seen fence and status of each file.
    watched: BTreeMap<FileKey, (u64, FileStatus)>,
    grants: BTreeMap<(String, String), ledger::Granted>,
    /// Accepted starts of `ingest`.
    started: Vec<ObjectRef>,
    bookmarks: BTreeMap<String, Bookmark>,
    /// Entries per page of a list.
    list_page: Option<usize>,
    marks: BTreeMap<Insertion, FlushMark>,
    dead_letters: BTreeMap<String, Vec<u8>>,
    stats: BTreeMap<(AppId, i64, Day), records::Counter>,
    usage: BTreeMap<UsageDay, Used>,
    sessions: BTreeMap<String, Session>,
    requests: HashMap<uploads::RateKey, u32>,
    uploads_created: u32,
    uploads: BTreeMap<String, uploads::Upload>,
    /// Sizes of the objects that uploads have made, by key.
    uploaded: BTreeMap<String, u64>,
    /// Older records are not counted any more (ms).
    hidden: BTreeMap<(AppId, i64, Day), i64>,
    keys: BTreeMap<String, KeyRow>,
    jobs: BTreeMap<apps::JobKey, Job>,
    redrives: BTreeMap<apps::RedriveKey, RedriveJob>,
    erasures: BTreeMap<ErasureKey, Erasure>,
    memos: BTreeMap<(AppId, [u8; 32]), Memo>,
    /// Items that running transactions will write.
    locked: BTreeSet<String>,
    /// Duration of a transaction.
    transactions_take: Duration,
    /// Transactions that conflicted with another one on an item.
    conflicts: u64,
    arrivals: BTreeMap<ArrivalLogId, BTreeMap<u64, ArrivalRow>>,
    alerts: BTreeMap<AlertKey, alerts::Rows>,
    /// Active alerts, with the number of their last event.
    active_alerts: BTreeMap<AlertKey, u32>,
    notifications: Vec<Notification>,
    /// Starts of the sender of notifications.
    alert_wakes: u32,
    /// Blocks whose older records were subtracted from the counters.
    pruned_to: BTreeMap<(String, String), i64>,
}

/// A change that the stream reports.
#[derive(Debug, Clone)]
struct Change {
    /// The item is new.
    inserted: bool,
    block: Block,
}

/// A clock that is set manually, or runs with the runtime's clock.
#[derive(Debug, Clone)]
pub struct SimClock {
    set_ms: Arc<AtomicI64>,
    since: Arc<OnceLock<Instant>>,
    /// Error of this clock (ms).
    skew_ms: i64,
}

impl Default for SimClock {
    fn default() -> Self {
        Self { set_ms: Arc::new(AtomicI64::new(T0)), since: Arc::default(), skew_ms: 0 }
    }
}

impl SimClock {
    fn at(now_ms: i64) -> Self {
        Self { set_ms: Arc::new(AtomicI64::new(now_ms)), ..Self::default() }
    }

    pub fn advance_ms(&self, ms: i64) {
        self.set_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// From now on, it runs with the runtime's clock, which a test may have paused.
    pub fn run(&self) {
        self.since.get_or_init(Instant::now);
    }

    fn runs(&self) -> bool {
        self.since.get().is_some()
    }

    /// Returns the same clock with an error.
    #[must_use]
    pub fn skewed(&self, skew_ms: i64) -> Self {
        Self { skew_ms, ..self.clone() }
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> i64 {
        let run = self.since.get().map_or(0, |since| since.elapsed().as_millis());
        self.set_ms.load(Ordering::SeqCst) + i64::try_from(run).unwrap_or(i64::MAX) + self.skew_ms
    }
}

impl SimCloud {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn clock(&self) -> SimClock {
        self.clock.clone()
    }

    /// Registers an app.
    pub fn add_app(&self, app_id: &str) -> App {
        let app = App {
            health_checks: serde_json::Value::Array(Vec::new()),
            ..App::new(app_id.parse().unwrap_or_else(|error| panic!("{app_id}: {error}")), app_id, T0 - 1000)
        };
        self.set_app(app.clone());
        app
    }

    /// Changes an app.
    pub fn set_app(&self, app: App) {
        self.state().apps.insert(app.app_id.clone(), app);
    }

    /// Returns all apps.
    #[must_use]
    pub fn apps_now(&self) -> Vec<App> {
        self.state().apps.values().cloned().collect()
    }

    /// The call with this number, counted from 0 over all ports, fails.
    pub fn fail_call(&self, number: u64, how: How) {
        self.state().faults.plan.insert(number, how);
    }

    /// Randomly fails and delays calls; `per_mille` of them fail.
    pub fn fail_at_random(&self, seed: u64, per_mille: u32) {
        self.state().faults.at_random(seed, per_mille, true);
    }

    /// Like [`SimCloud::fail_at_random`], but no call is processed after its caller has given up.
    pub fn fail_in_time_at_random(&self, seed: u64, per_mille: u32) {
        self.state().faults.at_random(seed, per_mille, false);
    }

    /// From now on, every call takes this long.
    pub fn slow_down(&self, each: Duration) {
        self.state().faults.slow = Some(each);
    }

    /// From now on, transactions take this long. Others that write one of their items meanwhile are
    /// refused.
    pub fn hold_transactions(&self, each: Duration) {
        self.state().transactions_take = each;
    }

    /// Returns the number of transactions that conflicted.
    #[must_use]
    pub fn conflicts(&self) -> u64 {
        self.state().conflicts
    }

    /// From now on, every call of an operation fails with this class; `None` ends that.
    pub fn break_operation(&self, operation: &'static str, class: Option<FaultClass>) {
        let broken = &mut self.state().faults.broken;
        match class {
            Some(class) => broken.insert(operation, class),
            None => broken.remove(operation),
        };
    }

    /// From now on, no call fails.
    pub fn stop_faults(&self) {
        self.state().faults.stop();
    }

    /// Returns the number of failed calls.
    #[must_use]
    pub fn faults_hit(&self) -> u64 {
        self.state().faults.hit
    }

    /// Returns the number of calls.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().faults.calls
    }

    /// Of every `every` blocks to be stored, one is unprocessed at first.
    pub fn leave_unprocessed(&self, every: usize) {
        self.state().unprocessed_every = every;
    }

    /// From now on, the table of blocks accepts this many write units per second in total, and per
    /// partition key.
    pub fn throttle_blocks(&self, per_key: f64, table: f64) {
        self.state().throughput = Some(Throughput::new(per_key, table));
    }

    /// From now on, blocks of this shard are refused; `None` for none.
    pub fn refuse_shard(&self, shard: Option<u8>) {
        self.state().refused_shard = shard;
    }

    /// Returns the write units used for storing blocks.
    #[must_use]
    pub fn units_written(&self) -> u64 {
        self.state().units_written
    }

    /// After this many more calls to store blocks, they hang; `None` ends that.
    pub fn hang_after_puts(&self, calls: Option<usize>) {
        self.state().puts_until_hang = calls;
    }

    /// Returns all records of an app as (ordinal, original), per source, sorted.
    #[must_use]
    pub fn records(&self, app_id: &AppId) -> Vec<(String, u64, String)> {
        let mut all = Vec::new();
        for block in self.state().blocks.values().filter(|block| block.header.app_id == *app_id) {
            let payload = Payload::decode(&block.data).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(payload.len(), block.header.count as usize);
            for entry in payload.entries() {
                all.push((block.header.source.clone(), entry.ordinal, entry.raw.to_owned()));
            }
        }
        all.sort();
        all
    }

    /// Returns new and changed blocks, in order of their writes.
    #[must_use]
    pub fn stream(&self) -> Vec<Block> {
        self.state().stream.iter().map(|change| change.block.clone()).collect()
    }

    /// Returns the number of blocks that were replaced by different ones, which a replay must never do.
    #[must_use]
    pub fn blocks_modified(&self) -> usize {
        self.state().stream.iter().filter(|change| !change.inserted).count()
    }

    /// Returns the sum of all blocks' own counts, per day.
    #[must_use]
    pub fn stored_days(&self, app_id: &AppId) -> BTreeMap<Day, LevelCounts> {
        let mut days: BTreeMap<Day, LevelCounts> = BTreeMap::new();
        for block in self.state().blocks.values().filter(|block| block.header.app_id == *app_id) {
            *days.entry(block.header.day()).or_default() += block.header.levels;
        }
        days
    }

    /// Returns the counters per day and level.
    #[must_use]
    pub fn counted_levels(&self, app_id: &AppId) -> BTreeMap<Day, LevelCounts> {
        let now_ms = self.clock.now_ms();
        let mut days: BTreeMap<Day, LevelCounts> = BTreeMap::new();
        for ((_, _, day), counts) in self.state().stats.iter().filter(|((app, ..), _)| app == app_id) {
            *days.entry(*day).or_default() += counts.counts.alive(now_ms).levels;
        }
        days.retain(|_, levels| !levels.is_zero());
        days
    }

    /// Returns what a query of an app can find, per day and level.
    #[must_use]
    pub fn visible_levels(&self, app: &App) -> BTreeMap<Day, LevelCounts> {
        let now_secs = self.clock.now_ms().div_euclid(1000);
        let mut days: BTreeMap<Day, LevelCounts> = BTreeMap::new();
        for block in self.state().blocks.values() {
            let header = &block.header;
            let expired = header.expires_at_secs.is_some_and(|at| at <= now_secs);
            if !expired && (&header.app_id, header.registered_ms) == (&app.app_id, app.registered_ms) {
                let payload = Payload::decode(&block.data).unwrap_or_else(|error| panic!("{error}"));
                let counts = payload.counts(app.pruned_before_ms, None);
                *days.entry(header.day()).or_default() += counts.levels;
            }
        }
        days.retain(|_, levels| !levels.is_zero());
        days
    }

    /// Returns the jobs of removals.
    #[must_use]
    pub fn jobs_now(&self) -> Vec<Job> {
        self.state().jobs.values().cloned().collect()
    }

    /// Returns the number of blocks.
    #[must_use]
    pub fn blocks_stored(&self) -> usize {
        self.state().blocks.len()
    }

    /// Returns the counted records per day.
    #[must_use]
    pub fn counted_days(&self, app_id: &AppId, registered_ms: i64) -> BTreeMap<Day, i64> {
        let state = self.state();
        let own = state.stats.iter().filter(|((app, epoch, _), _)| app == app_id && *epoch == registered_ms);
        own.map(|((.., day), counts)| (*day, counts.counts.total().levels.total())).collect()
    }

    /// Returns the rows of the ledger.
    #[must_use]
    pub fn rows(&self) -> Vec<FileRow> {
        self.state().files.values().map(|file| file.row.clone()).collect()
    }

    /// Returns the rows of bad records of an object.
    #[must_use]
    pub fn quarantined(&self, object: &ObjectRef) -> Vec<Quarantined> {
        let state = self.state();
        let file = state.files.get(&file_key(object));
        file.map(|file| file.quarantined.values().cloned().collect()).unwrap_or_default()
    }

    /// Waits for a call's turn, and returns how it fails. Does not return from a hang without effect.
    async fn turn(&self) -> Option<How> {
        let latency = self.state().faults.latency();
        if let Some(latency) = latency {
            tokio::time::sleep(latency).await;
        }
        let how = self.state().faults.next();
        match how {
            Some(How::Hang) => std::future::pending().await,
            Some(How::Stall(time)) => {
                tokio::time::sleep(time).await;
                None
            }
            _ => how,
        }
    }

    /// Runs one call of a port: counts it, and lets it fail if planned.
    async fn call<T: Send>(
        &self,
        operation: &'static str,
        act: impl FnOnce(&mut State) -> Result<T, Fault> + Send,
    ) -> Result<T, Fault> {
        let how = self.turn().await;
        self.act(operation, how, act).await
    }

    /// Runs a call that writes these items in one transaction. A concurrent one on the same items loses and
    /// is retried, like in the adapter.
    async fn transaction<T: Send>(
        &self,
        items: Vec<String>,
        act: impl FnOnce(&mut State) -> Result<T, Fault> + Send,
    ) -> Result<T, Fault> {
        let operation = "TransactWriteItems";
        let how = self.turn().await;
        let mut pauses = conflict_pauses();
        let _locked = loop {
            if let Some(locked) = self.lock(&items) {
                break locked;
            }
            match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(Fault::new(FaultClass::Transient, operation, "TransactionConflict")),
            }
        };
        let takes = self.state().transactions_take;
        match takes {
            Duration::ZERO => tokio::task::yield_now().await,
            takes => tokio::time::sleep(takes).await,
        }
        self.act(operation, how, act).await
    }

    fn lock(&self, items: &[String]) -> Option<Locked<'_>> {
        let mut state = self.state();
        if items.iter().any(|item| state.locked.contains(item)) {
            state.conflicts += 1;
            return None;
        }
        state.locked.extend(items.iter().cloned());
        Some(Locked { cloud: self, items: items.to_vec() })
    }

    async fn act<T: Send>(
        &self,
        operation: &'static str,
        how: Option<How>,
        act: impl FnOnce(&mut State) -> Result<T, Fault> + Send,
    ) -> Result<T, Fault> {
        if let Some(How::Before(class)) = how {
            return Err(Fault::new(class, operation, "simulated, before"));
        }
        let broken = self.state().faults.broken.get(operation).copied();
        if let Some(class) = broken {
            return Err(Fault::new(class, operation, "simulated, broken"));
        }
        let result = {
            let mut state = self.state();
            let result = act(&mut state);
            state.watch();
            if ["Put", "Update", "Transact", "BatchWrite", "Delete"]
                .iter()
                .any(|kind| operation.starts_with(kind))
            {
                state.index(&self.clock);
            }
            result
        };
        match how {
            None => result,
            Some(How::ReplyLost(class)) => Err(Fault::new(class, operation, "simulated, response lost")),
            Some(_) => std::future::pending().await,
        }
    }
}

/// Items of a running transaction, until it ends or its caller dies.
struct Locked<'c> {
    cloud: &'c SimCloud,
    items: Vec<String>,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let mut state = self.cloud.state();
        for item in &self.items {
            state.locked.remove(item);
        }
    }
}

impl State {
    /// Checks that fences only rise, and that an end is final.
    fn watch(&mut self) {
        for (key, file) in &self.files {
            let now = (file.row.fence, file.row.status);
            let Some(seen) = self.watched.get_mut(key) else {
                self.watched.insert(key.clone(), now);
                continue;
            };
            let (fence, status) = std::mem::replace(seen, now);
            assert!(now.0 >= fence, "the fence of {key:?} fell from {fence} to {}", now.0);
            assert!(!status.is_terminal() || now.1 == status, "{key:?} left {status:?}");
        }
    }
}
