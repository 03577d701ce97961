//! What every function needs around its story: configuration, telemetry, metrics, HTTP envelope
//! and authentication.

pub mod config;
pub mod http;
pub mod metrics;
pub mod telemetry;
