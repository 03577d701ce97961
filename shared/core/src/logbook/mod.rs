//! Writing, querying, counting and pruning an app's records, for `api` and `rpc`.

pub mod alerts;
pub mod answer;
mod block_cursor;
pub mod blocks;
pub mod budget;
pub mod carried;
pub mod counter_keys;
pub mod counters;
pub mod cursor;
mod day_cursor;
pub mod erase;
pub mod filter;
pub mod histogram;
pub mod new_entry;
mod newest;
mod oldest;
pub mod prune;
pub mod query;
mod question;
pub mod records;
pub mod redrive;
pub mod stats;
pub mod subscription;
pub mod write;
mod write_plan;
