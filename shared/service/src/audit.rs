//! The audit log: one line for each request that changes state and for each rejected credential, with actor
//! (`admin`, `token`, or a key's id, never a key), action, app, source and status. It contains neither
//! paths, which may have tokens, nor other unchecked data of a request.

use http::{Method, StatusCode};
use logferry_core::model::app::AppId;
use serde::Serialize;

use crate::api_key::{ADMIN_KEY_HEADER, API_KEY_HEADER, ApiKey};
use crate::request::Request;
use crate::telemetry::AUDIT;

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditLine {
    pub action: String,
    pub app: Option<String>,
    /// For a rejected credential: the actor that the request claimed to be.
    pub actor: String,
    pub source_ip: Option<String>,
    pub request_id: String,
    pub status: u16,
}

impl AuditLine {
    /// Returns the line of a request answered with `status`; `None` for an allowed read.
    #[must_use]
    pub fn of(request: &Request, status: StatusCode) -> Option<Self> {
        let reads = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        (!reads || refused).then(|| Self {
            action: format!(
                "{} {}",
                method(&request.method),
                request.trail.route.get().unwrap_or(&"unknown")
            ),
            app: request.trail.app_id.get().map(AppId::to_string),
            actor: actor(request),
            source_ip: request.source_ip.clone(),
            request_id: request.request_id.clone(),
            status: status.as_u16(),
        })
    }

    /// Writes the line.
    pub fn write(&self) {
        tracing::info!(
            target: AUDIT,
            {
                audit.action = self.action,
                audit.app = self.app,
                audit.actor = self.actor,
                audit.source_ip = self.source_ip,
                audit.request_id = self.request_id,
                audit.status = self.status,
            },
            "audit"
        );
    }
}

/// A method may be any word.
fn method(method: &Method) -> &str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    if known.contains(method) { method.as_str() } else { "other" }
}

fn actor(request: &Request) -> String {
    if request.headers.contains_key(ADMIN_KEY_HEADER) {
        return "admin".to_owned();
    }
    if let Some(shown) = request.headers.get(API_KEY_HEADER) {
        let key = shown.to_str().ok().and_then(ApiKey::parse);
        return key.map_or_else(|| "malformed key".to_owned(), |key| key.key_id().to_owned());
    }
    let has_token =
        request.headers.contains_key(http::header::AUTHORIZATION) || request.path.starts_with("/t/");
    if has_token { "token" } else { "anonymous" }.to_owned()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::request::Trail;

    fn request(method: Method, path: &str, headers: &[(&'static str, &str)]) -> Request {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Request {
            method,
            path: path.to_owned(),
            query: vec![("key".to_owned(), "SECRET".to_owned())],
            headers: map,
            body: b"SECRET".to_vec(),
            request_id: "r-1".to_owned(),
            source_ip: Some("192.0.2.7".to_owned()),
            trail: Trail::default(),
        }
    }

    #[test]
    fn a_change_is_logged_with_actor_action_app_source_and_status() {
        let key = ApiKey::generate().unwrap();
        let request = request(Method::POST, "/apps/shop/prune", &[("x-api-key", key.reveal())]);
        request.trail.takes("/apps/{id}/prune");
        request.trail.concerns(&"shop".parse().unwrap());
        let entry = AuditLine::of(&request, StatusCode::OK).unwrap();
        let expected = AuditLine {
            action: "POST /apps/{id}/prune".to_owned(),
            app: Some("shop".to_owned()),
            actor: key.key_id().to_owned(),
            source_ip: Some("192.0.2.7".to_owned()),
            request_id: "r-1".to_owned(),
            status: 200,
        };
        assert_eq!(entry, expected);
    }

    #[test]
    fn every_change_and_every_refused_credential_is_in_it_and_nothing_else() {
        for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PURGE"] {
            for status in [200, 400, 401, 403, 404, 409, 429, 500] {
                let request = request(method.parse().unwrap(), "/logs", &[]);
                let there = AuditLine::of(&request, StatusCode::from_u16(status).unwrap()).is_some();
                let reads = ["GET", "HEAD", "OPTIONS"].contains(&method);
                assert_eq!(there, !reads || matches!(status, 401 | 403), "{method} {status}");
            }
        }
    }

    #[test]
    fn nothing_of_a_request_that_may_be_secret_is_in_it() {
        for (path, headers, actor) in [
            ("/apps/SECRET/keys", vec![("x-admin-key", "SECRET")], "admin"),
            ("/apps", vec![("x-api-key", "SECRET")], "malformed key"),
            ("/apps", vec![("authorization", "Bearer SECRET")], "token"),
            ("/t/SECRET/s3/multipart", vec![], "token"),
            ("/SECRET", vec![], "anonymous"),
        ] {
            let entry =
                AuditLine::of(&request("SECRET".parse().unwrap(), path, &headers), StatusCode::OK).unwrap();
            assert_eq!((entry.actor.as_str(), entry.action.as_str()), (actor, "other unknown"), "{path}");
            assert!(!serde_json::to_string(&entry).unwrap().contains("SECRET"), "{path}");
        }
    }
}
