//! The `stats` table: counters per app, day and level, in several rows per day.

use crate::model::app::AppId;
use crate::model::expiry::Expiring;
use crate::model::fault::Fault;
use crate::model::time::Day;

/// Key of a counter row: day, the app's epoch (ms), number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterKey {
    pub day: Day,
    pub registered_ms: i64,
    pub counter: u8,
}

/// One of the counter rows of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRow {
    pub key: CounterKey,
    pub counts: Expiring,
}

/// A page of counter rows, newest day first.
#[derive(Debug, Clone, Default)]
pub struct CounterPage {
    pub rows: Vec<CounterRow>,
    /// `None` on the last page.
    pub next: Option<CounterKey>,
    /// Read units charged by DynamoDB.
    pub read_units: f64,
}

/// Reads and removes counters.
pub trait Stats: Send + Sync {
    /// Returns counter rows of the days `from..=to`, newest first, at most `limit`, strongly consistent,
    /// for every epoch of the app's id.
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

    /// Excludes records older than `before_ms` from the day's counters: later writers must not count them (see
    /// [`Ledger::finish`](crate::ledger::claim::Ledger::finish),
    /// [`Records::write`](crate::logbook::records::Records::write)). Earlier counts do not change. The watermark
    /// is kept for at least a week from `now_ms`.
    ///
    /// # Errors
    /// A write failed; retry.
    fn hide(
        &self,
        app_id: &AppId,
        registered_ms: i64,
        day: Day,
        before_ms: i64,
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Removes counter rows. Missing rows count as removed.
    ///
    /// # Errors
    /// A write failed. Some rows may be removed; retry.
    fn remove(&self, app_id: &AppId, keys: &[CounterKey]) -> impl Future<Output = Result<(), Fault>> + Send;
}
