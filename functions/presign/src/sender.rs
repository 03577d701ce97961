//! The sender of a log file: an attendee with a join token, or a service with an API key.

use logferry_core::model::app::{AppId, Scope};
use logferry_core::model::object_key::{AttendeeId, ChimeKey, MeetingId};
use logferry_core::ports::apps::Apps;
use logferry_core::uploads::attendees::Attendees;
use logferry_core::uploads::table::{Rate, Sessions};
use logferry_service::api_key::{API_KEY_HEADER, ApiKey, app_of_request};
use logferry_service::http::{ApiError, Fields, Head};
use logferry_service::tokens::{JoinClaims, TokenError, minted_for};
use subtle::ConstantTimeEq;

use crate::{JoinVerifier, Presign, World};

/// Join tokens of one meeting that Amazon Chime is asked about in a minute: several for each attendee
/// of the largest meeting, 250. <https://docs.aws.amazon.com/chime-sdk/latest/dg/meetings-sdk.html>
const MAX_JOINS_PER_MEETING: u32 = 2_000;

/// Lengths of Amazon Chime's join tokens (bytes).
/// <https://docs.aws.amazon.com/chime-sdk/latest/APIReference/API_meeting-chime_Attendee.html>
const CHIME_TOKEN_BYTES: std::ops::RangeInclusive<usize> = 2..=2_048;

/// The owner of the upload.
pub(crate) struct Sender {
    pub(crate) app_id: AppId,
    /// When the app was registered.
    pub(crate) since_ms: i64,
    pub(crate) by: By,
}

/// Where a request names the meeting and attendee that its join token must be for.
pub(crate) enum Named<'a> {
    InBody(&'a [u8]),
    /// In the key of a file, where that is a browser's.
    InKey(Option<&'a ChimeKey>),
}

/// What the sender has shown.
pub(crate) enum By {
    /// A join token.
    Attendee(MeetingId, AttendeeId),
    /// A key, by its public part.
    Key(String),
}

impl Sender {
    /// The meeting and attendee of a browser; a service has none.
    pub(crate) fn meeting(&self) -> Option<(&MeetingId, &AttendeeId)> {
        match &self.by {
            By::Attendee(meeting, attendee) => Some((meeting, attendee)),
            By::Key(_) => None,
        }
    }

    /// Whose URLs are counted together.
    pub(crate) fn holder(&self) -> String {
        match &self.by {
            // Neither id has a slash.
            By::Attendee(meeting, attendee) => format!("{meeting}/{attendee}"),
            By::Key(key_id) => key_id.clone(),
        }
    }
}

impl<W: World> Presign<W> {
    pub(crate) async fn sender(&self, head: &Head, named: Named<'_>) -> Result<Sender, ApiError> {
        match (bearer(head)?, head.headers.contains_key(API_KEY_HEADER)) {
            (Some(_), true) => Err(ApiError::bad_request(
                "authorization",
                "send either Authorization or X-API-Key, not both",
            )),
            (Some(token), false) => self.attendee(named, token, head.now_ms).await,
            (None, _) => self.key_holder(head).await,
        }
    }

    async fn key_holder(&self, head: &Head) -> Result<Sender, ApiError> {
        let app = app_of_request(&self.apps, head, Scope::Write).await?;
        let key = head.header(API_KEY_HEADER).and_then(ApiKey::parse);
        let Some((app, key)) = app.zip(key) else {
            let message = "send Authorization: Bearer with a join token, or X-API-Key";
            return Err(ApiError::unauthorized(message));
        };
        let by = By::Key(key.key_id().to_owned());
        Ok(Sender { app_id: app.app_id, since_ms: app.registered_ms, by })
    }

    /// The attendee of the join token. A body must agree with it; the attendee of a key is compared with
    /// that of its grant, by the caller.
    async fn attendee(&self, named: Named<'_>, token: &str, now_ms: i64) -> Result<Sender, ApiError> {
        let (app, meeting, attendee) = match &self.join_verifier {
            JoinVerifier::OwnTokens => {
                let claims: JoinClaims = self.tokens.verify(token, now_ms).await.map_err(refused_token)?;
                let another = || ApiError::forbidden("the token belongs to another meeting or attendee");
                let (meeting, attendee) = match named {
                    Named::InBody(body) => meeting_of(body)?,
                    Named::InKey(_) => (
                        claims.meeting_id.parse().map_err(|_| another())?,
                        claims.attendee_id.parse().map_err(|_| another())?,
                    ),
                };
                if (meeting.as_str(), attendee.as_str()) != (&claims.meeting_id, &claims.attendee_id) {
                    return Err(another());
                }
                let app = self.apps.find(&claims.app).await?;
                let app = app.filter(|app| minted_for(app, claims.iat, claims.epoch));
                (app, meeting, attendee)
            }
            JoinVerifier::Chime { attendees, app_id } => {
                let (meeting, attendee) = match named {
                    Named::InBody(body) => meeting_of(body)?,
                    Named::InKey(Some(key)) => (key.meeting.clone(), key.attendee.clone()),
                    Named::InKey(None) => return Err(unknown_key()),
                };
                self.check_chime(attendees, app_id, (meeting.as_str(), attendee.as_str()), token, now_ms)
                    .await?;
                (self.apps.find(app_id).await?, meeting, attendee)
            }
        };
        let app = app.ok_or_else(|| ApiError::forbidden("the token's app is not registered"))?;
        let by = By::Attendee(meeting, attendee);
        Ok(Sender { app_id: app.app_id, since_ms: app.registered_ms, by })
    }

    /// Asks Amazon Chime for the attendee's token. Chime limits calls per account: what cannot be a token is
    /// refused without a call, and calls are counted, first per meeting, so that one meeting does not use
    /// up the calls of the others.
    async fn check_chime(
        &self,
        attendees: &W::Attendees,
        app_id: &AppId,
        (meeting, attendee): (&str, &str),
        token: &str,
        now_ms: i64,
    ) -> Result<(), ApiError> {
        let wrong = || ApiError::unauthorized("the join token does not belong to this attendee");
        if !(is_chime_id(meeting) && is_chime_id(attendee) && is_chime_token(token)) {
            return Err(wrong());
        }
        let of_meeting = Rate::JoinsOf(meeting.to_owned());
        self.count(app_id, &of_meeting, 1, MAX_JOINS_PER_MEETING, now_ms).await?;
        self.count(app_id, &Rate::Joins, 1, self.log_limits.per_minute, now_ms).await?;
        let given = attendees.join_token(meeting, attendee).await?;
        // An unknown attendee takes the same way as a wrong token.
        let known = given.is_some();
        let equal = bool::from(given.unwrap_or_default().as_bytes().ct_eq(token.as_bytes()));
        if known & equal { Ok(()) } else { Err(wrong()) }
    }

    /// Counts requests of this minute; a limit of 0 counts none.
    pub(crate) async fn count(
        &self,
        app_id: &AppId,
        rate: &Rate,
        requests: u32,
        limit: u32,
        now_ms: i64,
    ) -> Result<(), ApiError> {
        if limit == 0 || self.sessions.count(app_id, rate, requests, limit, now_ms).await? {
            Ok(())
        } else {
            Err(ApiError::rate_limited(limit, now_ms))
        }
    }
}

/// A UUID, as Amazon Chime names meetings and attendees.
/// <https://docs.aws.amazon.com/chime-sdk/latest/APIReference/API_meeting-chime_GetAttendee.html>
fn is_chime_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_chime_token(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte);
    CHIME_TOKEN_BYTES.contains(&text.len()) && text.bytes().all(legal)
}

fn meeting_of(body: &[u8]) -> Result<(MeetingId, AttendeeId), ApiError> {
    let mut fields = Fields::parse_optional(body)?;
    fields.also_as("meetingId", "meeting_id")?;
    fields.also_as("attendeeId", "attendee_id")?;
    Ok((fields.require_part("meetingId")?, fields.require_part("attendeeId")?))
}

/// The token of `Authorization`, if there is that header.
///
/// # Errors
/// 401 for another scheme.
pub(crate) fn bearer(head: &Head) -> Result<Option<&str>, ApiError> {
    match head.bearer() {
        None if head.headers.contains_key(http::header::AUTHORIZATION) => {
            Err(ApiError::unauthorized("Authorization must be `Bearer` and a token"))
        }
        token => Ok(token),
    }
}

/// The refusal of a key of a file that is not the sender's to ask about.
pub(crate) fn unknown_key() -> ApiError {
    ApiError::not_found("no URL for this key was issued to this sender")
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
