//! A request of API Gateway (payload format 2.0), decoded.

use std::sync::OnceLock;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use base64::Engine as _;
use http::{HeaderMap, Method};
use logferry_core::model::app::AppId;

use crate::answer::ApiError;

/// What is known about a request, each set once.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    pub(crate) route: OnceLock<&'static str>,
    pub(crate) app_id: OnceLock<AppId>,
}

impl Trail {
    /// Records the route, as a pattern.
    pub fn takes(&self, route: &'static str) {
        let _ = self.route.set(route);
    }

    /// Records the app of the request: the credential's app, or an existing one.
    pub fn concerns(&self, app_id: &AppId) {
        let _ = self.app_id.set(app_id.clone());
    }
}

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
            .map_err(|error| ApiError::bad_request("body", format!("the body is invalid: {error}")))
    }
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
