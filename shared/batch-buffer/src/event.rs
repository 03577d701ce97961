//! One log event.

use crate::limits::EVENT_OVERHEAD_BYTES;

/// What CloudWatch Logs stores: a time and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub timestamp_ms: i64,
    /// At least one byte, UTF-8.
    pub message: String,
    /// The caller's own: never sent, and still there on pieces, dead letters and what comes back.
    pub tag: u64,
}

impl Event {
    pub fn new(timestamp_ms: i64, message: impl Into<String>) -> Self {
        Self { timestamp_ms, message: message.into(), tag: 0 }
    }

    #[must_use]
    pub fn tagged(mut self, tag: u64) -> Self {
        self.tag = tag;
        self
    }

    /// Bytes that count against a request's limit.
    pub fn size_bytes(&self) -> usize {
        self.message.len() + EVENT_OVERHEAD_BYTES
    }
}
