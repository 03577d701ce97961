//! The real binaries, as Lambda runs them, against the emulator: killed with SIGKILL in the middle of
//! their work, and with every call they make going wrong in every way.

mod answers;
mod kills;
mod relay;
mod sandbox;
mod scenes;

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}
