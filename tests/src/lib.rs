//! What the tests stand on: the running local stack, as a user reaches it.

pub mod api;
pub mod contract;
pub mod function;
pub mod http1;
pub mod ingest;
pub mod process;
pub mod sim;
pub mod stack;
pub mod stream;
