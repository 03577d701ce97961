//! `POST /presigned-url`: who asks, for what, and the URL that takes it.

use http::StatusCode;
use logferry_aws::presign::{Post, PostForm, Put};
use logferry_domain::app::{self, AppId, Scope};
use logferry_domain::fault::FaultClass;
use logferry_domain::keys::{AttendeeId, ChimeKey, Filename, LogKey, MeetingId, ObjectKey};
use logferry_domain::ledger::Grant;
use logferry_domain::time::Day;
use logferry_ports::{Apps, Attendees, Ledger};
use logferry_service::api_key::{API_KEY_HEADER, app_of_request};
use logferry_service::http::{ApiError, Request, Response};
use logferry_service::tokens::{JoinClaims, TokenError};
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::field::Fields;
use crate::{App, JoinVerifier, World, new_ulid};

/// How long a URL or form works (s). The contract's limit.
pub const EXPIRY_SECS: u32 = 300;

/// What every log file is labelled as, whatever it is: the bytes decide, not the label. It is
/// signed, so S3 refuses a request that says anything else.
pub const CONTENT_TYPE: &str = "application/gzip";

/// The smallest file that a form takes (bytes).
const MIN_FORM_BYTES: u64 = 1;

/// What the client gets. `headers` are what it must send beside the URL.
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

/// Whose upload it will be.
struct Sender {
    app_id: AppId,
    /// When the app was registered (ms).
    epoch_ms: i64,
    /// Of a browser; a service has none.
    meeting: Option<(MeetingId, AttendeeId)>,
}

impl<W: World> App<W> {
    /// Checks who asks and what for, writes down whose the key will be, and only then signs.
    pub(crate) async fn presigned_url(&self, request: &Request, now_ms: i64) -> Result<Response, ApiError> {
        let sender = match (bearer(request)?, request.headers.contains_key(API_KEY_HEADER)) {
            (Some(_), true) => {
                return Err(ApiError::bad_request(
                    "authorization",
                    "send either Authorization or X-API-Key, not both",
                ));
            }
            (Some(token), false) => self.attendee(request, token, now_ms).await?,
            (None, _) => match app_of_request(&self.apps, request, Scope::Write).await? {
                Some(app) => Sender { app_id: app.app_id, epoch_ms: app.created_ms, meeting: None },
                None => {
                    return Err(ApiError::unauthorized(
                        "send Authorization: Bearer with a join token, or X-API-Key",
                    ));
                }
            },
        };
        request.trail.concerns(&sender.app_id);
        let fields = Fields::of(request)?;
        let filename = fields.optional("filename")?.unwrap_or_else(Filename::default_log);
        let size_bytes = fields.size("contentLength")?;
        if size_bytes.is_some_and(|size| size > self.max_presigned_bytes) {
            return Err(too_large(self.max_presigned_bytes));
        }
        let key = self.grant(&sender, &filename, size_bytes, now_ms).await?;
        self.sign(&sender, key, size_bytes, now_ms)
    }

    /// The attendee whose join token this is; body and token must agree.
    async fn attendee(&self, request: &Request, token: &str, now_ms: i64) -> Result<Sender, ApiError> {
        match &self.join_verifier {
            JoinVerifier::OwnTokens => {
                let claims: JoinClaims = self.tokens.verify(token, now_ms).await.map_err(refused_token)?;
                let (meeting, attendee) = meeting_of(request)?;
                if (meeting.as_str(), attendee.as_str()) != (&claims.meeting_id, &claims.attendee_id) {
                    return Err(ApiError::forbidden("the token is for another meeting or attendee"));
                }
                let app = self.apps.find(&claims.app).await?.filter(|app| minted_for(app, claims.iat));
                let app = app.ok_or_else(|| ApiError::forbidden("the token's app is not registered"))?;
                Ok(Sender {
                    app_id: app.app_id,
                    epoch_ms: app.created_ms,
                    meeting: Some((meeting, attendee)),
                })
            }
            JoinVerifier::Chime { attendees, app_id } => {
                let (meeting, attendee) = meeting_of(request)?;
                let given = attendees.join_token(meeting.as_str(), attendee.as_str()).await?;
                // An unknown attendee takes the same way as a wrong token.
                let known = given.is_some();
                let equal = bool::from(given.unwrap_or_default().as_bytes().ct_eq(token.as_bytes()));
                if !(known & equal) {
                    return Err(ApiError::unauthorized("the join token is not this attendee's"));
                }
                let app = self.apps.find(app_id).await?;
                let app = app.ok_or_else(|| ApiError::forbidden("the meetings' app is not registered"))?;
                Ok(Sender {
                    app_id: app.app_id,
                    epoch_ms: app.created_ms,
                    meeting: Some((meeting, attendee)),
                })
            }
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
                meeting: sender.meeting.as_ref().map(|(m, a)| (m.to_string(), a.to_string())),
                size_bytes,
                epoch_ms: sender.epoch_ms,
                used: None,
                created_ms: now_ms,
                expires_ms: now_ms + i64::from(EXPIRY_SECS) * 1000,
            };
            match self.ledger.grant(&grant).await {
                Ok(()) => return Ok(key),
                // Most likely our own first try, whose answer was lost: leave that row to expire.
                Err(fault) if fault.class == FaultClass::Conflict && again => again = false,
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    fn key(&self, sender: &Sender, filename: &Filename, now_ms: i64) -> Result<ObjectKey, ApiError> {
        let ulid = new_ulid(now_ms)?;
        Ok(match &sender.meeting {
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
        let metadata = match &sender.meeting {
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

fn meeting_of(request: &Request) -> Result<(MeetingId, AttendeeId), ApiError> {
    let fields = Fields::of(request)?;
    Ok((fields.required("meetingId")?, fields.required("attendeeId")?))
}

/// Whether a token of that age was minted for this registration of the app, not for an earlier
/// app of the same id (`iat` counts whole seconds).
pub(crate) fn minted_for(app: &app::App, iat: Option<i64>) -> bool {
    iat.is_none_or(|iat| iat.saturating_add(1).saturating_mul(1000) > app.created_ms)
}

/// The token of `Authorization: Bearer …`, where there is that header.
pub(crate) fn bearer(request: &Request) -> Result<Option<&str>, ApiError> {
    let Some(value) = request.headers.get(http::header::AUTHORIZATION) else { return Ok(None) };
    value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| Some(token.trim()))
        .ok_or_else(|| ApiError::unauthorized("Authorization must be Bearer and a token"))
}

pub(crate) fn refused_token(error: TokenError) -> ApiError {
    match error {
        TokenError::Malformed | TokenError::WrongSignature | TokenError::Expired => {
            ApiError::unauthorized(error.to_string())
        }
        TokenError::Foreign => ApiError::forbidden(error.to_string()),
        TokenError::Unchecked(fault) => fault.into(),
    }
}

fn too_large(max_bytes: u64) -> ApiError {
    let message = format!("contentLength must be at most {max_bytes}");
    let mut error = ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", message);
    error.details = Some(serde_json::json!({"field": "contentLength"}));
    error
}
