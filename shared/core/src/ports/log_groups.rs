//! Settings of the log groups that `flush` writes to.

use crate::model::fault::Fault;

/// Settings of log groups.
pub trait LogGroups: Send + Sync {
    /// Sets the retention of a group to the shortest value of CloudWatch Logs that is at least this many
    /// days, or to never expire if there is none. One call, without retry.
    ///
    /// # Errors
    /// The call failed; `NotFound` if there is no such group.
    fn set_retention(&self, group: &str, days: u32) -> impl Future<Output = Result<(), Fault>> + Send;
}
