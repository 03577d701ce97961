//! The `stats` table: counters per app, day and level, spread over a few rows a day.

use crate::model::app::AppId;
use crate::model::expiry::Expiring;
use crate::model::fault::Fault;
use crate::model::time::Day;

/// Which counter row: day, the app's epoch (ms), number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterKey {
    pub day: Day,
    pub epoch_ms: i64,
    pub counter: u8,
}

/// One of the rows that a day's counts are spread over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRow {
    pub key: CounterKey,
    pub counts: Expiring,
}

/// Some counter rows, newest day first.
#[derive(Debug, Clone, Default)]
pub struct CounterPage {
    pub rows: Vec<CounterRow>,
    /// `None`: there are no more.
    pub next: Option<CounterKey>,
    /// Read units that DynamoDB charged.
    pub read_units: f64,
}

/// Reads and removes counters.
pub trait Stats: Send + Sync {
    /// Counter rows of the days `from..=to`, newest first, at most `limit`, strongly consistent; of
    /// every epoch of the app's id.
    ///
    /// # Errors
    /// The read failed.
    fn newest(
        &self,
        app_id: &AppId,
        from: Day,
        to: Day,
        limit: u32,
        after: Option<CounterKey>,
    ) -> impl Future<Output = Result<CounterPage, Fault>> + Send;

    /// Hides records of a day that are older than `before_ms` from those who count: from now on
    /// nobody counts one of them in (see [`Ledger::finish`](crate::ledger::claim::Ledger::finish),
    /// [`Records::write`](crate::logbook::records::Records::write)). What was counted before stays counted. That it is
    /// hidden is known for a week from `now_ms` at least.
    ///
    /// # Errors
    /// A write failed. Repeat it.
    fn hide(
        &self,
        app_id: &AppId,
        epoch_ms: i64,
        day: Day,
        before_ms: i64,
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Removes counter rows; those that are gone already count as removed.
    ///
    /// # Errors
    /// A write failed; some may be gone. Repeat it.
    fn remove(&self, app_id: &AppId, keys: &[CounterKey]) -> impl Future<Output = Result<(), Fault>> + Send;
}
