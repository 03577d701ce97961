//! Our own logs: one JSON object a line on standard output. No secret and no content of anybody's
//! logs goes in; fields are dotted, units in their names.

use tracing_subscriber::EnvFilter;

/// Starts logging, once per process. `level` is a filter such as `info` or `debug`.
pub fn start(level: Option<&str>) {
    let filter = EnvFilter::try_new(level.unwrap_or("info")).unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_env_filter(filter)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was already started");
    }
}
