//! Functions that the buffer calls: a clock, and the receiver of dead letters.

use std::sync::Arc;

use crate::deliver::DeadLetter;

/// Milliseconds since 1970.
pub(super) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;
/// Group, stream and the events.
pub(super) type DeadLetters = Arc<dyn Fn(&str, &str, Vec<DeadLetter>) + Send + Sync>;

pub(super) fn system_clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

pub(super) fn log_dead_letters(group: &str, stream: &str, dead: Vec<DeadLetter>) {
    for letter in &dead {
        tracing::error!(group, stream, reason = letter.reason.code(), cause = %letter.reason, "event dead-lettered");
    }
}
