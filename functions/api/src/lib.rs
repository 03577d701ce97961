//! The log service over HTTP: apps and keys; write, query, stats, prune; files.
//!
//! A request is checked in this order: path and method, credential, rate, query parameters, app, body.
//! A refusal is an answer in the envelope, or in the form of the protocol that the route speaks.

// The future of a request is nested deeper than rustc looks by default.
#![recursion_limit = "256"]

mod alerts;
mod apps;
mod auth;
mod badges;
mod config;
mod console;
mod counts;
mod doors;
mod erase;
mod files;
mod health;
mod histogram;
mod keys;
mod logs;
mod minute_cache;
mod one_record;
mod rate;
mod remains;
mod routes;
mod schema;
mod status;
mod tokens;
mod usage;
mod writes;

use std::sync::Arc;

use logferry_core::ledger::files::Files;
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logbook::counters::Stats;
use logferry_core::logbook::records::Records;
use logferry_core::model::quota::Quota;
use logferry_core::ports::alerts::AlertTable;
use logferry_core::ports::app_admin::AppAdmin;
use logferry_core::ports::arrivals::ArrivalLog;
use logferry_core::ports::erasures::Erasures;
use logferry_core::ports::secrets::Secrets;
use logferry_core::ports::usage::Usage;
use logferry_health_checks::guard::Policy;
use logferry_health_checks::guard::resolve::Resolver;
use logferry_health_checks::rows::CheckTable;
use logferry_service::api_key::AdminKey;
use logferry_service::door::Door;
use logferry_service::http::State;
use logferry_service::redaction::RedactionRules;
use logferry_service::tokens::Tokens;

pub use badges::BadgeCache;
pub use config::Config;
pub use console::Console;
pub use rate::Limiter;
pub use remains::Retentions;
pub use routes::{OPENAPI, document_of, routes};
pub use status::StatusCache;

/// What the service talks to.
pub trait Cloud: Send + Sync + 'static {
    type Book: BlockTable + Stats + Records + Usage + 'static;
    type Apps: AppAdmin + Erasures + 'static;
    type Files: Files + 'static;
    type Checks: CheckTable + Sync + 'static;
    type Alerts: AlertTable + 'static;
    type Arrivals: ArrivalLog + 'static;
    type Secrets: Secrets + 'static;
}

/// The service, made once.
#[derive(Debug)]
pub struct Api<C: Cloud> {
    pub book: C::Book,
    pub apps: C::Apps,
    pub files: C::Files,
    pub checks: C::Checks,
    pub alerts: C::Alerts,
    pub arrivals: C::Arrivals,
    pub admin_key: AdminKey<C::Secrets>,
    pub tokens: Tokens<C::Secrets>,
    pub limiter: Limiter,
    pub badges: BadgeCache,
    pub statuses: StatusCache,
    pub console: Console,
    pub settings: Settings,
}

/// The service, as handlers share it.
pub(crate) type Shared<C> = State<Arc<Api<C>>>;

/// What is set by the deployment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the files of the ledger are.
    pub bucket: String,
    /// Days that records of an app are kept which says nothing else.
    pub default_retention_days: u32,
    /// What is never stored.
    pub redactor: Arc<RedactionRules>,
    /// The daily quota of an app.
    pub quota: Quota,
    /// How long copies are kept of what is deleted.
    pub retentions: Retentions,
    pub health_policy: Policy,
    pub resolver: Arc<dyn Resolver>,
}

/// How a 401 says to authenticate.
const CHALLENGE: &str = r#"ApiKey realm="logferry""#;

/// Returns the service with its door.
#[must_use]
pub fn door<C: Cloud>(api: Arc<Api<C>>, metrics_namespace: &str) -> Door {
    Door::new("api", CHALLENGE, metrics_namespace, routes::router(api))
}
