//! The ledger as its owners see it: files, their bad records, and starting over.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use logferry_core::ledger::files::{FilePosition, Files, Owner};
use logferry_core::ledger::row::{FileRow, FileStatus};
use logferry_core::logbook::answer::MAX_QUERY_BYTES;
use logferry_core::logbook::redrive;
use logferry_core::logfile::outcome::{FileCounts, Reason, ReasonCode, Warning};
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::model::app::{App, AppId};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::time::rfc3339_ms;
use logferry_core::model::time_bound::TimeBound;
use logferry_core::ports::app_admin::RedriveJob;
use logferry_service::http::{
    Answer, ApiError, Body, Fields, Json, Operation, QueryParams, State, data, listed, ok,
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{AsCaller, Manage, Params, Read};
use crate::counts::REMOVAL_TIME;
use crate::schema;
use crate::{Api, Cloud, Shared};

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1_000;
/// The longest key of an object, and the longest version (bytes).
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const MAX_KEY_BYTES: usize = 1_024;
const MAX_VERSION_BYTES: usize = 1_000;
/// The longest cursor (bytes): three keys of DynamoDB.
const MAX_CURSOR_BYTES: usize = 8_192;

#[derive(Debug, IntoParams)]
pub(crate) struct FileQuery {
    /// For the administration: of this app alone.
    app_id: Option<String>,
    #[param(value_type = Option<schema::FileStatus>)]
    status: Option<FileStatus>,
    /// First heard of at this time or later, as in `GET /logs`.
    #[param(value_type = Option<String>)]
    since: Option<TimeBound>,
    #[param(min_length = 1, max_length = 1024)]
    key: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: u32,
    /// The `cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<FilePosition>,
}

impl Params for FileQuery {
    fn read(query: &mut QueryParams) -> Result<Self, ApiError> {
        Ok(Self {
            app_id: query.take("app_id"),
            status: query.take("status").map(|text| status("status", &text)).transpose()?,
            since: query.take_time("since")?,
            key: query.take("key").map(object_key).transpose()?,
            limit: limit(query)?,
            cursor: query
                .take("cursor")
                .map(|text| decode(&text).ok_or_else(ApiError::bad_cursor))
                .transpose()?,
        })
    }
}

#[derive(Debug, IntoParams)]
pub(crate) struct QuarantineQuery {
    /// For the administration: of this app alone.
    app_id: Option<String>,
    #[param(min_length = 1, max_length = 1024)]
    key: String,
    /// Of this version of the object; without: of its newest.
    version: Option<String>,
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: u32,
    /// The `cursor` of the page before.
    cursor: Option<u64>,
}

impl Params for QuarantineQuery {
    fn read(query: &mut QueryParams) -> Result<Self, ApiError> {
        Ok(Self {
            app_id: query.take("app_id"),
            key: object_key(query.require("key")?)?,
            version: query.take("version"),
            limit: limit(query)?,
            cursor: query.take_number("cursor", 0, u64::MAX)?,
        })
    }
}

#[derive(Debug, IntoParams)]
pub(crate) struct OneApp {
    /// For the administration: of this app alone.
    app_id: Option<String>,
}

impl Params for OneApp {
    fn read(query: &mut QueryParams) -> Result<Self, ApiError> {
        Ok(Self { app_id: query.take("app_id") })
    }
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"reason": "ATTEMPTS_EXHAUSTED"}))]
pub(crate) struct Redrive {
    #[schema(min_length = 1, max_length = 1024)]
    key: Option<String>,
    /// FAILED (without it) or COMPLETED.
    #[schema(value_type = Option<schema::FileStatus>)]
    status: FileStatus,
    #[schema(value_type = Option<schema::ReasonCode>)]
    reason: Option<ReasonCode>,
}

impl Body for Redrive {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        let key = fields.take_text("key")?.map(object_key).transpose()?;
        let wanted = fields.take_text("status")?.map(|text| status("status", &text)).transpose()?;
        let status = wanted.unwrap_or(FileStatus::Failed);
        if !status.is_terminal() {
            return Err(ApiError::bad_request("status", "status must be FAILED or COMPLETED"));
        }
        let parse = |text: String| {
            ReasonCode::parse(&text)
                .ok_or_else(|| ApiError::bad_request("reason", "reason is not a known code"))
        };
        let reason = fields.take_text("reason")?.map(parse).transpose()?;
        Ok(Self { key, status, reason })
    }
}

/// A file of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct File {
    key: String,
    #[schema(required)]
    version: Option<String>,
    #[schema(value_type = Option<String>, required)]
    app_id: Option<AppId>,
    #[schema(value_type = schema::FileStatus)]
    status: FileStatus,
    #[schema(value_type = Option<schema::Reason>, required)]
    reason: Option<Reason>,
    #[schema(value_type = schema::FileCounts)]
    counts: FileCounts,
    /// Records by kind; see docs/formats.md.
    #[schema(value_type = Object)]
    kinds: Value,
    /// `MOSTLY_QUARANTINED`, or null.
    #[schema(value_type = Option<String>, required)]
    warning: Option<Warning>,
    #[schema(required)]
    size: Option<u64>,
    attempt: u32,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    #[schema(required, format = DateTime)]
    processed_at: Option<String>,
}

/// A bad record, or a range of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BadRecords<'a> {
    key: &'a str,
    version: &'a str,
    #[serde(flatten)]
    #[schema(value_type = schema::Quarantined)]
    row: &'a Quarantined,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Redriven {
    /// Files that this request has started over.
    redriven: u64,
    /// `false`: the rest is started in the background.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    complete: Option<bool>,
}

pub(crate) fn names_app(operation: &mut Operation) {
    operation.errors.insert(404);
}

pub(crate) fn redrives(operation: &mut Operation) {
    operation.answers_data::<Redriven>(202, "the rest is started in the background");
    operation.errors.insert(404);
}

pub(crate) async fn list_files<C: Cloud>(State(api): Shared<C>, by: AsCaller<Read, FileQuery>) -> Answer {
    let AsCaller { caller, params: asked, head, .. } = by;
    let (limit, after, status) = (asked.limit, asked.cursor, asked.status);
    let app = api.app_asked_for(&caller, &head, asked.app_id.as_deref()).await?;
    // What an earlier app of this id has left is not this app's.
    let since_ms = asked.since.map_or(0, |since| since.ms(head.now_ms)).max(0);
    let since_ms = since_ms.max(app.as_ref().map_or(0, |app| app.registered_ms));
    let app_id = app.as_ref().map(|app| &app.app_id);
    let page = match (&asked.key, app_id, status) {
        (Some(key), ..) => {
            let owner = app.as_deref().map(owner);
            api.files.of_key(&api.settings.bucket, key, owner, limit, after.as_ref()).await
        }
        (None, app_id, Some(FileStatus::Failed)) => {
            api.files.failed(app_id, since_ms, head.now_ms, limit, after.as_ref()).await
        }
        (None, Some(app_id), status) => {
            api.files.of_app(app_id, since_ms, status, limit, after.as_ref()).await
        }
        (None, None, _) => {
            let message = "app_id, key or status=FAILED is required: FAILED files are listed of all apps, \
                           others by app, or found by key";
            return Err(ApiError::bad_request("app_id", message));
        }
    };
    let mut page = page.map_err(|fault| cursor_fault(fault, after.is_some()))?;
    page.rows.retain(|row| {
        status.is_none_or(|status| row.status == status)
            && row.created_ms >= since_ms
            && app_id.is_none_or(|app_id| row.app_id.as_ref() == Some(app_id))
    });
    if asked.key.is_some() {
        page.rows.sort_by_key(|row| std::cmp::Reverse(row.created_ms));
    }
    let rows: Vec<File> = page.rows.iter().map(File::from).collect();
    Ok(listed(&rows, page.next.map(|next| URL_SAFE_NO_PAD.encode(next.0)).as_deref()))
}

pub(crate) async fn list_quarantined<C: Cloud>(
    State(api): Shared<C>,
    by: AsCaller<Read, QuarantineQuery>,
) -> Answer {
    let AsCaller { caller, params: asked, head, .. } = by;
    let app = api.app_asked_for(&caller, &head, asked.app_id.as_deref()).await?;
    let object = api.object_of_key(app.as_deref(), &asked.key, asked.version.as_deref()).await?;
    let object = object.ok_or_else(|| ApiError::not_found("no such file"))?;
    let page = api.files.quarantined(&object, asked.limit, asked.cursor).await?;
    let (key, version) = (asked.key.as_str(), object.version.as_str());
    let mut rows: Vec<_> = page.rows.iter().map(|row| BadRecords { key, version, row }).collect();
    let fitting = fitting(&rows);
    let is_cut = fitting < rows.len();
    rows.truncate(fitting);
    let next = if is_cut { rows.last().map(|last| last.row.ordinal) } else { page.next };
    Ok(listed(&rows, next.map(|ordinal| ordinal.to_string()).as_deref()))
}

pub(crate) async fn redrive<C: Cloud>(
    State(api): Shared<C>,
    by: AsCaller<Manage, OneApp>,
    Json { value: wish, .. }: Json<Redrive>,
) -> Answer {
    let now_ms = by.head.now_ms;
    let app = api.app_asked_for(&by.caller, &by.head, by.params.app_id.as_deref()).await?;
    if wish.status == FileStatus::Completed && wish.key.is_none() && app.is_none() {
        let message = "key or app_id is required: for all apps, only FAILED files are restarted";
        return Err(ApiError::bad_request("key", message));
    }
    let job = RedriveJob {
        app_id: app.as_ref().map(|app| app.app_id.clone()),
        registered_ms: app.as_ref().map_or(0, |app| app.registered_ms),
        key: wish.key,
        status: wish.status,
        reason: wish.reason,
        after: None,
        due_ms: now_ms,
    };
    let by_key = job.key.is_some();
    let (bucket, until) = (&api.settings.bucket, Instant::now() + REMOVAL_TIME);
    let done = redrive::redrive(&api.apps, &api.files, bucket, job, now_ms, until).await?;
    if by_key && done.complete && done.seen == 0 {
        return Err(ApiError::not_found("no such file"));
    }
    let redriven = done.redriven;
    Ok(match done.complete {
        true => ok(&Redriven { redriven, complete: None }),
        false => data(StatusCode::ACCEPTED, &Redriven { redriven, complete: Some(false) }),
    })
}

impl<C: Cloud> Api<C> {
    /// The object of a key that the caller may see: the one of this version, or else the newest of
    /// those that one call reads.
    async fn object_of_key(
        &self,
        app: Option<&App>,
        key: &str,
        version: Option<&str>,
    ) -> Result<Option<ObjectRef>, ApiError> {
        let bucket = &self.settings.bucket;
        let mut rows = match version {
            Some(version) if version.len() > MAX_VERSION_BYTES => Vec::new(),
            Some(version) => self.files.of_version(bucket, key, version).await?,
            None => self.files.of_key(bucket, key, app.map(owner), u32::MAX, None).await?.rows,
        };
        rows.retain(|row| app.is_none_or(|app| owner(app).owns(row)));
        rows.sort_by_key(|row| std::cmp::Reverse(row.created_ms));
        Ok(rows.into_iter().find_map(|row| row.object))
    }
}

/// Returns how many of these rows a page has room for: at least one. A byte of JSON takes two at most where it
/// is embedded in another JSON text.
fn fitting(rows: &[BadRecords<'_>]) -> usize {
    let mut room = MAX_QUERY_BYTES / 2;
    let fits = |row: &&BadRecords<'_>| {
        let bytes = serde_json::to_vec(row).map_or(usize::MAX, |json| json.len().saturating_add(1));
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    };
    rows.iter().take_while(fits).count().max(1)
}

fn owner(app: &App) -> Owner<'_> {
    Owner { app_id: &app.app_id, registered_ms: app.registered_ms }
}

/// A key that an object can have.
fn object_key(key: String) -> Result<String, ApiError> {
    let message = || format!("key must have 1 to {MAX_KEY_BYTES} bytes");
    let legal = (1..=MAX_KEY_BYTES).contains(&key.len());
    legal.then_some(key).ok_or_else(|| ApiError::bad_request("key", message()))
}

fn limit(query: &mut QueryParams) -> Result<u32, ApiError> {
    let limit = query.take_number("limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    Ok(u32::try_from(limit).unwrap_or(u32::MAX))
}

fn status(name: &str, text: &str) -> Result<FileStatus, ApiError> {
    FileStatus::parse(text).ok_or_else(|| {
        ApiError::bad_request(name, format!("{name} must be PENDING, PROCESSING, COMPLETED or FAILED"))
    })
}

fn cursor_fault(fault: Fault, with_cursor: bool) -> ApiError {
    if with_cursor && fault.class == FaultClass::Permanent { ApiError::bad_cursor() } else { fault.into() }
}

fn decode(text: &str) -> Option<FilePosition> {
    if text.len() > MAX_CURSOR_BYTES {
        return None;
    }
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok().map(FilePosition)
}

impl From<&FileRow> for File {
    fn from(row: &FileRow) -> Self {
        Self {
            key: row.key.clone(),
            version: row.object.as_ref().map(|object| object.version.as_str().to_owned()),
            app_id: row.app_id.clone(),
            status: row.status,
            reason: row.reason.clone(),
            counts: row.counts,
            kinds: row.findings.kinds_json(),
            warning: row.findings.warning,
            size: row.size_bytes,
            attempt: row.attempt,
            created_at: rfc3339_ms(row.created_ms),
            updated_at: rfc3339_ms(row.updated_ms),
            processed_at: row.processed_ms.map(rfc3339_ms),
        }
    }
}
