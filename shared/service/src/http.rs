//! HTTP from API Gateway: one event in, one response out, counted and audited.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use http::{Method, StatusCode};
use tracing::Instrument as _;

pub use crate::answer::{ApiError, Response};
use crate::audit::AuditLine;
use crate::metrics::{Emission, REQUEST_ERRORS, REQUESTS, REQUESTS_REFUSED, REQUESTS_THROTTLED};
pub use crate::request::{Request, Trail, form_urlencoded};

/// Handles one event of the gateway by `handle`, and counts it as a request of this function.
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
    // Every line that is logged meanwhile has the id.
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
        if let Some(entry) = AuditLine::of(&request, response.status) {
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

/// Removes the version prefix of a path, if there is one.
#[must_use]
pub fn unversioned(path: &str) -> &str {
    path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::encodings::Body;
    use http::HeaderMap;
    use serde_json::json;

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
