//! Resumable multipart uploads, and meeting attendees of Amazon Chime.

pub mod attendees;
pub mod session;
pub mod table;
