//! Turns the bytes of a log file into blocks: decompress, split, parse, redact, pack. Pure and deterministic.

pub mod decode;
pub mod fingerprint;
pub mod framing;
pub mod outcome;
pub mod pack;
pub mod parse;
pub mod quarantine;
pub mod read;
pub mod split;
