//! The pure core of Logferry, and its ports. Modules depend on each other in one direction:
//! `model` ← `logfile`, `uploads` ← `ledger` ← `ports` ← `logbook`.
//!
//! Each module has the types, the pure logic and the ports of one concept. No AWS, no environment, no clock:
//! `now_ms` is an argument. `model` and `logfile` have no `async` either.

pub mod ledger;
pub mod logbook;
pub mod logfile;
pub mod model;
pub mod ports;
pub mod uploads;
