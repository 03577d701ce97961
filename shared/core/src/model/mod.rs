//! Types that all other modules share: ids, times, levels, records, blocks, apps, faults.

pub mod alert;
pub mod app;
pub mod block;
pub mod counted;
pub mod day_counts;
pub mod embedded_metrics;
pub mod entry_filter;
pub mod expiry;
pub mod fault;
pub mod few;
pub mod fingerprint;
pub mod ids;
pub(crate) mod json;
pub mod level;
pub mod names;
pub mod object;
pub mod object_key;
pub mod quota;
pub mod record;
pub mod record_view;
pub mod redact;
pub mod stamp;
pub mod text;
pub mod time;
pub mod time_bound;
