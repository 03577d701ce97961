//! The log service over HTTP: apps and keys; write, query, stats, prune; files.
//!
//! A request is checked in this order: path and method, size, credential, rate. Only then its fields are
//! parsed. Every error is a response in the envelope.

mod apps;
mod auth;
mod badges;
mod config;
mod counts;
mod fields;
mod files;
mod health_routes;
mod keys;
mod logs;
mod openapi;
mod rate;
mod routes;
mod tokens;

use std::sync::Arc;

use http::header::ALLOW;
use http::{Method, StatusCode};
use logferry_core::ledger::files::Files;
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logbook::counters::Stats;
use logferry_core::logbook::records::Records;
use logferry_core::model::quota::Quota;
use logferry_core::model::redact::Redactor;
use logferry_core::ports::app_admin::AppAdmin;
use logferry_core::ports::secrets::Secrets;
use logferry_core::ports::usage::Usage;
use logferry_health_checks::guard::Policy;
use logferry_health_checks::guard::resolve::Resolver;
use logferry_health_checks::rows::CheckTable;
use logferry_service::api_key::AdminKey;
use logferry_service::http::{ApiError, Request, Response};
use logferry_service::tokens::Tokens;
use serde_json::json;

pub use auth::Caller;
pub use badges::BadgeCache;
pub use config::Config;
pub use openapi::DOCUMENT as OPENAPI;
pub use rate::Limiter;
pub use routes::{Action, ROUTES};

use routes::{Found, Router};

/// Maximum size of a body (bytes).
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The ports of the service.
pub trait Cloud: Send + Sync {
    type Book: BlockTable + Stats + Records + Usage;
    type Apps: AppAdmin;
    type Files: Files;
    type Checks: CheckTable;
    type Secrets: Secrets;
}

/// The service, created once.
#[derive(Debug)]
pub struct App<C: Cloud> {
    pub book: C::Book,
    pub apps: C::Apps,
    pub files: C::Files,
    pub checks: C::Checks,
    pub admin_key: AdminKey<C::Secrets>,
    pub tokens: Tokens<C::Secrets>,
    pub limiter: Limiter,
    pub badges: BadgeCache,
    pub settings: Settings,
}

/// Settings of the deployment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The bucket of the ledger's files.
    pub bucket: String,
    /// Default record retention in days; an app can override it.
    pub default_retention_days: u32,
    /// Redaction rules.
    pub redactor: Arc<Redactor>,
    /// Daily quota of an app.
    pub quota: Quota,
    pub health_policy: Policy,
    pub resolver: Arc<dyn Resolver>,
}

impl<C: Cloud> App<C> {
    /// Handles one request.
    pub async fn handle(&self, request: &Request, now_ms: i64) -> Response {
        self.answer(request, now_ms).await.unwrap_or_else(Response::from)
    }

    async fn answer(&self, request: &Request, now_ms: i64) -> Result<Response, ApiError> {
        let (action, id, part) = match Router::get().find(&request.method, &request.path) {
            Found::Action { action, route, id, part } => {
                request.trail.takes(route);
                (action, id, part)
            }
            Found::OtherMethods(methods) => return Ok(method_not_allowed(&methods)),
            Found::Nothing => return Err(ApiError::not_found("no such path")),
        };
        if request.body.len() > MAX_BODY_BYTES {
            let message = format!("a body must be at most {MAX_BODY_BYTES} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message));
        }
        match action {
            Action::About => {
                return Ok(Response::ok(
                    &json!({"service": "logferry", "version": env!("CARGO_PKG_VERSION")}),
                ));
            }
            Action::ServiceStatus => return Ok(Response::ok(&json!({"status": "ok"}))),
            Action::OpenApi => {
                return Ok(Response::text(StatusCode::OK, "application/json", OPENAPI.to_owned()));
            }
            _ => {}
        }
        if action == Action::HealthBadge && !badges::shows_credential(request) {
            let (id, file) = (id.unwrap_or_default(), part.unwrap_or_default());
            return self.public_badge(request, id, file, now_ms).await;
        }
        let caller = self.caller(request, action, now_ms).await?;
        self.limiter.admit(caller.bucket(), now_ms)?;
        if let Some(known) = action.params() {
            fields::known_params(request, known)?;
        }
        let id = id.unwrap_or_default();
        match action {
            Action::RegisterApp => self.register_app(request, now_ms).await,
            Action::ListApps => self.list_apps(&caller).await,
            Action::QueryLogs => self.query_logs(&caller, request, now_ms).await,
            Action::ListFiles => self.list_files(&caller, request, now_ms).await,
            Action::ListQuarantined => self.list_quarantined(&caller, request).await,
            Action::Redrive => self.redrive(&caller, request, now_ms).await,
            Action::WriteLogs => {
                let Caller::App(app) = &caller else {
                    return Err(ApiError::forbidden("writing logs requires an app's key"));
                };
                self.write_logs(app, request, now_ms).await
            }
            _ => {
                let app = self.app_of_path(&caller, request, id).await?;
                match action {
                    Action::ShowApp => self.show_app(&app).await,
                    Action::ChangeApp => self.change_app(&app, request).await,
                    Action::DeleteApp => self.delete_app(&app, now_ms).await,
                    Action::AddKey => self.add_key(&app, request, now_ms).await,
                    Action::RevokeKey => self.revoke_key(&app, part.unwrap_or_default()).await,
                    Action::MintJoinToken => self.mint_join_token(&app, request, now_ms).await,
                    Action::MintUploadToken => self.mint_upload_token(&app, request, now_ms).await,
                    Action::Prune => self.prune(&app, request, now_ms).await,
                    Action::SetHealthUrls => self.set_health_urls(&app, request).await,
                    Action::Stats => self.stats(&app, request, now_ms).await,
                    Action::HealthHistory => self.health_history(request, &app).await,
                    Action::HealthUptime => self.health_uptime(request, &app, now_ms).await,
                    Action::HealthResponseTimes => self.health_response_times(request, &app, now_ms).await,
                    Action::HealthBadge => {
                        self.health_badge(request, part.unwrap_or_default(), &app, now_ms).await
                    }
                    Action::HealthPush => {
                        self.health_push(request, part.unwrap_or_default(), &app, now_ms).await
                    }
                    _ => Err(ApiError::not_found("no such path")),
                }
            }
        }
    }
}

fn method_not_allowed(methods: &[Method]) -> Response {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let allowed = names.join(", ");
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        format!("this path supports {allowed}"),
    )
    .response()
    .with_header(ALLOW, &allowed)
}
