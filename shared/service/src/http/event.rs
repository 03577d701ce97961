//! Events of API Gateway (payload format 2.0) as requests, and answers as it expects them.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
//!
//! Not by `lambda_http` (1.3.2): it panics on a query string with a raw `<` or `>` and on a body that is
//! not base64, and it resolves `..` in paths.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body as EventBody;
use axum::body::Body;
use base64::Engine as _;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{ApiError, Arrival};

/// What a path or query string cannot hold as it is.
/// <https://www.rfc-editor.org/rfc/rfc3986#section-3.3>
const UNSAFE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'|');
const UNSAFE_IN_PATH: &AsciiSet = &UNSAFE.add(b'?').add(b'{').add(b'}');

/// Path and query string together at most (bytes): the longest that [`Uri`] holds. API Gateway takes 10,240.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const MAX_TARGET_BYTES: usize = u16::MAX as usize - 1;

/// An event as a request, with its [`Arrival`]. An event that is none comes back as the refusal.
pub(crate) fn request_of(
    event: ApiGatewayV2httpRequest,
    now_ms: i64,
) -> (Arrival, Result<Request<Body>, ApiError>) {
    let context = event.request_context;
    let arrival = Arrival {
        now_ms,
        request_id: context.request_id.unwrap_or_default(),
        source_ip: context.http.source_ip,
        ..Arrival::default()
    };
    let raw_path = event.raw_path.unwrap_or_else(|| "/".to_owned());
    let path = utf8_percent_encode(&raw_path, UNSAFE_IN_PATH).to_string();
    let target = match event.raw_query_string.filter(|query| !query.is_empty()) {
        Some(query) => format!("{path}?{}", utf8_percent_encode(&query, UNSAFE)),
        None => path.clone(),
    };
    if target.len() > MAX_TARGET_BYTES && path.len() <= MAX_TARGET_BYTES {
        return (arrival, Err(ApiError::bad_request("query", "the query string is too long")));
    }
    let Ok(target) = target.parse::<PathAndQuery>() else {
        return (arrival, Err(ApiError::not_found("no such path")));
    };
    let body = match event.body {
        None => Bytes::new(),
        Some(text) if event.is_base64_encoded => {
            match base64::engine::general_purpose::STANDARD.decode(text) {
                Ok(bytes) => bytes.into(),
                Err(_) => {
                    return (arrival, Err(ApiError::bad_request("body", "the body is not valid base64")));
                }
            }
        }
        Some(text) => text.into(),
    };
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = context.http.method;
    *request.uri_mut() = Uri::from(target);
    *request.headers_mut() = event.headers;
    (arrival, Ok(request))
}

/// An answer as the gateway expects it: text as it is, anything else in base64.
#[must_use]
pub(crate) fn into_event(response: Response<Bytes>) -> ApiGatewayV2httpResponse {
    let (parts, body) = response.into_parts();
    let mut event = ApiGatewayV2httpResponse::default();
    event.status_code = i64::from(parts.status.as_u16());
    event.is_base64_encoded = parts.headers.contains_key(http::header::CONTENT_ENCODING);
    event.headers = parts.headers;
    event.body = Some(match String::from_utf8(body.into()) {
        Ok(text) if !event.is_base64_encoded => EventBody::Text(text),
        Ok(text) => EventBody::Binary(text.into_bytes()),
        Err(bytes) => {
            event.is_base64_encoded = true;
            EventBody::Binary(bytes.into_bytes())
        }
    });
    event
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(path: &str, query: &str, body: Value) -> ApiGatewayV2httpRequest {
        let http = json!({"method": "POST", "path": path, "sourceIp": "192.0.2.7"});
        let event = json!({"version": "2.0", "rawPath": path, "rawQueryString": query,
            "headers": {"x-api-key": "k"}, "isBase64Encoded": true, "body": body,
            "requestContext": {"http": http, "requestId": "r-1"}});
        serde_json::from_value(event).unwrap()
    }

    #[tokio::test]
    async fn an_event_becomes_a_request() {
        let (arrival, request) = request_of(event("/logs", "level=INFO", json!("e30=")), 7);
        let request = request.unwrap();
        assert_eq!((arrival.now_ms, arrival.request_id.as_str()), (7, "r-1"));
        assert_eq!(arrival.source_ip.as_deref(), Some("192.0.2.7"));
        assert_eq!(
            (request.method().as_str(), request.uri().to_string()),
            ("POST", "/logs?level=INFO".to_owned())
        );
        assert_eq!(request.headers()["x-api-key"], "k");
        let body = axum::body::to_bytes(request.into_body(), 10).await.unwrap();
        assert_eq!(&*body, b"{}");
    }

    #[test]
    fn a_query_string_that_is_too_long_is_400_and_not_an_unknown_path() {
        for (length, refused) in
            [(MAX_TARGET_BYTES - 3, None), (MAX_TARGET_BYTES - 2, Some(400)), (100_000, Some(400))]
        {
            let (_, request) = request_of(event("/a", &"x".repeat(length), json!("")), 0);
            assert_eq!(request.err().map(|error| error.status.as_u16()), refused, "{length}");
        }
    }

    #[test]
    fn no_path_and_no_query_string_is_too_strange() {
        for (path, query, target) in [
            ("/a b", "", Some("/a%20b")),
            ("/a%20b", "a=%zz", Some("/a%20b?a=%zz")),
            ("/ä?", "", Some("/%C3%A4%3F")),
            ("/a/../b", "x=<1>&y=\"ö\"&z=a|b", Some("/a/../b?x=%3C1%3E&y=%22%C3%B6%22&z=a%7Cb")),
            ("*", "", Some("*")),
            ("no slash", "", None),
        ] {
            let (_, request) = request_of(event(path, query, json!("")), 0);
            assert_eq!(request.ok().map(|request| request.uri().to_string()).as_deref(), target, "{path}");
        }
    }

    #[test]
    fn a_body_that_is_not_base64_is_refused() {
        let (_, request) = request_of(event("/logs", "", json!("***")), 0);
        assert_eq!(request.unwrap_err().details, Some(json!({"field": "body"})));
    }

    #[test]
    fn text_is_answered_as_it_is_and_bytes_in_base64() {
        let answer = |body: &'static [u8], encoding: Option<&'static str>| {
            let mut response = Response::new(Bytes::from_static(body));
            if let Some(encoding) = encoding {
                response.headers_mut().insert("content-encoding", encoding.parse().unwrap());
            }
            let event = serde_json::to_value(into_event(response)).unwrap();
            (event["body"].clone(), event["isBase64Encoded"].clone())
        };
        assert_eq!(answer("{\"ä\":1}".as_bytes(), None), (json!("{\"ä\":1}"), json!(false)));
        assert_eq!(answer(b"\xFF\x00", None), (json!("/wA="), json!(true)));
        assert_eq!(answer(b"abc", Some("gzip")), (json!("YWJj"), json!(true)));
    }
}
