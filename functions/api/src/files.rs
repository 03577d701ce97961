//! The ledger for apps and operators: files, their bad records, and redrives.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use logferry_core::ledger::files::{FilePosition, Files};
use logferry_core::ledger::row::{FileRow, FileStatus};
use logferry_core::logbook::redrive;
use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::model::app::App as Tenant;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::app_admin::RedriveJob;
use logferry_service::http::{ApiError, Request, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::counts::REMOVAL_TIME;
use crate::fields::{Fields, param_ms, param_number};
use crate::{App, Caller, Cloud};

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1_000;
/// Maximum length of an object key, and of a version (bytes).
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const MAX_KEY_BYTES: usize = 1_024;
const MAX_VERSION_BYTES: usize = 1_000;
/// Maximum length of a cursor (bytes): three DynamoDB keys.
const MAX_CURSOR_BYTES: usize = 8_192;

impl<C: Cloud> App<C> {
    pub(crate) async fn list_files(
        &self,
        caller: &Caller,
        request: &Request,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let status = request.param("status").map(|text| status("status", text)).transpose()?;
        let since_ms = param_ms(request, "since")?.unwrap_or(0).max(0);
        let limit = param_number(request, "limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let after = request.param("cursor").map(|text| decode(text).ok_or_else(bad_cursor)).transpose()?;
        let key = request.param("key").map(object_key).transpose()?;
        let app = self.app_asked_for(caller, request).await?;
        // Files of an earlier app with this id do not belong to this app.
        let since_ms = since_ms.max(app.as_ref().map_or(0, |app| app.registered_ms));
        let app_id = app.as_ref().map(|app| &app.app_id);
        let page = match (key, app_id, status) {
            (Some(key), ..) => self.files.of_key(&self.settings.bucket, key, limit, after.as_ref()).await,
            (None, app_id, Some(FileStatus::Failed)) => {
                self.files.failed(app_id, since_ms, now_ms, limit, after.as_ref()).await
            }
            (None, Some(app_id), status) => {
                self.files.of_app(app_id, since_ms, status, limit, after.as_ref()).await
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
        if key.is_some() {
            page.rows.sort_by_key(|row| std::cmp::Reverse(row.created_ms));
        }
        Ok(listed(
            page.rows.iter().map(shown).collect(),
            page.next.map(|next| URL_SAFE_NO_PAD.encode(next.0)),
        ))
    }

    pub(crate) async fn list_quarantined(
        &self,
        caller: &Caller,
        request: &Request,
    ) -> Result<Response, ApiError> {
        let key = request.param("key").ok_or_else(|| crate::fields::required("key"))?;
        let key = object_key(key)?;
        let limit = param_number(request, "limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
        let after = param_number(request, "cursor", 0, u64::MAX)?;
        let app = self.app_asked_for(caller, request).await?;
        let object = self.object_of_key(app.as_ref(), key, request.param("version")).await?;
        let object = object.ok_or_else(|| ApiError::not_found("no such file"))?;
        let page = self.files.quarantined(&object, u32::try_from(limit).unwrap_or(u32::MAX), after).await?;
        let version = object.version.as_str();
        let rows = page.rows.iter().map(|row| {
            let mut shown = json!({"key": key, "version": version});
            if let (Value::Object(shown), Ok(Value::Object(row))) = (&mut shown, serde_json::to_value(row)) {
                shown.extend(row);
            }
            shown
        });
        Ok(listed(rows.collect(), page.next.map(|ordinal| ordinal.to_string())))
    }

    pub(crate) async fn redrive(
        &self,
        caller: &Caller,
        request: &Request,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let mut fields = Fields::of(request)?;
        let key = fields.take_text("key")?;
        let key = key.map(|key| object_key(&key).map(str::to_owned)).transpose()?;
        let wanted = fields.take_text("status")?.map(|text| status("status", &text)).transpose()?;
        let reason = fields.take_text("reason")?;
        fields.finish()?;
        let wanted = wanted.unwrap_or(FileStatus::Failed);
        if !wanted.is_terminal() {
            return Err(ApiError::bad_request("status", "status must be FAILED or COMPLETED"));
        }
        let parse = |text: &str| {
            ReasonCode::parse(text)
                .ok_or_else(|| ApiError::bad_request("reason", "reason is not a known code"))
        };
        let reason = reason.as_deref().map(parse).transpose()?;
        let app = self.app_asked_for(caller, request).await?;
        if wanted == FileStatus::Completed && key.is_none() && app.is_none() {
            let message = "key or app_id is required: for all apps, only FAILED files are restarted";
            return Err(ApiError::bad_request("key", message));
        }
        let job = RedriveJob {
            app_id: app.as_ref().map(|app| app.app_id.clone()),
            registered_ms: app.as_ref().map_or(0, |app| app.registered_ms),
            key,
            status: wanted,
            reason,
            after: None,
            due_ms: now_ms,
        };
        let by_key = job.key.is_some();
        let (bucket, until) = (&self.settings.bucket, Instant::now() + REMOVAL_TIME);
        let done = redrive::redrive(&self.apps, &self.files, bucket, job, now_ms, until).await?;
        if by_key && done.complete && done.seen == 0 {
            return Err(ApiError::not_found("no such file"));
        }
        Ok(match done.complete {
            true => Response::ok(&json!({"redriven": done.redriven})),
            false => {
                let left = json!({"redriven": done.redriven, "complete": false});
                Response::data(StatusCode::ACCEPTED, &left)
            }
        })
    }

    /// Returns the object of a key that the caller may see: the one of this version, or the newest of those
    /// that one call reads.
    async fn object_of_key(
        &self,
        app: Option<&Tenant>,
        key: &str,
        version: Option<&str>,
    ) -> Result<Option<ObjectRef>, ApiError> {
        let bucket = &self.settings.bucket;
        let mut rows = match version {
            Some(version) if version.len() > MAX_VERSION_BYTES => Vec::new(),
            Some(version) => self.files.of_version(bucket, key, version).await?,
            None => self.files.of_key(bucket, key, u32::MAX, None).await?.rows,
        };
        let own = |row: &FileRow, app: &Tenant| {
            row.app_id.as_ref() == Some(&app.app_id) && row.created_ms >= app.registered_ms
        };
        rows.retain(|row| app.is_none_or(|app| own(row, app)));
        rows.sort_by_key(|row| std::cmp::Reverse(row.created_ms));
        Ok(rows.into_iter().find_map(|row| row.object))
    }
}

/// Validates an object key.
fn object_key(key: &str) -> Result<&str, ApiError> {
    let message = || format!("key must have 1 to {MAX_KEY_BYTES} bytes");
    let legal = (1..=MAX_KEY_BYTES).contains(&key.len());
    legal.then_some(key).ok_or_else(|| ApiError::bad_request("key", message()))
}

fn status(name: &str, text: &str) -> Result<FileStatus, ApiError> {
    FileStatus::parse(text).ok_or_else(|| {
        ApiError::bad_request(name, format!("{name} must be PENDING, PROCESSING, COMPLETED or FAILED"))
    })
}

fn bad_cursor() -> ApiError {
    ApiError::bad_request("cursor", "cursor is not a cursor of this list")
}

fn cursor_fault(fault: Fault, with_cursor: bool) -> ApiError {
    if with_cursor && fault.class == FaultClass::Permanent { bad_cursor() } else { fault.into() }
}

fn decode(text: &str) -> Option<FilePosition> {
    if text.len() > MAX_CURSOR_BYTES {
        return None;
    }
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok().map(FilePosition)
}

fn listed(rows: Vec<Value>, cursor: Option<String>) -> Response {
    Response::json(StatusCode::OK, &json!({"ok": true, "data": rows, "cursor": cursor}))
}

fn shown(row: &FileRow) -> Value {
    json!({
        "key": row.key, "version": row.object.as_ref().map(|object| object.version.as_str()),
        "app_id": row.app_id, "status": row.status, "reason": row.reason, "counts": row.counts,
        "kinds": row.findings.kinds_json(), "warning": row.findings.warning,
        "size": row.size_bytes, "attempt": row.attempt, "created_at": rfc3339_ms(row.created_ms),
        "updated_at": rfc3339_ms(row.updated_ms), "processed_at": row.processed_ms.map(rfc3339_ms),
    })
}
