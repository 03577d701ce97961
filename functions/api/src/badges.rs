//! Badges: for callers with a key, and without a credential if an app's badges are public.

use http::StatusCode;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use logferry_core::model::app::{App, AppId, Scope};
use logferry_core::model::fault::Fault;
use logferry_core::ports::apps::Apps;
use logferry_health_checks::badge::parse_file;
use logferry_health_checks::history;
use logferry_health_checks::register::{StoredCheck, public_badges};
use logferry_service::api_key::{ADMIN_KEY_HEADER, API_KEY_HEADER, APP_ID_HEADER};
use logferry_service::http::{
    Answer, ApiError, Head, IntoResponse as _, Operation, PathPart, Response, State, text, with_header,
};
use serde_json::json;

use crate::auth::{takes_any_key, takes_app_in_path};
use crate::health::{SeriesQuery, one, window};
use crate::minute_cache::MinuteCache;
use crate::{Api, Cloud, Shared};

/// How long a badge may be kept by browsers, and by the proxies of code hosts.
pub(crate) const BADGE_CACHE: &str = "max-age=60";
/// Bytes of a question that can have a badge: a path, and the longest URL of a check.
const MAX_QUESTION_BYTES: usize = 2_048;
/// Whose share of requests those without a credential use. No app has this id.
pub(crate) const BUCKET: &str = "*badges";

/// A badge as it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Badge {
    Svg(String),
    Json(String),
}

impl Badge {
    fn response(self) -> Response {
        let response = match self {
            Self::Svg(svg) => text(StatusCode::OK, "image/svg+xml", svg),
            Self::Json(json) => text(StatusCode::OK, "application/json", json),
        };
        with_header(response, CACHE_CONTROL, BADGE_CACHE)
    }
}

/// Answers to requests without a credential, of 2 KB at most.
pub type BadgeCache = MinuteCache<Badge, 1_000>;

/// Whether a request shows any credential.
fn shows_credential(head: &Head) -> bool {
    let names = [API_KEY_HEADER, ADMIN_KEY_HEADER, APP_ID_HEADER, AUTHORIZATION.as_str()];
    names.iter().any(|name| head.headers.contains_key(*name))
}

fn no_such_badge() -> ApiError {
    ApiError::not_found("no such badge")
}

pub(crate) fn badge(operation: &mut Operation) {
    operation.security.push(json!({}));
    takes_any_key(operation, Scope::Read);
    takes_app_in_path(operation);
    let description = "`health`, `uptime` or `response-time`, as `.svg`, or as `.json` for shields.io.";
    operation.takes("path", "file", description, json!({"type": "string", "examples": ["health.svg"]}));
    operation.takes_query::<SeriesQuery>();
    operation.answers_as(200, "a badge", "image/svg+xml", json!({"type": "string"}));
    operation.answers(200, "a badge", json!({"type": "object"}));
}

/// Without the envelope, which readers of badges do not expect. Unknown query parameters are ignored: proxies
/// and browsers add their own.
pub(crate) async fn health_badge<C: Cloud>(State(api): Shared<C>, head: Head, part: PathPart) -> Answer {
    let (id, file) = (part.get("id"), part.get("file"));
    if !shows_credential(&head) {
        return api.public_badge(&head, id, file).await;
    }
    let caller = api.caller(&head, Scope::Read).await?;
    let app = api.app_of_path(&caller, &head, id).await?;
    let checks = api.checks_of(&app);
    let check = one(head.query.first("url"), &checks)?;
    Ok(api.badge_of(&head, file, &app, check).await?.response())
}

impl<C: Cloud> Api<C> {
    /// A badge without a credential. Whatever is missing (an app, its consent, a check, a file) is the same
    /// 404.
    ///
    /// # Errors
    /// 429 if requests without a credential are too many, and failures of the tables.
    async fn public_badge(&self, head: &Head, id: &str, file: &str) -> Answer {
        let answer = |badge: Option<Badge>| match badge {
            Some(badge) => badge.response(),
            None => with_header(no_such_badge().into_response(), CACHE_CONTROL, BADGE_CACHE),
        };
        // parameters that no badge knows make no other question
        let (url, window) = (head.query.first("url"), head.query.first("window"));
        let question = format!("{} {url:?} {window:?}", head.path);
        if question.len() > MAX_QUESTION_BYTES {
            return Ok(answer(None));
        }
        if let Some(kept) = self.badges.get(&question, head.now_ms) {
            return Ok(answer(kept));
        }
        self.limiter.admit(BUCKET, head.now_ms)?;
        let badge = match self.find_public_badge(head, id, file).await {
            Ok(badge) => Some(badge),
            Err(error) if error.status.is_client_error() => None,
            Err(error) => return Err(error),
        };
        self.badges.keep(question, badge.clone(), head.now_ms);
        Ok(answer(badge))
    }

    /// The app of this id, if its badges and its status page are public.
    pub(crate) async fn public_app(&self, id: &str) -> Result<Option<App>, Fault> {
        let Ok(app_id) = id.parse::<AppId>() else { return Ok(None) };
        Ok(self.apps.find(&app_id).await?.filter(|app| public_badges(&app.health_checks)))
    }

    async fn find_public_badge(&self, head: &Head, id: &str, file: &str) -> Result<Badge, ApiError> {
        let app = self.public_app(id).await?.ok_or_else(no_such_badge)?;
        let checks = self.checks_of(&app);
        let url = head.query.first("url");
        let check = one(url, &checks)?;
        // the URL of a check with a name is not public
        let named = url.is_none_or(|asked| check.name.as_deref().is_none_or(|name| name == asked));
        if !named {
            return Err(no_such_badge());
        }
        self.badge_of(head, file, &app, check).await
    }

    async fn badge_of(
        &self,
        head: &Head,
        file: &str,
        app: &App,
        check: &StoredCheck,
    ) -> Result<Badge, ApiError> {
        let (subject, svg) = parse_file(file).ok_or_else(no_such_badge)?;
        let window = window(head.query.first("window"))?;
        let badge = history::badge(&self.checks, app, check, subject, window, head.now_ms).await?;
        Ok(match svg {
            true => Badge::Svg(badge.svg()),
            false => Badge::Json(badge.shields().to_string()),
        })
    }
}
