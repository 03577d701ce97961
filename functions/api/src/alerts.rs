//! Alerts of an app on its own records: rules, states, history.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{try_join, try_join_all};
use http::StatusCode;
use logferry_core::model::alert::{
    AlertName, AlertRule, BadAlertName, MAX_ALERTS, MAX_FILTER_BYTES, MAX_QUIET_MINUTES, MAX_THRESHOLD,
    MAX_WINDOW_MINUTES, Notify, SigningKey,
};
use logferry_core::model::app::App;
use logferry_core::model::entry_filter::EntryFilter;
use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::alerts::{AlertEvent, AlertKey, AlertStatus, AlertTable, Delivery};
use logferry_core::ports::app_admin::AppAdmin;
use logferry_core::ports::apps::Apps;
use logferry_health_checks::check::STORED_VALUE;
use logferry_health_checks::guard::resolve::{ResolveError, checked_addresses};
use logferry_health_checks::guard::target::Target;
use logferry_health_checks::guard::{Policy, Ports};
use logferry_service::http::{
    Answer, ApiError, Body, Fields, Json, Operation, PathPart, State, data, number, ok, required,
};
use logferry_service::random;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::auth::{Manage, OnApp, Read, no_such_app};
use crate::keys::Deleted;
use crate::{Api, Cloud, Shared};

/// Events of an alert in one answer, newest first.
const SHOWN_EVENTS: u32 = 20;
/// Maximum attempts to change rules that another request changes at the same time.
const ATTEMPTS: u32 = 5;
/// How long the creation of a rule waits for the name of a webhook. Sending resolves it again in any case.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, ToSchema)]
#[schema(example = json!({"name": "errors", "filter": {"level": "ERROR"}, "threshold": 10,
    "window_minutes": 5, "notify": {"webhook": "https://hooks.example.com/shop"}}))]
pub(crate) struct NewAlert {
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    name: AlertName,
    /// Filters by the names of the query parameters of `GET /logs`: `level`, `search`, `search_in`, `request_id`,
    /// `field.{path}`, `context.{path}`. Empty: every record.
    #[schema(value_type = Option<Object>)]
    filter: BTreeMap<String, String>,
    #[schema(minimum = 1, maximum = 1_000_000)]
    threshold: u32,
    #[schema(minimum = 1, maximum = 1440)]
    window_minutes: u32,
    /// Without: as `window_minutes`.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10_080)]
    quiet_minutes: u32,
    #[schema(value_type = NotifyWish)]
    notify: Notify,
}

/// Either `{"sns": true}`, the topic of the deployment, or `{"webhook": "https://…"}`.
#[derive(ToSchema)]
#[schema(as = AlertNotify)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) struct NotifyWish {
    sns: Option<bool>,
    #[schema(max_length = 1000)]
    webhook: Option<String>,
}

impl Body for NewAlert {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        let bad = |bad: BadAlertName| ApiError::bad_request("name", bad.to_string());
        let name = fields.require_text("name")?.parse().map_err(bad)?;
        let (filter, _) = filter(fields.take("filter"))?;
        let threshold = whole("threshold", &fields.require("threshold")?, MAX_THRESHOLD)?;
        let window_minutes = whole("window_minutes", &fields.require("window_minutes")?, MAX_WINDOW_MINUTES)?;
        let quiet = fields.take("quiet_minutes");
        let quiet = quiet.map(|value| whole("quiet_minutes", &value, MAX_QUIET_MINUTES)).transpose()?;
        let notify = notify(&fields.require("notify")?)?;
        let quiet_minutes = quiet.unwrap_or(window_minutes);
        Ok(Self { name, filter, threshold, window_minutes, quiet_minutes, notify })
    }
}

fn whole(name: &str, value: &Value, most: u32) -> Result<u32, ApiError> {
    let whole = number(name, value, 1, most.into())?;
    Ok(u32::try_from(whole).unwrap_or(most))
}

/// Reads a filter: names and values as in a query string, or with the paths below `field` and `context`.
/// Returns them as they are kept, and compiled.
pub(crate) fn filter(value: Option<Value>) -> Result<(BTreeMap<String, String>, EntryFilter), ApiError> {
    let given = match value {
        None => Map::new(),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(ApiError::bad_request("filter", "filter must be an object")),
    };
    let mut pairs = Vec::new();
    for (name, value) in given {
        match value {
            Value::Object(paths) if ["field", "context"].contains(&name.as_str()) => {
                pairs.extend(paths.into_iter().map(|(path, value)| (format!("{name}.{path}"), value)));
            }
            value => pairs.push((name, value)),
        }
    }
    let mut filter = BTreeMap::new();
    for (name, value) in pairs {
        let field = format!("filter.{name}");
        if !EntryFilter::takes(&name) {
            return Err(ApiError::bad_request(&field, format!("{field} is not a filter")));
        }
        let text = match value {
            Value::String(text) => text,
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return Err(ApiError::bad_request(&field, format!("{field} must be a string or a number"))),
        };
        if filter.insert(name, text).is_some() {
            return Err(ApiError::bad_request(&field, format!("{field} must not be repeated")));
        }
    }
    if filter.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>() > MAX_FILTER_BYTES {
        let message = format!("filter must have at most {MAX_FILTER_BYTES} bytes");
        return Err(ApiError::bad_request("filter", message));
    }
    let compiled = EntryFilter::read(&filter);
    let compiled =
        compiled.map_err(|bad| ApiError::bad_request(&format!("filter.{}", bad.name), bad.message))?;
    Ok((filter, compiled))
}

fn notify(value: &Value) -> Result<Notify, ApiError> {
    let bad = || {
        let message = "notify must be {\"sns\": true} or {\"webhook\": \"https://…\"}";
        ApiError::bad_request("notify", message)
    };
    let given = value.as_object().filter(|given| given.len() == 1).ok_or_else(bad)?;
    match (given.get("sns"), given.get("webhook")) {
        (Some(Value::Bool(true)), None) => Ok(Notify::Sns),
        (None, Some(Value::String(url))) => Ok(Notify::Webhook(url.clone())),
        _ => Err(bad()),
    }
}

/// An alert with its state. The path of a webhook, which may be a secret, is never shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alert)]
pub(crate) struct Shown {
    #[schema(value_type = String)]
    name: AlertName,
    #[schema(value_type = Object)]
    filter: BTreeMap<String, String>,
    threshold: u32,
    window_minutes: u32,
    quiet_minutes: u32,
    #[schema(value_type = NotifyWish)]
    notify: Value,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(value_type = AlertStateName)]
    state: AlertStatus,
    /// When the state last changed.
    #[schema(required, format = DateTime)]
    since: Option<String>,
    /// Changes of the state, newest first: at most 20, of the last 30 days.
    history: Vec<ShownEvent>,
    /// The key that signs what the webhook gets. In the answer that creates the alert, and never again.
    #[schema(value_type = Option<String>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_key: Option<SigningKey>,
}

#[derive(ToSchema)]
#[schema(as = AlertState, rename_all = "snake_case")]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) enum AlertStateName {
    Ok,
    Firing,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertEvent)]
pub(crate) struct ShownEvent {
    /// Of the notification: the same however often it is sent.
    id: String,
    #[schema(value_type = AlertStateName)]
    to: AlertStatus,
    #[schema(format = DateTime)]
    at: String,
    /// The window that reached the threshold.
    #[schema(required)]
    window: Option<ShownWindow>,
    #[schema(value_type = Vec<AlertSample>)]
    samples: Value,
    /// `due`, `sent` or `failed`.
    #[schema(example = "sent")]
    notification: &'static str,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertWindow)]
pub(crate) struct ShownWindow {
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    until: String,
    /// Records when the threshold was reached.
    count: u64,
}

/// One of the first records, as stored.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) struct AlertSample {
    id: String,
    #[schema(format = DateTime)]
    timestamp: String,
    #[schema(value_type = crate::schema::Level)]
    level: String,
    message: String,
}

pub(crate) fn creates(operation: &mut Operation) {
    operation.answers_data::<Shown>(201, "created");
    operation.answers_data::<Shown>(200, "it existed with the same settings");
    operation.errors.insert(409);
}

pub(crate) fn lists(operation: &mut Operation) {
    operation.answers_data_array::<Shown>(200, "done");
}

pub(crate) fn takes_name(operation: &mut Operation) {
    let schema = json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$", "examples": ["errors"]});
    operation.takes("path", "name", "The name of an alert.", schema);
}

pub(crate) async fn create_alert<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Manage>,
    Json { value: new, .. }: Json<NewAlert>,
) -> Answer {
    if let Notify::Webhook(url) = &new.notify {
        api.check_webhook(url).await?;
    }
    let signing_key = match new.notify {
        Notify::Webhook(_) => Some(SigningKey::of(random::bytes()?)),
        Notify::Sns => None,
    };
    let rule = AlertRule {
        name: new.name,
        created_ms: on.head.now_ms,
        filter: new.filter,
        threshold: new.threshold,
        window_minutes: new.window_minutes,
        quiet_minutes: new.quiet_minutes,
        notify: new.notify,
        signing_key,
    };
    let mut app = *on.app;
    for attempt in 0..ATTEMPTS {
        if let Some(known) = app.alerts.iter().find(|known| known.name == rule.name) {
            // An attempt whose answer was lost has stored it.
            if attempt > 0 && *known == rule {
                return api.created(&app, &rule).await;
            }
            let (created_ms, signing_key) = (known.created_ms, known.signing_key.clone());
            if (AlertRule { created_ms, signing_key, ..rule.clone() }) == *known {
                return Ok(ok(&api.show_alert(&app, known).await?));
            }
            return Err(ApiError::conflict("an alert with this name exists: delete it first"));
        }
        if app.alerts.len() >= MAX_ALERTS {
            return Err(ApiError::conflict(format!("an app has at most {MAX_ALERTS} alerts")));
        }
        let mut alerts = app.alerts.clone();
        alerts.push(rule.clone());
        if api.apps.set_alerts(&app, &alerts).await? {
            return api.created(&app, &rule).await;
        }
        app = api.same_app(&app).await?;
    }
    Err(changing())
}

pub(crate) async fn list_alerts<C: Cloud>(State(api): Shared<C>, on: OnApp<Read>) -> Answer {
    let shown = on.app.alerts.iter().map(|rule| api.show_alert(&on.app, rule));
    Ok(ok(&try_join_all(shown).await?))
}

pub(crate) async fn delete_alert<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Manage>,
    part: PathPart,
) -> Answer {
    let mut app = *on.app;
    for attempt in 0..ATTEMPTS {
        let mut alerts = app.alerts.clone();
        alerts.retain(|rule| rule.name.as_str() != part.get("name"));
        if alerts.len() == app.alerts.len() {
            // An attempt whose answer was lost may have removed it.
            return if attempt > 0 {
                Ok(ok(&Deleted::YES))
            } else {
                Err(ApiError::not_found("no such alert"))
            };
        }
        if api.apps.set_alerts(&app, &alerts).await? {
            return Ok(ok(&Deleted::YES));
        }
        app = api.same_app(&app).await?;
    }
    Err(changing())
}

fn changing() -> ApiError {
    ApiError::conflict("the alerts of this app are being changed; try again")
}

impl<C: Cloud> Api<C> {
    /// The answer that shows the signing key.
    async fn created(&self, app: &App, rule: &AlertRule) -> Answer {
        let shown = self.show_alert(app, rule).await?;
        Ok(data(StatusCode::CREATED, &Shown { signing_key: rule.signing_key.clone(), ..shown }))
    }

    /// The app as it is now.
    async fn same_app(&self, app: &App) -> Result<App, ApiError> {
        let now = self.apps.find(&app.app_id).await?;
        let now = now.filter(|now| now.registered_ms == app.registered_ms);
        now.ok_or_else(no_such_app)
    }

    /// Refuses a URL that no notification would be sent to. A name that does not resolve yet is accepted.
    async fn check_webhook(&self, url: &str) -> Result<(), ApiError> {
        let field = "notify.webhook";
        if url.is_empty() {
            return Err(required(field));
        }
        let settings = &self.settings;
        let bad = |why: String| ApiError::bad_request(field, format!("{field} {why}"));
        let target =
            Target::parse(url, &settings.health_policy).map_err(|refusal| bad(refusal.to_string()))?;
        let resolved = checked_addresses(&target, &*settings.resolver, &settings.health_policy);
        match tokio::time::timeout(RESOLVE_TIMEOUT, resolved).await {
            Ok(Err(ResolveError::Refused(refusal))) => Err(bad(refusal.to_string())),
            Ok(Ok(_) | Err(ResolveError::NoAnswer(_))) | Err(_) => Ok(()),
        }
    }

    async fn show_alert(&self, app: &App, rule: &AlertRule) -> Result<Shown, ApiError> {
        let key = AlertKey::of(app, rule);
        let (state, events) =
            try_join(self.alerts.state(&key), self.alerts.events(&key, SHOWN_EVENTS)).await?;
        Ok(Shown {
            name: rule.name.clone(),
            filter: rule.filter.clone(),
            threshold: rule.threshold,
            window_minutes: rule.window_minutes,
            quiet_minutes: rule.quiet_minutes,
            notify: match &rule.notify {
                Notify::Sns => json!({"sns": true}),
                Notify::Webhook(url) => json!({"webhook": origin(url)}),
            },
            created_at: rfc3339_ms(rule.created_ms),
            state: state.status,
            since: (state.seq > 0).then(|| rfc3339_ms(state.since_ms)),
            signing_key: None,
            history: events.into_iter().map(|event| shown_event(&key, event)).collect(),
        })
    }
}

/// The scheme and host of a URL as it is requested, with a placeholder for the rest. The policy may have
/// changed since the URL was stored.
fn origin(url: &str) -> String {
    let any = Policy { allow_private: true, ports: Ports::Any };
    let Ok(target) = Target::parse(url, &any) else { return STORED_VALUE.to_owned() };
    let scheme = if target.is_tls() { "https" } else { "http" };
    format!("{scheme}://{}/{STORED_VALUE}", target.host_header())
}

fn shown_event(key: &AlertKey, event: AlertEvent) -> ShownEvent {
    let (notification, error) = match event.delivery {
        Delivery::Due { .. } => ("due", None),
        Delivery::Sent { .. } => ("sent", None),
        Delivery::Failed { error } => ("failed", Some(error)),
    };
    ShownEvent {
        id: key.notification_id(event.seq),
        to: event.to,
        at: rfc3339_ms(event.at_ms),
        window: event.window.map(|window| ShownWindow {
            since: rfc3339_ms(window.start_ms),
            until: rfc3339_ms(window.end_ms),
            count: window.count,
        }),
        samples: json!(event.samples),
        notification,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_webhook_only_scheme_and_host_are_shown() {
        for (url, shown) in [
            ("https://hooks.example.com/services/T0/s3cr3t", "https://hooks.example.com/(stored)"),
            ("https://a.example?token=s3cr3t", "https://a.example/(stored)"),
            ("https://a.example:8443", "https://a.example:8443/(stored)"),
            ("https:a.example/s3cr3t?x=a://b/c", "https://a.example/(stored)"),
            ("https:\\\\a.example\\s3cr3t", "https://a.example/(stored)"),
            ("s3cr3t", "(stored)"),
        ] {
            assert_eq!(origin(url), shown);
        }
    }
}
