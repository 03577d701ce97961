//! Writing and querying records.

use http::StatusCode;
use logferry_core::logbook::budget::Budget;
use logferry_core::logbook::filter::{Filter, MAX_CONTEXT_PATHS};
use logferry_core::logbook::new_entry::MAX_REQUEST_ID_BYTES;
use logferry_core::logbook::query::{DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, Query, QueryError};
use logferry_core::logbook::write::{MAX_KEY_BYTES, WriteError, WriteRequest};
use logferry_core::logbook::{filter, new_entry, query, write};
use logferry_core::model::app::App as Tenant;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::ports::apps::Apps;
use logferry_service::http::{ApiError, Request, Response};
use logferry_service::metrics::BLOCKS_SKIPPED;
use serde_json::Value;
use tokio::time::Instant;

use crate::fields::{IDEMPOTENCY_KEY_HEADER, header, invalid, param_ms, param_number};
use crate::{App, Caller, Cloud};

const REQUEST_ID_HEADER: &str = "x-request-id";

impl<C: Cloud> App<C> {
    pub(crate) async fn write_logs(
        &self,
        app: &Tenant,
        request: &Request,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let request_id = header(request, REQUEST_ID_HEADER, MAX_REQUEST_ID_BYTES)?;
        let idempotency_key = header(request, IDEMPOTENCY_KEY_HEADER, MAX_KEY_BYTES)?;
        let entries = new_entry::entries(&request.body).map_err(|bad| invalid(&bad))?;
        let mut unique = [0; 16];
        getrandom::fill(&mut unique)
            .map_err(|error| Fault::new(FaultClass::Transient, "getrandom", error.to_string()))?;
        let written = write::write(
            &self.book,
            &WriteRequest {
                app,
                entries: &entries,
                request_id,
                idempotency_key,
                body: &request.body,
                now_ms,
                unique,
                default_retention_days: self.settings.default_retention_days,
                redactor: &self.settings.redactor,
                quota: &self.settings.quota,
            },
        )
        .await;
        match written {
            Ok(stored) if entries.batch => Ok(enveloped(&array(&stored))),
            Ok(stored) => Ok(enveloped(stored.first().map_or("null", String::as_str))),
            Err(WriteError::Invalid(bad)) => Err(invalid(&bad)),
            Err(WriteError::KeyReused) => Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "IDEMPOTENCY_KEY_REUSED",
                "this Idempotency-Key was used with another body",
            )),
            Err(WriteError::OverQuota(exceeded)) => Err(ApiError::over_quota(&exceeded, now_ms)),
            Err(WriteError::Fault(fault)) => Err(fault.into()),
        }
    }

    pub(crate) async fn query_logs(
        &self,
        caller: &Caller,
        request: &Request,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let budget = Budget::since(Instant::now());
        let filter = filter_of(request)?;
        let limit = param_number(request, "limit", 1, MAX_LIMIT as u64)?.map_or(DEFAULT_LIMIT as u64, |n| n);
        let offset = param_number(request, "offset", 0, MAX_OFFSET as u64)?.unwrap_or(0);
        let raw = match request.param("raw") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(ApiError::bad_request("raw", "raw must be true or false")),
        };
        let asked = self.app_asked_for(caller, request).await?;
        let merged = asked.is_none();
        let apps = match asked {
            Some(app) => vec![app],
            None => self.apps.list().await?,
        };
        let question = Query {
            apps: &apps,
            merged,
            filter: &filter,
            limit: usize::try_from(limit).unwrap_or(MAX_LIMIT),
            offset: usize::try_from(offset).unwrap_or(MAX_OFFSET),
            cursor: request.param("cursor"),
            raw,
            now_ms,
            budget,
        };
        let page = query::query(&self.book, &question).await.map_err(query_error)?;
        tracing::info!(
            query.pages = page.cost.pages,
            query.blocks = page.cost.blocks,
            query.opened = page.cost.opened,
            query.skipped = page.cost.skipped,
            query.read_units = page.cost.units,
            query.records = page.records.len(),
            "query answered"
        );
        let body = format!(
            "{{\"ok\":true,\"data\":{},\"cursor\":{},\"skipped\":{}}}",
            array(&page.records),
            Value::from(page.cursor),
            page.cost.skipped
        );
        let mut response = Response::text(StatusCode::OK, "application/json", body);
        if page.cost.skipped > 0 {
            response.metrics.push((BLOCKS_SKIPPED, page.cost.skipped.into()));
        }
        Ok(response)
    }
}

fn query_error(error: QueryError) -> ApiError {
    match error {
        QueryError::BadCursor => ApiError::bad_request("cursor", "cursor is not a cursor of this query"),
        QueryError::OffsetTooFar => {
            ApiError::bad_request("offset", "offset exceeds what one query reads: use cursor")
        }
        QueryError::Fault(fault) => fault.into(),
    }
}

fn filter_of(request: &Request) -> Result<Filter, ApiError> {
    let levels = request.param("level").map(filter::levels).transpose();
    let levels = levels.map_err(|bad| ApiError::bad_request("level", bad.to_string()))?.unwrap_or_default();
    let mut context = Vec::new();
    for (name, value) in &request.query {
        let Some(path) = name.strip_prefix("context.") else { continue };
        if !filter::is_context_path(path) {
            return Err(ApiError::bad_request(name, format!("{name} is not a valid context path")));
        }
        if context.len() == MAX_CONTEXT_PATHS {
            let message = format!("a query has at most {MAX_CONTEXT_PATHS} context paths");
            return Err(ApiError::bad_request(name, message));
        }
        context.push((path.to_owned(), value.clone()));
    }
    Ok(Filter {
        levels,
        since_ms: param_ms(request, "since")?,
        until_ms: param_ms(request, "until")?,
        request_id: request.param("request_id").map(str::to_owned),
        search: request.param("search").map(str::to_owned),
        context,
    })
}

fn array(records: &[String]) -> String {
    format!("[{}]", records.join(","))
}

/// Wraps JSON text in the envelope.
fn enveloped(data: &str) -> Response {
    Response::text(StatusCode::OK, "application/json", format!("{{\"ok\":true,\"data\":{data}}}"))
}
