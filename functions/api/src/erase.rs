//! Erasing the records that match a filter: a preview, or a job that `sweep` works on.

use std::collections::BTreeMap;

use http::StatusCode;
use logferry_core::logbook::erase;
use logferry_core::logbook::erase::{MAX_DAYS, Wanted};
use logferry_core::model::app::App;
use logferry_core::model::entry_filter::EntryFilter;
use logferry_core::model::ids::RecordId;
use logferry_core::model::ids::Seed;
use logferry_core::model::time::{MS_PER_DAY, rfc3339_ms};
use logferry_core::ports::erasures::{Erasure, ErasureKey, Erasures};
use logferry_service::http::{Answer, ApiError, Body, Fields, Json, Operation, PathPart, State, data, ok};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::alerts::filter;
use crate::auth::{Manage, OnApp};
use crate::counts::REMOVAL_TIME;
use crate::remains::{Remaining, not_reached};
use crate::{Api, Cloud, Shared};

/// Unfinished erasures of an app at most.
const MAX_UNFINISHED: usize = 5;

#[derive(Debug, ToSchema)]
#[schema(example = json!({"filter": {"field.userId": "u-4711"}, "since": "2024-01-01T00:00:00Z",
    "until": "2024-04-01T00:00:00Z", "dry_run": true}))]
pub(crate) struct EraseWish {
    /// Filters by the names of the query parameters of `GET /logs`: `level`, `search`, `search_in`, `request_id`,
    /// `field.{path}`, `context.{path}`. At least one.
    #[schema(value_type = Object)]
    filter: BTreeMap<String, String>,
    #[schema(ignore)]
    compiled: EntryFilter,
    /// Included: RFC 3339, or milliseconds since the epoch; from 2000 to 2100.
    #[schema(value_type = Value)]
    since: i64,
    /// Excluded.
    #[schema(value_type = Value)]
    until: i64,
    /// Only count what would be erased.
    #[schema(value_type = Option<bool>)]
    dry_run: bool,
}

impl Body for EraseWish {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        let (filter, compiled) = filter(Some(fields.require("filter")?))?;
        if compiled.is_empty() {
            let message = "filter must have a filter; use prune to delete everything before a time";
            return Err(ApiError::bad_request("filter", message));
        }
        let (since, until) = (fields.require_record_ms("since")?, fields.require_record_ms("until")?);
        if until <= since {
            return Err(ApiError::bad_request("until", "until must be later than since"));
        }
        if until - since > MAX_DAYS * MS_PER_DAY {
            let message = format!("until must be at most {MAX_DAYS} days later than since");
            return Err(ApiError::bad_request("until", message));
        }
        Ok(Self { filter, compiled, since, until, dry_run: fields.take_flag("dry_run")?.unwrap_or(false) })
    }
}

/// What an erasure would erase.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErasurePreview)]
pub(crate) struct Previewed {
    dry_run: bool,
    records: u64,
    blocks: u64,
    /// Uploaded files that would be removed as a whole.
    files: u64,
    unreadable_blocks: u64,
    /// `false`: the time was over; there may be more.
    complete: bool,
    remains: Vec<Remaining>,
}

/// An erasure, and what it does not reach.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Erasure)]
pub(crate) struct ShownErasure {
    #[schema(pattern = "^[0-9a-f]{32}$")]
    job_id: String,
    /// `pending`; `verifying`: everything found is erased, and one more pass follows; `complete`.
    #[schema(example = "pending")]
    state: &'static str,
    /// Without its values when the job is complete.
    #[schema(value_type = Object)]
    filter: BTreeMap<String, String>,
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    until: String,
    #[schema(format = DateTime)]
    requested_at: String,
    #[schema(required, format = DateTime)]
    completed_at: Option<String>,
    /// Erased so far, at least.
    records: u64,
    blocks: u64,
    /// Uploaded files that were removed.
    files: u64,
    /// Blocks that cannot be read: they may have matching records until they expire.
    unreadable_blocks: u64,
    remains: Vec<Remaining>,
}

pub(crate) fn erases(operation: &mut Operation) {
    operation.answers_data::<Previewed>(200, "what would be erased");
    operation.answers_data::<ShownErasure>(202, "accepted; `sweep` works on it");
    operation.errors.insert(409);
}

pub(crate) fn lists(operation: &mut Operation) {
    operation.answers_data_array::<ShownErasure>(200, "done");
}

pub(crate) fn takes_job(operation: &mut Operation) {
    let schema = json!({"type": "string", "pattern": "^[0-9a-f]{32}$",
        "examples": ["0123456789abcdef0123456789abcdef"]});
    operation.takes("path", "job", "The `job_id` of an erasure.", schema);
}

pub(crate) async fn erase_records<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Manage>,
    Json { value: wish, .. }: Json<EraseWish>,
) -> Answer {
    let (app, now_ms) = (&on.app, on.head.now_ms);
    let retentions = &api.settings.retentions;
    if wish.dry_run {
        let wanted = Wanted { app, filter: &wish.compiled, since_ms: wish.since, until_ms: wish.until };
        let found = erase::preview(&api.book, &wanted, now_ms, Instant::now() + REMOVAL_TIME).await?;
        return Ok(ok(&Previewed {
            dry_run: true,
            records: found.records,
            blocks: found.blocks,
            files: found.objects,
            unreadable_blocks: found.unreadable,
            complete: found.complete,
            remains: retentions.remaining(app, now_ms, true),
        }));
    }
    let job = Erasure::new(key_of(app, &wish), wish.filter, wish.since, wish.until, now_ms);
    let mut others = unfinished(&api, app).await?;
    others.retain(|other| other.key != job.key);
    if others.len() >= MAX_UNFINISHED {
        let ids: Vec<_> = others.iter().map(|other| other.key.job_id.as_str()).collect();
        let message =
            format!("an app has at most {MAX_UNFINISHED} unfinished erasures, and has {}", ids.join(", "));
        return Err(ApiError::conflict(message));
    }
    let shown = match api.apps.begin_erasure(&job).await? {
        true => job,
        // The same request has come before.
        false => api.apps.erasure(&job.key).await?.unwrap_or(job),
    };
    Ok(data(StatusCode::ACCEPTED, &show(shown, retentions.remaining(app, now_ms, true))))
}

pub(crate) async fn show_erasure<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Manage>,
    part: PathPart,
) -> Answer {
    let app = &on.app;
    let job_id = part.get("job");
    let unknown = || ApiError::not_found("no such erasure");
    if RecordId::parse(job_id).is_none() {
        return Err(unknown());
    }
    let job = api.apps.erasure(&ErasureKey::of(app, job_id)).await?.ok_or_else(unknown)?;
    let erased_ms = job.completed_ms.unwrap_or(on.head.now_ms);
    let remains = api.settings.retentions.remaining(app, erased_ms, true);
    Ok(ok(&show(job, remains)))
}

pub(crate) async fn list_erasures<C: Cloud>(State(api): Shared<C>, on: OnApp<Manage>) -> Answer {
    let jobs = unfinished(&api, &on.app).await?;
    let remains = api.settings.retentions.remaining(&on.app, on.head.now_ms, true);
    Ok(ok(&jobs.into_iter().map(|job| show(job, remains.clone())).collect::<Vec<_>>()))
}

/// Returns an app's unfinished erasures, oldest first.
async fn unfinished<C: Cloud>(api: &Api<C>, app: &App) -> Result<Vec<Erasure>, ApiError> {
    let mut jobs = api.apps.erasures().await?;
    jobs.retain(|job| (&job.key.app_id, job.key.registered_ms) == (&app.app_id, app.registered_ms));
    jobs.sort_by_key(|job| job.requested_ms);
    Ok(jobs)
}

/// The same request has the same id.
fn key_of(app: &App, wish: &EraseWish) -> ErasureKey {
    let filter = json!(wish.filter).to_string();
    let range = [wish.since, wish.until, app.registered_ms].map(i64::to_be_bytes).concat();
    let seed = Seed::of(&[app.app_id.as_str().as_bytes(), filter.as_bytes(), &range]);
    ErasureKey::of(app, seed.record_id(0).to_string())
}

fn show(job: Erasure, mut remains: Vec<Remaining>) -> ShownErasure {
    remains.extend(not_reached(job.not_reached));
    let state = match (job.completed_ms, job.last_pass) {
        (Some(_), _) => "complete",
        (None, true) => "verifying",
        (None, false) => "pending",
    };
    ShownErasure {
        job_id: job.key.job_id,
        state,
        filter: job.filter,
        since: rfc3339_ms(job.since_ms),
        until: rfc3339_ms(job.until_ms),
        requested_at: rfc3339_ms(job.requested_ms),
        completed_at: job.completed_ms.map(rfc3339_ms),
        records: job.records,
        blocks: job.blocks,
        files: job.objects,
        unreadable_blocks: job.unreadable,
        remains,
    }
}
