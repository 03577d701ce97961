//! The clock as a port, so that tests can set the time.

/// The current time.
pub trait Clock: Send + Sync {
    /// Returns milliseconds since the epoch.
    fn now_ms(&self) -> i64;
}
