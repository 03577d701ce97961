//! `GET /presigned-url?key`: what became of a file whose URL was handed out.

use http::StatusCode;
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::{FileStatus, Grant};
use logferry_core::logfile::outcome::{FileCounts, Reason};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::object_key::ObjectKey;
use logferry_core::uploads::table::Multipart;
use logferry_service::http::{Answer, ApiError, Head, State, json};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::sender::{Named, Sender, unknown_key};
use crate::{Presign, Shared, World};

/// What the client learns. `received`: S3 has the file, so it need not be sent again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileState<'a> {
    key: &'a str,
    received: bool,
    /// PENDING, PROCESSING, COMPLETED or FAILED.
    #[schema(value_type = String)]
    status: FileStatus,
    /// When the file has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    counts: Option<FileCounts>,
    /// When the file is FAILED.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    reason: Option<Reason>,
    /// How long the URL still works (s).
    expires_in: i64,
}

#[derive(IntoParams)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) struct StatusQuery {
    /// The `key` of the answer that had the URL.
    key: String,
}

/// Answers with the state of a key that was granted to the sender. All other keys are the same 404.
pub(crate) async fn log_status<W: World>(State(presign): Shared<W>, mut head: Head) -> Answer {
    let mut query = std::mem::take(&mut head.query);
    let key = query.require("key")?;
    query.finish()?;
    let parsed = ObjectKey::parse(&key).ok();
    let of_browser = match &parsed {
        Some(ObjectKey::Chime(key)) => Some(key),
        Some(ObjectKey::Log(_) | ObjectKey::Upload(_)) | None => None,
    };
    let sender = presign.sender(&head, Named::InKey(of_browser)).await?;
    head.trail.concerns(&sender.app_id);
    presign.count_log_request(&sender, head.now_ms).await?;
    if !parsed.is_some_and(|parsed| is_grantable(&parsed, &key)) {
        return Err(unknown_key());
    }
    let grant = presign.grants.find_grant(presign.presigner.bucket(), &key).await?;
    let grant = grant.filter(|grant| is_of(grant, &sender)).ok_or_else(unknown_key)?;
    Ok(json(StatusCode::OK, &presign.state_of(&grant, head.now_ms).await?))
}

impl<W: World> Presign<W> {
    async fn state_of<'a>(&self, grant: &'a Grant, now_ms: i64) -> Result<FileState<'a>, ApiError> {
        let Grant { bucket, key, .. } = grant;
        let expires_in = (grant.expires_ms - now_ms).max(0) / 1_000;
        let pending = FileState {
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
            let row = self.grants.find(&object).await?.ok_or_else(unknown_key)?;
            let counts = row.status.is_terminal().then_some(row.counts);
            return Ok(FileState {
                received: true,
                status: row.status,
                counts,
                reason: row.reason,
                ..pending
            });
        }
        // S3 may have the object before its event reaches ingest.
        if self.multipart.object(key).await?.is_some() {
            return Ok(FileState { received: true, ..pending });
        }
        if now_ms < grant.expires_ms {
            return Ok(pending);
        }
        match self.grants.find_waiting(bucket, key).await? {
            Some(row) => Ok(FileState { status: row.status, reason: row.reason, ..pending }),
            // It has been claimed since the grant was read.
            None => Ok(FileState { received: true, ..pending }),
        }
    }
}

/// The longest key of an object (bytes).
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const MAX_KEY_BYTES: usize = 1_024;

/// Whether a grant may exist for this key.
fn is_grantable(parsed: &ObjectKey, key: &str) -> bool {
    match parsed {
        ObjectKey::Chime(_) | ObjectKey::Log(_) => key.len() <= MAX_KEY_BYTES,
        ObjectKey::Upload(_) => false,
    }
}

/// Whether the grant was given to the sender's app, and in a browser's case to the same attendee.
fn is_of(grant: &Grant, sender: &Sender) -> bool {
    let same_attendee = sender.meeting().is_none_or(|(meeting, attendee)| {
        grant.meeting.as_ref().is_some_and(|(of_meeting, of_attendee)| {
            (of_meeting.as_str(), of_attendee.as_str()) == (meeting.as_str(), attendee.as_str())
        })
    });
    grant.app_id == sender.app_id && grant.registered_ms == sender.since_ms && same_attendee
}
