//! Results of an app's checks: rows, uptime, response times, badges; and reports of jobs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use logferry_core::model::app::App as Tenant;
use logferry_health_checks::badge::DEFAULT_WINDOW;
use logferry_health_checks::history;
use logferry_health_checks::history::{Pushed, REPORTS_PER_MINUTE, Report, checks_of, find, gone};
use logferry_health_checks::newest::{RowPosition, newest};
use logferry_health_checks::register::StoredCheck;
use logferry_health_checks::window::Window;
use logferry_service::http::{ApiError, Request, Response};
use serde_json::json;

use crate::fields::{Fields, number, param_number};
use crate::{App, Cloud};

/// Rows per response of `GET /health/{id}`.
const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;

impl<C: Cloud> App<C> {
    pub(crate) fn checks_of(&self, app: &Tenant) -> Vec<StoredCheck> {
        checks_of(app, &self.settings.health_policy)
    }

    /// `GET /health/{id}?url&limit&cursor`: rows, newest first, of one URL (or name), or of all. A page
    /// ends at `limit` rows or at the maximum size of a Lambda response.
    pub(crate) async fn health_history(&self, request: &Request, app: &Tenant) -> Result<Response, ApiError> {
        let limit = param_number(request, "limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut checks = self.checks_of(app);
        if let Some(wanted) = request.param("url") {
            checks = vec![find(&checks, wanted).cloned().unwrap_or_else(|| gone(wanted))];
        }
        let after = request.param("cursor").map(|text| decode(text).ok_or_else(bad_cursor)).transpose()?;
        let page = newest(&self.checks, app, &checks, after.as_ref(), limit).await?;
        let cursor = page.next.as_ref().map(encode);
        Ok(Response::json(StatusCode::OK, &json!({"ok": true, "data": page.rows, "cursor": cursor})))
    }

    /// `GET /health/{id}/uptime?url`: each check with its state and its uptime for 1h, 24h, 7d and 30d.
    pub(crate) async fn health_uptime(
        &self,
        request: &Request,
        app: &Tenant,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let mut checks = self.checks_of(app);
        if request.param("url").is_some() {
            checks = vec![one(request, &checks)?.clone()];
        }
        Ok(Response::ok(&history::overview(&self.checks, app, &checks, now_ms).await?))
    }

    /// `GET /health/{id}/response-times?url&window`: the response times of one check.
    pub(crate) async fn health_response_times(
        &self,
        request: &Request,
        app: &Tenant,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let checks = self.checks_of(app);
        let (check, window) = (one(request, &checks)?, window(request)?);
        Ok(Response::ok(&history::response_times(&self.checks, app, check, window, now_ms).await?))
    }

    /// `POST /health/{id}/{name}/push` `{ok?, error?, duration_ms?}`: the heartbeat of a job. An
    /// empty body reports success. Returns the row.
    pub(crate) async fn health_push(
        &self,
        request: &Request,
        name: &str,
        app: &Tenant,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let report = report(request)?;
        match history::push(&self.checks, app, &self.checks_of(app), name, &report, now_ms).await? {
            Pushed::Stored(row) => Ok(Response::ok(&row)),
            Pushed::NoSuchJob => Err(ApiError::not_found("no heartbeat with this name is registered")),
            Pushed::TooOften { retry_after_secs } => {
                let message = format!(
                    "at most {} reports per minute for a job, and {} for all jobs of an app",
                    REPORTS_PER_MINUTE.of_job, REPORTS_PER_MINUTE.of_app
                );
                let mut error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message);
                error.retry_after_secs = Some(retry_after_secs);
                Err(error)
            }
        }
    }
}

fn bad_cursor() -> ApiError {
    ApiError::bad_request("cursor", "cursor is not a cursor of this list")
}

fn encode(position: &RowPosition) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{}", position.slot_ms, position.target))
}

fn decode(cursor: &str) -> Option<RowPosition> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (slot_ms, target) = text.split_once(':')?;
    let slot_ms = slot_ms.parse().ok().filter(|slot_ms| *slot_ms >= 0)?;
    Some(RowPosition { slot_ms, target: target.to_owned() })
}

fn report(request: &Request) -> Result<Report, ApiError> {
    if request.body.is_empty() {
        return Ok(Report { ok: true, ..Report::default() });
    }
    let mut fields = Fields::of(request)?;
    let ok = match fields.take("ok") {
        None => true,
        Some(serde_json::Value::Bool(ok)) => ok,
        Some(_) => return Err(ApiError::bad_request("ok", "ok must be true or false")),
    };
    let error = fields.take_text("error")?;
    let duration = fields.take("duration_ms");
    fields.finish()?;
    let duration_ms = match duration {
        None => 0,
        Some(value) => number("duration_ms", &value, 0, u32::MAX.into())?,
    };
    Ok(Report { ok, error, duration_ms: u32::try_from(duration_ms).unwrap_or(u32::MAX) })
}

/// Returns the check with `url` (a URL or a name); without it, the only one.
pub(crate) fn one<'a>(request: &Request, checks: &'a [StoredCheck]) -> Result<&'a StoredCheck, ApiError> {
    match (request.param("url"), checks) {
        (Some(wanted), _) => find(checks, wanted).ok_or_else(|| ApiError::not_found("no check has this url")),
        (None, [only]) => Ok(only),
        (None, _) => Err(ApiError::bad_request("url", "url is required: the URL or the name of a check")),
    }
}

pub(crate) fn window(request: &Request) -> Result<Window, ApiError> {
    match request.param("window") {
        None => Ok(DEFAULT_WINDOW),
        Some(text) => Window::parse(text)
            .ok_or_else(|| ApiError::bad_request("window", "window must be one of 1h, 24h, 7d, 30d")),
    }
}
