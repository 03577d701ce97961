//! Badges: with a key, or without one if the app's badges are public.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use http::header::CACHE_CONTROL;
use logferry_core::model::app::{App as Tenant, AppId};
use logferry_core::ports::apps::Apps;
use logferry_health_checks::badge::parse_file;
use logferry_health_checks::history;
use logferry_health_checks::register::{StoredCheck, public_badges};
use logferry_service::api_key::{ADMIN_KEY_HEADER, API_KEY_HEADER, APP_ID_HEADER};
use logferry_service::http::{ApiError, Request, Response};

use crate::health_routes::{one, window};
use crate::{App, Cloud};

/// How long a badge may be cached: by this instance, by browsers, and by the proxies of code hosts.
const BADGE_MS: i64 = 60_000;
const BADGE_CACHE: &str = "max-age=60";
/// Maximum number of cached responses, of at most 2 KB each.
const MAX_KEPT: usize = 1_000;
/// Maximum length of a cache key: a path, and the longest URL of a check (bytes).
const MAX_QUESTION_BYTES: usize = 2_048;
/// The rate limit bucket of requests without a credential. No app has this id.
const BUCKET: &str = "*badges";

/// Responses to requests without a credential, including 404s: repeated requests are answered from here for
/// a minute per instance.
#[derive(Debug, Default)]
pub struct BadgeCache(Mutex<HashMap<String, (i64, Response)>>);

impl BadgeCache {
    fn get(&self, question: &str, now_ms: i64) -> Option<Response> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(question).filter(|(until_ms, _)| now_ms < *until_ms).map(|(_, response)| response.clone())
    }

    fn keep(&self, question: String, response: &Response, now_ms: i64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, (until_ms, _)| now_ms < *until_ms);
        }
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(question, (now_ms.saturating_add(BADGE_MS), response.clone()));
    }
}

/// Whether a request has any credential.
pub(crate) fn shows_credential(request: &Request) -> bool {
    let names = [API_KEY_HEADER, ADMIN_KEY_HEADER, APP_ID_HEADER];
    names.iter().any(|name| request.headers.contains_key(*name))
}

impl<C: Cloud> App<C> {
    /// `GET /health/{id}/badges/{file}?url&window` without a credential. Whatever is missing (an app, its
    /// consent, a check, a file), the response is the same 404.
    ///
    /// # Errors
    /// 429 for too many requests without a credential, and failures of the tables.
    pub(crate) async fn public_badge(
        &self,
        request: &Request,
        id: &str,
        file: &str,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let none = || ApiError::not_found("no such badge").response().with_header(CACHE_CONTROL, BADGE_CACHE);
        // Parameters that badges do not have make no difference.
        let question = format!("{} {:?} {:?}", request.path, request.param("url"), request.param("window"));
        if question.len() > MAX_QUESTION_BYTES {
            return Ok(none());
        }
        if let Some(kept) = self.badges.get(&question, now_ms) {
            return Ok(kept);
        }
        self.limiter.admit(BUCKET, now_ms)?;
        let response = match self.find_public_badge(request, id, file, now_ms).await {
            Ok(response) => response,
            Err(error) if error.status.is_client_error() => none(),
            Err(error) => return Err(error),
        };
        self.badges.keep(question, &response, now_ms);
        Ok(response)
    }

    async fn find_public_badge(
        &self,
        request: &Request,
        id: &str,
        file: &str,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let none = || ApiError::not_found("no such badge");
        let app_id: AppId = id.parse().map_err(|_| none())?;
        let app = self.apps.find(&app_id).await?.filter(|app| public_badges(&app.health_checks));
        let app = app.ok_or_else(none)?;
        let checks = self.checks_of(&app);
        let check = one(request, &checks)?;
        // The URL of a check with a name must not be guessable.
        let named =
            request.param("url").is_none_or(|asked| check.name.as_deref().is_none_or(|name| name == asked));
        if !named {
            return Err(none());
        }
        self.badge_of(request, file, &app, check, now_ms).await
    }

    /// `GET /health/{id}/badges/{file}?url&window`: `health`, `uptime` or `response-time`, as `.svg`, or as
    /// `.json` for shields.io. Without the envelope, because shields.io does not know it.
    pub(crate) async fn health_badge(
        &self,
        request: &Request,
        file: &str,
        app: &Tenant,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let checks = self.checks_of(app);
        let check = one(request, &checks)?;
        self.badge_of(request, file, app, check, now_ms).await
    }

    async fn badge_of(
        &self,
        request: &Request,
        file: &str,
        app: &Tenant,
        check: &StoredCheck,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let (subject, svg) = parse_file(file).ok_or_else(|| ApiError::not_found("no such badge"))?;
        let window = window(request)?;
        let badge = history::badge(&self.checks, app, check, subject, window, now_ms).await?;
        let response = if svg {
            Response::text(StatusCode::OK, "image/svg+xml", badge.svg())
        } else {
            Response::json(StatusCode::OK, &badge.shields())
        };
        Ok(response.with_header(CACHE_CONTROL, BADGE_CACHE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_answers_are_kept_for_a_minute_each() {
        let cache = BadgeCache::default();
        let answer = ApiError::not_found("x").response();
        for n in 0..3_000 {
            cache.keep(n.to_string(), &answer, n);
            assert!(cache.0.lock().unwrap().len() <= MAX_KEPT);
        }
        assert_eq!(cache.get("2999", 2_999 + BADGE_MS - 1), Some(answer));
        assert_eq!(cache.get("2999", 2_999 + BADGE_MS), None);
        assert_eq!(cache.get("other", 0), None);
    }
}
