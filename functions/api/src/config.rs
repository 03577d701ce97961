//! Configuration of `api`, read from the environment.

use std::sync::Arc;

use logferry_core::model::app::DEFAULT_RETENTION_DAYS;
use logferry_core::model::quota;
use logferry_core::model::quota::Quota;
use logferry_health_checks::guard::resolve::SystemResolver;
use logferry_health_checks::guard::{Policy, Ports};
use logferry_service::config::{BadConfig, Reader};

use crate::{Retentions, Settings};

/// Default requests per second of one app that one instance accepts.
const DEFAULT_RATE: u32 = 100;

/// The environment of the function: table names, secrets and settings.
#[derive(Debug, Clone)]
pub struct Config {
    pub table_apps: String,
    pub table_logs: String,
    pub table_files: String,
    pub table_stats: String,
    pub table_checks: String,
    pub admin_key_secret: String,
    pub token_secret: String,
    pub rate_per_second: u32,
    pub metrics_namespace: String,
    pub serve_console: bool,
    pub settings: Settings,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All missing and invalid variables, in one error.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut read = Reader::new(lookup);
        let ports = match read.optional("HEALTH_PORTS").map(|text| Ports::parse(&text)) {
            None => Policy::default().ports,
            Some(Ok(ports)) => ports,
            Some(Err(why)) => {
                read.problem(format!("HEALTH_PORTS: {why}"));
                Policy::default().ports
            }
        };
        let allow_private = read.parsed_or("ALLOW_PRIVATE_HEALTH_TARGETS", false);
        let (names, query, patterns) =
            (read.optional("REDACT_NAMES"), read.optional("REDACT_QUERY"), read.optional("REDACT_PATTERNS"));
        let redactor = read.redactor(names, query, patterns);
        let config = Self {
            table_apps: read.required("TABLE_APPS"),
            table_logs: read.required("TABLE_LOGS"),
            table_files: read.required("TABLE_FILES"),
            table_stats: read.required("TABLE_STATS"),
            table_checks: read.required("TABLE_CHECKS"),
            admin_key_secret: read.required("ADMIN_KEY_SECRET"),
            token_secret: read.required("TOKEN_SECRET"),
            rate_per_second: read.parsed_or("RATE_LIMIT_PER_SECOND", DEFAULT_RATE),
            metrics_namespace: read.optional("METRICS_NAMESPACE").unwrap_or_else(|| "Logferry".to_owned()),
            serve_console: read.parsed_or("SERVE_CONSOLE", true),
            settings: Settings {
                bucket: read.required("BUCKET"),
                default_retention_days: read.parsed_or("RETENTION_DAYS_DEFAULT", DEFAULT_RETENTION_DAYS),
                redactor,
                quota: Quota::of(
                    read.parsed_or("MAX_BYTES_PER_APP_DAY", quota::DEFAULT_BYTES),
                    read.parsed_or("MAX_RECORDS_PER_APP_DAY", quota::DEFAULT_RECORDS),
                    // Files are counted when they are ingested.
                    0,
                ),
                retentions: Retentions {
                    log_group_prefix: read
                        .optional("RECORD_GROUP_PREFIX")
                        .unwrap_or_else(|| "/logferry".to_owned()),
                    log_retention_days: Some(read.parsed_or("LOG_RETENTION_DAYS", 30))
                        .filter(|days| *days > 0),
                    object_retention_days: Some(read.parsed_or("OBJECT_RETENTION_DAYS", 90))
                        .filter(|days| *days > 0),
                    recover_logs: read.parsed_or("RECOVER_LOGS", false),
                },
                health_policy: Policy { allow_private, ports },
                resolver: Arc::new(SystemResolver),
            },
        };
        read.finish(config)
    }
}
