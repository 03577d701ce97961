//! Ingest: CPU beside each of its stages alone, with and without redaction, and per kind of content.

use std::hint::black_box;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::pack::{PackSource, Packed};
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::logfile::read::{IntakeLimits, Sink, Stopped, read_log_file_redacted};
use logferry_core::logfile::split::{DEFAULT_MAX_RECORD_BYTES, Splitter, StreamEnd};
use logferry_core::model::app::AppId;
use logferry_core::model::ids::Seed;
use logferry_core::model::redact::Redactor;
use logferry_corpus::{ARRIVED_MS, Corpus, KINDS};

use crate::clock::Time;
use crate::function::{self, Object};
use crate::race::{Contender, Failure, race};
use crate::report::{Report, Row, Table};

/// Maximum write units for a million records of the generated file.
const MAX_WRITE_UNITS_PER_MILLION: u64 = 95_000;
/// The least speed of arrays and of text, as a share of that of NDJSON.
const MIN_SHARE_OF_NDJSON: f64 = 0.5;

/// Bytes of an item per write unit.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
const WRITE_UNIT_BYTES: u64 = 1024;
/// Attributes of a block's item besides its data: names, keys, numbers (bytes, rounded up).
const ITEM_OVERHEAD_BYTES: u64 = 360;
/// How a file is read and handed to the splitter (bytes).
const CHUNK_BYTES: usize = 128 * 1024;
/// Raw bytes of a block, and its level of zstd, for zstd alone.
const BLOCK_RAW_BYTES: usize = 390 * 1024;
const ZSTD_LEVEL: i32 = 1;

/// Counts blocks as the table would charge them, and drops them.
#[derive(Debug, Default)]
pub(crate) struct Bill {
    blocks: u64,
    bytes: u64,
    write_units: u64,
}

impl Sink for Bill {
    fn packed(&mut self, packed: Packed) -> Result<(), Stopped> {
        if let Some(block) = packed.block {
            let bytes = block.data.len() as u64;
            self.blocks += 1;
            self.bytes += bytes;
            self.write_units += (bytes + ITEM_OVERHEAD_BYTES).div_ceil(WRITE_UNIT_BYTES);
        }
        Ok(())
    }

    fn quarantined(&mut self, _: Quarantined) -> Result<(), Stopped> {
        Ok(())
    }
}

/// Reads a file on this thread: from its bytes to blocks.
pub(crate) fn bytes_to_blocks(reader: impl Read, redactor: &Redactor) -> Result<(Outcome, Bill), Failure> {
    let app_id: AppId = "bench".parse()?;
    let seed = Seed::of(&[b"bench"]);
    let source = PackSource {
        app_id: &app_id,
        seed: &seed,
        source: "s3://bench/logs/bench/pino.ndjson.gz",
        registered_ms: 1,
        arrived_ms: ARRIVED_MS,
        retention_days: 30,
        pruned_before_ms: None,
    };
    let mut bill = Bill::default();
    let outcome = read_log_file_redacted(reader, source, &IntakeLimits::default(), redactor, &mut bill)?;
    Ok((outcome, bill))
}

pub(crate) fn gunzip(file: &[u8]) -> Result<(), Failure> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut decoder = MultiGzDecoder::new(file);
    while decoder.read(&mut chunk)? > 0 {}
    Ok(())
}

fn split(raw: &[u8]) -> Result<(), Failure> {
    let mut splitter = Splitter::new(DEFAULT_MAX_RECORD_BYTES, ARRIVED_MS);
    for chunk in raw.chunks(CHUNK_BYTES) {
        splitter.push(chunk);
        while let Some(piece) = splitter.next_piece() {
            black_box(&piece);
        }
    }
    splitter.finish(StreamEnd::Whole);
    while let Some(piece) = splitter.next_piece() {
        black_box(&piece);
    }
    Ok(())
}

fn compress(raw: &[u8]) -> Result<(), Failure> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(BLOCK_RAW_BYTES));
    for block in raw.chunks(BLOCK_RAW_BYTES) {
        out.clear();
        compressor.compress_to_buffer(block, &mut out)?;
        black_box(&out);
    }
    Ok(())
}

fn all_stored(corpus: &Corpus, outcome: &Outcome) -> Result<(), Failure> {
    match outcome.counts.ok == corpus.records && outcome.reason.is_none() {
        true => Ok(()),
        false => Err(format!("{}: {} of {} records", corpus.name, outcome.counts.ok, corpus.records).into()),
    }
}

fn ingest(corpus: &Corpus, redactor: &Redactor) -> Result<(), Failure> {
    all_stored(corpus, &bytes_to_blocks(corpus.gzip.as_slice(), redactor)?.0)
}

/// The stages alone, the whole path, and the function.
pub(crate) fn stages(report: &mut Report, records: u64, rounds: u32) -> Result<(), Failure> {
    let corpus = Corpus::of("NDJSON", records)?;
    let (none, standard) = (Redactor::default(), Redactor::standard()?);
    let (outcome, bill) = bytes_to_blocks(corpus.gzip.as_slice(), &none)?;
    all_stored(&corpus, &outcome)?;
    let object = Object::of(corpus.gzip.clone());
    let mut contenders = [
        Contender::new("gunzip alone", || gunzip(&corpus.gzip)),
        Contender::new("split alone", || split(&corpus.raw)),
        Contender::new("zstd alone", || compress(&corpus.raw)),
        Contender::new("bytes to blocks", || ingest(&corpus, &none)),
        Contender::new("bytes to blocks, redacted", || ingest(&corpus, &standard)),
        Contender::new("the function, redacted", || all_stored(&corpus, &function::run(&object, &standard)?)),
    ];
    let times = race(rounds, &mut contenders)?;
    let gunzip = times[0];
    let rows = contenders.iter().zip(&times).map(|(contender, time)| {
        let megabytes = corpus.megabytes();
        let shares = [gunzip.cpu / time.cpu, gunzip.wall / time.wall];
        let [cpu, wall] = [time.cpu, time.wall].map(|secs| megabytes / secs);
        Row::new(&contender.name, [cpu, wall, shares[0], shares[1]])
    });
    let rows = rows.collect();
    let (raw, gzip) = (corpus.megabytes(), corpus.gzip.len() as f64 / 1e6);
    report.add(Table {
        id: "ingest",
        title: format!("Ingest: {records} pino records, {raw:.1} MB raw, {gzip:.1} MB gzip"),
        columns: vec!["MB/cpu-s", "MB/s", "of gunzip, CPU", "of gunzip, wall"],
        rows,
    })?;
    let per_million = bill.write_units * 1_000_000 / records.max(1);
    report.add(Table {
        id: "write-units",
        title: format!("Blocks of that file (at most {MAX_WRITE_UNITS_PER_MILLION} write units)"),
        columns: vec!["blocks", "KiB per block", "write units per million records", "redacted CPU share"],
        rows: vec![Row::new(
            "NDJSON",
            [
                bill.blocks as f64,
                bill.bytes as f64 / 1024.0 / bill.blocks as f64,
                per_million as f64,
                times[3].cpu / times[4].cpu,
            ],
        )],
    })?;
    report.require(per_million <= MAX_WRITE_UNITS_PER_MILLION, "blocks have become too expensive");
    Ok(())
}

/// Each kind of content, beside gunzip of the same file.
pub(crate) fn kinds(report: &mut Report, records: u64, rounds: u32) -> Result<(), Failure> {
    let redactor = Redactor::standard()?;
    let files: Vec<Corpus> = KINDS.iter().map(|kind| Corpus::of(kind, records)).collect::<Result<_, _>>()?;
    let mut contenders = Vec::new();
    for file in &files {
        let redactor = &redactor;
        contenders.push(Contender::new(format!("gunzip of {}", file.name), || gunzip(&file.gzip)));
        contenders.push(Contender::new(file.name, move || ingest(file, redactor)));
    }
    let times = race(rounds, &mut contenders)?;
    let row = |(file, pair): (&Corpus, &[Time])| {
        let (alone, whole) = (pair[0], pair[1]);
        let megabytes = file.megabytes();
        Row::new(
            file.name,
            [
                megabytes,
                megabytes * 1e6 / file.gzip.len() as f64,
                megabytes / whole.cpu,
                megabytes / whole.wall,
                file.records as f64 / whole.cpu,
                alone.cpu / whole.cpu,
            ],
        )
    };
    let rates: Vec<f64> =
        files.iter().zip(times.chunks(2)).map(|(file, pair)| file.megabytes() / pair[1].cpu).collect();
    // NDJSON is the first.
    for (file, rate) in files.iter().zip(&rates) {
        let bounded = matches!(file.name, "JSON array" | "text log");
        let holds = !bounded || *rate >= rates[0] * MIN_SHARE_OF_NDJSON;
        report.require(holds, format!("{} has become too slow beside NDJSON", file.name));
    }
    report.add(Table {
        id: "kinds",
        title: format!("Kinds of content, {records} records each, gzip, default redaction"),
        columns: vec!["MB raw", "gzip ratio", "MB/cpu-s", "MB/s", "records/cpu-s", "of gunzip, CPU"],
        rows: files.iter().zip(times.chunks(2)).map(row).collect(),
    })?;
    Ok(())
}
