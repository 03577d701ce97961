//! Defaults of a deployment, from `template.yaml`.
#![expect(clippy::panic, reason = "a test that cannot go on says why and stops")]

use std::time::Duration;

/// Returns the default of a parameter.
///
/// # Panics
/// If there is no such parameter, or it has no default.
#[must_use]
pub fn default_of(parameter: &str) -> &'static str {
    let template = include_str!("../../template.yaml");
    let own = template.lines().skip_while(|line| *line != format!("  {parameter}:")).skip(1);
    let mut own = own.take_while(|line| line.starts_with("    "));
    let default = own.find_map(|line| line.strip_prefix("    Default: "));
    default
        .map(|value| value.trim_matches('"'))
        .unwrap_or_else(|| panic!("template.yaml has no default of {parameter}"))
}

/// Returns the interval of `sweep`.
///
/// # Panics
/// If the template does not set a number.
#[must_use]
pub fn sweep_interval() -> Duration {
    let minutes: u64 = default_of("SweepScheduleMinutes")
        .parse()
        .unwrap_or_else(|error| panic!("SweepScheduleMinutes: {error}"));
    Duration::from_secs(60 * minutes)
}
