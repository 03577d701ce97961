//! Statistics and pruning.

use std::time::Duration;

use logferry_core::logbook::stats::{DEFAULT_DAYS, MAX_DAYS};
use logferry_core::logbook::{prune, stats};
use logferry_core::model::app::App as Tenant;
use logferry_core::model::level::Level;
use logferry_service::http::{ApiError, Request, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fields::{Fields, param_number, record_time_ms, required};
use crate::{App, Cloud};

/// How long a request removes hidden records, or redrives files; `sweep` does the rest. The HTTP API times
/// out after 30 s.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
pub(crate) const REMOVAL_TIME: Duration = Duration::from_secs(12);

impl<C: Cloud> App<C> {
    pub(crate) async fn stats(
        &self,
        app: &Tenant,
        request: &Request,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let days = param_number(request, "days", 1, u64::from(MAX_DAYS))?;
        let days = days.and_then(|days| u32::try_from(days).ok()).unwrap_or(DEFAULT_DAYS);
        let counted = stats::days(&self.book, app, days, now_ms).await?;
        let shown: Vec<Value> = counted
            .into_iter()
            .map(|(day, levels)| {
                json!({
                    "date": day.to_string(), "debug": levels[Level::Debug], "info": levels[Level::Info],
                    "warn": levels[Level::Warn], "error": levels[Level::Error],
                })
            })
            .collect();
        Ok(Response::ok(&shown))
    }

    pub(crate) async fn prune(
        &self,
        app: &Tenant,
        request: &Request,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let mut fields = Fields::of(request)?;
        let before = fields.take("before").ok_or_else(|| required("before"))?;
        let before_ms = record_time_ms("before", &before)?;
        fields.finish()?;
        let until = Instant::now() + REMOVAL_TIME;
        let pruned = prune::prune(&self.apps, &self.book, app, before_ms, now_ms, until).await?;
        let pruned = pruned.ok_or_else(|| ApiError::not_found("no such app"))?;
        Ok(Response::ok(&json!({"deleted": pruned.deleted, "complete": pruned.complete})))
    }
}
