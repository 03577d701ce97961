//! Alerts: counts, states, events.

use std::collections::{BTreeMap, BTreeSet};

use logferry_core::model::fault::Fault;
use logferry_core::model::ids::BlockId;
use logferry_core::ports::alerts::{
    Active, AlertChange, AlertEvent, AlertKey, AlertState, AlertTable, AlertWaker, AlertWindow, BlockCount,
    Delivery, MAX_SAMPLES, earliest,
};

use logferry_health_checks::notifier::{Notification, Notifier};

use super::SimCloud;

/// The rows of a rule.
#[derive(Debug, Default)]
pub(super) struct Rows {
    state: AlertState,
    windows: BTreeMap<i64, AlertWindow>,
    marks: BTreeSet<BlockId>,
    events: BTreeMap<u32, AlertEvent>,
}

impl Rows {
    fn window(&mut self, start_ms: i64) -> &mut AlertWindow {
        let fresh = AlertWindow { start_ms, count: 0, samples: Vec::new(), crossed: false };
        self.windows.entry(start_ms).or_insert(fresh)
    }
}

impl SimCloud {
    /// Returns the events of an alert, oldest first.
    #[must_use]
    pub fn alert_events(&self, key: &AlertKey) -> Vec<AlertEvent> {
        let state = self.state();
        state.alerts.get(key).map(|rows| rows.events.values().cloned().collect()).unwrap_or_default()
    }

    /// Returns the counted windows of an alert.
    #[must_use]
    pub fn alert_windows(&self, key: &AlertKey) -> Vec<AlertWindow> {
        let state = self.state();
        state.alerts.get(key).map(|rows| rows.windows.values().cloned().collect()).unwrap_or_default()
    }

    /// Returns what the topic has received, in order.
    #[must_use]
    pub fn notifications(&self) -> Vec<Notification> {
        self.state().notifications.clone()
    }

    /// Returns how often the sender of notifications was started.
    #[must_use]
    pub fn alert_wakes(&self) -> u32 {
        self.state().alert_wakes
    }
}

impl AlertTable for SimCloud {
    async fn count(&self, key: &AlertKey, blocks: &[BlockCount], _: i64) -> Result<(), Fault> {
        let marked = self
            .call("BatchGetItem", |state| {
                Ok(state.alerts.get(key).map(|rows| rows.marks.clone()).unwrap_or_default())
            })
            .await?;
        // A transaction per block: an invocation can die between two of them.
        for block in blocks.iter().filter(|block| !marked.contains(&block.block_id)) {
            self.call("TransactWriteItems", |state| {
                let rows = state.alerts.entry(key.clone()).or_default();
                if rows.marks.insert(block.block_id) {
                    for found in &block.windows {
                        let window = rows.window(found.start_ms);
                        window.count += u64::from(found.count);
                        if window.samples.len() < MAX_SAMPLES {
                            window.samples.extend_from_slice(&found.samples);
                            window.samples = earliest(std::mem::take(&mut window.samples));
                        }
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn windows(&self, key: &AlertKey, starts_ms: &[i64]) -> Result<Vec<AlertWindow>, Fault> {
        self.call("BatchGetItem", |state| {
            let rows = state.alerts.entry(key.clone()).or_default();
            Ok(starts_ms.iter().filter_map(|start_ms| rows.windows.get(start_ms)).cloned().collect())
        })
        .await
    }

    async fn state(&self, key: &AlertKey) -> Result<AlertState, Fault> {
        self.call("GetItem", |state| Ok(state.alerts.get(key).map(|rows| rows.state).unwrap_or_default()))
            .await
    }

    async fn change(&self, key: &AlertKey, change: &AlertChange) -> Result<bool, Fault> {
        self.call("TransactWriteItems", |state| {
            let rows = state.alerts.entry(key.clone()).or_default();
            let window = change.crosses.and_then(|start_ms| rows.windows.get(&start_ms));
            if rows.state.version != change.was_version || window.is_some_and(|window| window.crossed) {
                return Ok(false);
            }
            rows.state = change.state;
            if let Some(start_ms) = change.crosses {
                rows.window(start_ms).crossed = true;
            }
            if let Some(event) = &change.event {
                rows.events.insert(event.seq, event.clone());
                state.active_alerts.insert(key.clone(), event.seq);
            }
            Ok(true)
        })
        .await
    }

    async fn events(&self, key: &AlertKey, limit: u32) -> Result<Vec<AlertEvent>, Fault> {
        self.call("Query", |state| {
            let rows = state.alerts.entry(key.clone()).or_default();
            Ok(rows.events.values().rev().take(limit as usize).cloned().collect())
        })
        .await
    }

    async fn set_delivery(
        &self,
        key: &AlertKey,
        seq: u32,
        was_due_ms: i64,
        delivery: &Delivery,
    ) -> Result<bool, Fault> {
        self.call("UpdateItem", |state| {
            let rows = state.alerts.entry(key.clone()).or_default();
            let Some(event) = rows.events.get_mut(&seq) else { return Ok(false) };
            let expected = matches!(event.delivery, Delivery::Due { due_ms, .. } if due_ms == was_due_ms);
            if expected {
                event.delivery = delivery.clone();
            }
            Ok(expected)
        })
        .await
    }

    async fn active(&self) -> Result<Vec<Active>, Fault> {
        self.call("Query", |state| {
            let active = state.active_alerts.iter();
            Ok(active.map(|(key, seq)| Active { key: key.clone(), seq: *seq }).collect())
        })
        .await
    }

    async fn settle(&self, active: &Active) -> Result<(), Fault> {
        self.call("TransactWriteItems", |state| {
            if state.active_alerts.get(&active.key) == Some(&active.seq) {
                state.active_alerts.remove(&active.key);
            }
            Ok(())
        })
        .await
    }
}

impl Notifier for SimCloud {
    async fn publish(&self, notification: &Notification) -> Result<(), Fault> {
        self.call("Publish", |state| {
            state.notifications.push(notification.clone());
            Ok(())
        })
        .await
    }
}

impl AlertWaker for SimCloud {
    async fn wake(&self) -> Result<(), Fault> {
        self.call("Invoke", |state| {
            state.alert_wakes += 1;
            Ok(())
        })
        .await
    }
}
