//! The ledger as its owners see it: files, their bad records, and starting over.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use logferry_domain::app::App as Tenant;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::ledger::{FileRow, FileStatus, ReasonCode};
use logferry_domain::time::rfc3339_ms;
use logferry_ports::Files;
use logferry_ports::files::FilePosition;
use logferry_service::http::{ApiError, Request, Response};
use serde_json::{Value, json};

use crate::fields::{Fields, param_ms, param_number};
use crate::{App, Caller, Cloud};

const DEFAULT_LIMIT: u64 = 100;
const MAX_LIMIT: u64 = 1_000;
/// The longest key of an object in S3 (bytes).
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const MAX_S3_KEY_BYTES: usize = 1_024;
/// Files that one request starts over at most.
const MAX_REDRIVEN: u64 = 1_000;

impl<C: Cloud> App<C> {
    pub(crate) async fn list_files(&self, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
        let status = request.param("status").map(|text| status("status", text)).transpose()?;
        let since_ms = param_ms(request, "since")?.unwrap_or(0).max(0);
        let limit = param_number(request, "limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
        let app = self.app_asked_for(caller, request).await?;
        if let Some(key) = request.param("key") {
            let mut rows = self.files_of_key(app.as_ref(), key).await?;
            rows.retain(|row| status.is_none_or(|status| row.status == status) && row.created_ms >= since_ms);
            return Ok(listed(rows.iter().map(shown).collect(), None));
        }
        let app = app.ok_or_else(|| {
            ApiError::bad_request(
                "app_id",
                "app_id or key is required: files are listed by app, or found by key",
            )
        })?;
        let after = request.param("cursor").map(|text| decode(text).ok_or_else(bad_cursor)).transpose()?;
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        // What an earlier app of this id has left is not this app's.
        let since_ms = since_ms.max(app.created_ms);
        let page = self
            .files
            .of_app(&app.app_id, since_ms, status, limit, after.as_ref())
            .await
            .map_err(|fault| cursor_fault(fault, after.is_some()))?;
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
        let limit = param_number(request, "limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
        let after = param_number(request, "cursor", 0, u64::MAX)?;
        let app = self.app_asked_for(caller, request).await?;
        let rows = self.files_of_key(app.as_ref(), key).await?;
        let wanted = request.param("version");
        let object = rows
            .into_iter()
            .filter_map(|row| row.object)
            .find(|object| wanted.is_none_or(|version| object.version.as_str() == version))
            .ok_or_else(|| ApiError::not_found("no such file"))?;
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
        let fits = |row: &FileRow| {
            row.status == wanted
                && reason.is_none_or(|code| row.reason.as_ref().is_some_and(|r| r.code == code))
        };
        let rows = match (&key, &app) {
            (Some(key), app) => {
                let rows = self.files_of_key(app.as_ref(), key).await?;
                if rows.is_empty() {
                    return Err(ApiError::not_found("no such file"));
                }
                rows
            }
            (None, Some(app)) => {
                let most = u32::try_from(MAX_REDRIVEN).unwrap_or(u32::MAX);
                self.files.of_app(&app.app_id, app.created_ms, Some(wanted), most, None).await?.rows
            }
            (None, None) => {
                return Err(ApiError::bad_request(
                    "key",
                    "key is required, or X-App-ID for all files of an app",
                ));
            }
        };
        let mut redriven = 0;
        for row in rows.iter().filter(|row| fits(row)) {
            redriven += u64::from(self.files.redrive(row, now_ms).await?);
        }
        Ok(Response::ok(&json!({"redriven": redriven})))
    }

    /// The files of a key that the caller may see.
    async fn files_of_key(&self, app: Option<&Tenant>, key: &str) -> Result<Vec<FileRow>, ApiError> {
        // No object has a longer one, and the table would not take it.
        if key.len() > MAX_S3_KEY_BYTES {
            return Ok(Vec::new());
        }
        let mut rows = self.files.of_key(&self.settings.bucket, key).await?;
        if let Some(app) = app {
            rows.retain(|row| row.app_id.as_ref() == Some(&app.app_id) && row.created_ms >= app.created_ms);
        }
        Ok(rows)
    }
}

fn status(name: &str, text: &str) -> Result<FileStatus, ApiError> {
    FileStatus::parse(text).ok_or_else(|| {
        ApiError::bad_request(name, format!("{name} must be PENDING, PROCESSING, COMPLETED or FAILED"))
    })
}

fn bad_cursor() -> ApiError {
    ApiError::bad_request("cursor", "cursor is not one that this list has given")
}

fn cursor_fault(fault: Fault, with_cursor: bool) -> ApiError {
    if with_cursor && fault.class == FaultClass::Permanent { bad_cursor() } else { fault.into() }
}

fn decode(text: &str) -> Option<FilePosition> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok().map(FilePosition)
}

fn listed(rows: Vec<Value>, cursor: Option<String>) -> Response {
    Response::json(StatusCode::OK, &json!({"ok": true, "data": rows, "cursor": cursor}))
}

fn shown(row: &FileRow) -> Value {
    json!({
        "key": row.key, "version": row.object.as_ref().map(|object| object.version.as_str()),
        "app_id": row.app_id, "status": row.status, "reason": row.reason, "counts": row.counts,
        "size": row.size_bytes, "attempt": row.attempt, "created_at": rfc3339_ms(row.created_ms),
        "updated_at": rfc3339_ms(row.updated_ms), "processed_at": row.processed_ms.map(rfc3339_ms),
    })
}
