//! What the checks of an app found: rows, uptime, response times; and jobs that report themselves.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use logferry_core::model::app::App;
use logferry_health_checks::badge::DEFAULT_WINDOW;
use logferry_health_checks::history;
use logferry_health_checks::history::{Pushed, REPORTS_PER_MINUTE, Report, checks_of, find, gone};
use logferry_health_checks::newest::{RowPosition, newest};
use logferry_health_checks::register::StoredCheck;
use logferry_health_checks::window::Window;
use logferry_service::http::{
    Answer, ApiError, Body, Fields, Json, Operation, PathPart, QueryParams, State, listed, ok,
};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{OnApp, Params, Read, Write};
use crate::{Api, Cloud, Shared};

/// Rows of one answer of `GET /health/{id}`.
const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1000;

/// The longest URL or name of a check that is looked for (bytes). It becomes a part of a key of a table,
/// which is at most 2,048 bytes:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-partition-sort-keys>
const MAX_CHECK_BYTES: usize = 1_024;

#[derive(Debug, IntoParams)]
pub(crate) struct HistoryQuery {
    /// The URL or the name of a check; without: all.
    #[param(max_length = 1024)]
    url: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: usize,
    /// The `cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<RowPosition>,
}

impl Params for HistoryQuery {
    fn read(query: &mut QueryParams) -> Result<Self, ApiError> {
        let limit = query.take_number("limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
        let cursor =
            query.take("cursor").map(|text| decode(&text).ok_or_else(ApiError::bad_cursor)).transpose()?;
        Ok(Self { url: url(query)?, limit: usize::try_from(limit).unwrap_or(usize::MAX), cursor })
    }
}

#[derive(Debug, IntoParams)]
pub(crate) struct OneCheck {
    /// The URL or the name of a check.
    #[param(max_length = 1024)]
    url: Option<String>,
}

impl Params for OneCheck {
    fn read(query: &mut QueryParams) -> Result<Self, ApiError> {
        Ok(Self { url: url(query)? })
    }
}

#[derive(Debug, IntoParams)]
pub(crate) struct SeriesQuery {
    /// The URL or the name of a check.
    #[param(max_length = 1024)]
    pub(crate) url: Option<String>,
    /// 1h, 24h, 7d or 30d.
    #[param(value_type = Option<String>, pattern = "^(1h|24h|7d|30d)$")]
    pub(crate) window: Window,
}

impl Params for SeriesQuery {
    fn read(query: &mut QueryParams) -> Result<Self, ApiError> {
        Ok(Self { url: url(query)?, window: window(query.take("window").as_deref())? })
    }
}

/// What a job says of its run.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"ok": true, "duration_ms": 1200}))]
pub(crate) struct JobReport {
    #[schema(value_type = Option<bool>)]
    ok: bool,
    error: Option<String>,
    #[schema(value_type = Option<u32>, minimum = 0)]
    duration_ms: u32,
}

impl Body for JobReport {
    /// No body is a good report.
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        let duration_ms = fields.take_number("duration_ms", 0, u32::MAX.into())?.unwrap_or(0);
        Ok(Self {
            ok: fields.take_flag("ok")?.unwrap_or(true),
            error: fields.take_text("error")?,
            duration_ms: u32::try_from(duration_ms).unwrap_or(u32::MAX),
        })
    }
}

pub(crate) fn answers_array(operation: &mut Operation) {
    let rows = json!({"type": "array", "items": {"type": "object"}});
    operation.answers_enveloped(200, "done", rows);
}

pub(crate) fn answers_object(operation: &mut Operation) {
    operation.answers_enveloped(200, "done", json!({"type": "object"}));
}

pub(crate) fn takes_job(operation: &mut Operation) {
    operation.takes("path", "name", "The name of a job.", json!({"type": "string", "examples": ["nightly"]}));
}

/// A page ends at `limit` rows or at what Lambda answers at most.
pub(crate) async fn health_history<C: Cloud>(State(api): Shared<C>, on: OnApp<Read, HistoryQuery>) -> Answer {
    let OnApp { app, params: asked, .. } = on;
    let mut checks = api.checks_of(&app);
    if let Some(wanted) = &asked.url {
        checks = find(&checks, wanted).cloned().or_else(|| gone(wanted)).into_iter().collect();
    }
    let page = newest(&api.checks, &app, &checks, asked.cursor.as_ref(), asked.limit).await?;
    Ok(listed(&page.rows, page.next.as_ref().map(encode).as_deref()))
}

/// Each check with its state and its uptime for 1h, 24h, 7d and 30d.
pub(crate) async fn health_uptime<C: Cloud>(State(api): Shared<C>, on: OnApp<Read, OneCheck>) -> Answer {
    let mut checks = api.checks_of(&on.app);
    if on.params.url.is_some() {
        checks = vec![one(on.params.url.as_deref(), &checks)?.clone()];
    }
    Ok(ok(&history::overview(&api.checks, &on.app, &checks, on.head.now_ms).await?))
}

pub(crate) async fn health_response_times<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Read, SeriesQuery>,
) -> Answer {
    let checks = api.checks_of(&on.app);
    let check = one(on.params.url.as_deref(), &checks)?;
    let now_ms = on.head.now_ms;
    Ok(ok(&history::response_times(&api.checks, &on.app, check, on.params.window, now_ms).await?))
}

pub(crate) async fn health_push<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Write>,
    part: PathPart,
    Json { value: JobReport { ok: good, error, duration_ms }, .. }: Json<JobReport>,
) -> Answer {
    let report = Report { ok: good, error, duration_ms };
    let checks = api.checks_of(&on.app);
    match history::push(&api.checks, &on.app, &checks, part.get("name"), &report, on.head.now_ms).await? {
        Pushed::Stored(row) => Ok(ok(&row)),
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

impl<C: Cloud> Api<C> {
    pub(crate) fn checks_of(&self, app: &App) -> Vec<StoredCheck> {
        checks_of(app, &self.settings.health_policy)
    }
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

fn url(query: &mut QueryParams) -> Result<Option<String>, ApiError> {
    match query.take("url") {
        Some(url) if url.len() > MAX_CHECK_BYTES => {
            Err(ApiError::bad_request("url", "url is longer than the URL or name of any check"))
        }
        url => Ok(url),
    }
}

/// The check that `wanted` (a URL or a name) means; without it the only one there is.
pub(crate) fn one<'a>(wanted: Option<&str>, checks: &'a [StoredCheck]) -> Result<&'a StoredCheck, ApiError> {
    match (wanted, checks) {
        (Some(wanted), _) => find(checks, wanted).ok_or_else(|| ApiError::not_found("no check has this url")),
        (None, [only]) => Ok(only),
        (None, _) => Err(ApiError::bad_request("url", "url is required: the URL or the name of a check")),
    }
}

pub(crate) fn window(text: Option<&str>) -> Result<Window, ApiError> {
    match text {
        None => Ok(DEFAULT_WINDOW),
        Some(text) => Window::parse(text)
            .ok_or_else(|| ApiError::bad_request("window", "window must be one of 1h, 24h, 7d, 30d")),
    }
}
