//! The ledger of uploaded objects: where each one stands, who works on it, and what is overdue.

pub mod backlog;
pub mod bucket;
pub mod checkpoint;
pub mod claim;
pub mod files;
pub mod row;
