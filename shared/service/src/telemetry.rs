//! The functions' own logs: one JSON object per line on standard output, without secrets and without
//! contents of tenants' logs. Field names are dotted and contain units.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Target prefixes of our own crates.
const OWN: [&str; 2] = ["logferry", "batch_buffer"];

/// The target of audit lines.
pub const AUDIT: &str = "audit";

/// Returns the filter for a level (`error` to `trace`; anything else means `info`). The level applies to
/// our own crates. Dependencies log warnings and errors only: at lower levels they log whole events,
/// requests and headers, with every key, token and record. Audit lines are always logged.
fn filter(level: Option<&str>) -> Targets {
    let own = level
        .filter(|level| !level.is_empty())
        .and_then(|level| level.parse().ok())
        .unwrap_or(LevelFilter::INFO);
    Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_targets(OWN.map(|target| (target, own)))
        .with_target(AUDIT, LevelFilter::INFO)
}

/// Starts logging, once per process. `level` applies to our own crates, such as `info` or `debug`.
pub fn start(level: Option<&str>) {
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(true);
    if tracing_subscriber::registry().with(filter(level)).with(lines).try_init().is_err() {
        tracing::debug!("logging was already started");
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_level_is_that_of_our_own_crates_and_dependencies_say_warnings_at_most() {
        for (level, most) in [
            (Some("error"), Level::ERROR),
            (Some("warn"), Level::WARN),
            (None, Level::INFO),
            (Some("debug"), Level::DEBUG),
            (Some("trace"), Level::TRACE),
            (Some("lambda_runtime=trace"), Level::INFO),
            (Some(""), Level::INFO),
        ] {
            let filter = filter(level);
            for at in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                for own in ["logferry_api::logs", "logferry_aws", "batch_buffer::send"] {
                    assert_eq!(filter.would_enable(own, &at), at <= most, "{own} {at} of {level:?}");
                }
                for foreign in
                    ["lambda_runtime::layers::api_response", "aws_smithy_runtime", "hyper", "h2", "api"]
                {
                    let said = at <= most.min(Level::WARN);
                    assert_eq!(filter.would_enable(foreign, &at), said, "{foreign} {at} of {level:?}");
                }
            }
            assert!(filter.would_enable(AUDIT, &Level::INFO), "{level:?}");
        }
    }
}
