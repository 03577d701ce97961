//! HTTP as API Gateway hands it over (payload format 2.0): a plain request and a plain response,
//! and the envelope `{"ok": …}`.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body;
use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use logferry_domain::fault::{Fault, chain};
use logferry_domain::quota::Exceeded;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::Instrument as _;

use crate::audit::{Entry, Trail};
use crate::metrics::{Emission, Metric, REQUEST_ERRORS, REQUESTS, REQUESTS_REFUSED, REQUESTS_THROTTLED};

/// Two years, as <https://hstspreload.org> asks for.
const HSTS: &str = "max-age=63072000";
/// For pictures that browsers may open by themselves: they load and run nothing.
const SVG_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// A request, decoded: dispatch on `path`, never on the gateway's route key.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    /// As it came, percent-encoding kept, without the query string.
    pub path: String,
    /// In order, decoded, repeated names kept.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// API Gateway's request id, for our own logs.
    pub request_id: String,
    pub source_ip: Option<String>,
    pub trail: Trail,
}

impl Request {
    /// Reads the gateway's event.
    ///
    /// # Errors
    /// A 400 when the body says that it is base64 and is not, or the query string is not UTF-8.
    pub fn from_event(event: ApiGatewayV2httpRequest) -> Result<Self, ApiError> {
        let context = event.request_context;
        let body =
            match event.body {
                None => Vec::new(),
                Some(text) if event.is_base64_encoded => base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .map_err(|_| ApiError::bad_request("body", "the body is not valid base64"))?,
                Some(text) => text.into_bytes(),
            };
        let raw_query = event.raw_query_string.unwrap_or_default();
        if percent_encoding::percent_decode_str(&raw_query).decode_utf8().is_err() {
            return Err(ApiError::bad_request("query", "the query string must be UTF-8"));
        }
        let query = form_urlencoded(&raw_query);
        Ok(Self {
            method: context.http.method,
            path: event.raw_path.unwrap_or_else(|| "/".to_owned()),
            query,
            headers: event.headers,
            body,
            request_id: context.request_id.unwrap_or_default(),
            source_ip: context.http.source_ip,
            trail: Trail::default(),
        })
    }

    /// A header's value, where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The first value of a query parameter.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON of a type.
    ///
    /// # Errors
    /// A 400 that says what is wrong, and where.
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        if self.body.is_empty() {
            return Err(ApiError::bad_request("body", "a JSON body is required"));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| ApiError::bad_request("body", format!("the body is not as expected: {error}")))
    }
}

/// Answers one event of the gateway by `handle`, and counts it as a request of this function.
pub async fn serve(
    function: &'static str,
    metrics_namespace: &str,
    event: ApiGatewayV2httpRequest,
    now_ms: i64,
    handle: impl AsyncFnOnce(&Request) -> Response,
) -> ApiGatewayV2httpResponse {
    let request_id = event.request_context.request_id.clone().unwrap_or_default();
    // HEAD is GET without the body.
    let is_head = event.request_context.http.method == Method::HEAD;
    // Every line that is written meanwhile carries the id.
    let span = tracing::error_span!("request", request_id);
    let response = async {
        let mut request = match Request::from_event(event) {
            Ok(request) => request,
            Err(error) => return Response::from(error),
        };
        if is_head {
            request.method = Method::GET;
        }
        let response = Box::pin(handle(&request)).await;
        if let Some(entry) = Entry::of(&request, response.status) {
            entry.write();
        }
        response
    };
    let response = response.instrument(span).await;
    let status = response.status;
    let emission = Emission::new(metrics_namespace)
        .dimension("Function", function)
        .value(REQUESTS, 1)
        .value(REQUEST_ERRORS, u64::from(status.is_server_error()))
        .value(REQUESTS_REFUSED, u64::from(matches!(status.as_u16(), 401 | 403)))
        .value(REQUESTS_THROTTLED, u64::from(status == StatusCode::TOO_MANY_REQUESTS));
    let emission = response.metrics.iter().fold(emission, |all, (metric, n)| all.value(*metric, *n));
    emission.emit(now_ms);
    let mut response = response.finished(function, &request_id);
    if is_head {
        response.body.clear();
    }
    response.into_event()
}

/// A path of ours without the version in front of it, where there is one.
#[must_use]
pub fn unversioned(path: &str) -> &str {
    path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// The pairs of a query string, decoded, in order.
#[must_use]
pub fn form_urlencoded(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
    /// Emitted along with the answer.
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

    /// Text of a content type.
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

    /// With what every answer carries: the request's id, in a header and in the body of an error; what
    /// keeps browsers from guessing, from plain HTTP and from running pictures; and on a 401 how to
    /// authenticate.
    fn finished(mut self, function: &str, request_id: &str) -> Self {
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
                // Tokens open it as well.
                "presign" => r#"ApiKey realm="logferry", Bearer realm="logferry""#,
                _ => r#"ApiKey realm="logferry""#,
            };
            self = self.with_header(http::header::WWW_AUTHENTICATE, challenge);
        }
        self
    }

    /// What the gateway expects.
    #[must_use]
    pub fn into_event(self) -> ApiGatewayV2httpResponse {
        let mut event = ApiGatewayV2httpResponse::default();
        event.status_code = i64::from(self.status.as_u16());
        event.headers = self.headers;
        event.body = Some(Body::Text(self.body));
        event
    }
}

/// The body of an error, if it is an object, with the request's id.
fn with_request_id(body: String, request_id: &str) -> String {
    match serde_json::from_str(&body) {
        Ok(Value::Object(mut members)) => {
            members.insert("request_id".to_owned(), request_id.into());
            Value::Object(members).to_string()
        }
        _ => body,
    }
}

/// A refusal or failure: what the caller sees. What our log sees is written where it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    pub status: StatusCode,
    /// For programs, such as `BAD_REQUEST`.
    pub code: &'static str,
    /// For people.
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

    /// 429 until the day is over.
    #[must_use]
    pub fn over_quota(exceeded: &Exceeded, now_ms: i64) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "QUOTA_EXCEEDED", exceeded.to_string());
        error.details = Some(json!({"quota": exceeded.measure.as_str(), "limit": exceeded.limit}));
        error.retry_after_secs = Some(exceeded.retry_after_secs(now_ms));
        error
    }

    /// 429 until the minute is over, in which there were `limit` such requests.
    #[must_use]
    pub fn rate_limited(limit: u32, now_ms: i64) -> Self {
        let message = format!("more than {limit} requests in a minute");
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message);
        let left_ms = 60_000 - now_ms.rem_euclid(60_000);
        error.retry_after_secs = Some(u32::try_from(left_ms / 1000 + 1).unwrap_or(60));
        error
    }

    /// 500. The caller learns nothing; our log gets the chain.
    #[must_use]
    pub fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error.chain = %chain(error), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "something went wrong on our side")
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
    /// 503 with Retry-After for what passes, 500 for the rest.
    fn from(fault: Fault) -> Self {
        if !fault.retryable() {
            return Self::internal(&fault);
        }
        tracing::warn!(error.chain = %chain(&fault), "a request met a passing fault");
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "a service behind this one is not available; try again",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_envelope_and_name_the_field() {
        let response = ApiError::bad_request("level", "level must be …").response();
        assert_eq!(response.status, 400);
        assert_eq!(
            response.body,
            r#"{"ok":false,"error":{"code":"BAD_REQUEST","message":"level must be …","details":{"field":"level"}}}"#
        );
    }

    #[test]
    fn query_strings_are_decoded_once_and_repeats_are_kept() {
        let pairs = form_urlencoded("a=1%2B1+x&a=%25&b&=c");
        let expected = [("a", "1+1 x"), ("a", "%"), ("b", ""), ("", "c")];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_query_string_that_is_not_utf8_is_refused() {
        let event = |query: &str| {
            let http = json!({"method": "GET", "path": "/logs"});
            let event = json!({"version": "2.0", "rawPath": "/logs", "rawQueryString": query, "headers": {},
                "isBase64Encoded": false, "requestContext": {"http": http}});
            Request::from_event(serde_json::from_value(event).unwrap())
        };
        assert_eq!(event("search=%C3%BC").unwrap().param("search"), Some("ü"));
        assert_eq!(event("search=%FF").unwrap_err().details, Some(json!({"field": "query"})));
    }

    fn event(method: &str, path: &str) -> ApiGatewayV2httpRequest {
        let http = json!({"method": method, "path": path, "sourceIp": "192.0.2.7"});
        let event = json!({"version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {},
            "isBase64Encoded": false, "requestContext": {"http": http, "requestId": "r-1"}});
        serde_json::from_value(event).unwrap()
    }

    async fn served(
        function: &'static str,
        event: ApiGatewayV2httpRequest,
        response: Response,
    ) -> (HeaderMap, String, Method) {
        let mut method = Method::OPTIONS;
        let handle = async |request: &Request| {
            method = request.method.clone();
            response
        };
        let answer = serve(function, "test", event, 0, handle).await;
        let Some(Body::Text(body)) = answer.body else { panic!("no text") };
        (answer.headers, body, method)
    }

    #[tokio::test]
    async fn every_answer_carries_the_requests_id_and_every_error_body_too() {
        for (response, body) in [
            (Response::ok(&json!(1)), r#"{"ok":true,"data":1}"#),
            (
                ApiError::not_found("no such path").response(),
                r#"{"ok":false,"error":{"code":"NOT_FOUND","message":"no such path"},"request_id":"r-1"}"#,
            ),
            (
                Response::json(StatusCode::BAD_REQUEST, &json!({"error": "s3: x"})),
                r#"{"error":"s3: x","request_id":"r-1"}"#,
            ),
            (Response::text(StatusCode::NOT_FOUND, "image/svg+xml", "<svg/>".to_owned()), "<svg/>"),
        ] {
            let (headers, answered, _) = served("api", event("GET", "/x"), response).await;
            assert_eq!(answered, body);
            assert_eq!(headers["x-request-id"], "r-1");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert!(headers["strict-transport-security"].to_str().unwrap().starts_with("max-age="));
            let is_svg = headers["content-type"] == "image/svg+xml";
            assert_eq!(headers.contains_key("content-security-policy"), is_svg);
            assert!(!headers.contains_key("www-authenticate"));
        }
    }

    #[tokio::test]
    async fn a_401_says_how_to_authenticate() {
        for (function, schemes) in [("api", 1), ("presign", 2)] {
            let refusal = ApiError::unauthorized("no").response();
            let (headers, ..) = served(function, event("GET", "/x"), refusal).await;
            assert_eq!(headers["www-authenticate"].to_str().unwrap().matches("realm=").count(), schemes);
        }
    }

    #[tokio::test]
    async fn head_is_answered_as_get_without_the_body() {
        let (headers, body, method) = served("api", event("HEAD", "/x"), Response::ok(&json!(1))).await;
        assert_eq!((method, body.as_str()), (Method::GET, ""));
        assert_eq!(headers["content-type"], "application/json");
    }

    #[test]
    fn one_version_in_front_of_a_path_is_left_out() {
        for (path, rest) in [
            ("/v1/logs", "/logs"),
            ("/v1/", "/"),
            ("/v1/v1/logs", "/v1/logs"),
            ("/v1", "/v1"),
            ("/v10/x", "/v10/x"),
        ] {
            assert_eq!(unversioned(path), rest);
        }
    }

    #[test]
    fn a_gateway_event_becomes_a_request() {
        let event = serde_json::from_str(
            r#"{"version":"2.0","routeKey":"$default","rawPath":"/logs","rawQueryString":"level=INFO",
                "headers":{"x-api-key":"k"},"isBase64Encoded":true,"body":"e30=",
                "requestContext":{"http":{"method":"POST","path":"/logs","sourceIp":"1.2.3.4"},"requestId":"r"}}"#,
        )
        .unwrap();
        let request = Request::from_event(event).unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/logs"));
        assert_eq!(request.header("X-API-Key"), Some("k"));
        assert_eq!((request.param("level"), request.body.as_slice()), (Some("INFO"), b"{}".as_slice()));
    }
}
