//! Alerts on an app's own records: what a block adds to the windows of a rule, and when the state changes.
//!
//! A window is a range of record time. The records of a block count once per rule. A window that reaches
//! the threshold *crosses*, once: an alert that is ok then fires, one that is firing stays so. It is
//! resolved when no block with matching records in a crossed window has arrived for `quiet_minutes`. Each
//! change of state has one event, written with it, and each event one notification.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::alert::AlertRule;
use crate::model::app::App;
use crate::model::block::{BlockHeader, Payload};
use crate::model::entry_filter::{BadFilter, EntryFilter};
use crate::model::fault::{Fault, FaultClass};
use crate::model::ids::BlockId;
use crate::model::record::StoredRecord;
use crate::model::record_view::LogRecord;
use crate::model::time::{MS_PER_DAY, rfc3339_ms};
use crate::ports::alerts::{
    AlertChange, AlertEvent, AlertKey, AlertState, AlertStatus, AlertTable, BlockCount, CrossedWindow,
    Delivery, MAX_SAMPLES, Sample, WindowCount,
};

/// Records that were this old when they arrived are not counted (ms): a backfill is not an incident.
pub const MAX_LATE_MS: i64 = MS_PER_DAY;

/// Maximum characters of a sample's message.
const SAMPLE_CHARS: usize = 500;

/// Maximum attempts to change a state that others change meanwhile.
const ATTEMPTS: u32 = 10;

/// A rule with its filter.
#[derive(Debug, Clone)]
pub struct Alert {
    pub key: AlertKey,
    pub rule: AlertRule,
    filter: EntryFilter,
}

/// The matching records of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub block_id: BlockId,
    /// When the block arrived (ms).
    pub arrived_ms: i64,
    /// By the start of the window (ms).
    pub windows: BTreeMap<i64, FoundInWindow>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundInWindow {
    pub count: u32,
    /// The first records, at most [`MAX_SAMPLES`].
    pub samples: Vec<Sample>,
}

impl Alert {
    /// # Errors
    /// The filter is invalid. Rules are checked when they are created, so this is a rule of another version.
    pub fn new(app: &App, rule: &AlertRule) -> Result<Self, BadFilter> {
        let filter = EntryFilter::read(&rule.filter)?;
        Ok(Self { key: AlertKey::of(app, rule), rule: rule.clone(), filter })
    }

    /// Whether a block may have matching records, according to its header.
    #[must_use]
    pub fn may_be_in(&self, header: &BlockHeader, arrived_ms: i64) -> bool {
        header.last_ms >= arrived_ms - MAX_LATE_MS && self.filter.may_be_in_block(header)
    }

    /// Returns the matching records of a block; `None` without any.
    #[must_use]
    pub fn find(&self, header: &BlockHeader, payload: &Payload, arrived_ms: i64) -> Option<Found> {
        if !self.filter.may_match_in(payload.text()) {
            return None;
        }
        let mut windows: BTreeMap<i64, FoundInWindow> = BTreeMap::new();
        for (index, entry) in payload.entries().enumerate() {
            let time_ms = entry.timestamp_ms;
            if time_ms < arrived_ms - MAX_LATE_MS || !self.filter.may_match(&entry) {
                continue;
            }
            let start_ms = self.rule.window_of(time_ms);
            let shows = windows.get(&start_ms).is_none_or(|window| window.samples.len() < MAX_SAMPLES);
            // Without a filter on entries, only samples need the record.
            if shows || self.filter.reads_entries() {
                let stored = payload.record(index);
                if !self.filter.holds(&stored) {
                    continue;
                }
                if shows {
                    windows.entry(start_ms).or_default().samples.push(sample(&stored));
                }
            }
            windows.entry(start_ms).or_default().count += 1;
        }
        (!windows.is_empty()).then_some(Found { block_id: header.block_id, arrived_ms, windows })
    }

    /// Counts what was found in blocks, and changes the state if a window crosses. Returns the windows that
    /// have crossed, now or before, and whether the alert fired. `crossed` are windows known to have
    /// crossed: they are not counted any more.
    ///
    /// # Errors
    /// A call failed; retry with the same blocks. Nothing is counted twice.
    pub async fn count<T: AlertTable>(
        &self,
        table: &T,
        found: &[Found],
        crossed: impl Fn(i64) -> bool,
        now_ms: i64,
    ) -> Result<AlertOutcome, Fault> {
        let blocks: Vec<BlockCount> = found
            .iter()
            .map(|found| BlockCount {
                block_id: found.block_id,
                windows: (found.windows.iter())
                    .filter(|(start_ms, _)| !crossed(**start_ms))
                    .map(|(start_ms, window)| WindowCount {
                        start_ms: *start_ms,
                        count: window.count,
                        samples: window.samples.clone(),
                    })
                    .collect(),
            })
            .filter(|block| !block.windows.is_empty())
            .collect();
        let mut windows = Vec::new();
        if !blocks.is_empty() {
            table.count(&self.key, &blocks, now_ms).await?;
            let starts = blocks.iter().flat_map(|block| &block.windows).map(|window| window.start_ms);
            let starts: BTreeSet<i64> = starts.collect();
            windows = table.windows(&self.key, &starts.into_iter().collect::<Vec<_>>()).await?;
        }
        windows.sort_by_key(|window| window.start_ms);
        let mut counted = AlertOutcome::default();
        for window in windows.into_iter().filter(|window| window.count >= u64::from(self.rule.threshold)) {
            let start_ms = window.start_ms;
            if !window.crossed {
                let with = found.iter().filter(|found| found.windows.contains_key(&start_ms));
                let arrived_ms = with.map(|found| found.arrived_ms).max().unwrap_or(0);
                let end_ms = start_ms + self.rule.window_ms();
                let crossed = CrossedWindow { start_ms, end_ms, count: window.count };
                counted.fired |= self.cross(table, crossed, arrived_ms, window.samples, now_ms).await?;
            }
            counted.crossed.push(start_ms);
        }
        let is_over = |start_ms: &i64| crossed(*start_ms) || counted.crossed.contains(start_ms);
        let over = found.iter().filter(|found| found.windows.keys().any(is_over));
        if let Some(arrived_ms) = over.map(|found| found.arrived_ms).max() {
            self.extend(table, arrived_ms).await?;
        }
        Ok(counted)
    }

    /// Marks a window as crossed. Returns whether the alert fired.
    async fn cross<T: AlertTable>(
        &self,
        table: &T,
        window: CrossedWindow,
        arrived_ms: i64,
        samples: Vec<Sample>,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        for _ in 0..ATTEMPTS {
            let was = table.state(&self.key).await?;
            let fires = was.status == AlertStatus::Ok;
            let state = AlertState {
                status: AlertStatus::Firing,
                seq: was.seq + u32::from(fires),
                since_ms: if fires { now_ms } else { was.since_ms },
                over_ms: if fires { arrived_ms } else { was.over_ms.max(arrived_ms) },
                version: was.version + 1,
            };
            let event = fires.then(|| AlertEvent {
                seq: state.seq,
                to: AlertStatus::Firing,
                at_ms: now_ms,
                window: Some(window),
                samples: samples.clone(),
                delivery: Delivery::Due { due_ms: now_ms, attempts: 0 },
            });
            let change =
                AlertChange { was_version: was.version, state, crosses: Some(window.start_ms), event };
            if table.change(&self.key, &change).await? {
                return Ok(fires);
            }
            // Another invocation changed the state, or this window has crossed in the meantime.
            let windows = table.windows(&self.key, &[window.start_ms]).await?;
            if windows.iter().any(|now| now.crossed) {
                return Ok(false);
            }
        }
        Err(contended())
    }

    /// Notes that records arrived in a crossed window, if the alert is firing.
    async fn extend<T: AlertTable>(&self, table: &T, arrived_ms: i64) -> Result<(), Fault> {
        for _ in 0..ATTEMPTS {
            let was = table.state(&self.key).await?;
            if was.status == AlertStatus::Ok || was.over_ms >= arrived_ms {
                return Ok(());
            }
            let state = AlertState { over_ms: arrived_ms, version: was.version + 1, ..was };
            let change = AlertChange { was_version: was.version, state, crosses: None, event: None };
            if table.change(&self.key, &change).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Resolves the alert if it was quiet for long enough. Returns its state.
    ///
    /// # Errors
    /// A call failed; the next run resolves it.
    pub async fn resolve<T: AlertTable>(&self, table: &T, now_ms: i64) -> Result<AlertState, Fault> {
        let was = table.state(&self.key).await?;
        if was.status == AlertStatus::Ok || now_ms < was.over_ms.saturating_add(self.rule.quiet_ms()) {
            return Ok(was);
        }
        let state = AlertState {
            status: AlertStatus::Ok,
            seq: was.seq + 1,
            since_ms: now_ms,
            over_ms: was.over_ms,
            version: was.version + 1,
        };
        let event = AlertEvent {
            seq: state.seq,
            to: AlertStatus::Ok,
            at_ms: now_ms,
            window: None,
            samples: Vec::new(),
            delivery: Delivery::Due { due_ms: now_ms, attempts: 0 },
        };
        let change = AlertChange { was_version: was.version, state, crosses: None, event: Some(event) };
        Ok(if table.change(&self.key, &change).await? { state } else { was })
    }
}

fn sample(stored: &StoredRecord<'_>) -> Sample {
    Sample {
        id: stored.id.to_string(),
        timestamp: rfc3339_ms(stored.entry.timestamp_ms),
        level: stored.entry.level,
        message: LogRecord::read(stored).message.chars().take(SAMPLE_CHARS).collect(),
    }
}

/// The result of counting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertOutcome {
    /// Starts of windows that have crossed (ms).
    pub crossed: Vec<i64>,
    pub fired: bool,
}

fn contended() -> Fault {
    Fault::new(FaultClass::Transient, "changing an alert", "its state keeps changing")
}
