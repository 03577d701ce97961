//! The audit log: one line for each request that changes state and for each rejected credential, with actor
//! (`admin`, `token`, or a key's id, never a key), action, app, source and status. It contains neither
//! paths, which may have tokens, nor other unchecked data of a request.

use http::{HeaderMap, Method, StatusCode};
use logferry_core::model::app::AppId;
use serde::Serialize;

use crate::api_key::{ADMIN_KEY_HEADER, API_KEY_HEADER, ApiKey};
use crate::http::Arrival;
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
    pub fn of(method: &Method, headers: &HeaderMap, arrival: &Arrival, status: StatusCode) -> Option<Self> {
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        (!reads || refused).then(|| Self {
            action: format!("{} {}", known(method), arrival.trail.route().unwrap_or("unknown")),
            app: arrival.trail.app_id().map(AppId::to_string),
            actor: actor(headers, arrival),
            source_ip: arrival.source_ip.clone(),
            request_id: arrival.request_id.clone(),
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
fn known(method: &Method) -> &str {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    if known.contains(method) { method.as_str() } else { "other" }
}

fn actor(headers: &HeaderMap, arrival: &Arrival) -> String {
    if headers.contains_key(ADMIN_KEY_HEADER) {
        return "admin".to_owned();
    }
    if let Some(key_id) = arrival.trail.key_id() {
        return key_id.to_owned();
    }
    if let Some(shown) = headers.get(API_KEY_HEADER) {
        let key = shown.to_str().ok().and_then(ApiKey::parse);
        return key.map_or_else(|| "malformed key".to_owned(), |key| key.key_id().to_owned());
    }
    let has_token = headers.contains_key(http::header::AUTHORIZATION) || arrival.path_token.is_some();
    if has_token { "token" } else { "anonymous" }.to_owned()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(headers: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn arrival() -> Arrival {
        Arrival {
            request_id: "r-1".to_owned(),
            source_ip: Some("192.0.2.7".to_owned()),
            ..Arrival::default()
        }
    }

    #[test]
    fn a_change_is_logged_with_actor_action_app_source_and_status() {
        let key = ApiKey::generate().unwrap();
        let arrival = arrival();
        arrival.trail.takes("/apps/{id}/prune");
        arrival.trail.concerns(&"shop".parse().unwrap());
        let shown = headers(&[("x-api-key", key.reveal())]);
        let entry = AuditLine::of(&Method::POST, &shown, &arrival, StatusCode::OK).unwrap();
        let expected = AuditLine {
            action: "POST /apps/{id}/prune".to_owned(),
            app: Some("shop".to_owned()),
            actor: key.key_id().to_owned(),
            source_ip: Some("192.0.2.7".to_owned()),
            request_id: "r-1".to_owned(),
            status: 200,
        };
        assert_eq!(entry, expected);
        // A key that is shown in another way than in its header.
        arrival.trail.shows(key.key_id());
        let entry = AuditLine::of(&Method::POST, &headers(&[]), &arrival, StatusCode::OK);
        assert_eq!(entry, Some(expected));
    }

    #[test]
    fn every_change_and_every_refused_credential_is_in_it_and_nothing_else() {
        for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PURGE"] {
            for status in [200, 400, 401, 403, 404, 409, 429, 500] {
                let (of, status) = (method.parse().unwrap(), StatusCode::from_u16(status).unwrap());
                let there = AuditLine::of(&of, &HeaderMap::new(), &arrival(), status).is_some();
                let reads = ["GET", "HEAD", "OPTIONS"].contains(&method);
                assert_eq!(there, !reads || matches!(status.as_u16(), 401 | 403), "{method} {status}");
            }
        }
    }

    #[test]
    fn nothing_of_a_request_that_may_be_secret_is_in_it() {
        for (token, sent, actor) in [
            (None, vec![("x-admin-key", "SECRET")], "admin"),
            (None, vec![("x-api-key", "SECRET")], "malformed key"),
            (None, vec![("authorization", "Bearer SECRET")], "token"),
            (Some("SECRET"), vec![], "token"),
            (None, vec![], "anonymous"),
        ] {
            let arrival = Arrival { path_token: token.map(str::to_owned), ..arrival() };
            let method = "SECRET".parse().unwrap();
            let entry = AuditLine::of(&method, &headers(&sent), &arrival, StatusCode::OK).unwrap();
            assert_eq!((entry.actor.as_str(), entry.action.as_str()), (actor, "other unknown"));
            assert!(!serde_json::to_string(&entry).unwrap().contains("SECRET"), "{actor}");
        }
    }
}
