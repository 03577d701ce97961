//! What becomes of files that loggers, agents, servers and AWS services write: `docs/formats.md` as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]

#[path = "formats/aws.rs"]
mod aws;
#[path = "formats/files.rs"]
mod files;
#[path = "formats/loggers.rs"]
mod loggers;
#[path = "formats/reports.rs"]
mod reports;
#[path = "formats/seen.rs"]
mod seen;
