//! The client against a service and an S3 of its own, on loopback, that fail on demand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

mod logs;
mod service;
mod uploads;
