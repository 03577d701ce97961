//! Support for tests: the running local stack, as a user reaches it.

pub mod api;
pub mod function;
pub mod http1;
pub mod ingest;
pub mod process;
pub mod stack;
pub mod stream;
pub mod template;

/// Returns a deadline with enough time for a removal.
#[must_use]
pub fn in_a_minute() -> tokio::time::Instant {
    tokio::time::Instant::now() + std::time::Duration::from_secs(60)
}

/// Reads a number from the environment.
///
/// # Panics
/// If it is set and not a number.
#[must_use]
#[expect(clippy::panic, reason = "a knob that is misspelt must not pass for the default")]
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}
