//! Shared infrastructure of the functions: configuration, telemetry, metrics, HTTP envelope and
//! authentication.

pub mod api_key;
pub mod audit;
pub mod clock;
pub mod config;
pub mod derived_key;
pub mod door;
pub mod http;
mod jwt_crypto;
pub mod metrics;
pub mod random;
pub mod redaction;
pub mod secret_cache;
pub mod telemetry;
pub mod tokens;
pub mod webhook_signature;
