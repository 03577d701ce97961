//! Counts, states and history of alerts, and the notifications that are due.
//!
//! A block counts once, however often the stream delivers it: its mark and the counts of its windows are
//! written in one transaction. A state changes together with the event that says so, so a notification is
//! due exactly once per change, whichever call was the last of an invocation that died.

use serde::{Deserialize, Serialize};

use crate::model::alert::{AlertName, AlertRule};
use crate::model::app::{App, AppId};
use crate::model::fault::Fault;
use crate::model::ids::BlockId;
use crate::model::level::Level;

/// One rule of one registration of an app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertKey {
    pub app_id: AppId,
    /// When the app was registered (ms).
    pub registered_ms: i64,
    pub name: AlertName,
    /// When the rule was created (ms).
    pub created_ms: i64,
}

impl AlertKey {
    #[must_use]
    pub fn of(app: &App, rule: &AlertRule) -> Self {
        Self {
            app_id: app.app_id.clone(),
            registered_ms: app.registered_ms,
            name: rule.name.clone(),
            created_ms: rule.created_ms,
        }
    }

    /// `{app_id}/{name}/{created}/{seq}`: the same however often a notification is sent.
    #[must_use]
    pub fn notification_id(&self, seq: u32) -> String {
        format!("{}/{}/{}/{seq}", self.app_id, self.name, self.created_ms)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    #[default]
    Ok,
    Firing,
}

impl AlertStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Firing => "firing",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ok, Self::Firing].into_iter().find(|status| status.as_str() == text)
    }
}

/// The state of an alert. The default is that of an alert that has never fired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AlertState {
    pub status: AlertStatus,
    /// Number of changes so far, and the number of the last event.
    pub seq: u32,
    /// When the status last changed (ms).
    pub since_ms: i64,
    /// When the last block arrived that had matching records in a window at or above the threshold (ms).
    pub over_ms: i64,
    pub version: u64,
}

/// Number of records that a notification shows.
pub const MAX_SAMPLES: usize = 3;

/// The matching records of a block per window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockCount {
    pub block_id: BlockId,
    pub windows: Vec<WindowCount>,
}

/// The matching records of a block in one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowCount {
    pub start_ms: i64,
    pub count: u32,
    /// The first of them, at most [`MAX_SAMPLES`].
    pub samples: Vec<Sample>,
}

/// A window with counted records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertWindow {
    pub start_ms: i64,
    pub count: u64,
    /// Counted records, earliest first, at most [`MAX_SAMPLES`]. The batch that reaches the threshold may have
    /// fewer: batches are counted concurrently.
    pub samples: Vec<Sample>,
    /// It has reached the threshold, and the alert's state says so.
    pub crossed: bool,
}

/// A record that a notification shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub id: String,
    /// RFC 3339.
    pub timestamp: String,
    pub level: Level,
    /// The beginning of the message, as stored, which is redacted.
    pub message: String,
}

/// Returns the earliest samples, at most [`MAX_SAMPLES`], each once.
#[must_use]
pub fn earliest(mut samples: Vec<Sample>) -> Vec<Sample> {
    samples.sort_by(|a, b| (&a.timestamp, &a.id).cmp(&(&b.timestamp, &b.id)));
    samples.dedup();
    samples.truncate(MAX_SAMPLES);
    samples
}

/// The window that made an alert fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossedWindow {
    pub start_ms: i64,
    /// Excluded.
    pub end_ms: i64,
    /// Records counted when the threshold was reached.
    pub count: u64,
}

/// What has become of the notification of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// To be sent at `due_ms`; until then it waits for a retry, or is held by a sender.
    Due {
        due_ms: i64,
        attempts: u32,
    },
    Sent {
        at_ms: i64,
    },
    /// Given up, with the last error.
    Failed {
        error: String,
    },
}

/// A change of state, and its notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertEvent {
    pub seq: u32,
    pub to: AlertStatus,
    /// When the state changed (ms).
    pub at_ms: i64,
    /// `None` if the alert was resolved.
    pub window: Option<CrossedWindow>,
    pub samples: Vec<Sample>,
    pub delivery: Delivery,
}

/// A change of a state. It is made only if the state still has the version `was_version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertChange {
    pub was_version: u64,
    pub state: AlertState,
    /// The window that is marked as crossed. The change is not made if it already was.
    pub crosses: Option<i64>,
    pub event: Option<AlertEvent>,
}

/// An alert that is firing, or that has a notification to send.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Active {
    pub key: AlertKey,
    /// Of the state that made it active.
    pub seq: u32,
}

/// Stores what alerts count, their states and their events.
pub trait AlertTable: Send + Sync {
    /// Adds the counts and samples of the blocks that were not counted before.
    ///
    /// # Errors
    /// A call failed. Some of the blocks may be counted; retry with the same blocks.
    fn count(
        &self,
        key: &AlertKey,
        blocks: &[BlockCount],
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Returns the existing windows with these starts (all different), strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn windows(
        &self,
        key: &AlertKey,
        starts_ms: &[i64],
    ) -> impl Future<Output = Result<Vec<AlertWindow>, Fault>> + Send;

    /// Returns the state, strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn state(&self, key: &AlertKey) -> impl Future<Output = Result<AlertState, Fault>> + Send;

    /// Changes the state, marks the window and stores the event in one transaction. An event also makes the
    /// alert active. `false` if the state or the window is not as expected; nothing has changed then.
    ///
    /// # Errors
    /// The write failed; it may have been made.
    fn change(
        &self,
        key: &AlertKey,
        change: &AlertChange,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Returns the newest events, newest first, strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn events(
        &self,
        key: &AlertKey,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<AlertEvent>, Fault>> + Send;

    /// Sets the delivery of an event that is still due at `was_due_ms`; `false` if it is not.
    ///
    /// # Errors
    /// The write failed; it may have been made.
    fn set_delivery(
        &self,
        key: &AlertKey,
        seq: u32,
        was_due_ms: i64,
        delivery: &Delivery,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Returns all active alerts of all apps.
    ///
    /// # Errors
    /// The read failed.
    fn active(&self) -> impl Future<Output = Result<Vec<Active>, Fault>> + Send;

    /// Makes an alert inactive, unless it has changed since.
    ///
    /// # Errors
    /// The write failed.
    fn settle(&self, active: &Active) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// The event that makes the sender send notifications only.
pub const ALERTS_EVENT: &str = r#"{"logferry":"alerts"}"#;

/// Starts the sender of notifications.
pub trait AlertWaker: Send + Sync {
    /// Starts it asynchronously. It also runs on a schedule, so a lost start only delays notifications.
    ///
    /// # Errors
    /// The request failed.
    fn wake(&self) -> impl Future<Output = Result<(), Fault>> + Send;
}
