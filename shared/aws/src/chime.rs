//! Amazon Chime SDK meetings.

use aws_sdk_chimesdkmeetings::Client;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::uploads::attendees::Attendees;

use crate::faults::fault;

/// Looks up attendees of Amazon Chime.
#[derive(Debug, Clone)]
pub struct ChimeMeetings {
    client: Client,
}

impl ChimeMeetings {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Attendees for ChimeMeetings {
    async fn join_token(&self, meeting_id: &str, attendee_id: &str) -> Result<Option<String>, Fault> {
        let answer = self.client.get_attendee().meeting_id(meeting_id).attendee_id(attendee_id).send().await;
        match answer.map_err(|error| fault("GetAttendee", error)) {
            Ok(answer) => Ok(answer.attendee.and_then(|attendee| attendee.join_token)),
            // Ids that Chime cannot have issued are a BadRequest: there is no such attendee.
            Err(fault) if matches!(fault.class, FaultClass::NotFound | FaultClass::Permanent) => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}
