//! What a request says before its body, and what its handling finds out about it.

use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, RawPathParams};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, FaultClass};
use serde_json::{Value, json};

use super::{ApiError, Describe, QueryParams};

/// Where a request comes from, and when; an extension of every request.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    pub now_ms: i64,
    /// API Gateway's id of the request.
    pub request_id: String,
    pub source_ip: Option<String>,
    /// The token of a path below `/t/{token}`, for clients that cannot send headers.
    pub path_token: Option<String>,
    pub trail: Trail,
}

/// What the handling of a request finds out about it, each once.
#[derive(Debug, Clone, Default)]
pub struct Trail(Arc<Found>);

#[derive(Debug, Default)]
struct Found {
    route: OnceLock<String>,
    app_id: OnceLock<AppId>,
    key_id: OnceLock<String>,
}

impl Trail {
    /// Notes which route the request took, as a pattern.
    pub fn takes(&self, route: &str) {
        let _ = self.0.route.set(route.to_owned());
    }

    /// Notes the app that the request is about: one that its credential opens, or that exists.
    pub fn concerns(&self, app_id: &AppId) {
        let _ = self.0.app_id.set(app_id.clone());
    }

    /// Notes the id of the key that the request shows, live or not.
    pub fn shows(&self, key_id: &str) {
        let _ = self.0.key_id.set(key_id.to_owned());
    }

    pub(crate) fn key_id(&self) -> Option<&str> {
        self.0.key_id.get().map(String::as_str)
    }

    pub(crate) fn route(&self) -> Option<&str> {
        self.0.route.get().map(String::as_str)
    }

    pub(crate) fn app_id(&self) -> Option<&AppId> {
        self.0.app_id.get()
    }
}

/// Removes the version prefix of a path, if there is one.
#[must_use]
pub fn unversioned(path: &str) -> &str {
    path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// A request without its body.
#[derive(Debug, Clone)]
pub struct Head {
    /// Without the version and a token before it; percent-encoding kept.
    pub path: String,
    pub query: QueryParams,
    pub headers: HeaderMap,
    pub path_token: Option<String>,
    pub trail: Trail,
    pub now_ms: i64,
}

impl Head {
    /// A header's value, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns a header that must be ASCII text of at most `most_bytes`; an empty one counts as missing.
    ///
    /// # Errors
    /// 400, naming the header.
    pub fn text_header(&self, name: &str, most_bytes: usize) -> Result<Option<&str>, ApiError> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        let text = value.to_str().ok().filter(|text| text.len() <= most_bytes);
        let text = text.ok_or_else(|| {
            ApiError::bad_request(name, format!("{name} must be ASCII text of at most {most_bytes} bytes"))
        })?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// The token of `Authorization: Bearer`; `None` without that header, and for other schemes.
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header(AUTHORIZATION.as_str())?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

impl<S: Sync> FromRequestParts<S> for Head {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Arrival { path_token, trail, now_ms, .. } =
            parts.extensions.get::<Arrival>().cloned().ok_or_else(|| {
                let fault = Fault::new(FaultClass::Permanent, "route", "a request came past the door");
                ApiError::internal(&fault)
            })?;
        let query = QueryParams::parse(parts.uri.query().unwrap_or_default())?;
        let path = parts.uri.path().to_owned();
        Ok(Self { path, query, headers: parts.headers.clone(), path_token, trail, now_ms })
    }
}

impl Describe for Head {}

/// The schema of a header that [`Head::text_header`] reads.
#[must_use]
pub fn text_header_schema(most_bytes: usize) -> Value {
    json!({"type": "string", "maxLength": most_bytes, "pattern": r"^[\t -~]*$"})
}

/// The parts of a path that its pattern names, decoded.
#[derive(Debug, Clone)]
pub struct PathPart(Vec<(String, String)>);

impl PathPart {
    /// The part of this name; empty if the pattern has none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathPart {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        // A path that is not UTF-8 names nothing.
        let params = params.map_err(|_| ApiError::not_found("no such path"))?;
        Ok(Self(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }
}

impl Describe for PathPart {}
