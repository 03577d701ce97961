//! The log service over the simulated cloud, called as API Gateway would.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use base64::Engine as _;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use logferry_api::{BadgeCache, Cloud, Console, Limiter, Retentions, Settings, StatusCache};
use logferry_core::model::app::Scope;
use logferry_core::model::quota::Quota;
use logferry_core::model::redact::Redactor;
use logferry_core::ports::clock::Clock;
use logferry_health_checks::guard::Policy;
use logferry_health_checks::guard::resolve::Resolver;
use logferry_health_checks::testing::MemoryChecks;
use logferry_service::api_key::AdminKey;
use logferry_service::door::Door;
use logferry_service::http::{Bytes, Document, Measured};
use logferry_service::metrics::Metric;
use logferry_service::tokens::Tokens;
use serde_json::{Value, json};

use logferry_sim::SimCloud;

use crate::ingest::BUCKET;

/// The admin key.
pub const ADMIN_KEY: &str = "value-of-admin-0123456789abcdef";

/// The cloud of the tests.
#[derive(Debug)]
pub struct Sim;

impl Cloud for Sim {
    type Book = SimCloud;
    type Apps = SimCloud;
    type Files = SimCloud;
    type Checks = MemoryChecks;
    type Alerts = SimCloud;
    type Arrivals = SimCloud;
    type Secrets = SimCloud;
}

/// Every name resolves to one public address.
#[derive(Debug)]
struct OneAddress;

impl Resolver for OneAddress {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![IpAddr::from([93, 184, 215, 14])]) })
    }
}

/// The console's files in the tests.
fn console_files() -> Option<PathBuf> {
    Some(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/console").into())
}

/// The service and its simulated cloud.
#[derive(Debug)]
pub struct Api {
    pub cloud: SimCloud,
    door: Door,
}

/// Every route of the service, in the order of its list, with the scope that a key must have.
#[must_use]
pub fn routes() -> Vec<(Method, &'static str, Option<Scope>)> {
    let document = logferry_api::routes::<Sim, _>(Document::default());
    let listed: Vec<_> = document.routes.iter().map(|route| (route.method.clone(), route.path)).collect();
    let document = logferry_api::document_of::<Sim>(Document::default());
    let scope = |method: &Method, path: &str| {
        let security = &document["paths"][path][method.as_str().to_lowercase()]["security"];
        let key = security.as_array()?.iter().find_map(|way| way.get("apiKey"))?;
        key[0].as_str()?.parse().ok()
    };
    listed.into_iter().map(|(method, path)| (method.clone(), path, scope(&method, path))).collect()
}

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub metrics: Vec<(Metric, u64)>,
}

impl Answer {
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}: {}", self.status, self.text))
    }

    /// Returns the `data` of a successful response.
    #[must_use]
    pub fn data(&self) -> Value {
        assert!(self.status < 300, "{}: {}", self.status, self.text);
        self.json()["data"].take()
    }

    /// Returns status and field of an error.
    #[must_use]
    pub fn refused(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(json["ok"], false, "{}", self.text);
        (self.status, json["error"]["details"]["field"].as_str().unwrap_or_default().to_owned())
    }
}

impl Api {
    #[must_use]
    pub fn new() -> Self {
        Self::with_rate(0)
    }

    /// The service with a limit of requests per second.
    #[must_use]
    pub fn with_rate(per_second: u32) -> Self {
        Self::with(per_second, Redactor::default())
    }

    /// The service with these redaction rules.
    #[must_use]
    pub fn with_redactor(redactor: Redactor) -> Self {
        Self::with(0, redactor)
    }

    /// The service with a daily quota per app.
    #[must_use]
    pub fn with_quota(quota: Quota) -> Self {
        Self::made(0, Redactor::default(), quota, console_files())
    }

    /// The service with a console in another folder, or without one.
    #[must_use]
    pub fn with_console(folder: Option<PathBuf>) -> Self {
        Self::made(0, Redactor::default(), Quota::NONE, folder)
    }

    fn with(per_second: u32, redactor: Redactor) -> Self {
        Self::made(per_second, redactor, Quota::NONE, console_files())
    }

    fn made(per_second: u32, redactor: Redactor, quota: Quota, console: Option<PathBuf>) -> Self {
        let cloud = SimCloud::default();
        let api: logferry_api::Api<Sim> = logferry_api::Api {
            book: cloud.clone(),
            apps: cloud.clone(),
            files: cloud.clone(),
            checks: MemoryChecks::default(),
            alerts: cloud.clone(),
            arrivals: cloud.clone(),
            admin_key: AdminKey::new(cloud.clone(), "admin"),
            tokens: Tokens::new(cloud.clone(), "tokens"),
            limiter: Limiter::new(per_second),
            badges: BadgeCache::default(),
            statuses: StatusCache::default(),
            console: Console::in_folder(console),
            settings: Settings {
                bucket: BUCKET.to_owned(),
                default_retention_days: 90,
                redactor: Arc::new(redactor.into()),
                quota,
                retentions: Retentions {
                    log_group_prefix: "/logferry".to_owned(),
                    log_retention_days: Some(30),
                    object_retention_days: Some(90),
                    recover_logs: false,
                },
                health_policy: Policy::default(),
                resolver: Arc::new(OneAddress),
            },
        };
        Self { cloud, door: logferry_api::door(Arc::new(api), "Test") }
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.event(Self::request(method, path, headers, body)).await
    }

    /// Returns headers and body of an answer that may be no text.
    pub async fn bytes(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> (HeaderMap, Bytes) {
        let event = Self::request(method, path, headers, &[]);
        let (parts, body) = self.door.answer_event(event, self.cloud.clock().now_ms()).await.into_parts();
        (parts.headers, body)
    }

    fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> ApiGatewayV2httpRequest {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
            map.insert(
                name,
                HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|e| panic!("{value}: {e}")),
            );
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let event = json!({
            "version": "2.0", "rawPath": path, "rawQueryString": query, "headers": {},
            "body": base64::prelude::BASE64_STANDARD.encode(body), "isBase64Encoded": true,
            "requestContext": {"http": {"method": method}},
        });
        let mut event: ApiGatewayV2httpRequest =
            serde_json::from_value(event).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        event.headers = map;
        event
    }

    /// As API Gateway calls it.
    pub async fn event(&self, event: ApiGatewayV2httpRequest) -> Answer {
        let answer = self.door.answer_event(event, self.cloud.clock().now_ms()).await;
        let (parts, body) = answer.into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8_lossy(&body).into_owned(),
            metrics: parts.extensions.get::<Measured>().cloned().unwrap_or_default().0,
        }
    }

    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send(method, path, headers, &body).await
    }

    pub async fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.call(method, path, &[("x-admin-key", ADMIN_KEY)], body).await
    }

    /// Sends a request with an app's key.
    pub async fn app(&self, key: &str, method: &str, path: &str, body: &Value) -> Answer {
        self.call(method, path, &[("x-api-key", key)], body).await
    }

    /// Registers an app and returns its key.
    pub async fn register(&self, app_id: &str) -> String {
        let body = json!({"app_id": app_id, "name": app_id});
        let data = self.admin("POST", "/apps", &body).await.data();
        data["api_key"].as_str().map(str::to_owned).unwrap_or_else(|| panic!("no key: {data}"))
    }

    /// Returns all records of an app, through all pages.
    pub async fn records(&self, key: &str, filter: &str) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self
                .app(key, "GET", &format!("/logs?limit=1000&{filter}{cursor}"), &Value::Null)
                .await
                .json();
            all.extend(page["data"].as_array().cloned().unwrap_or_else(|| panic!("{page}")));
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Returns the counted records per level over all days.
    pub async fn counted(&self, key: &str, app_id: &str) -> [i64; 4] {
        let days = self.app(key, "GET", &format!("/stats/{app_id}?days=3660"), &Value::Null).await.data();
        let days = days.as_array().cloned().unwrap_or_default();
        ["debug", "info", "warn", "error"]
            .map(|level| days.iter().map(|day| day[level].as_i64().unwrap_or_default()).sum())
    }
}

impl Default for Api {
    fn default() -> Self {
        Self::new()
    }
}
