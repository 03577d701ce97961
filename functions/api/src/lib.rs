//! The log service over HTTP: apps and keys; write, query, stats, prune

pub mod health_routes;
