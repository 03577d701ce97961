//! Configuration of `sweep`, read from the environment.

use std::time::Duration;

use logferry_service::config::{BadConfig, Reader};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub table_apps: String,
    pub table_files: String,
    pub table_logs: String,
    pub table_stats: String,
    pub table_uploads: String,
    pub bucket: String,
    pub ingest_function: String,
    pub metrics_namespace: String,
    /// Time between two runs.
    pub interval: Duration,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All missing and invalid variables, in one error.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut read = Reader::new(lookup);
        let config = Self {
            table_apps: read.required("TABLE_APPS"),
            table_files: read.required("TABLE_FILES"),
            table_logs: read.required("TABLE_LOGS"),
            table_stats: read.required("TABLE_STATS"),
            table_uploads: read.required("TABLE_UPLOADS"),
            bucket: read.required("BUCKET"),
            ingest_function: read.required("INGEST_FUNCTION"),
            metrics_namespace: read.required("METRICS_NAMESPACE"),
            interval: Duration::from_secs(60 * read.parsed::<u64>("SWEEP_SCHEDULE_MINUTES")),
        };
        read.finish(config)
    }
}
