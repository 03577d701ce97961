//! `GET /presigned-url?key`: the state of a file for which a URL was issued.

use http::StatusCode;
use logferry_core::ledger::claim::Ledger;
use logferry_core::ledger::row::{FileStatus, Grant};
use logferry_core::logfile::outcome::{FileCounts, Reason};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::object_key::ObjectKey;
use logferry_core::uploads::table::Multipart;
use logferry_service::http::{ApiError, Request, Response};
use serde::Serialize;

use crate::field::only_params;
use crate::sender::{Named, Sender, unknown_key};
use crate::{App, World};

/// The response. `received`: S3 has the file, and the client need not send it again.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    key: &'a str,
    received: bool,
    status: FileStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<FileCounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// Remaining lifetime of the URL (s).
    expires_in: i64,
}

impl<W: World> App<W> {
    /// Returns the state of a key that was granted to the sender. All other keys get the same 404.
    pub(crate) async fn log_status(&self, request: &Request, now_ms: i64) -> Result<Response, ApiError> {
        only_params(request, &["key"])?;
        let key = request.param("key").ok_or_else(|| ApiError::bad_request("key", "key is required"))?;
        let parsed = ObjectKey::parse(key).ok();
        let of_browser = match &parsed {
            Some(ObjectKey::Chime(key)) => Some(key),
            Some(ObjectKey::Log(_) | ObjectKey::Upload(_)) | None => None,
        };
        let sender = self.sender(request, &Named::InKey(of_browser), now_ms).await?;
        request.trail.concerns(&sender.app_id);
        self.count_log_request(&sender, now_ms).await?;
        if !parsed.is_some_and(|parsed| is_grantable(&parsed, key)) {
            return Err(unknown_key());
        }
        let grant = self.ledger.find_grant(self.presigner.bucket(), key).await?;
        let grant = grant.filter(|grant| is_of(grant, &sender)).ok_or_else(unknown_key)?;
        let answer = self.state_of(&grant, now_ms).await?;
        Ok(Response::json(StatusCode::OK, &answer))
    }

    async fn state_of<'a>(&self, grant: &'a Grant, now_ms: i64) -> Result<Answer<'a>, ApiError> {
        let Grant { bucket, key, .. } = grant;
        let expires_in = (grant.expires_ms - now_ms).max(0) / 1_000;
        let pending = Answer {
            key,
            received: false,
            status: FileStatus::Pending,
            counts: None,
            reason: None,
            expires_in,
        };
        if let Some(used) = &grant.used {
            let object =
                ObjectRef { bucket: bucket.clone(), key: key.clone(), version: used.version.clone() };
            let row = self.ledger.find(&object).await?.ok_or_else(unknown_key)?;
            let counts = row.status.is_terminal().then_some(row.counts);
            return Ok(Answer { received: true, status: row.status, counts, reason: row.reason, ..pending });
        }
        // S3 may hold the object before ingest receives its event.
        if self.multipart.object(key).await?.is_some() {
            return Ok(Answer { received: true, ..pending });
        }
        if now_ms < grant.expires_ms {
            return Ok(pending);
        }
        match self.ledger.find_waiting(bucket, key).await? {
            Some(row) => Ok(Answer { status: row.status, reason: row.reason, ..pending }),
            // ingest has claimed the file after the grant was read.
            None => Ok(Answer { received: true, ..pending }),
        }
    }
}

/// Maximum length of an object key (bytes).
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const MAX_KEY_BYTES: usize = 1_024;

/// Whether a grant may exist for this key.
fn is_grantable(parsed: &ObjectKey, key: &str) -> bool {
    match parsed {
        ObjectKey::Chime(_) | ObjectKey::Log(_) => key.len() <= MAX_KEY_BYTES,
        ObjectKey::Upload(_) => false,
    }
}

/// Whether the grant belongs to the sender's app, and for a browser to the same attendee.
fn is_of(grant: &Grant, sender: &Sender) -> bool {
    let same_attendee = sender.meeting().is_none_or(|(meeting, attendee)| {
        grant.meeting.as_ref().is_some_and(|(of_meeting, of_attendee)| {
            (of_meeting.as_str(), of_attendee.as_str()) == (meeting.as_str(), attendee.as_str())
        })
    });
    grant.app_id == sender.app_id && grant.registered_ms == sender.since_ms && same_attendee
}
