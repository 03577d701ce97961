//! What stands around the routes of every HTTP function: the version in front of a path, the request's
//! id, security headers, metrics, the audit log.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, STRICT_TRANSPORT_SECURITY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::audit::AuditLine;
use crate::http::{
    ApiError, Arrival, Measured, accepts_gzip, compressed, into_event, request_of, unversioned,
};
use crate::metrics::{Emission, REQUEST_ERRORS, REQUESTS, REQUESTS_REFUSED, REQUESTS_THROTTLED};

/// Two years, as <https://hstspreload.org> asks for.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000");
/// For pictures that browsers may open by themselves: they load and run nothing.
const SVG_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

/// What an answer depends on besides its route.
#[derive(Clone, Copy)]
struct Asked<'a> {
    method: &'a Method,
    request_id: &'a str,
    /// Whether the client accepts gzip.
    gzip: bool,
}

/// The routes of a function, and what every request passes before them.
#[derive(Debug, Clone)]
pub struct Door {
    function: &'static str,
    /// How to authenticate, for the header of a 401.
    challenge: &'static str,
    metrics_namespace: String,
    router: Router,
}

impl Door {
    #[must_use]
    pub fn new(
        function: &'static str,
        challenge: &'static str,
        metrics_namespace: impl Into<String>,
        router: Router,
    ) -> Self {
        let router = router
            .route_layer(middleware::from_fn(note_route))
            .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED);
        Self { function, challenge, metrics_namespace: metrics_namespace.into(), router }
    }

    /// Answers one event of the gateway.
    pub async fn serve(&self, event: ApiGatewayV2httpRequest, now_ms: i64) -> ApiGatewayV2httpResponse {
        into_event(self.answer_event(event, now_ms).await)
    }

    /// Answers one event of the gateway, counts it, and writes its line of the audit log.
    pub async fn answer_event(&self, event: ApiGatewayV2httpRequest, now_ms: i64) -> http::Response<Bytes> {
        let method = event.request_context.http.method.clone();
        let (arrival, request) = request_of(event, now_ms);
        match request {
            Ok(request) => self.answer(request, arrival).await,
            Err(refusal) => {
                let asked = Asked { method: &method, request_id: &arrival.request_id, gzip: false };
                let response = self.finished(refusal.into_response(), asked).await;
                self.count(&response, now_ms);
                response
            }
        }
    }

    async fn answer(&self, mut request: Request, mut arrival: Arrival) -> http::Response<Bytes> {
        // Every line that is written meanwhile carries the id.
        let span = tracing::error_span!("request", request_id = arrival.request_id);
        let method = request.method().clone();
        let (path, token) = routed(request.uri().path());
        arrival.path_token = token;
        if let Some(uri) = path.and_then(|path| with_path(request.uri(), &path)) {
            *request.uri_mut() = uri;
        }
        let headers = request.headers().clone();
        request.extensions_mut().insert(arrival.clone());
        let answered = async {
            let response = match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let asked =
                Asked { method: &method, request_id: &arrival.request_id, gzip: accepts_gzip(&headers) };
            let response = self.finished(response, asked).await;
            if let Some(entry) = AuditLine::of(&method, &headers, &arrival, response.status()) {
                entry.write();
            }
            response
        };
        let response = answered.instrument(span).await;
        self.count(&response, arrival.now_ms);
        response
    }

    fn count(&self, response: &http::Response<Bytes>, now_ms: i64) {
        let status = response.status();
        let mut emission = Emission::new(&self.metrics_namespace)
            .dimension("Function", self.function)
            .value(REQUESTS, 1)
            .value(REQUEST_ERRORS, u64::from(status.is_server_error()))
            .value(REQUESTS_REFUSED, u64::from(matches!(status.as_u16(), 401 | 403)))
            .value(REQUESTS_THROTTLED, u64::from(status == StatusCode::TOO_MANY_REQUESTS));
        if let Some(Measured(values)) = response.extensions().get() {
            emission = values.iter().fold(emission, |all, (metric, n)| all.value(*metric, *n));
        }
        emission.emit(now_ms);
    }

    /// The answer with what every answer has: the request's id, in a header and in the body of an error;
    /// what keeps browsers from guessing, from plain HTTP and from running pictures; on a 401 how to
    /// authenticate; compression, if the client accepts it.
    async fn finished(&self, response: Response, asked: Asked<'_>) -> http::Response<Bytes> {
        let (mut parts, body) = response.into_parts();
        // Bodies are in memory: collecting one cannot fail.
        let mut body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        if parts.status == StatusCode::METHOD_NOT_ALLOWED && body.is_empty() {
            let allowed = parts.headers.get(ALLOW).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let allowed = allowed.split(',').map(str::trim).collect::<Vec<_>>().join(", ");
            let message = format!("this path supports {allowed}");
            let error = ApiError::new(parts.status, "METHOD_NOT_ALLOWED", message).into_response();
            let (of_error, error_body) = error.into_parts();
            parts.headers = of_error.headers;
            if let Ok(allowed) = HeaderValue::from_str(&allowed) {
                parts.headers.insert(ALLOW, allowed);
            }
            body = axum::body::to_bytes(error_body, usize::MAX).await.unwrap_or_default();
        }
        if parts.status.is_client_error() || parts.status.is_server_error() {
            body = with_request_id(body, asked.request_id);
        }
        let headers = &mut parts.headers;
        // API Gateway counts by itself.
        headers.remove(CONTENT_LENGTH);
        if let Ok(id) = HeaderValue::from_str(asked.request_id) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
        if headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"image/svg")) {
            headers.insert(CONTENT_SECURITY_POLICY, SVG_POLICY);
        }
        if parts.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge));
        }
        body = compressed(headers, body, asked.gzip);
        if *asked.method == Method::HEAD {
            body = Bytes::new();
        }
        http::Response::from_parts(parts, body)
    }
}

async fn note_route(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    if let (Some(arrival), Some(path)) = (request.extensions().get::<Arrival>(), path) {
        arrival.trail.takes(path);
    }
    next.run(request).await
}

/// The body of an error, if it is an object, with the request's id.
fn with_request_id(body: Bytes, request_id: &str) -> Bytes {
    match serde_json::from_slice(&body) {
        Ok(Value::Object(mut members)) => {
            members.insert("request_id".to_owned(), request_id.into());
            Value::Object(members).to_string().into()
        }
        _ => body,
    }
}

/// The path by which a request is routed, if it is another, and the token in front of it.
fn routed(path: &str) -> (Option<String>, Option<String>) {
    let mut parts = path.splitn(4, '/');
    if let (Some(""), Some("t"), Some(token), Some(rest)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
        && (rest == "s3" || rest.starts_with("s3/"))
    {
        let token = percent_decode_str(token).decode_utf8_lossy().into_owned();
        return (Some(format!("/{rest}")), Some(token));
    }
    let rest = unversioned(path);
    ((rest != path).then(|| rest.to_owned()), None)
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    match uri.query() {
        Some(query) => format!("{path}?{query}").parse().ok(),
        None => path.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::http::{Head, PathPart, json as json_of, ok, text};

    async fn ask(method: &str, path: &str) -> (u16, HeaderMap, String) {
        let door = door();
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let arrival = Arrival { request_id: "r-1".to_owned(), ..Arrival::default() };
        let response = door.answer(request, arrival).await;
        let (parts, body) = response.into_parts();
        (parts.status.as_u16(), parts.headers, String::from_utf8(body.into()).unwrap())
    }

    fn door() -> Door {
        let router = Router::new()
            .route("/good", get(async || ok(&json!(1))).post(async || ok(&json!(2))))
            .route("/bad", get(async || ApiError::not_found("no such thing")))
            .route(
                "/s3/{part}",
                get(async |head: Head, part: PathPart| {
                    json_of(
                        StatusCode::BAD_REQUEST,
                        &json!({"error": head.path_token, "part": part.get("part")}),
                    )
                }),
            )
            .route(
                "/picture",
                get(async || text(StatusCode::NOT_FOUND, "image/svg+xml", "<svg/>".to_owned())),
            )
            .route("/secret", get(async || ApiError::unauthorized("no")))
            .fallback(async || ApiError::not_found("no such path"));
        Door::new("api", "ApiKey realm=\"logferry\"", "test", router)
    }

    #[tokio::test]
    async fn every_answer_carries_the_requests_id_and_every_error_body_too() {
        for (path, status, body) in [
            ("/good", 200, r#"{"ok":true,"data":1}"#),
            ("/v1/good", 200, r#"{"ok":true,"data":1}"#),
            (
                "/v1/v1/good",
                404,
                r#"{"ok":false,"error":{"code":"NOT_FOUND","message":"no such path"},"request_id":"r-1"}"#,
            ),
            (
                "/bad",
                404,
                r#"{"ok":false,"error":{"code":"NOT_FOUND","message":"no such thing"},"request_id":"r-1"}"#,
            ),
            ("/s3/a%2Fb", 400, r#"{"error":null,"part":"a/b","request_id":"r-1"}"#),
            ("/t/to.k%2Een/s3/x", 400, r#"{"error":"to.k.en","part":"x","request_id":"r-1"}"#),
            ("/picture", 404, "<svg/>"),
        ] {
            let (got, headers, answered) = ask("GET", path).await;
            assert_eq!((got, answered.as_str()), (status, body), "{path}");
            assert_eq!(headers["x-request-id"], "r-1");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert!(headers["strict-transport-security"].to_str().unwrap().starts_with("max-age="));
            let is_svg = headers["content-type"] == "image/svg+xml";
            assert_eq!(headers.contains_key("content-security-policy"), is_svg);
            assert!(!headers.contains_key("www-authenticate") && !headers.contains_key("content-length"));
        }
    }

    #[tokio::test]
    async fn a_401_says_how_to_authenticate() {
        let (status, headers, _) = ask("GET", "/secret").await;
        assert_eq!(
            (status, &headers["www-authenticate"]),
            (401, &HeaderValue::from_static("ApiKey realm=\"logferry\""))
        );
    }

    #[tokio::test]
    async fn head_is_answered_as_get_without_the_body() {
        let (status, headers, body) = ask("HEAD", "/good").await;
        assert_eq!((status, body.as_str()), (200, ""));
        assert_eq!(headers["content-type"], "application/json");
        let (status, _, body) = ask("HEAD", "/bad").await;
        assert_eq!((status, body.as_str()), (404, ""));
    }

    #[tokio::test]
    async fn a_method_that_a_path_does_not_have_is_405_and_the_answer_lists_those_that_it_has() {
        let (status, headers, body) = ask("DELETE", "/v1/good").await;
        assert_eq!((status, headers["allow"].to_str().unwrap()), (405, "GET, HEAD, POST"));
        let body: Value = serde_json::from_str(&body).unwrap();
        let error = json!({"code": "METHOD_NOT_ALLOWED", "message": "this path supports GET, HEAD, POST"});
        assert_eq!(body, json!({"ok": false, "error": error, "request_id": "r-1"}));
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
        for path in ["/", "/t", "/t/x", "/t/x/y", "/t/x/s33/params", "/s3/params"] {
            assert_eq!(routed(path), (None, None), "{path}");
        }
    }
}
