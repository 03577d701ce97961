//! Apps and their settings.

use http::StatusCode;
use logferry_core::logbook::prune;
use logferry_core::model::app::{App as Tenant, AppId, FlushSetting, Scope};
use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::app_admin::{AppAdmin, AppChange, Registered};
use logferry_core::ports::apps::{Apps, KeyRow};
use logferry_health_checks::redacted::redacted;
use logferry_health_checks::register::{public_badges, register};
use logferry_service::api_key::ApiKey;
use logferry_service::http::{ApiError, Request, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::counts::REMOVAL_TIME;
use crate::fields::{Fields, name, number, required};
use crate::keys::{KeyWish, shown_key};
use crate::{App, Caller, Cloud};

/// Maximum retention (days): ten years.
const MAX_RETENTION_DAYS: u64 = 3_653;

/// How many registration times are tried if another app with this id is being removed.
const EPOCH_ATTEMPTS: i64 = 8;

impl<C: Cloud> App<C> {
    pub(crate) async fn register_app(&self, request: &Request, now_ms: i64) -> Result<Response, ApiError> {
        let mut fields = Fields::of(request)?;
        let app_id: AppId =
            fields.require_text("app_id")?.parse().map_err(|bad: logferry_core::model::app::BadAppId| {
                ApiError::bad_request("app_id", bad.to_string())
            })?;
        let name = name(&fields.require_text("name")?)?;
        let retention_days = retention_days(fields.take("retention_days"))?;
        let flush = flush(fields.take("flush"))?.unwrap_or_default();
        let health_urls = fields.take("health_urls");
        fields.finish()?;
        let health_checks = match health_urls {
            Some(urls) => self.checked_health_urls(&urls, "health_urls", false, &Value::Null).await?,
            None => json!([]),
        };
        let wish = KeyWish { route: "/apps", app_id: &app_id, name: None, scopes: Scope::ALL.into() };
        let (key, row) = self.new_key(&wish, request, now_ms).await?;
        request.trail.concerns(&app_id);
        let mut app = Tenant {
            app_id,
            name,
            registered_ms: now_ms,
            retention_days,
            pruned_before_ms: None,
            flush,
            health_checks,
        };
        for _ in 0..EPOCH_ATTEMPTS {
            match self.apps.register(&app, &row).await? {
                Registered::Yes => return Ok(registered(&app, row, &key)),
                Registered::Taken => return self.registered_before(&app.app_id, request, now_ms).await,
                Registered::EpochInUse => app.registered_ms += 1,
            }
        }
        Err(ApiError::conflict("an app with this id is being deleted; try again later"))
    }

    /// Answers a repeated registration: with the same `Idempotency-Key`, the same response again.
    async fn registered_before(
        &self,
        app_id: &AppId,
        request: &Request,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let before = self.minted_before("/apps", app_id, request, now_ms).await?;
        match (before, self.apps.find(app_id).await?) {
            (Some((key, row)), Some(app)) => Ok(registered(&app, row, &key)),
            _ => Err(ApiError::conflict("this app_id already exists")),
        }
    }

    pub(crate) async fn list_apps(&self, caller: &Caller) -> Result<Response, ApiError> {
        let ids: Vec<AppId> = match caller {
            Caller::App(app) => vec![app.app_id.clone()],
            Caller::Admin => self.apps.list().await?.into_iter().map(|app| app.app_id).collect(),
        };
        Ok(Response::ok(&ids))
    }

    pub(crate) async fn show_app(&self, app: &Tenant) -> Result<Response, ApiError> {
        let keys = self.apps.keys(&app.app_id).await?;
        Ok(Response::ok(&details(app, &keys)))
    }

    pub(crate) async fn change_app(&self, app: &Tenant, request: &Request) -> Result<Response, ApiError> {
        let mut fields = Fields::of(request)?;
        let change = AppChange {
            name: fields.take_text("name")?.map(|text| name(&text)).transpose()?,
            retention_days: match fields.take_nullable("retention_days") {
                None => None,
                Some(Value::Null) => Some(None),
                some => Some(retention_days(some)?),
            },
            flush: flush(fields.take("flush"))?,
            health_checks: None,
        };
        fields.finish()?;
        let changed = self.apps.change(&app.app_id, app.registered_ms, &change).await?;
        self.show_app(&changed.ok_or_else(|| ApiError::not_found("no such app"))?).await
    }

    pub(crate) async fn delete_app(&self, app: &Tenant, now_ms: i64) -> Result<Response, ApiError> {
        let until = Instant::now() + REMOVAL_TIME;
        match prune::delete(&self.apps, &self.book, app, now_ms, until).await? {
            Some(removed) => {
                let status = if removed.complete { StatusCode::OK } else { StatusCode::ACCEPTED };
                Ok(Response::data(status, &json!({"deleted": true})))
            }
            None => Err(ApiError::not_found("no such app")),
        }
    }

    pub(crate) async fn set_health_urls(
        &self,
        app: &Tenant,
        request: &Request,
    ) -> Result<Response, ApiError> {
        let mut fields = Fields::of(request)?;
        let urls = fields.take("urls").ok_or_else(|| required("urls"))?;
        let public = match fields.take("public_badges") {
            None => public_badges(&app.health_checks),
            Some(Value::Bool(public)) => public,
            Some(_) => {
                return Err(ApiError::bad_request("public_badges", "public_badges must be true or false"));
            }
        };
        fields.finish()?;
        let health_checks = Some(self.checked_health_urls(&urls, "urls", public, &app.health_checks).await?);
        let change = AppChange { health_checks, ..AppChange::default() };
        let changed = self.apps.change(&app.app_id, app.registered_ms, &change).await?;
        let changed = changed.ok_or_else(|| ApiError::not_found("no such app"))?;
        Ok(Response::ok(&json!({"urls": redacted(&changed.health_checks), "public_badges": public})))
    }

    async fn checked_health_urls(
        &self,
        urls: &Value,
        at: &str,
        public_badges: bool,
        stored: &Value,
    ) -> Result<Value, ApiError> {
        let settings = &self.settings;
        match register(urls, at, public_badges, stored, &settings.health_policy, &*settings.resolver).await {
            Ok(settings) => Ok(settings.to_value()),
            Err(problems) => {
                let all: Vec<Value> = problems
                    .iter()
                    .map(|problem| json!({"field": problem.field, "message": problem.message}))
                    .collect();
                let (field, message) = problems
                    .first()
                    .map_or((at, "is wrong"), |first| (first.field.as_str(), first.message.as_str()));
                let mut error = ApiError::bad_request(field, format!("{field} {message}"));
                error.details = Some(json!({"field": field, "problems": all}));
                Err(error)
            }
        }
    }
}

fn registered(app: &Tenant, row: KeyRow, key: &ApiKey) -> Response {
    let mut shown = details(app, &[row]);
    shown["api_key"] = key.reveal().into();
    Response::data(StatusCode::CREATED, &shown)
}

/// Returns an app without keys, hashes and the headers of its checks.
fn details(app: &Tenant, keys: &[KeyRow]) -> Value {
    let key_ids: Vec<&str> = keys.iter().map(|key| key.key_id.as_str()).collect();
    let keys: Vec<Value> = keys.iter().map(shown_key).collect();
    json!({
        "app_id": app.app_id, "name": app.name, "created_at": rfc3339_ms(app.registered_ms),
        "retention_days": app.retention_days, "pruned_before": app.pruned_before_ms.map(rfc3339_ms),
        "flush": app.flush, "health_urls": redacted(&app.health_checks), "key_ids": key_ids,
        "keys": keys,
    })
}

fn retention_days(value: Option<Value>) -> Result<Option<u32>, ApiError> {
    let days = value.map(|value| number("retention_days", &value, 1, MAX_RETENTION_DAYS)).transpose()?;
    Ok(days.and_then(|days| u32::try_from(days).ok()))
}

fn flush(value: Option<Value>) -> Result<Option<FlushSetting>, ApiError> {
    let bad = |error: serde_json::Error| ApiError::bad_request("flush", format!("flush is invalid: {error}"));
    value.map(serde_json::from_value).transpose().map_err(bad)
}
