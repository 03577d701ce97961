//! Usage per day: one row per app, registration and UTC day of arrival.

use crate::model::app::AppId;
use crate::model::fault::Fault;
use crate::model::quota::{Exceeded, Quota, Used};
use crate::model::time::Day;

/// Identifies the usage of an app on a day.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageDay {
    pub app_id: AppId,
    /// When the app was registered (ms). An earlier registration is another app.
    pub registered_ms: i64,
    pub day: Day,
}

/// Counts usage, shared by all instances.
pub trait Usage: Send + Sync {
    /// Returns the usage of this day; zero if nothing was charged.
    ///
    /// # Errors
    /// The read failed.
    fn used(&self, of: &UsageDay) -> impl Future<Output = Result<Used, Fault>> + Send;

    /// Adds `more`, unless it would exceed the quota; then nothing is added. Not idempotent: a call that is
    /// retried after a lost response adds twice.
    ///
    /// # Errors
    /// The write failed; it may have been processed.
    fn charge(
        &self,
        of: &UsageDay,
        more: Used,
        quota: &Quota,
    ) -> impl Future<Output = Result<Option<Exceeded>, Fault>> + Send;
}
