//! The hot functions, each on a small file of the corpus.

use std::hint::black_box;

use batch_buffer::body::write_body;
use batch_buffer::{Event, Limits, plan};
use logferry_core::logfile::decode::{DEFAULT_MAX_EXPANSION_RATIO, Decoder};
use logferry_core::logfile::pack::{PackSource, Packed};
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::logfile::read::{IntakeLimits, Sink, Stopped, read_log_file_redacted};
use logferry_core::logfile::split::{Body, DEFAULT_MAX_RECORD_BYTES, Splitter, StreamEnd};
use logferry_core::model::app::AppId;
use logferry_core::model::block::{Block, Payload};
use logferry_core::model::entry_filter::EntryFilter;
use logferry_core::model::ids::Seed;
use logferry_core::model::record_view::LogRecord;
use logferry_core::model::redact::Redactor;
use logferry_corpus::{ARRIVED_MS, Corpus};

use crate::Failure;
use crate::callgrind::counted_work;

/// Entries of a file.
const RECORDS: u64 = 2_000;
/// Bytes that the splitter receives at once.
const CHUNK_BYTES: usize = 128 * 1024;
/// The most that a file expands to (bytes).
const MAX_RAW_BYTES: u64 = 1 << 30;

/// All cases.
pub(crate) const NAMES: [&str; 17] = [
    "gunzip",
    "split NDJSON",
    "split JSON array",
    "split pretty-printed JSON",
    "split text log",
    "split browser lines",
    "split access log",
    "ingest NDJSON",
    "ingest text log",
    "ingest NDJSON, redacted",
    "ingest text log, redacted",
    "open blocks",
    "search",
    "field filter",
    "render records",
    "plan batches",
    "write bodies",
];

/// Prepares a case and runs it once.
pub(crate) fn run(name: &str) -> Result<(), Failure> {
    if let Some(kind) = name.strip_prefix("split ") {
        return split(&file(kind)?);
    }
    if let Some(kind) = name.strip_prefix("ingest ") {
        return match kind.strip_suffix(", redacted") {
            Some(kind) => ingest(&file(kind)?, &Redactor::standard()?),
            None => ingest(&file(kind)?, &Redactor::default()),
        };
    }
    match name {
        "gunzip" => gunzip(&file("NDJSON")?),
        "open blocks" => open(&blocks()?),
        "search" => filter(&[("search", "no such words")]),
        "field filter" => filter(&[("field.authUserId", ">=4999")]),
        "render records" => render(),
        "plan batches" => batches(false),
        "write bodies" => batches(true),
        _ => Err(format!("no case {name}").into()),
    }
}

fn file(kind: &str) -> Result<Corpus, Failure> {
    Corpus::of(kind, RECORDS)
}

fn gunzip(file: &Corpus) -> Result<(), Failure> {
    let mut bytes = 0;
    let mut decoder = Decoder::new(file.gzip.as_slice(), DEFAULT_MAX_EXPANSION_RATIO, MAX_RAW_BYTES);
    counted_work(&mut || {
        while let Ok(Some(chunk)) = decoder.next_chunk() {
            bytes += chunk.bytes.len();
        }
    });
    as_many("bytes", bytes as u64, file.raw.len() as u64)
}

fn split(file: &Corpus) -> Result<(), Failure> {
    let mut splitter = Splitter::new(DEFAULT_MAX_RECORD_BYTES, ARRIVED_MS);
    let mut records = 0;
    let mut drain = |splitter: &mut Splitter| {
        while let Some(piece) = splitter.next_piece() {
            records += u64::from(matches!(black_box(&piece).body, Body::Record(_)));
        }
    };
    counted_work(&mut || {
        for chunk in file.raw.chunks(CHUNK_BYTES) {
            splitter.push(chunk);
            drain(&mut splitter);
        }
        splitter.finish(StreamEnd::Whole);
        drain(&mut splitter);
    });
    as_many("records", records, file.records)
}

/// Keeps the blocks.
#[derive(Debug, Default)]
struct Kept(Vec<Block>);

impl Sink for Kept {
    fn packed(&mut self, packed: Packed) -> Result<(), Stopped> {
        self.0.extend(packed.block);
        Ok(())
    }

    fn quarantined(&mut self, _: Quarantined) -> Result<(), Stopped> {
        Ok(())
    }
}

/// Reads a file. Returns its blocks and how many records they have.
fn read(file: &Corpus, redactor: &Redactor, app_id: &AppId) -> Result<(Vec<Block>, u64), Failure> {
    let seed = Seed::of(&[b"counts"]);
    let source = PackSource {
        app_id,
        seed: &seed,
        source: "s3://bench/logs/bench/file.gz",
        registered_ms: 1,
        arrived_ms: ARRIVED_MS,
        retention_days: 30,
        pruned_before_ms: None,
    };
    let mut kept = Kept::default();
    let limits = IntakeLimits::default();
    let outcome = read_log_file_redacted(file.gzip.as_slice(), source, &limits, redactor, &mut kept)?;
    Ok((kept.0, outcome.counts.ok))
}

fn ingest(file: &Corpus, redactor: &Redactor) -> Result<(), Failure> {
    let app_id = "bench".parse()?;
    let mut result = None;
    counted_work(&mut || result = Some(read(file, redactor, &app_id)));
    as_many("records", result.ok_or("not run")??.1, file.records)
}

fn blocks() -> Result<Vec<Block>, Failure> {
    Ok(read(&file("NDJSON")?, &Redactor::default(), &"bench".parse()?)?.0)
}

fn payloads() -> Result<Vec<Payload>, Failure> {
    Ok(blocks()?.iter().map(|block| Payload::decode(&block.data)).collect::<Result<_, _>>()?)
}

fn open(blocks: &[Block]) -> Result<(), Failure> {
    let mut records = 0;
    counted_work(&mut || {
        for block in blocks {
            let payload = Payload::decode(&block.data);
            records += payload.map_or(0, |payload| payload.entries().map(black_box).count());
        }
    });
    as_many("records", records as u64, RECORDS)
}

fn filter(pairs: &[(&str, &str)]) -> Result<(), Failure> {
    let (payloads, filter) = (payloads()?, EntryFilter::read(pairs.iter().copied())?);
    let mut candidates = 0;
    counted_work(&mut || {
        for payload in &payloads {
            candidates += payload.entries().filter(|entry| filter.may_match(entry)).count();
        }
    });
    black_box(candidates);
    Ok(())
}

fn render() -> Result<(), Failure> {
    let payloads = payloads()?;
    let mut out = Vec::with_capacity(8 << 20);
    counted_work(&mut || {
        for record in payloads.iter().flat_map(Payload::records) {
            LogRecord::read(&record).write_json(&mut out, None, false);
        }
    });
    black_box(&out);
    Ok(())
}

/// Counts the writing of bodies, or else the planning of their batches.
fn batches(written: bool) -> Result<(), Failure> {
    let file = file("NDJSON")?;
    let lines = std::str::from_utf8(&file.raw)?.lines();
    let mut events: Vec<Event> = lines.map(|line| Event::new(ARRIVED_MS, line)).collect();
    let limits = Limits::default();
    let mut batches = Vec::new();
    let mut planned = || batches = plan(std::mem::take(&mut events), ARRIVED_MS, &limits).batches;
    if !written {
        counted_work(&mut planned);
        return as_many("events", batches.iter().flatten().count() as u64, RECORDS);
    }
    planned();
    let mut body = Vec::with_capacity(2 << 20);
    counted_work(&mut || {
        for batch in &batches {
            body.clear();
            write_body(&mut body, "/g", "s", None, batch);
            black_box(&body);
        }
    });
    Ok(())
}

/// A case that reads less than its file would look fast.
fn as_many(what: &str, found: u64, wanted: u64) -> Result<(), Failure> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("{found} of {wanted} {what}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_reads_its_whole_file() {
        for name in NAMES {
            run(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
