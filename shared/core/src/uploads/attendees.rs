//! Meetings of Amazon Chime.

use crate::model::fault::Fault;

/// Looks up the join tokens of attendees.
pub trait Attendees: Send + Sync {
    /// Returns the attendee's join token; `None` if there is no such meeting or attendee.
    ///
    /// # Errors
    /// The read failed.
    fn join_token(
        &self,
        meeting_id: &str,
        attendee_id: &str,
    ) -> impl Future<Output = Result<Option<String>, Fault>> + Send;
}
