//! What every implementation of a port must do: one suite for the adapters on the emulator and for
//! the simulated cloud. Each function gets a fresh name so that runs do not meet.

pub mod apps;
pub mod backlog;
pub mod blocks;
pub mod bucket;
pub mod counts;
pub mod files;
pub mod ledger;
pub mod records;
pub mod usage;

/// 2070-01-01T08:53:20Z: far ahead, so that neither a table's TTL nor a sweep on the clock of the
/// day touches what a test has just written.
const T0: i64 = 3_155_792_000_000;
