//! Every feature test, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

mod alerts;
mod api;
mod arrivals;
mod browser_lines;
mod contract;
mod counts;
mod e2e;
mod erase;
mod expiry;
mod faults;
mod flush;
mod histogram;
mod ingest;
mod missed;
mod one_record;
mod overdue_uploads;
mod processes;
mod quarantine;
mod query;
mod quotas;
mod redaction;
mod redrives;
mod removals;
mod sim;
mod subscriptions;
mod throttling;
mod tidy;
