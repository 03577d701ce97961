//! Counting records per bucket of time and level.

use logferry_core::logbook::budget::Budget;
use logferry_core::logbook::filter::Filter;
use logferry_core::logbook::histogram::{self, MAX_BUCKETS, Question};
use logferry_core::model::level::Level;
use logferry_core::model::time::{EARLIEST_MS, LATEST_MS, MS_PER_DAY, rfc3339_ms};
use logferry_core::ports::apps::Apps;
use logferry_service::http::{Answer, ApiError, Operation, QueryParams, State, ok};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};

use crate::auth::{AsCaller, Params, Read};
use crate::logs::{filter_of, with_skipped};
use crate::writes::invalid;
use crate::{Cloud, Shared};

/// What `GET /logs/counts` asks for.
#[derive(Debug)]
pub(crate) struct CountQuery {
    app_id: Option<String>,
    filter: Filter,
    bucket_ms: Option<i64>,
}

impl Params for CountQuery {
    fn read(query: &mut QueryParams) -> Result<Self, ApiError> {
        let widest = u64::try_from(LATEST_MS - EARLIEST_MS).unwrap_or(u64::MAX);
        let bucket_ms = query.take_number("bucket_ms", 1_000, widest)?;
        Ok(Self {
            app_id: query.take("app_id"),
            filter: filter_of(query)?,
            bucket_ms: bucket_ms.and_then(|ms| i64::try_from(ms).ok()),
        })
    }
}

/// The parameters of [`CountQuery`], as the document shows them.
#[derive(IntoParams)]
#[expect(dead_code, reason = "only described, never made")]
struct CountParams {
    /// For the administration: of this app alone.
    app_id: Option<String>,
    /// Any of these levels, with commas between them: names, or numbers of pino such as `50`.
    #[param(example = "WARN,ERROR")]
    level: Option<String>,
    /// Not before this time, by default a day before `until`.
    since: Option<String>,
    /// Before this time, by default now.
    until: Option<String>,
    request_id: Option<String>,
    /// As of `GET /logs`, which `search_in`, `field.{path}` and `context.{path}` are too; a filter on the content
    /// of records must read them.
    search: Option<String>,
    /// The width of a bucket; by default a round one with which there are at most 75.
    #[param(minimum = 1000, example = 3_600_000)]
    bucket_ms: Option<u64>,
}

impl IntoParams for CountQuery {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        CountParams::into_params(place)
    }
}

/// Records of a bucket.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Bucket {
    #[schema(format = DateTime)]
    start: String,
    debug: i64,
    info: i64,
    warn: i64,
    error: i64,
}

/// Records per bucket, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Counts {
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    until: String,
    bucket_ms: i64,
    buckets: Vec<Bucket>,
    /// Records before this time are not counted: the answer has read as much as one answer may. Ask again with
    /// it as `until`, and add the counts. Null: all are counted.
    #[schema(required, format = DateTime)]
    complete_from: Option<String>,
    /// Blocks that could not be read.
    skipped: u32,
}

pub(crate) fn counts(operation: &mut Operation) {
    operation.errors.insert(404);
}

pub(crate) async fn count_logs<C: Cloud>(State(api): Shared<C>, by: AsCaller<Read, CountQuery>) -> Answer {
    let budget = Budget::since(Instant::now());
    let AsCaller { caller, params: asked, head, .. } = by;
    let now_ms = head.now_ms;
    asked.filter.check_range(now_ms).map_err(|bad| invalid(&bad))?;
    let until_ms = asked.filter.until.map_or(now_ms + 1, |until| until.ms(now_ms));
    let until_ms = until_ms.clamp(EARLIEST_MS, LATEST_MS);
    let since_ms = asked.filter.since.map_or(until_ms - MS_PER_DAY, |since| since.ms(now_ms));
    let since_ms = since_ms.clamp(EARLIEST_MS, until_ms);
    let bucket_ms = asked.bucket_ms.unwrap_or_else(|| histogram::width_ms(since_ms, until_ms));
    if histogram::bucket_count(since_ms, until_ms, bucket_ms) > MAX_BUCKETS {
        let message = format!("bucket_ms is too small: the range would have more than {MAX_BUCKETS} buckets");
        return Err(ApiError::bad_request("bucket_ms", message));
    }
    let app = api.app_asked_for(&caller, &head, asked.app_id.as_deref()).await?;
    let apps = match app {
        Some(app) => vec![*app],
        None => api.apps.list().await?,
    };
    let question =
        Question { apps: &apps, filter: &asked.filter, since_ms, until_ms, bucket_ms, now_ms, budget };
    let counted = histogram::count(&api.book, &question).await?;
    tracing::info!(
        counts.buckets = counted.buckets.len(),
        counts.read_units = counted.read_units,
        counts.skipped = counted.skipped,
        counts.complete = counted.complete_from_ms.is_none(),
        "records counted"
    );
    if counted.complete_from_ms == Some(until_ms) {
        let (field, message) = match apps.len() {
            1 => ("since", "the newest records cannot be counted in time: ask with a later since"),
            _ => ("app_id", "the records of all apps cannot be counted in time: name one in app_id"),
        };
        return Err(ApiError::bad_request(field, message));
    }
    let buckets = counted.buckets.iter().map(|(start_ms, levels)| Bucket {
        start: rfc3339_ms(*start_ms),
        debug: levels[Level::Debug],
        info: levels[Level::Info],
        warn: levels[Level::Warn],
        error: levels[Level::Error],
    });
    let response = ok(&Counts {
        since: rfc3339_ms(since_ms),
        until: rfc3339_ms(until_ms),
        bucket_ms,
        buckets: buckets.collect(),
        complete_from: counted.complete_from_ms.map(rfc3339_ms),
        skipped: counted.skipped,
    });
    Ok(with_skipped(response, counted.skipped))
}
