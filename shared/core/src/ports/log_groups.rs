//! The log groups that flush writes to, beside their events.

use crate::model::fault::Fault;

/// Settings of log groups.
pub trait LogGroups: Send + Sync {
    /// Has a group keep its events for at least so many days, the least that the service knows; for ever
    /// where it knows none. One call, without a repeat.
    ///
    /// # Errors
    /// The call failed; `NotFound` when there is no such group.
    fn set_retention(&self, group: &str, days: u32) -> impl Future<Output = Result<(), Fault>> + Send;
}
