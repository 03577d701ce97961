//! Resumable multipart uploads and the attendees that may make them.

pub mod attendees;
pub mod session;
pub mod table;
