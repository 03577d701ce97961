//! Shared infrastructure of the functions: configuration, telemetry, metrics, HTTP envelope and
//! authentication.

mod answer;
pub mod api_key;
pub mod audit;
pub mod clock;
pub mod config;
pub mod derived_key;
pub mod http;
mod jwt_crypto;
pub mod metrics;
mod request;
pub mod secret_cache;
pub mod telemetry;
pub mod tokens;
