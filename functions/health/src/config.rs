//! Configuration of `health`, read from the environment.

use logferry_health_checks::guard::{Policy, Ports};
use logferry_service::config::{BadConfig, Reader};

use crate::measure::Detail;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub table_apps: String,
    pub table_checks: String,
    pub health_topic_arn: String,
    /// Topic of alerts that name no webhook.
    pub alert_topic_arn: String,
    pub metrics_namespace: String,
    pub metrics_detail: Detail,
    pub schedule_ms: i64,
    pub policy: Policy,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// All missing and invalid variables, in one error.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut read = Reader::new(lookup);
        let ports = match read.optional("HEALTH_PORTS").map(|text| Ports::parse(&text)) {
            None => Ports::default(),
            Some(Ok(ports)) => ports,
            Some(Err(reason)) => {
                read.problem(format!("HEALTH_PORTS: {reason}"));
                Ports::default()
            }
        };
        let metrics_detail = match read.optional("HEALTH_METRICS").map(|text| text.parse()) {
            None => Detail::default(),
            Some(Ok(detail)) => detail,
            Some(Err(reason)) => {
                read.problem(format!("HEALTH_METRICS {reason}"));
                Detail::default()
            }
        };
        let minutes: i64 = read.parsed_or("HEALTH_SCHEDULE_MINUTES", 5);
        if !(1..=1440).contains(&minutes) {
            read.problem("HEALTH_SCHEDULE_MINUTES must be from 1 to 1440");
        }
        let config = Self {
            table_apps: read.required("TABLE_APPS"),
            table_checks: read.required("TABLE_CHECKS"),
            health_topic_arn: read.required("HEALTH_TOPIC_ARN"),
            alert_topic_arn: read.required("ALERT_TOPIC_ARN"),
            metrics_namespace: read.optional("METRICS_NAMESPACE").unwrap_or_else(|| "Logferry".to_owned()),
            metrics_detail,
            schedule_ms: minutes.saturating_mul(60_000),
            policy: Policy { allow_private: read.parsed_or("ALLOW_PRIVATE_HEALTH_TARGETS", false), ports },
        };
        read.finish(config)
    }
}
