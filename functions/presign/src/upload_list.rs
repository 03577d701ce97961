//! `GET /uploads`: an app's sessions, or a subject's own.

use futures::stream::{self, StreamExt, TryStreamExt};
use http::header::AUTHORIZATION;
use logferry_core::model::app::Scope;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::time::rfc3339_ms;
use logferry_core::uploads::session::{Session as StoredSession, SessionStatus, total_bytes};
use logferry_core::uploads::table::{Multipart, Sessions};
use logferry_service::api_key::{API_KEY_HEADER, APP_ID_HEADER};
use logferry_service::http::{Answer, ApiError, Head, QueryParams, State, listed};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::upload_session::MAX_UPLOAD_ID_BYTES;
use crate::{Presign, Shared, World};

/// How many sessions `GET /uploads` shows at once.
const PAGE: u32 = 20;
const MAX_PAGE: u32 = 100;

/// Sessions whose progress S3 is asked about at once.
const PROGRESS_AT_ONCE: usize = 8;

#[derive(Debug, IntoParams)]
pub(crate) struct ListQuery {
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: u32,
    /// The `cursor` of the page before.
    cursor: Option<String>,
    /// Whether to say what S3 has of each session.
    #[param(value_type = Option<bool>)]
    progress: bool,
}

impl ListQuery {
    fn read(mut query: QueryParams) -> Result<Self, ApiError> {
        let progress = query.take_flag("progress")?;
        let limit = query.take("limit").map(|text| {
            text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit)).ok_or_else(|| {
                ApiError::bad_request("limit", format!("limit must be between 1 and {MAX_PAGE}"))
            })
        });
        let cursor = query.take("cursor").filter(|cursor| !cursor.is_empty());
        if cursor.as_ref().is_some_and(|cursor| cursor.len() > MAX_UPLOAD_ID_BYTES) {
            return Err(ApiError::bad_cursor());
        }
        query.finish()?;
        Ok(Self { limit: limit.transpose()?.unwrap_or(PAGE), cursor, progress })
    }
}

/// An upload session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    #[serde(rename = "uploadId")]
    upload_id: String,
    key: String,
    filename: String,
    #[serde(rename = "type")]
    content_type: String,
    subject: String,
    #[schema(example = "OPEN")]
    status: &'static str,
    #[schema(required)]
    size: Option<u64>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// With `progress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    uploaded_bytes: Option<u64>,
    /// With `progress`, of an open session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parts: Option<usize>,
}

/// The app's sessions, or the subject's own; with `progress` what S3 holds of each. That is a request for
/// each session, and is counted as such.
pub(crate) async fn list_uploads<W: World>(State(presign): Shared<W>, mut head: Head) -> Answer {
    let shown = [API_KEY_HEADER, APP_ID_HEADER, AUTHORIZATION.as_str()];
    if !shown.iter().any(|name| head.headers.contains_key(*name)) {
        let message = "a credential is required: X-API-Key, or an upload token as Authorization: Bearer";
        return Err(ApiError::bad_request("X-API-Key", message));
    }
    let uploader = presign.uploader(&head, Scope::Read).await?;
    let asked = ListQuery::read(std::mem::take(&mut head.query))?;
    let subject = (!uploader.whole_app).then_some(&uploader.subject);
    let app_id = &uploader.app_id;
    let mut page = presign.sessions.list(app_id, subject, asked.limit, asked.cursor.as_deref()).await?;
    page.sessions.retain(|session| uploader.may_use(session));
    let mut shown: Vec<_> = page.sessions.iter().map(Session::from).collect();
    if asked.progress && !shown.is_empty() {
        let sessions = u32::try_from(shown.len()).unwrap_or(MAX_PAGE);
        presign.count_uploads(app_id, sessions, head.now_ms).await?;
        let asked: Vec<_> = page.sessions.iter().map(|session| presign.progress(session)).collect();
        let all: Vec<_> = stream::iter(asked).buffered(PROGRESS_AT_ONCE).try_collect().await?;
        for (shown, (uploaded_bytes, parts)) in shown.iter_mut().zip(all) {
            shown.uploaded_bytes = Some(uploaded_bytes);
            shown.parts = parts;
        }
    }
    Ok(listed(&shown, page.next.as_deref()))
}

impl<W: World> Presign<W> {
    /// What S3 holds of a session (bytes), and in how many parts while it is open.
    async fn progress(&self, session: &StoredSession) -> Result<(u64, Option<usize>), ApiError> {
        Ok(match session.status {
            SessionStatus::Open => {
                let parts = match self.multipart.parts(&session.key, &session.upload_id).await {
                    Ok(parts) => parts,
                    Err(fault) if fault.class == FaultClass::NotFound => Vec::new(),
                    Err(fault) => return Err(fault.into()),
                };
                (total_bytes(&parts), Some(parts.len()))
            }
            SessionStatus::Completed => {
                let object = self.multipart.object(&session.key).await?;
                (object.map_or(0, |object| object.size_bytes), None)
            }
            SessionStatus::Aborted => (0, None),
        })
    }
}

impl From<&StoredSession> for Session {
    fn from(session: &StoredSession) -> Self {
        Self {
            upload_id: session.upload_id.clone(),
            key: session.key.clone(),
            filename: session.filename.clone(),
            content_type: session.content_type.clone(),
            subject: session.subject.as_str().to_owned(),
            status: session.status.as_str(),
            size: session.size_bytes,
            created_at: rfc3339_ms(session.created_ms),
            expires_at: rfc3339_ms(session.expires_ms),
            uploaded_bytes: None,
            parts: None,
        }
    }
}
