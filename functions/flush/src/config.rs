//! Configuration of `flush`.

use batch_buffer::RetryPolicy;
use logferry_service::config::{BadConfig, Reader};

use crate::Sending;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub table_apps: String,
    pub table_logs: String,
    /// Table that holds the flush marks and the logs of arrivals.
    pub table_files: String,
    /// Table that holds what alerts have counted.
    pub table_checks: String,
    /// The function that sends notifications.
    pub alert_function: String,
    pub failure_bucket: String,
    pub log_group_prefix: String,
    pub log_group_class: String,
    /// `None` if 0 is configured: events never expire.
    pub log_retention_days: Option<u32>,
    pub metrics_namespace: String,
    /// Whether records are counted by app and level.
    pub record_metrics: bool,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All missing and invalid variables, in one error.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut read = Reader::new(lookup);
        let retention_days: u32 = read.parsed_or("LOG_RETENTION_DAYS", 30);
        let log_group_class = read.optional("LOG_GROUP_CLASS").unwrap_or_else(|| "STANDARD".to_owned());
        if !["STANDARD", "INFREQUENT_ACCESS"].contains(&log_group_class.as_str()) {
            read.problem("LOG_GROUP_CLASS must be STANDARD or INFREQUENT_ACCESS");
        }
        let config = Self {
            table_apps: read.required("TABLE_APPS"),
            table_logs: read.required("TABLE_LOGS"),
            table_files: read.required("TABLE_FILES"),
            table_checks: read.required("TABLE_CHECKS"),
            alert_function: read.required("ALERT_FUNCTION"),
            failure_bucket: read.required("FAILURE_BUCKET"),
            log_group_prefix: read.optional("LOG_GROUP_PREFIX").unwrap_or_else(|| "/logferry".to_owned()),
            log_group_class,
            log_retention_days: Some(retention_days).filter(|days| *days > 0),
            metrics_namespace: read.optional("METRICS_NAMESPACE").unwrap_or_else(|| "Logferry".to_owned()),
            record_metrics: read.parsed_or("RECORD_METRICS", false),
        };
        read.finish(config)
    }

    /// Returns the settings for sending events.
    #[must_use]
    pub fn sending(&self) -> Sending {
        Sending {
            group_prefix: self.log_group_prefix.clone(),
            retention_days: self.log_retention_days,
            retry: RetryPolicy::default(),
        }
    }
}
