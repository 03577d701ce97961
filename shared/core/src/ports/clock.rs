//! Time, so that tests can turn it.

/// What time it is.
pub trait Clock: Send + Sync {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> i64;
}
