//! Apps and their settings.

use http::StatusCode;
use logferry_core::logbook::prune;
use logferry_core::model::app::{App, AppId, BadAppId, FlushSetting, Scope};
use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::app_admin::{AppAdmin, AppChange, Registered};
use logferry_core::ports::apps::{Apps, KeyRow};
use logferry_health_checks::redacted::redacted;
use logferry_health_checks::register::{public_badges, register};
use logferry_service::api_key::ApiKey;
use logferry_service::http::{
    Answer, ApiError, Body, Fields, Head, Json, Operation, Response, State, data, number, ok,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::auth::{AsAdmin, AsCaller, Caller, Manage, OnApp, Read, is_credential_missing, no_such_app};
use crate::counts::REMOVAL_TIME;
use crate::keys::{Key, KeyWish, name, takes_idempotency_key};
use crate::remains::Remaining;
use crate::schema::{Flush, HealthUrl};
use crate::{Api, Cloud, Shared};

/// The longest retention (days): ten years.
const MAX_RETENTION_DAYS: u64 = 3_653;

/// How often another moment is tried when an app's was used by one that is being removed.
const EPOCH_ATTEMPTS: i64 = 8;

/// The route of a registration, for its `Idempotency-Key`.
const ROUTE: &str = "/apps";

#[derive(Debug, ToSchema)]
#[schema(example = json!({"app_id": "shop", "name": "The shop"}))]
pub(crate) struct NewApp {
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    app_id: AppId,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(minimum = 1, maximum = 3653)]
    retention_days: Option<u32>,
    #[schema(value_type = Option<Flush>)]
    flush: FlushSetting,
    #[schema(value_type = Option<Vec<HealthUrl>>, max_items = 200)]
    health_urls: Option<Value>,
}

impl Body for NewApp {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        let bad = |bad: BadAppId| ApiError::bad_request("app_id", bad.to_string());
        Ok(Self {
            app_id: fields.require_text("app_id")?.parse().map_err(bad)?,
            name: name(&fields.require_text("name")?)?,
            retention_days: retention_days(fields.take("retention_days"))?,
            flush: flush(fields.take("flush"))?.unwrap_or_default(),
            health_urls: fields.take("health_urls"),
        })
    }
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"retention_days": 30}))]
pub(crate) struct ChangeApp {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Null: the deployment's default.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 3653)]
    retention_days: Option<Option<u32>>,
    #[schema(value_type = Option<Flush>)]
    flush: Option<FlushSetting>,
}

impl Body for ChangeApp {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self {
            name: fields.take_text("name")?.map(|text| name(&text)).transpose()?,
            retention_days: match fields.take_nullable("retention_days") {
                None => None,
                Some(Value::Null) => Some(None),
                some => Some(retention_days(some)?),
            },
            flush: flush(fields.take("flush"))?,
        })
    }
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"urls": ["https://shop.example.com/"]}))]
pub(crate) struct SetHealthUrls {
    #[schema(value_type = Vec<HealthUrl>, max_items = 200)]
    urls: Value,
    /// Whether badges need no credential; if missing, the setting stays.
    public_badges: Option<bool>,
}

impl Body for SetHealthUrls {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self { urls: fields.require("urls")?, public_badges: fields.take_flag("public_badges")? })
    }
}

/// An app as its owners see it: never a key, never a hash, never a header that its checks send.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = App)]
pub(crate) struct Details {
    #[schema(value_type = String)]
    app_id: AppId,
    name: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(required)]
    retention_days: Option<u32>,
    #[schema(required, format = DateTime)]
    pruned_before: Option<String>,
    #[schema(value_type = Flush)]
    flush: FlushSetting,
    #[schema(value_type = Vec<HealthUrl>)]
    health_urls: Value,
    key_ids: Vec<String>,
    keys: Vec<Key>,
}

/// An app that was registered, with its first key, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RegisteredApp {
    #[serde(flatten)]
    app: Details,
    #[schema(pattern = "^[0-9a-f]{48}$")]
    api_key: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthSettings {
    #[schema(value_type = Vec<HealthUrl>)]
    urls: Value,
    public_badges: bool,
}

/// A deleted app, and what stays of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletedApp {
    deleted: bool,
    remains: Vec<Remaining>,
}

pub(crate) fn registers(operation: &mut Operation) {
    operation.answers_data::<RegisteredApp>(201, "registered; the key is shown once");
    takes_idempotency_key(operation);
}

pub(crate) fn lists_ids(operation: &mut Operation) {
    let ids = json!({"type": "array", "items": {"type": "string"}});
    operation.answers_enveloped(200, "done", ids);
}

pub(crate) async fn register_app<C: Cloud>(
    State(api): Shared<C>,
    admin: AsAdmin,
    Json { value: new, bytes }: Json<NewApp>,
) -> Answer {
    let head = &admin.head;
    let health_checks = match new.health_urls {
        Some(urls) => api.checked_health_urls(&urls, "health_urls", false, &Value::Null).await?,
        None => json!([]),
    };
    let wish = KeyWish { route: ROUTE, app_id: &new.app_id, name: None, scopes: Scope::ALL.into() };
    let (key, row) = api.new_key(&wish, head, &bytes).await?;
    head.trail.concerns(&new.app_id);
    let mut app = App {
        app_id: new.app_id,
        name: new.name,
        registered_ms: head.now_ms,
        retention_days: new.retention_days,
        pruned_before_ms: None,
        flush: new.flush,
        health_checks,
        alerts: Vec::new(),
    };
    for _ in 0..EPOCH_ATTEMPTS {
        match api.apps.register(&app, &row).await? {
            Registered::Yes => return Ok(registered(&app, row, &key)),
            Registered::Taken => return api.registered_before(&app.app_id, head, &bytes).await,
            Registered::EpochInUse => app.registered_ms += 1,
        }
    }
    Err(ApiError::conflict("an app with this id is being deleted; try again later"))
}

pub(crate) async fn list_apps<C: Cloud>(
    State(api): Shared<C>,
    by: Result<AsCaller<Read>, ApiError>,
) -> Answer {
    // A route of the administration: there no credential is 401.
    let by = by.map_err(|error| {
        if is_credential_missing(&error) { ApiError::unauthorized(error.message) } else { error }
    })?;
    let ids: Vec<AppId> = match by.caller {
        Caller::App(app) => vec![app.app_id],
        Caller::Admin => api.apps.list().await?.into_iter().map(|app| app.app_id).collect(),
    };
    Ok(ok(&ids))
}

pub(crate) async fn show_app<C: Cloud>(State(api): Shared<C>, on: OnApp<Read>) -> Answer {
    api.shown(&on.app).await
}

pub(crate) async fn change_app<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Manage>,
    Json { value: wish, .. }: Json<ChangeApp>,
) -> Answer {
    let change = AppChange {
        name: wish.name,
        retention_days: wish.retention_days,
        flush: wish.flush,
        health_checks: None,
    };
    let changed = api.apps.change(&on.app.app_id, on.app.registered_ms, &change).await?;
    api.shown(&changed.ok_or_else(no_such_app)?).await
}

pub(crate) async fn delete_app<C: Cloud>(State(api): Shared<C>, on: OnApp<Manage>) -> Answer {
    let until = Instant::now() + REMOVAL_TIME;
    match prune::delete(&api.apps, &api.book, &on.app, on.head.now_ms, until).await? {
        Some(removed) => {
            let status = if removed.complete { StatusCode::OK } else { StatusCode::ACCEPTED };
            let remains = api.settings.retentions.remaining(&on.app, on.head.now_ms, false);
            Ok(data(status, &DeletedApp { deleted: true, remains }))
        }
        None => Err(no_such_app()),
    }
}

pub(crate) async fn set_health_urls<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Manage>,
    Json { value: SetHealthUrls { urls, public_badges: public }, .. }: Json<SetHealthUrls>,
) -> Answer {
    let app = &on.app;
    let public = public.unwrap_or_else(|| public_badges(&app.health_checks));
    let health_checks = api.checked_health_urls(&urls, "urls", public, &app.health_checks).await?;
    let change = AppChange { health_checks: Some(health_checks), ..AppChange::default() };
    let changed = api.apps.change(&app.app_id, app.registered_ms, &change).await?;
    let changed = changed.ok_or_else(no_such_app)?;
    Ok(ok(&HealthSettings { urls: redacted(&changed.health_checks), public_badges: public }))
}

impl<C: Cloud> Api<C> {
    /// The answer to a registration that was made already: the same again for the same `Idempotency-Key`.
    async fn registered_before(&self, app_id: &AppId, head: &Head, body: &[u8]) -> Answer {
        let before = self.minted_before(ROUTE, app_id, head, body).await?;
        match (before, self.apps.find(app_id).await?) {
            (Some((key, row)), Some(app)) => Ok(registered(&app, row, &key)),
            _ => Err(ApiError::conflict("this app_id already exists")),
        }
    }

    async fn shown(&self, app: &App) -> Answer {
        let keys = self.apps.keys(&app.app_id).await?;
        Ok(ok(&details(app, &keys)))
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

fn registered(app: &App, row: KeyRow, key: &ApiKey) -> Response {
    let shown = RegisteredApp { app: details(app, &[row]), api_key: key.reveal().to_owned() };
    data(StatusCode::CREATED, &shown)
}

fn details(app: &App, keys: &[KeyRow]) -> Details {
    Details {
        app_id: app.app_id.clone(),
        name: app.name.clone(),
        created_at: rfc3339_ms(app.registered_ms),
        retention_days: app.retention_days,
        pruned_before: app.pruned_before_ms.map(rfc3339_ms),
        flush: app.flush,
        health_urls: redacted(&app.health_checks),
        key_ids: keys.iter().map(|key| key.key_id.clone()).collect(),
        keys: keys.iter().map(Key::from).collect(),
    }
}

fn retention_days(value: Option<Value>) -> Result<Option<u32>, ApiError> {
    let days = value.map(|value| number("retention_days", &value, 1, MAX_RETENTION_DAYS)).transpose()?;
    Ok(days.and_then(|days| u32::try_from(days).ok()))
}

fn flush(value: Option<Value>) -> Result<Option<FlushSetting>, ApiError> {
    let bad = |error: serde_json::Error| ApiError::bad_request("flush", format!("flush is invalid: {error}"));
    value.map(serde_json::from_value).transpose().map_err(bad)
}
