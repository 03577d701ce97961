//! What HTTP handlers take and answer: typed arguments whose errors name the field ([`Json`], [`QueryParams`]),
//! answers and errors in the envelope, and [`Routes`], the one list of a function's routes, for its router
//! and for its OpenAPI document alike.

mod answer;
mod body;
mod coding;
mod compress;
mod document;
mod event;
mod fields;
mod head;
mod query;

pub use answer::{Answer, ApiError, Measured, data, json, listed, ok, text, with_header, with_pause};
pub use axum::response::{IntoResponse, Response};
pub use axum::{Router, body::Bytes, extract::State};
pub use body::{Body, BodyBytes, Json, MAX_BODY_BYTES, Raw};
pub use coding::MAX_DECODED_BYTES;
pub(crate) use compress::{accepts_gzip, compressed};
pub use document::{Describe, Document, ErrorShape, Operation, Route, Routes, Schemas, envelope_error};
pub(crate) use event::{into_event, request_of};
pub use fields::{Fields, number, required};
pub use head::{Arrival, Head, PathPart, Trail, text_header_schema, unversioned};
pub use query::QueryParams;
