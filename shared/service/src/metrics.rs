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
    FILES_FAILED = "FilesFailed", Count, "Files that became FAILED through no fault of their sender.";
    FILES_REFUSED = "FilesRefused", Count, "Files that became FAILED because of their content or the way they were uploaded; only the sender can fix them.";
    FILES_MOSTLY_QUARANTINED = "FilesMostlyQuarantined", Count, "Files that became COMPLETED with more than half of their bytes in quarantine.";
    RECORDS_STORED = "RecordsStored", Count, "Records of files that reached a terminal state.";
    RECORDS_QUARANTINED = "RecordsQuarantined", Count, "Bad records kept with reason and range.";
    BYTES_DECOMPRESSED = "BytesDecompressed", Bytes, "Decompressed bytes of files.";
    BLOCKS_WRITTEN = "BlocksWritten", Count, "Blocks stored, including replays.";
    RECORDS = "Records", Count, "Records by app and level, if `RecordMetrics` is set; those of a run that died may count twice.";
    EVENTS_IN = "EventsIn", Count, "Records received by `flush`.";
    EVENTS_SENT = "EventsSent", Count, "Records confirmed by CloudWatch Logs.";
    EVENTS_NARROWED = "EventsNarrowed", Count, "Records skipped because of their app's flush setting, or because their app is deleted.";
    EVENTS_DEAD_LETTERED = "EventsDeadLettered", Count, "Records put into the failure bucket with a reason.";
    EVENTS_LEFT = "EventsLeft", Count, "Records that `flush` left in the stream; a later run receives them again.";
    EVENTS_SENT_BEFORE = "EventsSentBefore", Count, "Records that an earlier run had sent before it ended early.";
    RETENTIONS_FAILED = "RetentionsFailed", Count, "Failed attempts to set the retention of a log group; `flush` retries later.";
    ARRIVALS_FAILED = "ArrivalsFailed", Count, "Failed attempts to append the blocks of an app to its log of arrivals; the stream delivers them again, so a tail sees them late.";
    REQUESTS = "Requests", Count, "HTTP requests answered.";
    REQUEST_ERRORS = "RequestErrors", Count, "HTTP requests answered with a 5xx.";
    REQUESTS_REFUSED = "RequestsRefused", Count, "HTTP requests with a rejected credential (401, 403).";
    REQUESTS_THROTTLED = "RequestsThrottled", Count, "HTTP requests that Logferry answered with a 429.";
    BLOCKS_SKIPPED = "BlocksSkipped", Count, "Blocks that a query could not read: damaged, or an extent is missing.";
    CHECKS_UP = "ChecksUp", Count, "Probes that met their conditions.";
    CHECKS_DOWN = "ChecksDown", Count, "Probes that did not meet their conditions.";
    CHECKS_SKIPPED = "ChecksSkipped", Count, "Probes that did not fit into their run.";
    PROBE_LATENCY = "ProbeLatency", Milliseconds, "Time from the start of a probe to its response.";
    NOTIFICATIONS_FAILED = "NotificationsFailed", Count, "Messages about a state change that the topic rejected, permanently or for now.";
    SWEEP_OLDEST_DUE_AGE = "SweepOldestDueAge", Seconds, "Waiting time of the oldest due file or URL at the start of a sweep, minus the time between two sweeps.";
    SWEEP_RESTARTED = "SweepRestarted", Count, "Files that a sweep passed to `ingest` again.";
    SWEEP_ROUND_AGE = "SweepRoundAge", Seconds, "How long the oldest listing round of a log prefix has been running, or is overdue.";
    SWEEP_URLS_UNUSED = "SweepUrlsUnused", Count, "URLs that expired unused; each ended FAILED NEVER_UPLOADED.";
}

/// Maximum values of one metric per emission, the format's limit.
pub const MAX_VALUES: usize = 100;

/// Values of one moment, with one set of dimensions.
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

    /// Adds several values of one metric, at most [`MAX_VALUES`]. An empty list adds nothing.
    #[must_use]
    pub fn values(mut self, metric: Metric, values: &[u32]) -> Self {
        if !values.is_empty() {
            self.values.push((metric, Value::from(values)));
        }
        self
    }

    /// Returns the line, without line feed.
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

    /// Writes the line to standard output, where Lambda reads it.
    pub fn emit(&self, now_ms: i64) {
        if self.values.is_empty() {
            return;
        }
        let written = writeln!(std::io::stdout().lock(), "{}", self.line(now_ms));
        if let Err(error) = written {
            tracing::warn!(error.message = %error, "failed to write a metric");
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
