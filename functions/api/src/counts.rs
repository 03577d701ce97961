//! Counting records, and taking them away.

use std::time::Duration;

use logferry_core::logbook::stats::{DEFAULT_DAYS, MAX_DAYS};
use logferry_core::logbook::{prune, stats};
use logferry_core::model::level::Level;
use logferry_service::http::{Answer, ApiError, Body, Fields, Json, Operation, QueryParams, State, ok};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Manage, OnApp, Params, Read, no_such_app};
use crate::remains::Remaining;
use crate::{Cloud, Shared};

/// How long a request removes what it has made invisible, or starts files over; a sweep does the rest. The HTTP API waits
/// 30 s for an answer.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
pub(crate) const REMOVAL_TIME: Duration = Duration::from_secs(12);

#[derive(Debug, IntoParams)]
pub(crate) struct StatsParams {
    /// How many days.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 3660, example = 7)]
    days: u32,
}

impl Params for StatsParams {
    fn read(query: &mut QueryParams) -> Result<Self, ApiError> {
        let days = query.take_number("days", 1, u64::from(MAX_DAYS))?;
        Ok(Self { days: days.and_then(|days| u32::try_from(days).ok()).unwrap_or(DEFAULT_DAYS) })
    }
}

/// Records of a day.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DayCount {
    #[schema(format = Date)]
    date: String,
    debug: i64,
    info: i64,
    warn: i64,
    error: i64,
}

pub(crate) fn lists_days(operation: &mut Operation) {
    operation.answers_data_array::<DayCount>(200, "done");
}

pub(crate) async fn stats<C: Cloud>(State(api): Shared<C>, on: OnApp<Read, StatsParams>) -> Answer {
    let counted = stats::days(&api.book, &on.app, on.params.days, on.head.now_ms).await?;
    let shown: Vec<DayCount> = counted
        .into_iter()
        .map(|(day, levels)| DayCount {
            date: day.to_string(),
            debug: levels[Level::Debug],
            info: levels[Level::Info],
            warn: levels[Level::Warn],
            error: levels[Level::Error],
        })
        .collect();
    Ok(ok(&shown))
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"before": "2024-01-01T00:00:00Z"}))]
pub(crate) struct Prune {
    /// RFC 3339, or milliseconds since the epoch; from 2000 to 2100.
    #[schema(value_type = Value)]
    before: i64,
}

impl Body for Prune {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self { before: fields.require_record_ms("before")? })
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pruned {
    /// Records deleted by now.
    deleted: u64,
    /// `false`: the rest is deleted in the background.
    complete: bool,
    /// Where copies of deleted records stay.
    remains: Vec<Remaining>,
}

pub(crate) async fn prune<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Manage>,
    Json { value: Prune { before }, .. }: Json<Prune>,
) -> Answer {
    let until = Instant::now() + REMOVAL_TIME;
    let pruned = prune::prune(&api.apps, &api.book, &on.app, before, on.head.now_ms, until).await?;
    let pruned = pruned.ok_or_else(no_such_app)?;
    let remains = api.settings.retentions.remaining(&on.app, on.head.now_ms, false);
    Ok(ok(&Pruned { deleted: pruned.deleted, complete: pruned.complete, remains }))
}
