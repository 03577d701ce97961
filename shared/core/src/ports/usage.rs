//! What apps take in per day: one row per app, registration and UTC day of arrival.

use crate::model::app::AppId;
use crate::model::fault::Fault;
use crate::model::quota::{Exceeded, Quota, Used};
use crate::model::time::Day;

/// Whose usage of which day.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageDay {
    pub app_id: AppId,
    /// When the app was registered (ms): one of an earlier registration is another app's.
    pub epoch_ms: i64,
    pub day: Day,
}

/// Counts what is taken in, for all instances together.
pub trait Usage: Send + Sync {
    /// What has been charged on this day; nothing is zero.
    ///
    /// # Errors
    /// The read failed.
    fn used(&self, of: &UsageDay) -> impl Future<Output = Result<Used, Fault>> + Send;

    /// Adds `more`, unless it would exceed the quota: then nothing is added. Each call adds; a call
    /// that is repeated because its answer was lost adds twice.
    ///
    /// # Errors
    /// The write failed; it may have been carried out.
    fn charge(
        &self,
        of: &UsageDay,
        more: Used,
        quota: &Quota,
    ) -> impl Future<Output = Result<Option<Exceeded>, Fault>> + Send;
}
