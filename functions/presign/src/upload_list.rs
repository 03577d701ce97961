//! `GET /uploads`: an app's sessions, or a subject's own.

use futures::stream::{self, StreamExt, TryStreamExt};
use http::StatusCode;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::time::rfc3339_ms;
use logferry_core::uploads::session::{Session, SessionStatus, total_bytes};
use logferry_core::uploads::table::{Multipart, Sessions};
use logferry_service::http::{ApiError, Request, Response};
use serde_json::{Value, json};

use crate::field::only_params;
use crate::upload_session::MAX_UPLOAD_ID_BYTES;
use crate::{App, World};

/// Default and maximum number of sessions per page.
const PAGE: u32 = 20;
const MAX_PAGE: u32 = 100;

/// Sessions whose progress is requested from S3 in parallel.
const PROGRESS_AT_ONCE: usize = 8;

impl<W: World> App<W> {
    /// `GET /uploads`: the app's sessions, or the subject's own; with `progress`, what S3 holds of each.
    /// That takes a request per session, and is counted as such.
    pub(crate) async fn list_uploads(&self, request: &Request, now_ms: i64) -> Result<Response, ApiError> {
        let uploader = self.uploader(request, None, now_ms).await?;
        only_params(request, &["limit", "cursor", "progress"])?;
        let progress = match request.param("progress") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(ApiError::bad_request("progress", "progress must be true or false")),
        };
        let limit = match request.param("limit") {
            None => PAGE,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit)).ok_or_else(|| {
                    ApiError::bad_request("limit", format!("limit must be between 1 and {MAX_PAGE}"))
                })?
            }
        };
        let subject = (!uploader.whole_app).then_some(&uploader.subject);
        let after = request.param("cursor").filter(|cursor| !cursor.is_empty());
        if after.is_some_and(|cursor| cursor.len() > MAX_UPLOAD_ID_BYTES) {
            return Err(ApiError::bad_request("cursor", "cursor is not a cursor of this list"));
        }
        let mut page = self.sessions.list(&uploader.app_id, subject, limit, after).await?;
        page.sessions.retain(|session| uploader.may_use(session));
        let mut shown: Vec<_> = page.sessions.iter().map(session_json).collect();
        if progress && !shown.is_empty() {
            let sessions = u32::try_from(shown.len()).unwrap_or(MAX_PAGE);
            self.count_uploads(&uploader.app_id, sessions, now_ms).await?;
            let asked = stream::iter(page.sessions.iter().map(|session| self.progress(session)));
            let all: Vec<_> = asked.buffered(PROGRESS_AT_ONCE).try_collect().await?;
            for (shown, (uploaded_bytes, parts)) in shown.iter_mut().zip(all) {
                shown["uploaded_bytes"] = uploaded_bytes.into();
                if let Some(parts) = parts {
                    shown["parts"] = parts.into();
                }
            }
        }
        let body = json!({"ok": true, "data": shown, "cursor": page.next});
        Ok(Response::json(StatusCode::OK, &body))
    }

    /// Returns what S3 holds of a session (bytes), and while it is open the number of parts.
    async fn progress(&self, session: &Session) -> Result<(u64, Option<usize>), ApiError> {
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

fn session_json(session: &Session) -> Value {
    json!({
        "uploadId": session.upload_id,
        "key": session.key,
        "filename": session.filename,
        "type": session.content_type,
        "subject": session.subject.as_str(),
        "status": session.status.as_str(),
        "size": session.size_bytes,
        "created_at": rfc3339_ms(session.created_ms),
        "expires_at": rfc3339_ms(session.expires_ms),
    })
}
