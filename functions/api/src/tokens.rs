//! Tokens that browsers get from their app's server.

use logferry_core::model::app::App as Tenant;
use logferry_core::model::object_key::{AttendeeId, BadPart, MeetingId, Subject};
use logferry_core::model::time::rfc3339_ms;
use logferry_service::http::{ApiError, Request, Response};
use logferry_service::tokens::{DEFAULT_TTL_SECS, MAX_JOIN_TTL_SECS, MAX_UPLOAD_TTL_SECS, Minted};
use serde_json::json;

use crate::fields::Fields;
use crate::{App, Cloud};

/// Maximum size of an object in S3 (bytes): 5 TiB.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MAX_S3_OBJECT_BYTES: u64 = 5 * 1024 * 1024 * 1024 * 1024;

fn part<T: std::str::FromStr<Err = BadPart>>(name: &str, text: &str) -> Result<T, ApiError> {
    text.parse()
        .map_err(|bad: BadPart| ApiError::bad_request(name, format!("{name} must match {}", bad.pattern)))
}

fn ttl_secs(fields: &mut Fields, most: u32) -> Result<u32, ApiError> {
    let secs = fields.take_number("ttl_secs", 1, u64::from(most))?;
    Ok(secs.and_then(|secs| u32::try_from(secs).ok()).unwrap_or(DEFAULT_TTL_SECS))
}

fn minted(minted: &Minted) -> Response {
    Response::ok(&json!({"token": minted.token, "expires_at": rfc3339_ms(minted.expires_ms)}))
}

impl<C: Cloud> App<C> {
    pub(crate) async fn mint_join_token(
        &self,
        app: &Tenant,
        request: &Request,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let mut fields = Fields::of(request)?;
        let meeting: MeetingId = part("meetingId", &fields.require_text("meetingId")?)?;
        let attendee: AttendeeId = part("attendeeId", &fields.require_text("attendeeId")?)?;
        let ttl_secs = ttl_secs(&mut fields, MAX_JOIN_TTL_SECS)?;
        fields.finish()?;
        let token = self.tokens.mint_join(app, meeting.as_str(), attendee.as_str(), ttl_secs, now_ms).await?;
        Ok(minted(&token))
    }

    pub(crate) async fn mint_upload_token(
        &self,
        app: &Tenant,
        request: &Request,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let mut fields = Fields::of(request)?;
        let subject: Subject = part("sub", &fields.require_text("sub")?)?;
        if subject.is_service() {
            return Err(ApiError::bad_request("sub", "sub must not be service: that is the app itself"));
        }
        let max_bytes = fields.take_number("max_bytes", 1, MAX_S3_OBJECT_BYTES)?;
        let ttl_secs = ttl_secs(&mut fields, MAX_UPLOAD_TTL_SECS)?;
        fields.finish()?;
        let token = self.tokens.mint_upload(app, subject.as_str(), max_bytes, ttl_secs, now_ms).await?;
        Ok(minted(&token))
    }
}
