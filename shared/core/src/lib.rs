//! What Logferry knows, without what it talks to. Modules point one way:
//! `model` ← `logfile`, `uploads` ← `ledger` ← `ports` ← `logbook`.
//!
//! Each module holds the words, the pure logic and the ports of one concept. No AWS, no environment, no
//! clock: `now_ms` is an argument. `model` and `logfile` have no `async` either.

pub mod ledger;
pub mod logbook;
pub mod logfile;
pub mod model;
pub mod ports;
pub mod uploads;
