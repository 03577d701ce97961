//! A cloud in memory that keeps the rules the handlers rely on: conditions, fences, transactions,
//! unprocessed items, a stream that reports only changes. Calls can be made to fail before they act,
//! or to act and lose their answer. It passes the same contract suite as the real adapters.

mod apps;
mod blocks;
mod faults;
mod files;
mod ledger;
mod objects;
mod records;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faults::Faults;
pub use faults::How;
use logferry_domain::app::{App, AppId, FlushSetting};
use logferry_domain::block::{Block, Payload};
use logferry_domain::fault::Fault;
use logferry_domain::ledger::{DayCounts, FileRow, Grant, Quarantined};
use logferry_domain::object::ObjectRef;
use logferry_domain::time::Day;
use logferry_ports::Clock;
use logferry_ports::app_admin::Job;
use logferry_ports::apps::KeyRow;
use logferry_ports::records::Memo;

/// 2025-10-09T08:53:20Z, when every simulation begins.
pub const T0: i64 = 1_760_000_000_000;

/// The cloud. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct SimCloud {
    state: Arc<Mutex<State>>,
    clock: SimClock,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    objects: BTreeMap<(String, String), Vec<objects::Stored>>,
    apps: BTreeMap<AppId, App>,
    /// By partition and sort key.
    blocks: BTreeMap<(String, String), Block>,
    /// What the stream of the blocks' table would have reported.
    stream: Vec<Block>,
    unprocessed_every: usize,
    puts: usize,
    /// After so many calls to store blocks, the next ones hang.
    puts_until_hang: Option<usize>,
    files: BTreeMap<ledger::FileKey, ledger::File>,
    grants: BTreeMap<(String, String), Grant>,
    stats: BTreeMap<(AppId, i64, Day), DayCounts>,
    keys: BTreeMap<String, KeyRow>,
    jobs: BTreeMap<apps::JobKey, Job>,
    memos: BTreeMap<(AppId, [u8; 32]), Memo>,
    /// Blocks whose older records were taken from the counters.
    pruned_to: BTreeMap<(String, String), i64>,
}

/// A clock that is turned by hand.
#[derive(Debug, Clone)]
pub struct SimClock(Arc<AtomicI64>);

impl Default for SimClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(T0)))
    }
}

impl SimClock {
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
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
            app_id: app_id.parse().unwrap_or_else(|error| panic!("{app_id}: {error}")),
            name: app_id.to_owned(),
            created_ms: T0 - 1000,
            retention_days: None,
            pruned_before_ms: None,
            flush: FlushSetting::default(),
            health_checks: serde_json::Value::Array(Vec::new()),
        };
        self.set_app(app.clone());
        app
    }

    /// Changes an app.
    pub fn set_app(&self, app: App) {
        self.state().apps.insert(app.app_id.clone(), app);
    }

    /// The call with this number, counted from 0 over all ports, goes wrong.
    pub fn fail_call(&self, number: u64, how: How) {
        self.state().faults.plan.insert(number, how);
    }

    /// How many calls there have been.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().faults.calls
    }

    /// Of each `every` blocks to be stored, one is not taken at first.
    pub fn leave_unprocessed(&self, every: usize) {
        self.state().unprocessed_every = every;
    }

    /// After so many more calls to store blocks, they hang; `None`: they no longer do.
    pub fn hang_after_puts(&self, calls: Option<usize>) {
        self.state().puts_until_hang = calls;
    }

    /// All records of an app as (ordinal, original), per source, sorted.
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

    /// Blocks that were new or changed, in the order of their writes.
    #[must_use]
    pub fn stream(&self) -> Vec<Block> {
        self.state().stream.clone()
    }

    /// How many blocks there are.
    #[must_use]
    pub fn blocks_stored(&self) -> usize {
        self.state().blocks.len()
    }

    /// Records per day as counted.
    #[must_use]
    pub fn counted_days(&self, app_id: &AppId, epoch_ms: i64) -> BTreeMap<Day, i64> {
        let state = self.state();
        let own = state.stats.iter().filter(|((app, epoch, _), _)| app == app_id && *epoch == epoch_ms);
        own.map(|((.., day), counts)| (*day, counts.levels.total())).collect()
    }

    /// The rows of the ledger.
    #[must_use]
    pub fn rows(&self) -> Vec<FileRow> {
        self.state().files.values().map(|file| file.row.clone()).collect()
    }

    /// The bad records kept under an object.
    #[must_use]
    pub fn quarantined(&self, object: &ObjectRef) -> Vec<Quarantined> {
        let state = self.state();
        let file = state.files.get(&ledger::file_key(object));
        file.map(|file| file.quarantined.values().cloned().collect()).unwrap_or_default()
    }

    /// Runs one call of a port: counts it, and lets it go wrong when its time has come.
    fn call<T>(
        &self,
        operation: &'static str,
        act: impl FnOnce(&mut State) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut state = self.state();
        match state.faults.next() {
            None => act(&mut state),
            Some(How::Before(class)) => Err(Fault::new(class, operation, "simulated, before")),
            Some(How::ReplyLost(class)) => {
                let _ = act(&mut state);
                Err(Fault::new(class, operation, "simulated, reply lost"))
            }
        }
    }
}
