//! `POST /presigned-url`: checks the sender and the file, and signs a URL for it.

use http::StatusCode;
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::Grant;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::object_key::{AttendeeId, ChimeKey, Filename, LogKey, MeetingId, ObjectKey};
use logferry_core::model::quota::Used;
use logferry_core::model::time::Day;
use logferry_core::ports::usage::{Usage, UsageDay};
use logferry_core::uploads::table::Rate;
use logferry_presigner::{Post, PostForm, Put};
use logferry_service::http::{Answer, ApiError, Body, Fields, Head, Raw, State, json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::LogLimits;
use crate::sender::{Named, Sender};
use crate::{Presign, Shared, World, new_ulid};

/// How long a URL or form works (s). The contract's limit.
const EXPIRY_SECS: u32 = 300;

/// What every log file is labelled as, whatever it is: the bytes decide, not the label. It is
/// signed, so S3 refuses a request that says anything else.
const CONTENT_TYPE: &str = "application/gzip";

/// The smallest file that a form takes (bytes).
const MIN_FORM_BYTES: u64 = 1;

/// What the client gets. `headers` are what it must send beside the URL.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Granted {
    presigned_url: String,
    #[schema(example = "PUT")]
    method: &'static str,
    #[schema(value_type = Object)]
    headers: Headers,
    key: String,
    /// How long the URL works (s).
    expires_in: u32,
    max_bytes: u64,
    /// A form that takes the file too: its URL and fields.
    #[schema(value_type = Object)]
    post: PostForm,
}

#[derive(Debug, Serialize)]
struct Headers {
    #[serde(rename = "Content-Type")]
    content_type: &'static str,
}

/// A log file to be uploaded. With a join token `meetingId` and `attendeeId` are required and must agree
/// with it.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"filename": "app.log.gz"}))]
pub(crate) struct NewLogFile {
    #[expect(dead_code, reason = "compared with the join token before")]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    meeting_id: Option<MeetingId>,
    #[expect(dead_code, reason = "compared with the join token before")]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    attendee_id: Option<AttendeeId>,
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    filename: Option<Filename>,
    /// The size that S3 then requires (bytes).
    #[schema(minimum = 1)]
    content_length: Option<u64>,
}

impl Body for NewLogFile {
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        fields.also_as("meetingId", "meeting_id")?;
        fields.also_as("attendeeId", "attendee_id")?;
        fields.also_as("contentLength", "content_length")?;
        Ok(Self {
            meeting_id: fields.take_part("meetingId")?,
            attendee_id: fields.take_part("attendeeId")?,
            filename: fields.take_part("filename")?,
            content_length: fields.take_size("contentLength")?,
        })
    }
}

/// Checks the sender, the file and the rate, stores which app the key belongs to, and only then signs.
pub(crate) async fn presigned_url<W: World>(
    State(presign): Shared<W>,
    mut head: Head,
    Raw { bytes, .. }: Raw<NewLogFile>,
) -> Answer {
    std::mem::take(&mut head.query).finish()?;
    let now_ms = head.now_ms;
    let sender = presign.sender(&head, Named::InBody(&bytes)).await?;
    head.trail.concerns(&sender.app_id);
    // Read after the credential is checked: without one the answer says nothing about bodies.
    let mut fields = Fields::parse_optional(&bytes)?;
    let file = NewLogFile::read(&mut fields)?;
    fields.finish()?;
    let filename = file.filename.unwrap_or_else(Filename::default_log);
    if file.content_length.is_some_and(|size| size > presign.max_presigned_bytes) {
        return Err(too_large(presign.max_presigned_bytes));
    }
    if file.content_length.is_none() && presign.log_limits.require_length {
        return Err(ApiError::bad_request("contentLength", "contentLength is required"));
    }
    presign.admit(&sender, file.content_length, now_ms).await?;
    let key = presign.grant(&sender, &filename, file.content_length, now_ms).await?;
    presign.sign(&sender, key, file.content_length, now_ms)
}

impl<W: World> Presign<W> {
    /// Counts a request of this minute. The holder comes first, so that one that asks too often does not
    /// use up what the app's others may ask for.
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
        let used = self.grants.used(&of).await?;
        let more = Used { bytes: size_bytes.unwrap_or(1), records: 1, files: 1 };
        match quota.exceeded(day, used, more) {
            Some(exceeded) => Err(ApiError::over_quota(&exceeded, now_ms)),
            None => Ok(()),
        }
    }

    /// A fresh key and the ledger row that binds it to the app.
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
            match self.grants.grant(&grant).await {
                Ok(()) => return Ok(key),
                // Most likely our own first try, whose answer was lost: leave that row to expire.
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

    fn sign(&self, sender: &Sender, key: String, size_bytes: Option<u64>, now_ms: i64) -> Answer {
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
        Ok(json(
            StatusCode::OK,
            &Granted {
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
