//! Routes about health checks. The router has decided who asks and which app it is about; each
//! function here is one route's answer.
//!
//! `POST /apps/{id}/health-urls` · `GET /health/{id}` · `/uptime` · `/response-times` ·
//! `/badges/{file}` (without a key where [`badges_are_public`]) · `POST /health/{id}/{name}/push`

use http::StatusCode;
use logferry_domain::app::App;
use logferry_health_checks::badge::{DEFAULT_WINDOW, parse_file};
use logferry_health_checks::check::FieldError;
use logferry_health_checks::guard::{Policy, Ports};
use logferry_health_checks::history::{self, Report, checks_of, find};
use logferry_health_checks::register::{self, StoredCheck, public_badges};
use logferry_health_checks::resolve::Resolver;
use logferry_health_checks::uptime::Window;
use logferry_ports::app_admin::{AppAdmin, AppChange};
use logferry_ports::checks::CheckTable;
use logferry_service::http::{ApiError, Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};

/// Rows of one answer of `GET /health/{id}`.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
/// How long a badge may be kept, by browsers and by the proxies of code hosts.
const BADGE_CACHE: &str = "max-age=60";

/// What may be probed, from `ALLOW_PRIVATE_HEALTH_TARGETS` and `HEALTH_PORTS`.
///
/// # Errors
/// What is wrong with the ports.
pub fn policy(allow_private: bool, ports: Option<&str>) -> Result<Policy, String> {
    let ports =
        ports.map_or(Ok(Ports::default()), Ports::parse).map_err(|why| format!("HEALTH_PORTS: {why}"))?;
    Ok(Policy { allow_private, ports })
}

/// What is to be stored as an app's `health_checks`, from what a caller sent as the field `field`.
///
/// # Errors
/// A 400 with every problem and the field it is in.
pub async fn checked(
    value: &Value,
    field: &str,
    public_badges: bool,
    policy: &Policy,
    resolver: &dyn Resolver,
) -> Result<Value, ApiError> {
    match register::register(value, field, public_badges, policy, resolver).await {
        Ok(settings) => Ok(settings.to_value()),
        Err(errors) => Err(refusal(&errors)),
    }
}

/// The first problem as the message, all of them in the details.
fn refusal(errors: &[FieldError]) -> ApiError {
    let (field, message) = errors.first().map_or(("urls", ""), |error| (&error.field, &error.message));
    let mut refusal = ApiError::bad_request(field, format!("{field} {message}"));
    refusal.details = Some(json!({"field": field, "errors": errors}));
    refusal
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetChecks {
    urls: Value,
    /// Left out: as it was.
    public_badges: Option<bool>,
}

/// `POST /apps/{id}/health-urls` `{urls, public_badges?}`: sets the checks, answers them as stored.
///
/// # Errors
/// A 400 naming the fields; 404 when the app went away; the table failed.
pub async fn set_checks(
    request: &Request,
    app: &App,
    apps: &impl AppAdmin,
    policy: &Policy,
    resolver: &dyn Resolver,
) -> Result<Response, ApiError> {
    let body: SetChecks = request.json()?;
    let public = body.public_badges.unwrap_or_else(|| public_badges(&app.health_checks));
    let stored = checked(&body.urls, "urls", public, policy, resolver).await?;
    let urls = stored.get("checks").unwrap_or(&stored).clone();
    let change = AppChange { health_checks: Some(stored), ..AppChange::default() };
    match apps.change(&app.app_id, app.created_ms, &change).await? {
        Some(_) => Ok(Response::ok(&json!({"urls": urls, "public_badges": public}))),
        None => Err(ApiError::not_found("there is no such app")),
    }
}

/// `GET /health/{id}?url&limit`: rows, newest first; of one URL (or name), or of all.
///
/// # Errors
/// A 400 for a bad limit; the table failed.
pub async fn rows(
    request: &Request,
    app: &App,
    table: &impl CheckTable,
    policy: &Policy,
    now_ms: i64,
) -> Result<Response, ApiError> {
    let limit = match request.param("limit").map(str::parse) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit @ 1..=MAX_LIMIT)) => limit,
        Some(_) => return Err(ApiError::bad_request("limit", format!("limit must be 1 to {MAX_LIMIT}"))),
    };
    let mut checks = checks_of(app, policy);
    if let Some(wanted) = request.param("url") {
        // a URL that is no longer checked still has its rows for 30 days
        let gone = || StoredCheck { target: wanted.to_owned(), name: None, check: Err(String::new()) };
        checks = vec![find(&checks, wanted).cloned().unwrap_or_else(gone)];
    }
    Ok(Response::ok(&history::history(table, app, &checks, limit, now_ms).await?))
}

/// `GET /health/{id}/uptime?url`: each check with its state and its uptime for 1h, 24h, 7d and 30d
/// (without `url` and of more than ten checks: for 1h and 24h).
///
/// # Errors
/// A 404 for a URL that is not checked; the table failed.
pub async fn uptime(
    request: &Request,
    app: &App,
    table: &impl CheckTable,
    policy: &Policy,
    now_ms: i64,
) -> Result<Response, ApiError> {
    let mut checks = checks_of(app, policy);
    if request.param("url").is_some() {
        checks = vec![one(request, &checks)?.clone()];
    }
    Ok(Response::ok(&history::overview(table, app, &checks, now_ms).await?))
}

/// `GET /health/{id}/response-times?url&window`: the series of one check.
///
/// # Errors
/// A 400 for a bad window, 404 for a URL that is not checked; the table failed.
pub async fn response_times(
    request: &Request,
    app: &App,
    table: &impl CheckTable,
    policy: &Policy,
    now_ms: i64,
) -> Result<Response, ApiError> {
    let checks = checks_of(app, policy);
    let check = one(request, &checks)?;
    Ok(Response::ok(&history::response_times(table, app, check, window(request)?, now_ms).await?))
}

/// Whether `/badges/…` of this app answers without a key.
#[must_use]
pub fn badges_are_public(app: &App) -> bool {
    public_badges(&app.health_checks)
}

/// `GET /health/{id}/badges/{file}?url&window`: `health`, `uptime` or `response-time`, as `.svg`, or as
/// `.json` for shields.io. Without the envelope, since those who read it know nothing of ours.
///
/// # Errors
/// A 400 for a bad window, 404 for another file or a URL that is not checked; the table failed.
pub async fn badge(
    request: &Request,
    file: &str,
    app: &App,
    table: &impl CheckTable,
    policy: &Policy,
    now_ms: i64,
) -> Result<Response, ApiError> {
    let (subject, svg) = parse_file(file).ok_or_else(|| ApiError::not_found("there is no such badge"))?;
    let checks = checks_of(app, policy);
    let badge = history::badge(table, app, one(request, &checks)?, subject, window(request)?, now_ms).await?;
    let response = if svg {
        Response::text(StatusCode::OK, "image/svg+xml", badge.svg())
    } else {
        Response::json(StatusCode::OK, &badge.shields())
    };
    Ok(response.with_header(http::header::CACHE_CONTROL, BADGE_CACHE))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    #[serde(default = "yes")]
    ok: bool,
    error: Option<String>,
    #[serde(default)]
    duration_ms: u32,
}

fn yes() -> bool {
    true
}

/// `POST /health/{id}/{name}/push` `{ok?, error?, duration_ms?}`: a job reports itself; no body is a
/// good report. Answers the row.
///
/// # Errors
/// A 400 for a bad body, 404 for a job that is not registered; the table failed.
pub async fn push(
    request: &Request,
    name: &str,
    app: &App,
    table: &impl CheckTable,
    policy: &Policy,
    now_ms: i64,
) -> Result<Response, ApiError> {
    let report = if request.body.is_empty() {
        Report { ok: true, ..Report::default() }
    } else {
        let push: Push = request.json()?;
        Report { ok: push.ok, error: push.error, duration_ms: push.duration_ms }
    };
    match history::push(table, app, &checks_of(app, policy), name, &report, now_ms).await? {
        Some(row) => Ok(Response::ok(&row)),
        None => Err(ApiError::not_found("no job of this name is registered with a heartbeat")),
    }
}

/// The check that `url` (a URL or a name) means; without it the only one there is.
fn one<'a>(request: &Request, checks: &'a [StoredCheck]) -> Result<&'a StoredCheck, ApiError> {
    match (request.param("url"), checks) {
        (Some(wanted), _) => {
            find(checks, wanted).ok_or_else(|| ApiError::not_found("this url is not checked"))
        }
        (None, [only]) => Ok(only),
        (None, _) => Err(ApiError::bad_request("url", "url is required: the URL or the name of a check")),
    }
}

fn window(request: &Request) -> Result<Window, ApiError> {
    match request.param("window") {
        None => Ok(DEFAULT_WINDOW),
        Some(text) => Window::parse(text)
            .ok_or_else(|| ApiError::bad_request("window", "window must be one of 1h, 24h, 7d, 30d")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use logferry_domain::app::FlushSetting;
    use logferry_health_checks::resolve::SystemResolver;
    use logferry_health_checks::testing::{MemoryChecks, row};

    const NOW: i64 = 1_700_000_100_000;

    fn app(health_checks: Value) -> App {
        App {
            app_id: "shop".parse().unwrap(),
            name: "Shop".to_owned(),
            created_ms: 5,
            retention_days: None,
            pruned_before_ms: None,
            flush: FlushSetting::default(),
            health_checks,
        }
    }

    fn get(query: &[(&str, &str)]) -> Request {
        Request {
            method: http::Method::GET,
            path: "/".to_owned(),
            query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            headers: http::HeaderMap::new(),
            body: Vec::new(),
            request_id: String::new(),
            source_ip: None,
        }
    }

    async fn four_rows(app: &App) -> MemoryChecks {
        let table = MemoryChecks::default();
        for n in 0..4 {
            let row = row(&app.app_id, "https://shop.example.com/", NOW - n * 300_000, n != 2);
            table.record(&row).await.unwrap();
        }
        table
    }

    fn json_of(response: &Response) -> Value {
        serde_json::from_str(&response.body).unwrap()
    }

    #[tokio::test]
    async fn history_is_newest_first_and_has_the_documented_fields() {
        let app = app(json!(["https://shop.example.com/"]));
        let table = four_rows(&app).await;
        let query = [("url", "https://shop.example.com"), ("limit", "3")];
        let answer = json_of(&rows(&get(&query), &app, &table, &Policy::default(), NOW).await.unwrap());
        assert_eq!(answer["data"].as_array().unwrap().len(), 3);
        assert_eq!(
            answer["data"][0],
            json!({"url": "https://shop.example.com/", "status": 200, "latency_ms": 12, "ok": true, "error": null,
                   "checked_at": "2023-11-14T22:15:00.017Z", "slot": "2023-11-14T22:15:00.000Z",
                   "certificate_expires_at": "2023-11-14T22:15:00.001Z"})
        );
        assert_eq!(answer["data"][2]["error"], "connect: connection refused");
        let bad = rows(&get(&[("limit", "0")]), &app, &table, &Policy::default(), NOW).await.unwrap_err();
        assert_eq!((bad.status, bad.message.as_str()), (StatusCode::BAD_REQUEST, "limit must be 1 to 1000"));
    }

    #[tokio::test]
    async fn rows_of_an_earlier_app_of_this_id_are_not_seen() {
        let app = App { created_ms: 6, ..app(json!(["https://shop.example.com/"])) };
        let table = four_rows(&app).await;
        let answer = rows(&get(&[]), &app, &table, &Policy::default(), NOW).await.unwrap();
        assert_eq!(json_of(&answer)["data"], json!([]));
    }

    #[tokio::test]
    async fn uptime_series_and_badges_are_of_the_same_rows() {
        let app = app(json!([{"name": "Shop", "url": "https://shop.example.com/"}]));
        let (table, policy) = (four_rows(&app).await, Policy::default());
        let overview = json_of(&uptime(&get(&[]), &app, &table, &policy, NOW).await.unwrap());
        let hour = &overview["data"][0]["uptime"][0];
        assert_eq!(hour, &json!({"window": "1h", "checks": 4, "ok": 3, "uptime": 0.75, "average_ms": 12}));
        let query = get(&[("url", "Shop"), ("window", "1h")]);
        let series = json_of(&response_times(&query, &app, &table, &policy, NOW).await.unwrap());
        assert_eq!(series["data"]["buckets"].as_array().unwrap().len(), 4);
        let shields = badge(&query, "uptime.json", &app, &table, &policy, NOW).await.unwrap();
        assert_eq!(
            shields.body,
            r##"{"schemaVersion":1,"label":"uptime 1h","message":"75%","color":"#cc8111"}"##
        );
        let svg = badge(&query, "response-time.svg", &app, &table, &policy, NOW).await.unwrap();
        assert_eq!(svg.headers["content-type"], "image/svg+xml");
        assert!(svg.body.contains(">12ms</text>"));
        let none = badge(&query, "other.svg", &app, &table, &policy, NOW).await.unwrap_err();
        assert_eq!(none.status, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_refusal_names_the_first_field_and_lists_all() {
        let urls = json!(["http://127.0.0.1/", {"url": "https://example.com/", "timeout_ms": 5}]);
        let refused =
            checked(&urls, "health_urls", false, &Policy::default(), &SystemResolver).await.unwrap_err();
        assert_eq!(
            refused.message,
            "health_urls[0] leads to 127.0.0.1, which is not public (loopback, 127.0.0.0/8)"
        );
        let details = refused.details.unwrap();
        assert_eq!(details["errors"].as_array().unwrap().len(), 2);
        assert_eq!(details["errors"][1]["field"], "health_urls[1].timeout_ms");
    }

    #[tokio::test]
    async fn a_push_without_a_body_is_a_good_report() {
        let app = app(json!([{"name": "backup", "heartbeat": "1h"}]));
        let (table, policy) = (MemoryChecks::default(), Policy::default());
        let answer = push(&get(&[]), "backup", &app, &table, &policy, NOW).await.unwrap();
        assert_eq!(json_of(&answer)["data"]["ok"], true);
        let bad = Request { body: br#"{"ok": false, "error": "disk full"}"#.to_vec(), ..get(&[]) };
        let answer = push(&bad, "backup", &app, &table, &policy, NOW + 1).await.unwrap();
        assert_eq!(json_of(&answer)["data"]["error"], "disk full");
        let other = push(&get(&[]), "other", &app, &table, &policy, NOW).await.unwrap_err();
        assert_eq!((other.status, table.rows().len()), (StatusCode::NOT_FOUND, 2));
    }
}
