//! Authenticates uploaders: a service with an API key, or the subject of an upload token.

use logferry_core::model::app::{AppId, Scope};
use logferry_core::model::object_key::Subject;
use logferry_core::ports::apps::Apps;
use logferry_core::uploads::session::Session;
use logferry_core::uploads::table::Rate;
use logferry_service::api_key::{API_KEY_HEADER, app_of_request};
use logferry_service::http::{ApiError, Request, unversioned};
use logferry_service::tokens::{UploadClaims, minted_for};

use crate::sender::{bearer, refused_token};
use crate::{App, World};

/// The authenticated uploader and its limits.
#[derive(Debug, Clone)]
pub(crate) struct Uploader {
    pub(crate) app_id: AppId,
    pub(crate) subject: Subject,
    /// When the app was registered: sessions of an earlier app with the same id do not belong to it.
    pub(crate) since_ms: i64,
    /// A service sees all sessions of its app; a subject only its own.
    pub(crate) whole_app: bool,
    /// Maximum size of a file (bytes).
    pub(crate) max_bytes: u64,
}

impl Uploader {
    pub(crate) fn may_use(&self, session: &Session) -> bool {
        session.app_id == self.app_id
            && session.created_ms > self.since_ms
            && (self.whole_app || session.subject == self.subject)
    }
}

/// All steps of an upload require the scope `write`; listing requires `read`.
fn scope(request: &Request) -> Scope {
    if unversioned(&request.path) == "/uploads" { Scope::Read } else { Scope::Write }
}

impl<W: World> App<W> {
    /// Authenticates a request. `path_token` is a token in the path. It takes precedence over all headers,
    /// because its client cannot send headers.
    pub(crate) async fn uploader(
        &self,
        request: &Request,
        path_token: Option<&str>,
        now_ms: i64,
    ) -> Result<Uploader, ApiError> {
        let token = match path_token {
            Some(token) => Some(token),
            None if request.headers.contains_key(API_KEY_HEADER) => None,
            None => bearer(request)?,
        };
        let uploader = match token {
            Some(token) => self.subject(token, now_ms).await?,
            None => self.service(request).await?,
        };
        request.trail.concerns(&uploader.app_id);
        self.count_uploads(&uploader.app_id, 1, now_ms).await?;
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

    async fn service(&self, request: &Request) -> Result<Uploader, ApiError> {
        let app = app_of_request(&self.apps, request, scope(request)).await?;
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
