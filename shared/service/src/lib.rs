//! What every function needs around its story: configuration, telemetry, metrics, HTTP envelope
//! and authentication.

pub mod api_key;
pub mod audit;
pub mod config;
pub mod derived_key;
pub mod http;
mod jwt_crypto;
pub mod metrics;
pub mod secret_cache;
pub mod telemetry;
pub mod tokens;
