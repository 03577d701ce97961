//! `POST /presigned-url`: authenticates the caller and issues a URL for one log file.

use http::StatusCode;
use logferry_core::ledger::claim::Ledger;
use logferry_core::ledger::row::Grant;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::object_key::{ChimeKey, Filename, LogKey, ObjectKey};
use logferry_core::model::quota::Used;
use logferry_core::model::time::Day;
use logferry_core::ports::usage::{Usage, UsageDay};
use logferry_core::uploads::table::Rate;
use logferry_presigner::{Post, PostForm, Put};
use logferry_service::http::{ApiError, Request, Response};
use serde::Serialize;

use crate::config::LogLimits;
use crate::field::{Fields, only_params};
use crate::sender::{Named, Sender};
use crate::{App, World, new_ulid};

/// Lifetime of a URL or form (s), as specified.
pub const EXPIRY_SECS: u32 = 300;

/// The content type of every log file; the actual format is detected from the content. It is signed, so S3
/// refuses a request with another one.
pub const CONTENT_TYPE: &str = "application/gzip";

/// Minimum size of a file in a form upload (bytes).
const MIN_FORM_BYTES: u64 = 1;

/// The response. The client must send `headers` with the URL.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    presigned_url: String,
    method: &'static str,
    headers: Headers,
    key: String,
    expires_in: u32,
    max_bytes: u64,
    post: PostForm,
}

#[derive(Debug, Serialize)]
struct Headers {
    #[serde(rename = "Content-Type")]
    content_type: &'static str,
}

impl<W: World> App<W> {
    /// Authenticates the caller, checks the request and the limits, records the owner of the key, and only
    /// then signs.
    pub(crate) async fn presigned_url(&self, request: &Request, now_ms: i64) -> Result<Response, ApiError> {
        only_params(request, &[])?;
        let sender = self.sender(request, &Named::InBody, now_ms).await?;
        request.trail.concerns(&sender.app_id);
        let fields = Fields::of(request)?;
        fields.only(&["meetingId", "attendeeId", "filename", "contentLength"])?;
        let filename = fields.optional("filename")?.unwrap_or_else(Filename::default_log);
        let size_bytes = fields.size("contentLength")?;
        if size_bytes.is_some_and(|size| size > self.max_presigned_bytes) {
            return Err(too_large(self.max_presigned_bytes));
        }
        if size_bytes.is_none() && self.log_limits.require_length {
            return Err(ApiError::bad_request("contentLength", "contentLength is required"));
        }
        self.admit(&sender, size_bytes, now_ms).await?;
        let key = self.grant(&sender, &filename, size_bytes, now_ms).await?;
        self.sign(&sender, key, size_bytes, now_ms)
    }

    /// Counts a request of this minute, for the holder first: a holder over its limit does not use up the
    /// limit of the app.
    pub(crate) async fn count_log_request(&self, sender: &Sender, now_ms: i64) -> Result<(), ApiError> {
        let LogLimits { per_minute, per_minute_and_holder, .. } = &self.log_limits;
        let of_holder = Rate::LogUrlsOf(sender.holder());
        self.count(&sender.app_id, &of_holder, 1, *per_minute_and_holder, now_ms).await?;
        self.count(&sender.app_id, &Rate::LogUrls, 1, *per_minute, now_ms).await
    }

    /// Counts the request, and checks the app's quota of the day.
    async fn admit(&self, sender: &Sender, size_bytes: Option<u64>, now_ms: i64) -> Result<(), ApiError> {
        self.count_log_request(sender, now_ms).await?;
        let quota = &self.log_limits.quota;
        if quota.is_none() {
            return Ok(());
        }
        let day = Day::of_ms(now_ms);
        let of = UsageDay { app_id: sender.app_id.clone(), registered_ms: sender.since_ms, day };
        let used = self.ledger.used(&of).await?;
        let more = Used { bytes: size_bytes.unwrap_or(1), records: 1, files: 1 };
        match quota.exceeded(day, used, more) {
            Some(exceeded) => Err(ApiError::over_quota(&exceeded, now_ms)),
            None => Ok(()),
        }
    }

    /// Creates a key and the ledger row that binds it to the app.
    async fn grant(
        &self,
        sender: &Sender,
        filename: &Filename,
        size_bytes: Option<u64>,
        now_ms: i64,
    ) -> Result<String, ApiError> {
        let mut again = true;
        loop {
            let key = self.key(sender, filename, now_ms)?.to_string();
            let grant = Grant {
                bucket: self.presigner.bucket().to_owned(),
                key: key.clone(),
                app_id: sender.app_id.clone(),
                meeting: sender.meeting().map(|(m, a)| (m.to_string(), a.to_string())),
                size_bytes,
                registered_ms: sender.since_ms,
                used: None,
                created_ms: now_ms,
                expires_ms: now_ms + i64::from(EXPIRY_SECS) * 1000,
            };
            match self.ledger.grant(&grant).await {
                Ok(()) => return Ok(key),
                // Most likely this request's first attempt, whose response was lost: that row will expire.
                Err(fault) if fault.class == FaultClass::Conflict && again => again = false,
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    fn key(&self, sender: &Sender, filename: &Filename, now_ms: i64) -> Result<ObjectKey, ApiError> {
        let ulid = new_ulid(now_ms)?;
        Ok(match sender.meeting() {
            Some((meeting, attendee)) => ObjectKey::Chime(ChimeKey {
                region: self.region.clone(),
                account: self.account_id.clone(),
                meeting: meeting.clone(),
                attendee: attendee.clone(),
                ulid: Some(ulid),
                filename: filename.clone(),
            }),
            None => {
                let day = Day::of_ms(now_ms);
                ObjectKey::Log(LogKey::issue(sender.app_id.clone(), day, ulid, filename))
            }
        })
    }

    fn sign(
        &self,
        sender: &Sender,
        key: String,
        size_bytes: Option<u64>,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let metadata = match sender.meeting() {
            Some((meeting, attendee)) => {
                vec![("meetingid", meeting.as_str()), ("attendeeid", attendee.as_str())]
            }
            None => Vec::new(),
        };
        let put = Put {
            key: &key,
            content_type: Some(CONTENT_TYPE),
            content_length: size_bytes,
            metadata: &metadata,
            expires_secs: EXPIRY_SECS,
        };
        let presigned_url = self.presigner.put(&put, now_ms)?;
        let post = Post {
            key: &key,
            content_type: Some(CONTENT_TYPE),
            metadata: &metadata,
            success_status: None,
            length_bytes: (MIN_FORM_BYTES, self.max_presigned_bytes),
            expires_secs: EXPIRY_SECS,
        };
        let post = self.presigner.post(&post, now_ms);
        Ok(Response::json(
            StatusCode::OK,
            &Answer {
                presigned_url,
                method: "PUT",
                headers: Headers { content_type: CONTENT_TYPE },
                key,
                expires_in: EXPIRY_SECS,
                max_bytes: self.max_presigned_bytes,
                post,
            },
        ))
    }
}

fn too_large(max_bytes: u64) -> ApiError {
    let message = format!("contentLength must be at most {max_bytes}");
    let mut error = ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", message);
    error.details = Some(serde_json::json!({"field": "contentLength"}));
    error
}
