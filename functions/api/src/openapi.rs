//! The OpenAPI document, as it is served.

/// `openapi.json`, beside this crate's sources.
pub const DOCUMENT: &str = include_str!("../openapi.json");
