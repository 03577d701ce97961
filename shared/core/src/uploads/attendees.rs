//! Meetings of Amazon Chime.

use crate::model::fault::Fault;

/// Knows the join tokens that attendees were given.
pub trait Attendees: Send + Sync {
    /// The attendee's join token; `None` when there is no such meeting or attendee.
    ///
    /// # Errors
    /// The read failed.
    fn join_token(
        &self,
        meeting_id: &str,
        attendee_id: &str,
    ) -> impl Future<Output = Result<Option<String>, Fault>> + Send;
}
