//! Alerts: counts the matching records of a batch. It runs beside sending, so neither waits for the other.
//!
//! A block whose count failed is delivered again, by the same response that reports unsent blocks. What
//! another invocation has counted or sent is known by its mark, so neither is done twice.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use futures::StreamExt as _;
use logferry_core::logbook::alerts::{Alert, Found};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::model::app::AppId;
use logferry_core::model::block::{Block, BlockHeader, Payload};
use logferry_core::model::fault::{FaultClass, chain};
use logferry_core::ports::alerts::{AlertKey, AlertTable, AlertWaker};
use logferry_core::ports::apps::Apps;

use crate::app_cache::AppCache;
use crate::stream::{Image, StreamEvent, StreamRecord};

/// Rules that are counted concurrently.
const RULES_AT_ONCE: usize = 8;

/// Maximum number of entries of a memory. A full memory starts empty: it only saves requests.
const MAX_REMEMBERED: usize = 10_000;

/// Counts blocks for the alerts of their apps.
#[derive(Debug)]
pub struct AlertJudge<T, W> {
    table: T,
    waker: W,
    /// Stream records that are counted. A batch is delivered again as long as one of its records fails.
    counted: Memory<String>,
    /// Windows that have crossed, which are not counted any more.
    crossed: Memory<(AlertKey, i64)>,
}

/// What is known in this environment.
#[derive(Debug)]
struct Memory<K>(Mutex<HashSet<K>>);

impl<K> Default for Memory<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Memory<K> {
    fn knows(&self, key: &K) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    fn note(&self, key: K) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(key);
    }
}

/// The blocks of one registration of an app.
type OfApp<'e> = BTreeMap<(AppId, i64), Vec<(&'e StreamRecord, &'e BlockHeader)>>;

/// What was found for a rule, with the stream records that it was found in.
struct ToCount<'e> {
    alert: Alert,
    found: Vec<Found>,
    records: Vec<&'e str>,
}

impl<T: AlertTable, W: AlertWaker> AlertJudge<T, W> {
    pub fn new(table: T, waker: W) -> Self {
        Self { table, waker, counted: Memory::default(), crossed: Memory::default() }
    }

    /// Counts the blocks of a batch. Returns the sequence numbers of records that have to be delivered
    /// again.
    pub async fn judge<'e, A: Apps, B: BlockTable>(
        &self,
        event: &'e StreamEvent,
        apps: &AppCache<A>,
        blocks: &B,
        now_ms: i64,
    ) -> Vec<&'e str> {
        let (mut uncounted, mut work) = (Vec::new(), Vec::new());
        let mut judged: Vec<&'e str> = Vec::new();
        for ((app_id, registered_ms), records) in self.by_app(event) {
            match apps.of(&app_id, registered_ms, now_ms).await {
                Ok(None) => {}
                Ok(Some(setting)) if setting.alerts.is_empty() => {}
                Ok(Some(setting)) => {
                    judged.extend(records.iter().map(|(record, ..)| record.sequence()));
                    uncounted.extend(self.find(&setting.alerts, records, blocks, now_ms, &mut work).await);
                }
                Err(fault) => {
                    tracing::warn!(error.message = chain(&fault), "failed to read the alerts of an app");
                    uncounted.extend(records.iter().map(|(record, ..)| record.sequence()));
                }
            }
        }
        let work: Vec<_> = work.iter().map(|work| self.count(work, now_ms)).collect();
        let mut work = futures::stream::iter(work).buffer_unordered(RULES_AT_ONCE);
        let mut fired = false;
        while let Some((fires, left)) = work.next().await {
            fired |= fires;
            uncounted.extend(left);
        }
        if fired && let Err(fault) = self.waker.wake().await {
            tracing::warn!(error.message = chain(&fault), "notifications wait for the schedule");
        }
        for sequence in judged.iter().filter(|sequence| !uncounted.contains(*sequence)) {
            self.counted.note((*sequence).to_owned());
        }
        uncounted
    }

    /// Groups the blocks of a batch that are not counted yet.
    fn by_app<'e>(&self, event: &'e StreamEvent) -> OfApp<'e> {
        let mut apps = OfApp::new();
        for record in &event.records {
            if self.counted.knows(&record.sequence().to_owned()) {
                continue;
            }
            if let Some(header) = record.header() {
                let of = (header.app_id.clone(), header.registered_ms);
                apps.entry(of).or_default().push((record, header));
            }
        }
        apps
    }

    /// Matches the blocks of an app with its alerts. Returns the records whose block could not be read now.
    async fn find<'e, B: BlockTable>(
        &self,
        alerts: &[Alert],
        records: Vec<(&'e StreamRecord, &'e BlockHeader)>,
        blocks: &B,
        now_ms: i64,
        work: &mut Vec<ToCount<'e>>,
    ) -> Vec<&'e str> {
        let mut unread = Vec::new();
        let mut all: Vec<(Vec<Found>, Vec<&'e str>)> = vec![Default::default(); alerts.len()];
        for (record, header) in records {
            let sequence = record.sequence();
            let arrived_ms = record.dynamodb.arrived_ms().unwrap_or(now_ms);
            if !alerts.iter().any(|alert| alert.may_be_in(header, arrived_ms)) {
                continue;
            }
            // Sending reports a block without data.
            let Image::Block { block: Block { data, .. }, extents } = record.image() else { continue };
            let data = match extents {
                0 => data,
                _ => match blocks.with_extents(header, data, extents).await {
                    Ok(data) => data,
                    // Sending reports a block that cannot be decoded.
                    Err(fault) if fault.class == FaultClass::NotFound => continue,
                    Err(fault) => {
                        tracing::warn!(error.message = chain(&fault), "failed to read a block for alerts");
                        unread.push(sequence);
                        continue;
                    }
                },
            };
            for ((founds, records), found) in all.iter_mut().zip(matching(alerts, header, &data, arrived_ms))
            {
                if let Some(found) = found {
                    founds.push(found);
                    records.push(sequence);
                }
            }
            // Matching takes no turns by itself, and lanes wait for theirs.
            tokio::task::yield_now().await;
        }
        let all = alerts.iter().zip(all).filter(|(_, (found, _))| !found.is_empty());
        work.extend(all.map(|(alert, (found, records))| ToCount { alert: alert.clone(), found, records }));
        unread
    }

    /// Counts for one rule. Returns whether it fired, and the records to be delivered again.
    async fn count<'e>(&self, work: &ToCount<'e>, now_ms: i64) -> (bool, Vec<&'e str>) {
        let ToCount { alert, found, records } = work;
        let crossed = |start_ms| self.crossed.knows(&(alert.key.clone(), start_ms));
        match alert.count(&self.table, found, crossed, now_ms).await {
            Ok(counted) => {
                for start_ms in counted.crossed {
                    self.crossed.note((alert.key.clone(), start_ms));
                }
                (counted.fired, Vec::new())
            }
            Err(fault) => {
                let (app_id, name) = (alert.key.app_id.as_str(), alert.key.name.as_str());
                tracing::warn!(app_id, name, error.message = chain(&fault), "failed to count for an alert");
                // A fault that no retry can fix must not hold up the stream.
                let left = if fault.retryable() { records.clone() } else { Vec::new() };
                (false, left)
            }
        }
    }
}

/// Returns what each alert finds in a block; nothing if it cannot be decoded, which sending reports.
fn matching(alerts: &[Alert], header: &BlockHeader, data: &[u8], arrived_ms: i64) -> Vec<Option<Found>> {
    let find = || {
        let Ok(payload) = Payload::decode(data) else { return Vec::new() };
        let may_be_in = |alert: &&Alert| alert.may_be_in(header, arrived_ms);
        let find = |alert: &Alert| alert.find(header, &payload, arrived_ms);
        alerts.iter().map(|alert| Some(alert).filter(may_be_in).and_then(find)).collect()
    };
    catch_unwind(AssertUnwindSafe(find)).unwrap_or_default()
}
