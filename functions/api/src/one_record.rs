//! One record by its id and time, with its neighbours.

use std::collections::VecDeque;

use logferry_core::logbook::answer::MAX_QUERY_BYTES;
use logferry_core::logbook::budget::Budget;
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::query::{self, MAX_LIMIT, Order, Page, Query, QueryError};
use logferry_core::model::app::App;
use logferry_core::model::ids::RecordId;
use logferry_core::model::time::rfc3339_ms;
use logferry_core::model::time_bound::TimeBound;
use logferry_service::http::{
    Answer, ApiError, Operation, PathPart, QueryParams, Response, State, required, text,
};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};

use crate::auth::{AsCaller, Params, Read};
use crate::logs::{array, query_error, with_skipped};
use crate::schema::Record;
use crate::{Api, Cloud, Shared};

/// Neighbours on each side at most.
const MAX_NEIGHBOURS: usize = 200;

/// What `GET /logs/{record_id}` asks for.
#[derive(Debug)]
pub(crate) struct RecordQuery {
    app_id: Option<String>,
    at_ms: i64,
    neighbours: usize,
    raw: bool,
}

impl Params for RecordQuery {
    fn read(query: &mut QueryParams) -> Result<Self, ApiError> {
        let at = query.take_time("at")?.ok_or_else(|| required("at"))?;
        let TimeBound::At(at_ms) = at else {
            let message = "at must be the timestamp of the record: RFC 3339, or milliseconds since the epoch";
            return Err(ApiError::bad_request("at", message));
        };
        let neighbours = query.take_number("neighbours", 0, MAX_NEIGHBOURS as u64)?;
        Ok(Self {
            app_id: query.take("app_id"),
            at_ms,
            neighbours: neighbours.and_then(|most| usize::try_from(most).ok()).unwrap_or(0),
            raw: query.take_flag("raw")?,
        })
    }
}

/// The parameters of [`RecordQuery`], as the document shows them.
#[derive(IntoParams)]
#[expect(dead_code, reason = "only described, never made")]
struct RecordParams {
    /// Of the administration: the record's app.
    app_id: Option<String>,
    /// The record's `timestamp`: RFC 3339, or milliseconds since the epoch.
    #[param(example = "2024-03-01T12:03:10.000Z")]
    at: String,
    /// How many records before and after it, of its app.
    #[param(minimum = 0, maximum = 200, example = 50)]
    neighbours: Option<u32>,
    /// Whether records have their entry, byte for byte, in `rawData`.
    raw: Option<bool>,
}

impl IntoParams for RecordQuery {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        RecordParams::into_params(place)
    }
}

/// A record and its neighbours, on both sides the nearest first.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) struct Neighbourhood {
    record: Record,
    older: Vec<Record>,
    newer: Vec<Record>,
    /// Blocks that could not be read.
    skipped: u32,
}

pub(crate) fn shows(operation: &mut Operation) {
    let schema = json!({"type": "string", "pattern": "^[0-9a-f]{32}$",
        "examples": ["0123456789abcdef0123456789abcdef"]});
    operation.takes("path", "record_id", "The `id` of a record.", schema);
    operation.answers_data::<Neighbourhood>(200, "done");
    operation.errors.insert(404);
}

pub(crate) async fn show_record<C: Cloud>(
    State(api): Shared<C>,
    by: AsCaller<Read, RecordQuery>,
    part: PathPart,
) -> Answer {
    let budget = Budget::since(Instant::now());
    let AsCaller { caller, params: asked, head, .. } = by;
    let app = api.app_asked_for(&caller, &head, asked.app_id.as_deref()).await?;
    let app = app.ok_or_else(|| ApiError::bad_request("app_id", "name the app of the record in app_id"))?;
    let id = part.get("record_id");
    if RecordId::parse(id).is_none() {
        return Err(no_such_record());
    }
    let mut search = Search { api: &api, app: &app, asked: &asked, now_ms: head.now_ms, budget, skipped: 0 };
    let found = search.find(id).await?;
    let newer = search.newer(found.newer).await?;
    tracing::info!(
        record.older = found.older.len(),
        record.newer = newer.len(),
        record.skipped = search.skipped,
        "record answered"
    );
    Ok(answer(&found.record, found.older, newer, search.skipped))
}

fn no_such_record() -> ApiError {
    ApiError::not_found("no such record at this time: it may have expired or been deleted")
}

/// The members of a record by which it is found.
#[derive(Deserialize)]
struct Place<'a> {
    id: &'a str,
    timestamp: &'a str,
}

/// A record and what was read together with it; the nearest first.
struct Found {
    record: String,
    older: Vec<String>,
    /// Those of the same millisecond.
    newer: Vec<String>,
}

struct Search<'a, C: Cloud> {
    api: &'a Api<C>,
    app: &'a App,
    asked: &'a RecordQuery,
    now_ms: i64,
    budget: Budget,
    skipped: u32,
}

impl<C: Cloud> Search<'_, C> {
    /// Finds the record among those of its millisecond. Its older neighbours are in the same pages.
    async fn find(&mut self, id: &str) -> Result<Found, ApiError> {
        let RecordQuery { at_ms, neighbours, .. } = *self.asked;
        let bound = |ms: i64| Some(TimeBound::At(ms));
        let since = if neighbours == 0 { bound(at_ms) } else { None };
        let filter = Filter { since, until: bound(at_ms.saturating_add(1)), ..Filter::default() };
        let at = rfc3339_ms(at_ms);
        let mut limit = neighbours + 1;
        let (mut record, mut older, mut newer) = (None, Vec::new(), VecDeque::new());
        let mut cursor = None;
        loop {
            let page = self.page(&filter, Order::NewestFirst, limit, cursor.as_deref()).await?;
            for text in page.records {
                if record.is_some() {
                    older.push(text);
                    continue;
                }
                let place: Place<'_> =
                    serde_json::from_str(&text).map_err(|error| ApiError::internal(&error))?;
                if place.id == id {
                    record = Some(text);
                } else if place.timestamp < at.as_str() {
                    return Err(no_such_record());
                } else {
                    newer.push_back(text);
                    if newer.len() > neighbours {
                        newer.pop_front();
                    }
                }
            }
            cursor = page.cursor;
            limit = if record.is_some() { neighbours.saturating_sub(older.len()) } else { MAX_LIMIT };
            let late = self.budget.stop_at.is_some_and(|stop_at| Instant::now() >= stop_at);
            if limit == 0 || cursor.is_none() || late {
                break;
            }
        }
        older.truncate(neighbours);
        match record {
            Some(record) => Ok(Found { record, older, newer: newer.into_iter().rev().collect() }),
            None if cursor.is_none() => Err(no_such_record()),
            None => Err(ApiError::bad_request("at", "too many records have this time to find one of them")),
        }
    }

    /// Returns the newer neighbours: those of the same millisecond, and later ones.
    async fn newer(&mut self, mut newer: Vec<String>) -> Result<Vec<String>, ApiError> {
        let limit = self.asked.neighbours.saturating_sub(newer.len());
        if limit == 0 {
            return Ok(newer);
        }
        let since = Some(TimeBound::At(self.asked.at_ms.saturating_add(1)));
        let filter = Filter { since, ..Filter::default() };
        newer.extend(self.page(&filter, Order::OldestFirst, limit, None).await?.records);
        Ok(newer)
    }

    async fn page(
        &mut self,
        filter: &Filter,
        order: Order,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page, ApiError> {
        let query = Query {
            apps: std::slice::from_ref(self.app),
            merged: false,
            filter,
            order,
            limit,
            offset: 0,
            cursor,
            raw: self.asked.raw,
            now_ms: self.now_ms,
            budget: self.budget,
        };
        let page = query::query(&self.api.book, &query).await.map_err(|error| match error {
            QueryError::HourTooLarge => {
                let message =
                    "an hour has too many blocks to list the newer neighbours: ask with neighbours=0";
                ApiError::bad_request("neighbours", message)
            }
            error => query_error(error),
        })?;
        self.skipped += page.cost.skipped;
        Ok(page)
    }
}

/// Leaves out the farthest neighbours that an answer has no room for. A byte of JSON takes two at most where it is
/// embedded in another JSON text.
fn answer(record: &str, older: Vec<String>, newer: Vec<String>, skipped: u32) -> Response {
    let mut room = (MAX_QUERY_BYTES / 2).saturating_sub(record.len());
    let (mut kept_older, mut kept_newer) = (Vec::new(), Vec::new());
    let (mut older, mut newer) = (older.into_iter(), newer.into_iter());
    loop {
        let (left, right) = (older.next(), newer.next());
        let bytes = [&left, &right].into_iter().flatten().map(String::len).sum::<usize>();
        if bytes == 0 || bytes > room {
            break;
        }
        room -= bytes;
        kept_older.extend(left);
        kept_newer.extend(right);
    }
    let body = format!(
        "{{\"ok\":true,\"data\":{{\"record\":{record},\"older\":{},\"newer\":{},\"skipped\":{skipped}}}}}",
        array(&kept_older),
        array(&kept_newer),
    );
    with_skipped(text(http::StatusCode::OK, "application/json", body), skipped)
}
