//! The function against real servers on loopback; one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_debug_implementations)]

mod probes;
mod runs;
mod servers;
mod shares;
mod ssrf;
mod world;
