//! Tokens: those that browsers get from their app's server, and those that read what an app has.

use logferry_core::model::object_key::{AttendeeId, MeetingId, Subject};
use logferry_core::model::time::rfc3339_ms;
use logferry_service::http::{Answer, ApiError, Body, Fields, Json, State, ok};
use logferry_service::tokens::{
    DEFAULT_TTL_SECS, MAX_JOIN_TTL_SECS, MAX_UPLOAD_TTL_SECS, MAX_VIEW_TTL_SECS, Minted,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Manage, OnApp};
use crate::{Cloud, Shared};

/// The largest file that S3 stores (bytes): 5 TiB.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MAX_S3_OBJECT_BYTES: u64 = 5 * 1024 * 1024 * 1024 * 1024;

#[derive(Debug, ToSchema)]
#[schema(example = json!({"meetingId": "m-1", "attendeeId": "a-1"}))]
pub(crate) struct NewJoinToken {
    #[schema(rename = "meetingId", value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    meeting: MeetingId,
    #[schema(rename = "attendeeId", value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    attendee: AttendeeId,
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86_400)]
    ttl_secs: u32,
}

impl Body for NewJoinToken {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        fields.also_as("meetingId", "meeting_id")?;
        fields.also_as("attendeeId", "attendee_id")?;
        Ok(Self {
            meeting: fields.require_part("meetingId")?,
            attendee: fields.require_part("attendeeId")?,
            ttl_secs: ttl_secs(fields, MAX_JOIN_TTL_SECS)?,
        })
    }
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"sub": "user-7", "max_bytes": 104_857_600}))]
pub(crate) struct NewUploadToken {
    /// Not `service`, which is the app itself.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-][A-Za-z0-9._@:|-]{0,127}$")]
    sub: Subject,
    /// At most 5 TiB, the largest object of S3.
    #[schema(minimum = 1)]
    max_bytes: Option<u64>,
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 604_800)]
    ttl_secs: u32,
}

impl Body for NewUploadToken {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        let sub: Subject = fields.require_part("sub")?;
        if sub.is_service() {
            return Err(ApiError::bad_request("sub", "sub must not be service: that is the app itself"));
        }
        let max_bytes = fields.take_number("max_bytes", 1, MAX_S3_OBJECT_BYTES)?;
        Ok(Self { sub, max_bytes, ttl_secs: ttl_secs(fields, MAX_UPLOAD_TTL_SECS)? })
    }
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"ttl_secs": 3_600}))]
pub(crate) struct NewViewToken {
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 604_800)]
    ttl_secs: u32,
}

impl Body for NewViewToken {
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self { ttl_secs: ttl_secs(fields, MAX_VIEW_TTL_SECS)? })
    }
}

fn ttl_secs(fields: &mut Fields, most: u32) -> Result<u32, ApiError> {
    let secs = fields.take_number("ttl_secs", 1, u64::from(most))?;
    Ok(secs.and_then(|secs| u32::try_from(secs).ok()).unwrap_or(DEFAULT_TTL_SECS))
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Token {
    token: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

impl From<Minted> for Token {
    fn from(minted: Minted) -> Self {
        Self { token: minted.token, expires_at: rfc3339_ms(minted.expires_ms) }
    }
}

pub(crate) async fn mint_join_token<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Manage>,
    Json { value: wish, .. }: Json<NewJoinToken>,
) -> Answer {
    let (meeting, attendee) = (wish.meeting.as_str(), wish.attendee.as_str());
    let minted = api.tokens.mint_join(&on.app, meeting, attendee, wish.ttl_secs, on.head.now_ms).await?;
    Ok(ok(&Token::from(minted)))
}

pub(crate) async fn mint_upload_token<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Manage>,
    Json { value: wish, .. }: Json<NewUploadToken>,
) -> Answer {
    let sub = wish.sub.as_str();
    let minted = api.tokens.mint_upload(&on.app, sub, wish.max_bytes, wish.ttl_secs, on.head.now_ms).await?;
    Ok(ok(&Token::from(minted)))
}

pub(crate) async fn mint_view_token<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Manage>,
    Json { value: wish, .. }: Json<NewViewToken>,
) -> Answer {
    let minted = api.tokens.mint_view(&on.app, wish.ttl_secs, on.head.now_ms).await?;
    Ok(ok(&Token::from(minted)))
}
