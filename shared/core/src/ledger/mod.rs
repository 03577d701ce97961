//! The ledger of uploaded objects: the state of each one, its lease, and overdue work.

pub mod backlog;
pub mod bucket;
pub mod checkpoint;
pub mod claim;
pub mod files;
pub mod grants;
pub mod row;
