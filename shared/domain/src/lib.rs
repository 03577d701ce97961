//! What Logferry knows, without what it talks to: ids, records, formats, blocks, ledger states,
//! keys and faults. No async, no AWS, no environment and no clock in here; `now_ms` is an argument.

pub mod app;
pub mod block;
pub mod checkpoint;
pub mod counted;
pub mod decode;
pub mod embedded_metrics;
pub mod entry;
pub mod expiry;
pub mod fault;
pub mod framing;
pub mod hex128;
pub mod intake;
mod json_text;
pub mod keys;
pub mod ledger;
pub mod log_record;
pub mod object;
pub mod pack;
pub mod packing;
pub mod quarantine;
pub mod quota;
pub mod record;
pub mod redact;
pub mod split;
pub mod stats;
pub mod time;
pub mod upload;
mod varint;
pub mod worker_line;
