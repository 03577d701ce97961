//! A log event.

use crate::limits::EVENT_OVERHEAD_BYTES;

/// A log event: a time and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub timestamp_ms: i64,
    /// At least one byte, UTF-8.
    pub message: String,
    /// Free for the caller: never sent, and kept on pieces, dead letters and returned events.
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

    /// Returns the bytes that count towards a request's limit.
    pub fn size_bytes(&self) -> usize {
        self.message.len() + EVENT_OVERHEAD_BYTES
    }
}
