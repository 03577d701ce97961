//! Metrics in CloudWatch's embedded metric format: one JSON line per group of values.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! [`CATALOGUE`] is the one list of names; `docs/operations.md` prints it and a test compares both.

use std::io::Write;

use serde_json::{Map, Value, json};

/// The units of CloudWatch that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Count,
    Bytes,
    Milliseconds,
    Seconds,
}

impl Unit {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Bytes => "Bytes",
            Self::Milliseconds => "Milliseconds",
            Self::Seconds => "Seconds",
        }
    }
}

/// One metric: what it is called, counted in, and says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub unit: Unit,
    pub meaning: &'static str,
}

macro_rules! catalogue {
    ($($ident:ident = $name:literal, $unit:ident, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $ident: Metric = Metric { name: $name, unit: Unit::$unit, meaning: $meaning };)*
        /// Every metric there is.
        pub const CATALOGUE: &[Metric] = &[$($ident),*];
    };
}

catalogue! {
    FILES_COMPLETED = "FilesCompleted", Count, "Files that became COMPLETED.";
    FILES_FAILED = "FilesFailed", Count, "Files that became FAILED though their sender did nothing wrong.";
    FILES_REFUSED = "FilesRefused", Count, "Files that became FAILED for what they hold or how they came, which only their sender can change.";
    RECORDS_STORED = "RecordsStored", Count, "Records of files that reached a terminal state.";
    RECORDS_QUARANTINED = "RecordsQuarantined", Count, "Bad records kept with reason and range.";
    BYTES_DECOMPRESSED = "BytesDecompressed", Bytes, "Bytes of files after decompression.";
    BLOCKS_WRITTEN = "BlocksWritten", Count, "Blocks stored, replays included.";
    EVENTS_IN = "EventsIn", Count, "Records that flush was given.";
    EVENTS_SENT = "EventsSent", Count, "Records whose sending CloudWatch Logs confirmed.";
    EVENTS_NARROWED = "EventsNarrowed", Count, "Records left out by their app's flush setting, or because their app is deleted.";
    EVENTS_DEAD_LETTERED = "EventsDeadLettered", Count, "Records put into the failure bucket with a reason.";
    EVENTS_LEFT = "EventsLeft", Count, "Records that flush gave back to the stream; a later run is given them again.";
    EVENTS_SENT_BEFORE = "EventsSentBefore", Count, "Records that an earlier run had sent before it ended early.";
    RETENTIONS_FAILED = "RetentionsFailed", Count, "Times that flush could not set a log group's retention; it tries again later.";
    REQUESTS = "Requests", Count, "HTTP requests answered.";
    REQUEST_ERRORS = "RequestErrors", Count, "HTTP requests answered with a 5xx.";
    REQUESTS_REFUSED = "RequestsRefused", Count, "HTTP requests whose credential was refused (401, 403).";
    REQUESTS_THROTTLED = "RequestsThrottled", Count, "HTTP requests answered with a 429 of our own.";
    BLOCKS_SKIPPED = "BlocksSkipped", Count, "Blocks that a query could not read: damaged, or an extent is missing.";
    CHECKS_UP = "ChecksUp", Count, "Probes that met their conditions.";
    CHECKS_DOWN = "ChecksDown", Count, "Probes that did not.";
    CHECKS_SKIPPED = "ChecksSkipped", Count, "Probes that did not fit into their run.";
    PROBE_LATENCY = "ProbeLatency", Milliseconds, "Time from the start of a probe to its answer.";
    NOTIFICATIONS_FAILED = "NotificationsFailed", Count, "Messages about a change of state that the topic refused, or did not take yet.";
    SWEEP_OLDEST_DUE_AGE = "SweepOldestDueAge", Seconds, "How long the oldest due file or URL has waited when a sweep begins, beyond the time between two sweeps.";
    SWEEP_RESTARTED = "SweepRestarted", Count, "Files that a sweep handed to ingest again.";
    SWEEP_ROUND_AGE = "SweepRoundAge", Seconds, "How long the oldest look through a whole log prefix has been under way, or is overdue.";
    SWEEP_URLS_UNUSED = "SweepUrlsUnused", Count, "URLs that nobody used; each ended FAILED NEVER_UPLOADED.";
}

/// Values of one metric in one emission, the format's limit.
pub const MAX_VALUES: usize = 100;

/// Values of one moment, of one set of dimensions.
#[derive(Debug, Clone)]
pub struct Emission {
    namespace: String,
    dimensions: Vec<(&'static str, String)>,
    values: Vec<(Metric, Value)>,
}

impl Emission {
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), dimensions: Vec::new(), values: Vec::new() }
    }

    #[must_use]
    pub fn dimension(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.dimensions.push((name, value.into()));
        self
    }

    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn value(mut self, metric: Metric, value: u64) -> Self {
        self.values.push((metric, Value::from(value as f64)));
        self
    }

    /// Several values of one metric, [`MAX_VALUES`] at most; none is no metric.
    #[must_use]
    pub fn values(mut self, metric: Metric, values: &[u32]) -> Self {
        if !values.is_empty() {
            self.values.push((metric, Value::from(values)));
        }
        self
    }

    /// The line, without its line feed.
    #[must_use]
    pub fn line(&self, now_ms: i64) -> String {
        let names: Vec<_> = self.dimensions.iter().map(|(name, _)| *name).collect();
        let metrics: Vec<_> = self
            .values
            .iter()
            .map(|(metric, _)| json!({"Name": metric.name, "Unit": metric.unit.as_str()}))
            .collect();
        let mut line = Map::new();
        line.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": now_ms,
                "CloudWatchMetrics": [{"Namespace": self.namespace, "Dimensions": [names], "Metrics": metrics}],
            }),
        );
        for (name, value) in &self.dimensions {
            line.insert((*name).to_owned(), Value::from(value.as_str()));
        }
        for (metric, value) in &self.values {
            line.insert(metric.name.to_owned(), value.clone());
        }
        Value::Object(line).to_string()
    }

    /// Writes the line to standard output, where Lambda picks it up.
    pub fn emit(&self, now_ms: i64) {
        if self.values.is_empty() {
            return;
        }
        let written = writeln!(std::io::stdout().lock(), "{}", self.line(now_ms));
        if let Err(error) = written {
            tracing::warn!(error.message = %error, "a metric could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_the_format_asks_for() {
        let line =
            Emission::new("Logferry").dimension("Function", "ingest").value(FILES_COMPLETED, 2).line(5);
        assert_eq!(
            line,
            r#"{"_aws":{"Timestamp":5,"CloudWatchMetrics":[{"Namespace":"Logferry","Dimensions":[["Function"]],"Metrics":[{"Name":"FilesCompleted","Unit":"Count"}]}]},"Function":"ingest","FilesCompleted":2.0}"#
        );
    }

    #[test]
    fn no_name_stands_in_the_catalogue_twice() {
        let mut names: Vec<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
    }
}
