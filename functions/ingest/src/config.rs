//! Configuration of `ingest`, read from the environment.

use std::sync::Arc;

use logferry_core::logfile::decode::DEFAULT_MAX_EXPANSION_RATIO;
use logferry_core::logfile::read::{DEFAULT_MAX_DECOMPRESSED_BYTES, IntakeLimits, MAX_PRESIGNED_DAYS};
use logferry_core::logfile::split::DEFAULT_MAX_RECORD_BYTES;
use logferry_core::model::app::{AppId, DEFAULT_RETENTION_DAYS};
use logferry_core::model::quota;
use logferry_core::model::quota::Quota;
use logferry_service::config::{BadConfig, Reader};
use logferry_service::redaction::RedactionRules;

use crate::log_groups::LogGroups;

/// Default maximum size of a log file uploaded through a presigned URL (bytes).
const DEFAULT_MAX_PRESIGNED_BYTES: u64 = 10 * 1024 * 1024;
/// Default maximum size of an object that a service uploads itself (bytes).
const DEFAULT_MAX_OBJECT_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Default maximum of decompressed bytes of a file uploaded through a presigned URL: about 26 times the
/// maximum size. Logs of services usually expand to about six times. Forwarding a byte may cost five times as
/// much as storing it.
const DEFAULT_MAX_PRESIGNED_DECOMPRESSED_BYTES: u64 = 256 * 1024 * 1024;

/// The environment of the function: table names and settings.
#[derive(Debug, Clone)]
pub struct Config {
    pub table_apps: String,
    pub table_logs: String,
    pub table_files: String,
    pub table_stats: String,
    /// The apps of log groups that are subscribed.
    pub log_groups: LogGroups,
    pub settings: Settings,
}

/// Settings that the handling of an object depends on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The only bucket whose objects are ingested.
    pub bucket: String,
    /// App that owns browser logs without a grant.
    pub chime_app: Option<AppId>,
    pub max_presigned_bytes: u64,
    pub max_object_bytes: u64,
    /// Limits for objects that services upload with their own IAM permissions. Presigned uploads have
    /// stricter limits, see `Settings::limits`.
    pub limits: IntakeLimits,
    pub max_presigned_decompressed_bytes: u64,
    /// Accepts objects that are older than their app. For the command line only: its user can write to the
    /// tables and names the app.
    pub takes_older_objects: bool,
    /// Daily quota of an app.
    pub quota: Quota,
    /// Redaction rules, applied before anything is stored.
    pub redactor: Arc<RedactionRules>,
    pub default_retention_days: u32,
    pub metrics_namespace: String,
}

impl Settings {
    /// Maximum size of an object (bytes).
    #[must_use]
    pub(crate) fn max_bytes(&self, presigned: bool) -> u64 {
        if presigned { self.max_presigned_bytes } else { self.max_object_bytes }
    }

    /// Limits on the content of an object.
    #[must_use]
    pub(crate) fn limits(&self, presigned: bool) -> IntakeLimits {
        if !presigned {
            return self.limits;
        }
        IntakeLimits {
            max_decompressed_bytes: self
                .limits
                .max_decompressed_bytes
                .min(self.max_presigned_decompressed_bytes),
            max_days: self.limits.max_days.min(MAX_PRESIGNED_DAYS),
            ..self.limits
        }
    }
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All missing and invalid variables, in one error.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut read = Reader::new(lookup);
        let chime_app = read.optional("CHIME_APP").and_then(|text| match text.parse() {
            Ok(app_id) => Some(app_id),
            Err(bad) => {
                read.problem(format!("CHIME_APP: {bad}"));
                None
            }
        });
        let (names, query, patterns) =
            (read.optional("REDACT_NAMES"), read.optional("REDACT_QUERY"), read.optional("REDACT_PATTERNS"));
        let redactor = read.redactor(names, query, patterns);
        let (assigned, own, records) = (
            read.optional("LOG_GROUP_APPS").unwrap_or_default(),
            read.optional("OWN_LOG_GROUPS").unwrap_or_default(),
            read.optional("RECORD_GROUP_PREFIX").unwrap_or_default(),
        );
        let log_groups = LogGroups::new(&assigned, &own, &records).unwrap_or_else(|bad| {
            read.problem(format!("LOG_GROUP_APPS: {bad}"));
            LogGroups::default()
        });
        let config = Self {
            table_apps: read.required("TABLE_APPS"),
            table_logs: read.required("TABLE_LOGS"),
            table_files: read.required("TABLE_FILES"),
            table_stats: read.required("TABLE_STATS"),
            log_groups,
            settings: Settings {
                bucket: read.required("BUCKET"),
                chime_app,
                max_presigned_bytes: read.parsed_or("MAX_PRESIGNED_BYTES", DEFAULT_MAX_PRESIGNED_BYTES),
                max_object_bytes: read.parsed_or("MAX_OBJECT_BYTES", DEFAULT_MAX_OBJECT_BYTES),
                limits: IntakeLimits {
                    max_expansion_ratio: read.parsed_or("MAX_EXPANSION_RATIO", DEFAULT_MAX_EXPANSION_RATIO),
                    max_record_bytes: read.parsed_or("MAX_RECORD_BYTES", DEFAULT_MAX_RECORD_BYTES),
                    max_decompressed_bytes: read
                        .parsed_or("MAX_DECOMPRESSED_BYTES", DEFAULT_MAX_DECOMPRESSED_BYTES),
                    ..IntakeLimits::default()
                },
                takes_older_objects: false,
                max_presigned_decompressed_bytes: read
                    .parsed_or("MAX_PRESIGNED_DECOMPRESSED_BYTES", DEFAULT_MAX_PRESIGNED_DECOMPRESSED_BYTES),
                quota: Quota::of(
                    read.parsed_or("MAX_BYTES_PER_APP_DAY", quota::DEFAULT_BYTES),
                    read.parsed_or("MAX_RECORDS_PER_APP_DAY", quota::DEFAULT_RECORDS),
                    read.parsed_or("MAX_FILES_PER_APP_DAY", quota::DEFAULT_FILES),
                ),
                redactor,
                default_retention_days: read.parsed_or("RETENTION_DAYS_DEFAULT", DEFAULT_RETENTION_DAYS),
                metrics_namespace: read
                    .optional("METRICS_NAMESPACE")
                    .unwrap_or_else(|| "Logferry".to_owned()),
            },
        };
        read.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_reported_at_once() {
        let wrong = Config::from_lookup(|name| match name {
            "CHIME_APP" => Some("No App".to_owned()),
            "MAX_OBJECT_BYTES" => Some("much".to_owned()),
            "BUCKET" => None,
            "REDACT_PATTERNS" => Some("a( b".to_owned()),
            "LOG_GROUP_APPS" => Some("/aws/lambda/shop".to_owned()),
            _ => Some("1".to_owned()),
        });
        let text = wrong.unwrap_err().to_string();
        for name in ["CHIME_APP", "MAX_OBJECT_BYTES", "BUCKET", "REDACT_PATTERNS", "LOG_GROUP_APPS"] {
            assert!(text.contains(name), "{text}");
        }
    }
}
