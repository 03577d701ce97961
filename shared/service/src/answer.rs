//! Responses and errors of the HTTP functions, and the envelope `{"ok": …}`.

use aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use aws_lambda_events::encodings::Body;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use logferry_core::model::fault::{Fault, chain};
use logferry_core::model::quota::Exceeded;
use serde::Serialize;
use serde_json::{Value, json};

use crate::metrics::Metric;

/// Two years, as required by <https://hstspreload.org>.
const HSTS: &str = "max-age=63072000";
/// For images that browsers may open directly: they load and run nothing.
const SVG_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// A response.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
    /// Emitted together with the response.
    pub metrics: Vec<(Metric, u64)>,
}

impl Response {
    /// Any JSON, without the envelope.
    #[must_use]
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_string(body) {
            Ok(body) => Self::text(status, "application/json", body),
            Err(error) => ApiError::internal(&error).response(),
        }
    }

    /// Text with a content type.
    #[must_use]
    pub fn text(status: StatusCode, content_type: &'static str, body: String) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { status, headers, body, metrics: Vec::new() }
    }

    /// `{"ok": true, "data": …}` with 200.
    #[must_use]
    pub fn ok(data: &impl Serialize) -> Self {
        Self::data(StatusCode::OK, data)
    }

    /// `{"ok": true, "data": …}`
    #[must_use]
    pub fn data(status: StatusCode, data: &impl Serialize) -> Self {
        #[derive(Serialize)]
        struct Envelope<'a, T> {
            ok: bool,
            data: &'a T,
        }
        Self::json(status, &Envelope { ok: true, data })
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Adds what every response has: the request's id, in a header and in the body of an error; headers
    /// against content sniffing, plain HTTP and scripts in images; and on a 401 how to authenticate.
    pub(crate) fn finished(mut self, function: &str, request_id: &str) -> Self {
        if self.status.is_client_error() || self.status.is_server_error() {
            self.body = with_request_id(self.body, request_id);
        }
        self = self
            .with_header(HeaderName::from_static("x-request-id"), request_id)
            .with_header(http::header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .with_header(http::header::STRICT_TRANSPORT_SECURITY, HSTS);
        if self
            .headers
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"image/svg"))
        {
            self = self.with_header(http::header::CONTENT_SECURITY_POLICY, SVG_POLICY);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = match function {
                // presign also accepts tokens.
                "presign" => r#"ApiKey realm="logferry", Bearer realm="logferry""#,
                _ => r#"ApiKey realm="logferry""#,
            };
            self = self.with_header(http::header::WWW_AUTHENTICATE, challenge);
        }
        self
    }

    /// Converts to the gateway's format.
    #[must_use]
    pub fn into_event(self) -> ApiGatewayV2httpResponse {
        let mut event = ApiGatewayV2httpResponse::default();
        event.status_code = i64::from(self.status.as_u16());
        event.headers = self.headers;
        event.body = Some(Body::Text(self.body));
        event
    }
}

/// Adds the request's id to the body of an error, if it is an object.
fn with_request_id(body: String, request_id: &str) -> String {
    match serde_json::from_str(&body) {
        Ok(Value::Object(mut members)) => {
            members.insert("request_id".to_owned(), request_id.into());
            Value::Object(members).to_string()
        }
        _ => body,
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

    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "CONFLICT", message)
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

    #[must_use]
    pub fn response(&self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(details) = &self.details {
            error["details"] = details.clone();
        }
        let body = json!({"ok": false, "error": error}).to_string();
        let response = Response::text(self.status, "application/json", body);
        match self.retry_after_secs {
            Some(secs) => response.with_header(http::header::RETRY_AFTER, &secs.to_string()),
            None => response,
        }
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

impl From<ApiError> for Response {
    fn from(error: ApiError) -> Self {
        error.response()
    }
}
