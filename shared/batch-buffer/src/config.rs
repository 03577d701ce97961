//! Settings of a buffer: batch sizes, retries and memory.

use std::time::Duration;

use crate::deliver::RetryPolicy;
use crate::limits::{MAX_AGE_MS, MAX_BATCH_BYTES, MAX_BATCH_EVENTS};
use crate::plan::Limits;

/// Minimum of `max_bytes`: room for a piece of a split message and its frame.
pub const MIN_BATCH_BYTES: usize = 1_024;

/// Settings of a [`crate::BatchBuffer`]; each has a default.
#[derive(Debug, Clone)]
pub struct Config {
    /// Events that make a stream full, and the maximum per request. Default 10,000.
    pub max_events: usize,
    /// Bytes that make a stream full, and the maximum per request. Default 1,048,576.
    pub max_bytes: usize,
    /// Period of the background timer. Default 5 s.
    pub flush_interval: Duration,
    /// Attempts after the first one. Default 3.
    pub max_retries: u32,
    /// Upper bound of the first random wait between attempts; doubles for each attempt. Default 200 ms.
    pub backoff_base: Duration,
    /// Maximum wait between attempts. Default 5 s.
    pub backoff_max: Duration,
    /// Maximum bytes of all streams together, waiting and in flight; above that, `add` refuses. Default 64
    /// MiB.
    pub max_buffered_bytes: usize,
    /// Maximum requests in flight, at most one per stream. Default 8.
    pub max_concurrent_sends: usize,
    /// The groups' retention, if it is shorter than the 14 days that CloudWatch accepts.
    pub retention: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        let retry = RetryPolicy::default();
        Self {
            max_events: MAX_BATCH_EVENTS,
            max_bytes: MAX_BATCH_BYTES,
            flush_interval: Duration::from_secs(5),
            max_retries: retry.max_retries,
            backoff_base: retry.backoff_base,
            backoff_max: retry.backoff_max,
            max_buffered_bytes: 64 << 20,
            max_concurrent_sends: 8,
            retention: None,
        }
    }
}

/// A setting outside its range. The message names the setting and the range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be {expected}")]
pub struct ConfigError {
    pub name: &'static str,
    pub expected: String,
}

impl Config {
    /// Checks all settings.
    ///
    /// # Errors
    /// The first setting outside its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let error = |name, expected: String| Err(ConfigError { name, expected });
        if !(1..=MAX_BATCH_EVENTS).contains(&self.max_events) {
            return error("max_events", format!("1 to {MAX_BATCH_EVENTS}"));
        }
        if !(MIN_BATCH_BYTES..=MAX_BATCH_BYTES).contains(&self.max_bytes) {
            return error("max_bytes", format!("{MIN_BATCH_BYTES} to {MAX_BATCH_BYTES}"));
        }
        if self.max_buffered_bytes < self.max_bytes {
            return error("max_buffered_bytes", "at least max_bytes".to_owned());
        }
        if self.max_concurrent_sends == 0 {
            return error("max_concurrent_sends", "at least 1".to_owned());
        }
        if self.flush_interval.is_zero() {
            return error("flush_interval", "longer than zero".to_owned());
        }
        Ok(())
    }

    pub(crate) fn limits(&self) -> Limits {
        let retention_ms = self.retention.and_then(|retention| i64::try_from(retention.as_millis()).ok());
        Limits {
            max_events: self.max_events,
            max_bytes: self.max_bytes,
            max_age_ms: retention_ms.unwrap_or(MAX_AGE_MS).min(MAX_AGE_MS),
        }
    }

    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            max_retries: self.max_retries,
            backoff_base: self.backoff_base,
            backoff_max: self.backoff_max,
            deadline: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_beyond_the_limits_are_named() {
        let bad = [
            (Config { max_events: 10_001, ..Config::default() }, "max_events must be 1 to 10000"),
            (Config { max_events: 0, ..Config::default() }, "max_events must be 1 to 10000"),
            (Config { max_bytes: 1_048_577, ..Config::default() }, "max_bytes must be 1024 to 1048576"),
            (
                Config { max_buffered_bytes: 5, ..Config::default() },
                "max_buffered_bytes must be at least max_bytes",
            ),
            (
                Config { max_concurrent_sends: 0, ..Config::default() },
                "max_concurrent_sends must be at least 1",
            ),
            (
                Config { flush_interval: Duration::ZERO, ..Config::default() },
                "flush_interval must be longer than zero",
            ),
        ];
        for (config, expect) in bad {
            assert_eq!(config.check().err().map(|error| error.to_string()).as_deref(), Some(expect));
        }
        assert_eq!(Config::default().check(), Ok(()));
    }
}
