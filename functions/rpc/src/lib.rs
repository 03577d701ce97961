//! The log service for internal callers, by direct invoke
