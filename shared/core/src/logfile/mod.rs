//! Turns the bytes of a log file into blocks: decompress, split, parse, redact, pack. Pure and deterministic.

pub mod decode;
pub mod fingerprint;
pub(crate) mod head;
pub mod outcome;
pub mod pack;
pub mod quarantine;
pub mod read;
pub mod split;
