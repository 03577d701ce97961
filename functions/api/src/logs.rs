//! Writing and querying records.

use http::StatusCode;
use logferry_core::logbook::budget::Budget;
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::new_entry::{Invalid, MAX_REQUEST_ID_BYTES};
use logferry_core::logbook::query::{
    Cost, DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET, Order, Query as Question, QueryError,
};
use logferry_core::logbook::tail::{After, TailError};
use logferry_core::logbook::write::{MAX_KEY_BYTES, WriteRequest};
use logferry_core::logbook::{new_entry, query, tail, write};
use logferry_core::model::entry_filter::EntryFilter;
use logferry_core::ports::apps::Apps;
use logferry_service::http::{
    Answer, ApiError, BodyBytes, ErrorShape, Measured, Operation, QueryParams, Response, State,
    envelope_error, text, text_header_schema,
};
use logferry_service::metrics::BLOCKS_SKIPPED;
use serde_json::{Value, json};
use tokio::time::Instant;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};

use crate::auth::{AsApp, AsCaller, Params, Read, Write};
use crate::doors::{is_otlp, otlp_errors, takes_otlp, write_otlp};
use crate::keys::IDEMPOTENCY_KEY_HEADER;
use crate::schema::{NewEntries, Record};
use crate::writes::{invalid, write_error};
use crate::{Cloud, Shared};

const REQUEST_ID_HEADER: &str = "x-request-id";

pub(crate) fn writes(operation: &mut Operation) {
    let record = operation.schemas.reference::<Record>();
    let stored = json!({"oneOf": [record, {"type": "array", "items": record}]});
    operation.answers_enveloped(200, "stored: the record, or of a batch the array", stored);
    let once = "The same request with the same key acts once, for 24 hours.";
    operation.takes("header", "Idempotency-Key", once, text_header_schema(MAX_KEY_BYTES));
    let fills = "Becomes the `request_id` of entries that have none.";
    operation.takes("header", "X-Request-ID", fills, text_header_schema(MAX_REQUEST_ID_BYTES));
    operation.errors.insert(422);
    operation.takes_body::<NewEntries>(true);
    let lines = json!({"description": "NDJSON: an entry a line. As in an array, an entry may \
        lack level and message; its level is INFO then."});
    operation.takes_body_as("application/x-ndjson", lines);
    takes_otlp(operation);
    operation.error_shape = ErrorShape { name: "Logs", schemas: error_schemas };
    let codings = "gzip, zstd, deflate or identity, in any case; at most 10 MiB decoded.";
    operation.takes(
        "header",
        "Content-Encoding",
        codings,
        json!({"type": "string", "examples": ["identity"]}),
    );
}

/// The envelope, or what clients of OTLP read.
fn error_schemas() -> Vec<(&'static str, Value)> {
    let schemas = otlp_errors().into_iter();
    let with_envelope = |(content_type, schema)| match content_type {
        "application/json" => (content_type, json!({"anyOf": [envelope_error(), schema]})),
        _ => (content_type, schema),
    };
    schemas.map(with_envelope).collect()
}

pub(crate) fn queries(operation: &mut Operation) {
    operation.errors.insert(404);
    let record = operation.schemas.reference::<Record>();
    let members = json!({
        "ok": {"const": true}, "data": {"type": "array", "items": record},
        "cursor": {"type": ["string", "null"], "description": "Where the next page begins; null on the last one, \
            and never with `after`."},
        "skipped": {"type": "integer", "description": "Blocks that could not be read."},
        "more": {"type": "boolean", "description": "Only with `after`: whether more has arrived already."},
    });
    let page =
        json!({"type": "object", "required": ["ok", "data", "cursor", "skipped"], "properties": members});
    operation.answers(200, "a page", page);
}

/// How NDJSON is labelled. Where it has a label of JSON, or none, its own bytes tell.
const NDJSON: [&str; 5] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/json-lines",
];

pub(crate) async fn write_logs<C: Cloud>(
    State(api): Shared<C>,
    by: AsApp<Write>,
    payload: BodyBytes,
) -> Answer {
    if is_otlp(&payload) {
        return Ok(write_otlp(&api, &by.app, by.head.now_ms, &payload).await);
    }
    let request_id = by.head.text_header(REQUEST_ID_HEADER, MAX_REQUEST_ID_BYTES)?;
    let idempotency_key = by.head.text_header(IDEMPOTENCY_KEY_HEADER, MAX_KEY_BYTES)?;
    let lines = NDJSON.contains(&payload.media_type.as_str());
    if !lines && !payload.may_be_json() && !payload.bytes.is_empty() {
        return Err(ApiError::unsupported(
            "send JSON or NDJSON, with Content-Type: application/json or application/x-ndjson",
        ));
    }
    let entries = new_entry::entries(&payload.bytes, lines).map_err(|bad| invalid(&bad))?;
    let now_ms = by.head.now_ms;
    let request =
        WriteRequest { request_id, idempotency_key, body: &payload.bytes, ..api.write_of(&by.app, now_ms)? };
    match write::write(&api.book, &request, &entries).await {
        Ok(stored) if entries.batch => Ok(enveloped(&array(&stored))),
        Ok(stored) => Ok(enveloped(stored.first().map_or("null", String::as_str))),
        Err(error) => Err(write_error(error, now_ms)),
    }
}

/// What `GET /logs` asks for.
#[derive(Debug)]
pub(crate) struct LogQuery {
    app_id: Option<String>,
    filter: Filter,
    order: Order,
    limit: usize,
    offset: usize,
    cursor: Option<String>,
    after: Option<After>,
    raw: bool,
}

impl Params for LogQuery {
    fn read(query: &mut QueryParams) -> Result<Self, ApiError> {
        let after = query.take("after").map(|text| After::parse(&text));
        if after.is_some()
            && let Some(other) =
                ["order", "cursor", "offset"].into_iter().find(|name| query.first(name).is_some())
        {
            return Err(ApiError::bad_request(other, format!("{other} cannot be combined with after")));
        }
        let limit = query.take_number("limit", 1, MAX_LIMIT as u64)?;
        let offset = query.take_number("offset", 0, MAX_OFFSET as u64)?.unwrap_or(0);
        let asked = Self {
            app_id: query.take("app_id"),
            filter: filter_of(query)?,
            order: Order::parse(query.take("order").as_deref())
                .map_err(|refusal| ApiError::bad_request("order", refusal))?,
            limit: limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(DEFAULT_LIMIT),
            offset: usize::try_from(offset).unwrap_or(MAX_OFFSET),
            cursor: query.take("cursor"),
            after,
            raw: query.take_flag("raw")?,
        };
        match query.unknown() {
            None => Ok(asked),
            Some(name) => Err(ApiError::bad_request(
                name,
                format!(
                    "{name} is not a parameter of this request: for a member of the records write field.{name}"
                ),
            )),
        }
    }
}

/// The parameters of [`LogQuery`], as the document shows them.
#[derive(IntoParams)]
#[expect(dead_code, reason = "only described, never made")]
struct LogParams {
    /// For the administration: of this app alone.
    app_id: Option<String>,
    /// Any of these levels, with commas between them: names, or numbers of pino such as `50`.
    #[param(example = "WARN,ERROR")]
    level: Option<String>,
    /// Not before this time: a duration before now such as `15m` or `3d` (s, m, h, d, w), a day, RFC 3339 with an
    /// offset, or milliseconds since the epoch.
    #[param(example = "3d")]
    since: Option<String>,
    /// Before this time.
    until: Option<String>,
    request_id: Option<String>,
    /// A part of the message, in any case.
    search: Option<String>,
    /// Where `search` looks.
    #[param(inline)]
    search_in: Option<SearchIn>,
    /// `field.{path}=value`: a condition on the values at a path of the entry, such as `field.res.statusCode=>=500`.
    /// A value may begin with an operator: `!`, `>`, `>=`, `<`, `<=`, `~` (contains); `*` alone: there is one.
    /// `context.{path}` is `field.context.{path}`. At most 32 conditions; all must hold.
    #[param(rename = "field.{path}")]
    field: Option<String>,
    /// `desc`, the default: newest first. `asc`: oldest first, of one app.
    #[param(inline)]
    order: Option<OrderName>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `cursor` of the page before, with the same filters.
    cursor: Option<String>,
    /// In the order of arrival, late records included, of one app: what arrived after this. `now`, a time as `since`
    /// takes it, of the last day, or the `cursor` of such an answer, which has one on every page.
    #[param(example = "now")]
    after: Option<String>,
    #[param(minimum = 0, maximum = 10_000)]
    offset: Option<u32>,
    /// Whether records have their entry, byte for byte, in `rawData`.
    raw: Option<bool>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only described, never made")]
enum SearchIn {
    Message,
    All,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "only described, never made")]
enum OrderName {
    Desc,
    Asc,
}

impl IntoParams for LogQuery {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        LogParams::into_params(place)
    }
}

pub(crate) async fn query_logs<C: Cloud>(State(api): Shared<C>, by: AsCaller<Read, LogQuery>) -> Answer {
    let budget = Budget::since(Instant::now());
    let AsCaller { caller, params: asked, head, .. } = by;
    asked.filter.check_range(head.now_ms).map_err(|bad| invalid(&bad))?;
    let app = api.app_asked_for(&caller, &head, asked.app_id.as_deref()).await?;
    let merged = app.is_none();
    if merged && asked.after.is_some() {
        return Err(tail_error(TailError::OneApp));
    }
    let apps = match app {
        Some(app) => vec![*app],
        None => api.apps.list().await?,
    };
    let question = Question {
        apps: &apps,
        merged,
        filter: &asked.filter,
        order: asked.order,
        limit: asked.limit,
        offset: asked.offset,
        cursor: asked.cursor.as_deref(),
        raw: asked.raw,
        now_ms: head.now_ms,
        budget,
    };
    if let Some(after) = &asked.after {
        let page = tail::tail(&api.book, &api.arrivals, &question, after).await.map_err(tail_error)?;
        let more = format!(",\"more\":{}", page.more);
        return Ok(answer(&page.records, Some(page.cursor), &page.cost, &more));
    }
    let page = query::query(&api.book, &question).await.map_err(query_error)?;
    Ok(answer(&page.records, page.cursor, &page.cost, ""))
}

fn answer(records: &[String], cursor: Option<String>, cost: &Cost, members: &str) -> Response {
    tracing::info!(
        query.pages = cost.pages,
        query.blocks = cost.blocks,
        query.opened = cost.opened,
        query.skipped = cost.skipped,
        query.read_units = cost.units,
        query.records = records.len(),
        "query answered"
    );
    let body = format!(
        "{{\"ok\":true,\"data\":{},\"cursor\":{},\"skipped\":{}{members}}}",
        array(records),
        Value::from(cursor),
        cost.skipped
    );
    with_skipped(text(StatusCode::OK, "application/json", body), cost.skipped)
}

/// Counts the blocks that an answer lacks in the metrics of its request.
pub(crate) fn with_skipped(mut response: Response, skipped: u32) -> Response {
    if skipped > 0 {
        response.extensions_mut().insert(Measured(vec![(BLOCKS_SKIPPED, skipped.into())]));
    }
    response
}

fn tail_error(error: TailError) -> ApiError {
    match error {
        TailError::BadCursor => ApiError::bad_request(
            "after",
            "after must be now, a time such as 15m, or the cursor of an answer with the same filters",
        ),
        TailError::TooOld => ApiError::bad_request(
            "after",
            "after is more than a day ago, and arrivals are kept for a day: query older records by their time",
        ),
        TailError::OneApp => ApiError::bad_request("after", "after is about one app: name it in app_id"),
        TailError::Fault(fault) => fault.into(),
    }
}

pub(crate) fn query_error(error: QueryError) -> ApiError {
    match error {
        QueryError::BadCursor => ApiError::bad_request("cursor", "cursor is not a cursor of this query"),
        QueryError::OffsetTooFar => {
            ApiError::bad_request("offset", "offset exceeds what one query reads: use cursor")
        }
        QueryError::OneAppOldestFirst => {
            ApiError::bad_request("order", "order=asc is about one app: name it in app_id")
        }
        QueryError::OffsetOldestFirst => {
            ApiError::bad_request("offset", "offset cannot be combined with order=asc: use cursor")
        }
        QueryError::HourTooLarge => ApiError::bad_request(
            "order",
            "an hour has too many blocks for order=asc: a later since within the hour may do, or order=desc",
        ),
        QueryError::Fault(fault) => fault.into(),
    }
}

pub(crate) fn filter_of(query: &mut QueryParams) -> Result<Filter, ApiError> {
    let entry = EntryFilter::read(query.take_all(EntryFilter::takes)).map_err(Invalid::from);
    let entry = entry.map_err(|bad| invalid(&bad))?;
    Ok(Filter { entry, since: query.take_time("since")?, until: query.take_time("until")? })
}

pub(crate) fn array(records: &[String]) -> String {
    format!("[{}]", records.join(","))
}

/// The envelope around JSON that is written already.
fn enveloped(data: &str) -> Response {
    text(StatusCode::OK, "application/json", format!("{{\"ok\":true,\"data\":{data}}}"))
}
