//! The uploader: a service with an API key, or the subject of an upload token.

use logferry_core::model::app::{AppId, Scope};
use logferry_core::model::object_key::Subject;
use logferry_core::ports::apps::Apps;
use logferry_core::uploads::session::Session;
use logferry_core::uploads::table::Rate;
use logferry_service::api_key::{API_KEY_HEADER, app_of_request};
use logferry_service::http::{ApiError, Head};
use logferry_service::tokens::{UploadClaims, minted_for};

use crate::sender::{bearer, refused_token};
use crate::{Presign, World};

/// An uploader and its rights.
#[derive(Debug, Clone)]
pub(crate) struct Uploader {
    pub(crate) app_id: AppId,
    pub(crate) subject: Subject,
    /// When the app was registered: sessions of an earlier one of the same id are not its own.
    pub(crate) since_ms: i64,
    /// A service sees all sessions of its app; a subject only its own.
    pub(crate) whole_app: bool,
    /// The largest file (bytes).
    pub(crate) max_bytes: u64,
}

impl Uploader {
    pub(crate) fn may_use(&self, session: &Session) -> bool {
        session.app_id == self.app_id
            && session.created_ms > self.since_ms
            && (self.whole_app || session.subject == self.subject)
    }
}

impl<W: World> Presign<W> {
    /// Returns the uploader of this request; an API key needs `scope`. A token in the path takes precedence
    /// over headers: clients that cannot send headers use it.
    pub(crate) async fn uploader(&self, head: &Head, scope: Scope) -> Result<Uploader, ApiError> {
        let token = match head.path_token.as_deref() {
            Some(token) => Some(token),
            None if head.headers.contains_key(API_KEY_HEADER) => None,
            None => bearer(head)?,
        };
        let uploader = match token {
            Some(token) => self.subject(token, head.now_ms).await?,
            None => self.service(head, scope).await?,
        };
        head.trail.concerns(&uploader.app_id);
        self.count_uploads(&uploader.app_id, 1, head.now_ms).await?;
        Ok(uploader)
    }

    /// Counts requests about upload sessions.
    pub(crate) async fn count_uploads(
        &self,
        app_id: &AppId,
        requests: u32,
        now_ms: i64,
    ) -> Result<(), ApiError> {
        self.count(app_id, &Rate::Uploads, requests, self.limits.requests_per_minute, now_ms).await
    }

    async fn service(&self, head: &Head, scope: Scope) -> Result<Uploader, ApiError> {
        let app = app_of_request(&self.apps, head, scope).await?;
        let app = app.ok_or_else(|| {
            ApiError::unauthorized(
                "send X-API-Key, or an upload token as Authorization: Bearer or in the path",
            )
        })?;
        let subject = Subject::service();
        Ok(Uploader {
            app_id: app.app_id,
            subject,
            since_ms: app.registered_ms,
            whole_app: true,
            max_bytes: self.limits.max_bytes,
        })
    }

    async fn subject(&self, token: &str, now_ms: i64) -> Result<Uploader, ApiError> {
        let claims: UploadClaims = self.tokens.verify(token, now_ms).await.map_err(refused_token)?;
        let subject: Subject =
            claims.sub.parse().map_err(|_| ApiError::forbidden("the token's sub is invalid"))?;
        if subject.is_service() {
            return Err(ApiError::forbidden("the token's sub must not be service"));
        }
        let app = self.apps.find(&claims.app).await?.filter(|app| minted_for(app, claims.iat, claims.epoch));
        let app = app.ok_or_else(|| ApiError::forbidden("the token's app is not registered"))?;
        let max_bytes = claims.max_bytes.unwrap_or(u64::MAX).min(self.limits.max_bytes);
        Ok(Uploader { app_id: app.app_id, subject, since_ms: app.registered_ms, whole_app: false, max_bytes })
    }
}
