//! Responses and errors of the HTTP functions, and the envelope `{"ok": …}`.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use logferry_core::model::fault::{Fault, chain};
use logferry_core::model::quota::Exceeded;
use serde::Serialize;
use serde_json::{Value, json};

use crate::metrics::Metric;

/// What a handler answers.
pub type Answer = Result<Response, ApiError>;

/// Values that are emitted along with an answer; an extension of it.
#[derive(Debug, Clone, Default)]
pub struct Measured(pub Vec<(Metric, u64)>);

/// Any JSON, without the envelope.
#[must_use]
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(body) => text(status, "application/json", body),
        Err(error) => ApiError::internal(&error).into_response(),
    }
}

/// Text of a content type, not to be stored by caches.
#[must_use]
pub fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}

/// `{"ok": true, "data": …}` with 200.
#[must_use]
pub fn ok(body: &impl Serialize) -> Response {
    data(StatusCode::OK, body)
}

/// `{"ok": true, "data": …}`
#[must_use]
pub fn data(status: StatusCode, data: &impl Serialize) -> Response {
    #[derive(Serialize)]
    struct Envelope<'a, T> {
        ok: bool,
        data: &'a T,
    }
    json(status, &Envelope { ok: true, data })
}

/// A page of a list: `{"ok": true, "data": [], "cursor": …}`, null on the last one.
#[must_use]
pub fn listed(rows: &impl Serialize, cursor: Option<&str>) -> Response {
    #[derive(Serialize)]
    struct Page<'a, T> {
        ok: bool,
        data: &'a T,
        cursor: Option<&'a str>,
    }
    json(StatusCode::OK, &Page { ok: true, data: rows, cursor })
}

/// The answer with a header set.
#[must_use]
pub fn with_header(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The answer with the pause after which a client may retry, if it has one (s).
#[must_use]
pub fn with_pause(response: Response, retry_after_secs: Option<u32>) -> Response {
    match retry_after_secs {
        Some(secs) => with_header(response, RETRY_AFTER, &secs.to_string()),
        None => response,
    }
}

/// An error as the caller sees it. The log entry is written where the error occurs.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    pub status: StatusCode,
    /// A code such as `BAD_REQUEST`.
    pub code: &'static str,
    /// Human-readable.
    pub message: String,
    pub details: Option<Value>,
    pub retry_after_secs: Option<u32>,
}

impl ApiError {
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: None, retry_after_secs: None }
    }

    /// 400, naming the field.
    #[must_use]
    pub fn bad_request(field: &str, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message);
        error.details = Some(json!({"field": field}));
        error
    }

    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    /// 413.
    #[must_use]
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
    }

    /// 415.
    #[must_use]
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
    }

    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "CONFLICT", message)
    }

    /// 400 for a cursor that this list did not give.
    #[must_use]
    pub fn bad_cursor() -> Self {
        Self::bad_request("cursor", "cursor is not a cursor of this list")
    }

    /// 429 until the end of the day.
    #[must_use]
    pub fn over_quota(exceeded: &Exceeded, now_ms: i64) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "QUOTA_EXCEEDED", exceeded.to_string());
        error.details = Some(json!({"quota": exceeded.measure.as_str(), "limit": exceeded.limit}));
        error.retry_after_secs = Some(exceeded.retry_after_secs(now_ms));
        error
    }

    /// 429 until the end of the minute, after `limit` such requests.
    #[must_use]
    pub fn rate_limited(limit: u32, now_ms: i64) -> Self {
        let message = format!("more than {limit} requests in a minute");
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message);
        let left_ms = 60_000 - now_ms.rem_euclid(60_000);
        error.retry_after_secs = Some(u32::try_from(left_ms / 1000 + 1).unwrap_or(60));
        error
    }

    /// 500. The caller gets no details; our log has the error chain.
    #[must_use]
    pub fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error.chain = %chain(error), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "internal error")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(details) = self.details {
            error["details"] = details;
        }
        let body = json!({"ok": false, "error": error}).to_string();
        let response = text(self.status, "application/json", body);
        with_pause(response, self.retry_after_secs)
    }
}

impl From<Fault> for ApiError {
    /// 503 with Retry-After for retryable faults, 500 for the rest.
    fn from(fault: Fault) -> Self {
        if !fault.retryable() {
            return Self::internal(&fault);
        }
        tracing::warn!(error.chain = %chain(&fault), "a request met a passing fault");
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "a dependency is temporarily unavailable; try again",
        );
        error.retry_after_secs = Some(1);
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_have_the_envelope_and_name_the_field() {
        let response = ApiError::bad_request("level", "level must be …").into_response();
        assert_eq!(response.status(), 400);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"ok":false,"error":{"code":"BAD_REQUEST","message":"level must be …","details":{"field":"level"}}}"#
        );
    }
}
