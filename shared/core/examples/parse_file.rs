//! Reads a log file as `ingest` does and prints its records. Gzip, zstd or plain; whatever `docs/formats.md` names.
//!
//! `cargo run --example parse_file -- tests/fixtures/pino/oddities.ndjson.gz`
#![expect(clippy::print_stdout, reason = "an example prints what it reads")]

use std::error::Error;
use std::fs::File;

use logferry_core::logfile::decode::{DEFAULT_MAX_EXPANSION_RATIO, DecodeError, Decoder};
use logferry_core::logfile::split::{Body, DEFAULT_MAX_RECORD_BYTES, Splitter, StreamEnd};
use logferry_core::model::time::rfc3339_ms;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: parse_file FILE")?;
    let mut decoder = Decoder::new(File::open(path)?, DEFAULT_MAX_EXPANSION_RATIO, u64::MAX);
    let mut splitter = Splitter::new(DEFAULT_MAX_RECORD_BYTES, 0);
    // The file is never in memory as a whole: a chunk is decompressed, then split into entries.
    while let Some(chunk) = decoder.next_chunk().map_err(explained)? {
        splitter.push(chunk.bytes);
        print_entries(&mut splitter);
    }
    splitter.finish(StreamEnd::Whole);
    print_entries(&mut splitter);
    Ok(())
}

/// A damaged file has good entries before the damage; they are printed by then.
fn explained(error: DecodeError) -> Box<dyn Error> {
    match error {
        DecodeError::Bad(reason) => reason.message.into(),
        DecodeError::Read(error) => error.into(),
    }
}

fn print_entries(splitter: &mut Splitter) {
    while let Some(piece) = splitter.next_piece() {
        match piece.body {
            Body::Record(entry) => {
                let time = entry.timestamp_ms.map_or_else(|| "no time".to_owned(), rfc3339_ms);
                println!("{:>6}  {time:<24}  {:<5}  {}", piece.ordinal, entry.level.as_str(), entry.raw);
            }
            // A bad record never stops a file.
            Body::Bad(reason, _) => {
                println!("{:>6}  bytes {} to {}: {reason:?}", piece.ordinal, piece.start, piece.end);
            }
        }
    }
}
