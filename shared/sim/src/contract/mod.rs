//! The contract of each port: one suite for the adapters on the emulator and for the simulated cloud. Each
//! function uses a fresh name, so that runs do not interfere.

pub mod alerts;
pub mod apps;
pub mod arrivals;
pub mod backlog;
pub mod blocks;
pub mod bucket;
pub mod counts;
pub mod files;
pub mod ledger;
pub mod records;
pub mod sessions;
pub mod usage;

/// 2070-01-01T08:53:20Z: far in the future, so that neither a table's TTL nor a sweep with the real clock
/// touches new rows of a test.
const T0: i64 = 3_155_792_000_000;
