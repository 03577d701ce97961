//! The log service for internal callers, by direct invocation: `log`, `logBatch`, `query`. Access is
//! controlled by IAM: any caller that may invoke this function may act for every app. Responses have the
//! envelope of the HTTP API.

mod config;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logbook::budget::Budget;
use logferry_core::logbook::counters::Stats;
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::new_entry::Invalid;
use logferry_core::logbook::query::{DEFAULT_LIMIT, MAX_LIMIT, Order, Query, QueryError};
use logferry_core::logbook::records::Records;
use logferry_core::logbook::write::{WriteError, WriteRequest};
use logferry_core::logbook::{new_entry, query, write};
use logferry_core::model::app::{App as Tenant, AppId};
use logferry_core::model::entry_filter::EntryFilter;
use logferry_core::model::fault::{Fault, chain};
use logferry_core::model::quota::{Exceeded, Quota};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::usage::Usage;
use logferry_service::audit::AuditLine;
use logferry_service::http::MAX_BODY_BYTES;
use logferry_service::metrics::{BLOCKS_SKIPPED, Emission};
use logferry_service::random;
use logferry_service::redaction::RedactionRules;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

pub use config::Config;

/// Maximum size of an event (bytes), the same as for bodies of the HTTP API.
pub const MAX_EVENT_BYTES: usize = MAX_BODY_BYTES;

/// The error code of a write that exceeds the app's daily quota, as in the HTTP API.
const QUOTA_EXCEEDED: &str = "QUOTA_EXCEEDED";

/// The members of a call, as they were sent: what is wrong within an entry is said of that entry.
type Call<'a> = BTreeMap<String, &'a RawValue>;

/// The service, created once.
#[derive(Debug)]
pub struct App<B, A> {
    pub book: B,
    pub apps: A,
    pub default_retention_days: u32,
    pub metrics_namespace: String,
    /// Redaction rules.
    pub redactor: Arc<RedactionRules>,
    /// Daily quota of an app.
    pub quota: Quota,
}

/// Why a call was refused or failed.
#[derive(Debug)]
enum Refusal {
    Invalid(Invalid),
    TooLarge,
    NoSuchApp,
    /// With the seconds until the quota is reset.
    OverQuota(Exceeded, u32),
    Fault(Fault),
}

impl Refusal {
    /// The status that the HTTP API answers with.
    fn status(&self) -> u16 {
        match self {
            Self::Invalid(_) => 400,
            Self::NoSuchApp => 404,
            Self::TooLarge => 413,
            Self::OverQuota(..) => 429,
            Self::Fault(fault) if fault.retryable() => 503,
            Self::Fault(_) => 500,
        }
    }
}

impl From<Invalid> for Refusal {
    fn from(bad: Invalid) -> Self {
        Self::Invalid(bad)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<B: BlockTable + Stats + Records + Usage, A: Apps> App<B, A> {
    /// Handles one call. Always returns an envelope; an error of a call is not a function error. `request_id` is
    /// Lambda's.
    pub async fn handle(&self, event: &RawValue, request_id: &str, now_ms: i64) -> Box<RawValue> {
        let answer = match self.answer(event, request_id, now_ms).await {
            Ok(text) => text,
            Err(refusal) => refused(&refusal).to_string(),
        };
        RawValue::from_string(answer).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    async fn answer(&self, event: &RawValue, request_id: &str, now_ms: i64) -> Result<String, Refusal> {
        if event.get().len() > MAX_EVENT_BYTES {
            return Err(Refusal::TooLarge);
        }
        let mut call: Call<'_> = serde_json::from_str(event.get())
            .map_err(|error| Invalid::new("event", format!("the event must be an object: {error}")))?;
        let method = text(&mut call, "method")?;
        match method.as_str() {
            "log" | "logBatch" => {
                let mut app_id = None;
                let written = async {
                    let batch = method == "logBatch";
                    only(&call, if batch { "entries" } else { "entry" })?;
                    let app = self.app(&mut call).await?;
                    app_id = Some(app.app_id.to_string());
                    self.write(&app, &call, batch, now_ms).await
                };
                let written = written.await;
                audit_line(&method, app_id, request_id, &written).write();
                written
            }
            "query" => {
                only(&call, "filters")?;
                let app = self.app(&mut call).await?;
                self.query(&app, &call, now_ms).await
            }
            _ => Err(Invalid::new("method", "method must be log, logBatch or query").into()),
        }
    }

    async fn app(&self, call: &mut Call<'_>) -> Result<Tenant, Refusal> {
        let app_id: AppId = text(call, "app_id")?
            .parse()
            .map_err(|bad: logferry_core::model::app::BadAppId| Invalid::new("app_id", bad.to_string()))?;
        self.apps.find(&app_id).await?.ok_or(Refusal::NoSuchApp)
    }

    async fn write(
        &self,
        app: &Tenant,
        call: &Call<'_>,
        batch: bool,
        now_ms: i64,
    ) -> Result<String, Refusal> {
        let name = if batch { "entries" } else { "entry" };
        let given = call.get(name).ok_or_else(|| Invalid::new(name, format!("{name} is required")))?;
        let entries = match batch {
            true => new_entry::batch(given, name)?,
            false => new_entry::Entries { batch, complete: true, entries: vec![given] },
        };
        let request = WriteRequest::new(
            app,
            now_ms,
            random::bytes()?,
            self.default_retention_days,
            &self.redactor,
            &self.quota,
        );
        match write::write(&self.book, &request, &entries).await {
            Ok(stored) if batch => Ok(format!("{{\"ok\":true,\"data\":[{}]}}", stored.join(","))),
            Ok(stored) => {
                Ok(format!("{{\"ok\":true,\"data\":{}}}", stored.first().map_or("null", String::as_str)))
            }
            Err(WriteError::Invalid(bad)) => Err(renamed(bad, name).into()),
            Err(WriteError::KeyReused) => Err(Invalid::new(name, "the key was already used").into()),
            Err(WriteError::OverQuota(exceeded)) => {
                Err(Refusal::OverQuota(exceeded, exceeded.retry_after_secs(now_ms)))
            }
            Err(WriteError::Fault(fault)) => Err(fault.into()),
        }
    }

    async fn query(&self, app: &Tenant, call: &Call<'_>, now_ms: i64) -> Result<String, Refusal> {
        let budget = Budget::since(Instant::now());
        let filters = call.get("filters").map(|filters| serde_json::from_str(filters.get())).transpose();
        let filters: Option<Option<Map<String, Value>>> = filters
            .map_err(|error| Invalid::new("filters", format!("filters must be an object: {error}")))?;
        let mut filters = filters.flatten().unwrap_or_default();
        let filter = filter_of(&mut filters)
            .and_then(|filter| filter.check_range(now_ms).map(|()| filter))
            .map_err(|bad| Invalid::new(format!("filters.{}", bad.field), bad.message))?;
        let limit = match filters.shift_remove("limit") {
            None | Some(Value::Null) => DEFAULT_LIMIT,
            Some(limit) => limit
                .as_u64()
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| {
                    Invalid::new(
                        "filters.limit",
                        format!("limit must be a whole number from 1 to {MAX_LIMIT}"),
                    )
                })?,
        };
        let order = Order::parse(optional(&mut filters, "order")?.as_deref())
            .map_err(|refusal| Invalid::new("filters.order", refusal))?;
        let cursor = optional(&mut filters, "cursor")?;
        if let Some(name) = filters.keys().next() {
            return Err(Invalid::new(format!("filters.{name}"), format!("{name} is not a filter")).into());
        }
        let apps = std::slice::from_ref(app);
        let question = Query {
            apps,
            merged: false,
            filter: &filter,
            order,
            limit,
            offset: 0,
            cursor: cursor.as_deref(),
            raw: false,
            now_ms,
            budget,
        };
        match query::query(&self.book, &question).await {
            Ok(page) => {
                if page.cost.skipped > 0 {
                    Emission::new(&self.metrics_namespace)
                        .dimension("Function", "rpc")
                        .value(BLOCKS_SKIPPED, page.cost.skipped.into())
                        .emit(now_ms);
                }
                Ok(format!(
                    "{{\"ok\":true,\"data\":[{}],\"cursor\":{},\"skipped\":{}}}",
                    page.records.join(","),
                    Value::from(page.cursor),
                    page.cost.skipped
                ))
            }
            Err(QueryError::BadCursor | QueryError::OffsetTooFar) => {
                Err(Invalid::new("filters.cursor", "cursor is not a cursor of this query").into())
            }
            Err(
                error @ (QueryError::OneAppOldestFirst
                | QueryError::OffsetOldestFirst
                | QueryError::HourTooLarge),
            ) => Err(Invalid::new("filters.order", error.to_string()).into()),
            Err(QueryError::Fault(fault)) => Err(fault.into()),
        }
    }
}

/// Renames the field of an entry's error to its place in the event.
fn renamed(bad: Invalid, name: &str) -> Invalid {
    let field = match bad.field.strip_prefix("logs") {
        Some(rest) => format!("{name}{rest}"),
        None if bad.field == "body" => name.to_owned(),
        None => format!("{name}.{}", bad.field),
    };
    Invalid::new(field, bad.message)
}

fn filter_of(filters: &mut Map<String, Value>) -> Result<Filter, Invalid> {
    let entry = EntryFilter::take_from(filters)?;
    let mut bound = |name: &'static str| match filters.shift_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        // Milliseconds.
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(Invalid::new(name, format!("{name} must be a string"))),
    };
    let (since, until) = (bound("since")?, bound("until")?);
    Filter::new(entry, since.as_deref(), until.as_deref())
}

fn optional(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Invalid> {
    match fields.shift_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Invalid::new(format!("filters.{name}"), format!("{name} must be a string"))),
    }
}

/// Refuses members that a call does not have: it has `app_id` and one other.
fn only(call: &Call<'_>, other: &str) -> Result<(), Invalid> {
    match call.keys().find(|name| *name != "app_id" && *name != other) {
        Some(name) => Err(Invalid::new(name, format!("{name} is not a member of this call"))),
        None => Ok(()),
    }
}

fn text(call: &mut Call<'_>, name: &str) -> Result<String, Invalid> {
    let given = call.remove(name).map_or("null", RawValue::get);
    match serde_json::from_str(given) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(Invalid::new(name, format!("{name} is required"))),
        Err(_) => Err(Invalid::new(name, format!("{name} must be a string"))),
    }
}

/// The line of the audit log of a write.
fn audit_line(
    method: &str,
    app: Option<String>,
    request_id: &str,
    written: &Result<String, Refusal>,
) -> AuditLine {
    AuditLine {
        action: method.to_owned(),
        app,
        actor: "rpc".to_owned(),
        source_ip: None,
        request_id: request_id.to_owned(),
        status: written.as_ref().map_or_else(Refusal::status, |_| 200),
    }
}

static TOO_LARGE: LazyLock<String> =
    LazyLock::new(|| format!("an event must be at most {MAX_EVENT_BYTES} bytes"));

fn refused(refusal: &Refusal) -> Value {
    let (code, message, field) = match refusal {
        Refusal::OverQuota(exceeded, retry_after_secs) => {
            let details = json!({
                "quota": exceeded.measure.as_str(),
                "limit": exceeded.limit,
                "retry_after_secs": retry_after_secs,
            });
            let error = json!({"code": QUOTA_EXCEEDED, "message": exceeded.to_string(), "details": details});
            return json!({"ok": false, "error": error});
        }
        Refusal::Invalid(bad) => ("BAD_REQUEST", bad.message.as_str(), Some(&bad.field)),
        Refusal::TooLarge => ("PAYLOAD_TOO_LARGE", TOO_LARGE.as_str(), None),
        Refusal::NoSuchApp => ("NOT_FOUND", "no such app", None),
        Refusal::Fault(fault) => {
            tracing::error!(error.chain = %chain(fault), "a call failed");
            match fault.retryable() {
                true => ("UNAVAILABLE", "a dependency is temporarily unavailable; try again", None),
                false => ("INTERNAL", "internal error", None),
            }
        }
    };
    let mut error = json!({"code": code, "message": message});
    if let Some(field) = field {
        error["details"] = json!({"field": field});
    }
    json!({"ok": false, "error": error})
}

#[cfg(test)]
mod tests {
    use logferry_core::model::fault::FaultClass;

    use super::*;

    #[test]
    fn a_write_leaves_an_audit_line_with_its_result() {
        let fault = |class| Refusal::Fault(Fault::new(class, "logs", "a test"));
        for (written, status) in [
            (Ok(String::new()), 200),
            (Err(Invalid::new("entry", "entry is required").into()), 400),
            (Err(Refusal::NoSuchApp), 404),
            (Err(fault(FaultClass::Transient)), 503),
            (Err(fault(FaultClass::Permanent)), 500),
        ] {
            let line = audit_line("logBatch", Some("shop".to_owned()), "r-1", &written);
            let expected = AuditLine {
                action: "logBatch".to_owned(),
                app: Some("shop".to_owned()),
                actor: "rpc".to_owned(),
                source_ip: None,
                request_id: "r-1".to_owned(),
                status,
            };
            assert_eq!(line, expected, "{written:?}");
        }
    }
}
