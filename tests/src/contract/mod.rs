//! What every implementation of a port must do: one suite for the adapters on the emulator and for
//! the simulated cloud. Each function gets a fresh name so that runs do not meet.

pub mod apps;
pub mod blocks;
pub mod files;
pub mod ledger;
pub mod records;
