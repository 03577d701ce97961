//! The served OpenAPI document.

/// `openapi.json` of this crate.
pub const DOCUMENT: &str = include_str!("../openapi.json");
