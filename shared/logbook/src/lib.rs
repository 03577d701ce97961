//! Writing, querying and counting an app's records, for the two doors `api` and `rpc`. Knows the
//! ports and no AWS; `now_ms` is an argument.

pub mod answer;
mod best;
pub mod budget;
pub mod cursor;
mod days;
pub mod entry;
mod feed;
pub mod filter;
pub mod long;
mod plan;
pub mod prune;
pub mod query;
pub mod redrive;
pub mod stats;
pub mod write;
