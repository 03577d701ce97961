//! Configuration of `rpc`, read from the environment.

use std::sync::Arc;

use logferry_core::model::app::DEFAULT_RETENTION_DAYS;
use logferry_core::model::quota;
use logferry_core::model::quota::Quota;
use logferry_service::config::{BadConfig, Reader};
use logferry_service::redaction::RedactionRules;

/// The environment of the function: table names, secrets and settings.
#[derive(Debug, Clone)]
pub struct Config {
    pub table_apps: String,
    pub table_logs: String,
    pub table_stats: String,
    pub default_retention_days: u32,
    pub metrics_namespace: String,
    /// Redaction rules.
    pub redactor: Arc<RedactionRules>,
    /// Daily quota of an app.
    pub quota: Quota,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All missing and invalid variables, in one error.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut read = Reader::new(lookup);
        let (names, query, patterns) =
            (read.optional("REDACT_NAMES"), read.optional("REDACT_QUERY"), read.optional("REDACT_PATTERNS"));
        let redactor = read.redactor(names, query, patterns);
        let config = Self {
            table_apps: read.required("TABLE_APPS"),
            table_logs: read.required("TABLE_LOGS"),
            table_stats: read.required("TABLE_STATS"),
            default_retention_days: read.parsed_or("RETENTION_DAYS_DEFAULT", DEFAULT_RETENTION_DAYS),
            metrics_namespace: read.optional("METRICS_NAMESPACE").unwrap_or_else(|| "Logferry".to_owned()),
            redactor,
            quota: Quota::of(
                read.parsed_or("MAX_BYTES_PER_APP_DAY", quota::DEFAULT_BYTES),
                read.parsed_or("MAX_RECORDS_PER_APP_DAY", quota::DEFAULT_RECORDS),
                // Files are counted when they are ingested.
                0,
            ),
        };
        read.finish(config)
    }
}
