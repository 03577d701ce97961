//! The public status page of an app, if its badges are public.

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use http::{HeaderValue, StatusCode};
use logferry_core::model::app::AppId;
use logferry_health_checks::status;
use logferry_service::http::{
    Answer, ApiError, Head, IntoResponse as _, Operation, PathPart, Response, State, text,
};
use serde_json::json;

use crate::auth::takes_app_in_path;
use crate::badges::{BADGE_CACHE, BUCKET};
use crate::minute_cache::MinuteCache;
use crate::{Api, Cloud, Shared};

/// Pages, of 500 KB at most.
pub type StatusCache = MinuteCache<String, 20>;

/// The page has a style, and nothing else: no script, no picture, no request.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

pub(crate) fn shows(operation: &mut Operation) {
    operation.security.push(json!({}));
    takes_app_in_path(operation);
    operation.answers_as(200, "the page", "text/html", json!({"type": "string"}));
    operation.errors.extend([429, 503]);
}

/// Unknown query parameters are ignored: links get them on their way.
pub(crate) async fn status_page<C: Cloud>(State(api): Shared<C>, head: Head, part: PathPart) -> Answer {
    let id = part.get("id");
    let page = match api.statuses.get(id, head.now_ms) {
        Some(kept) => kept,
        None => {
            api.limiter.admit(BUCKET, head.now_ms)?;
            let page = api.status_of(id, head.now_ms).await?;
            // An id that is none cannot fill the memory.
            if id.parse::<AppId>().is_ok() {
                api.statuses.keep(id.to_owned(), page.clone(), head.now_ms);
            }
            page
        }
    };
    Ok(match page {
        Some(html) => shown(text(StatusCode::OK, "text/html; charset=utf-8", html)),
        None => shown(ApiError::not_found("no such status page").into_response()),
    })
}

fn shown(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(BADGE_CACHE));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

impl<C: Cloud> Api<C> {
    /// `None` if there is no such app, or its badges are not public: which of them is not said.
    async fn status_of(&self, id: &str, now_ms: i64) -> Result<Option<String>, ApiError> {
        let Some(app) = self.public_app(id).await? else { return Ok(None) };
        let checks = self.checks_of(&app);
        let found = status::status(&self.checks, &app, &checks, now_ms).await?;
        let more = checks.len().saturating_sub(status::MAX_CHECKS);
        Ok(Some(status::page(&app.name, &found, more, now_ms)))
    }
}
