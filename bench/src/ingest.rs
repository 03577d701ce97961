//! Cost of ingest: CPU compared with gunzip alone, write units, memory.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::pack::{PackSource, Packed};
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::logfile::read::{IntakeLimits, Sink, Stopped, read_log_file_redacted};
use logferry_core::model::app::AppId;
use logferry_core::model::ids::Seed;
use logferry_core::model::redact::Redactor;

use crate::{cpu, pino};

/// Maximum write units for a million records of the generated file.
const MAX_WRITE_UNITS_PER_MILLION: u64 = 95_000;
/// Maximum additional memory for a file ten times as large (percent).
const MAX_MEMORY_GROWTH_PERCENT: u64 = 10;
/// The least speed of arrays and of text, as a share of that of NDJSON.
const MIN_TEXT_SHARE: f64 = 0.5;

/// Bytes of an item per write unit.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
const WRITE_UNIT_BYTES: u64 = 1024;
/// Attributes of a block's item besides its data: names, keys, numbers (bytes, rounded up).
const ITEM_OVERHEAD_BYTES: u64 = 360;

/// Counts blocks as the table would charge them, and drops them.
#[derive(Default)]
struct Bill {
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

fn ingest(reader: impl Read, redactor: &Redactor) -> Result<(Outcome, Bill), Box<dyn Error>> {
    let app_id: AppId = "bench".parse()?;
    let seed = Seed::of(&[b"bench"]);
    let source = PackSource {
        app_id: &app_id,
        seed: &seed,
        source: "s3://bench/logs/bench/pino.ndjson.gz",
        registered_ms: 1,
        arrived_ms: 1_743_465_600_000,
        retention_days: 30,
        pruned_before_ms: None,
    };
    let mut bill = Bill::default();
    let outcome = read_log_file_redacted(reader, source, &IntakeLimits::default(), redactor, &mut bill)?;
    Ok((outcome, bill))
}

/// Writes a file of generated entries, gzipped if its name ends with .gz.
pub(crate) fn generate(records: u64, out: &Path) -> io::Result<()> {
    let file = BufWriter::new(File::create(out)?);
    if out.extension().is_some_and(|ending| ending == "gz") {
        let mut gzip = GzEncoder::new(file, Compression::new(6));
        pino::write(records, &mut gzip)?;
        gzip.finish()?.flush()
    } else {
        let mut file = file;
        pino::write(records, &mut file)?;
        file.flush()
    }
}

/// Measures CPU time per raw byte, compared with gunzip alone and with redaction; then the write units.
pub(crate) fn speed(records: u64, rounds: u32) -> Result<(), Box<dyn Error>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    pino::write(records, &mut gzip)?;
    let file = gzip.finish()?;
    let mut out = io::stdout().lock();
    let (plain, redacting) = (Redactor::default(), Redactor::standard()?);
    let (mut best_gunzip, mut best_ingest, mut best_redacted) = (f64::MAX, f64::MAX, f64::MAX);
    let mut last = None;
    for _ in 0..rounds {
        let mut chunk = vec![0; 128 * 1024];
        let (gunzip_secs, gunzipped) = cpu::timed(|| {
            let mut decoder = MultiGzDecoder::new(file.as_slice());
            while decoder.read(&mut chunk)? > 0 {}
            Ok::<_, io::Error>(())
        })?;
        gunzipped?;
        let (ingest_secs, made) = cpu::timed(|| ingest(file.as_slice(), &plain))?;
        let (redacted_secs, redacted) = cpu::timed(|| ingest(file.as_slice(), &redacting))?;
        redacted?;
        best_gunzip = best_gunzip.min(gunzip_secs);
        best_ingest = best_ingest.min(ingest_secs);
        best_redacted = best_redacted.min(redacted_secs);
        last = Some(made?);
    }
    let (outcome, bill) = last.ok_or("no round was run")?;
    let megabytes = outcome.counts.bytes as f64 / 1e6;
    let per_million = bill.write_units * 1_000_000 / records.max(1);
    writeln!(
        out,
        "ingest, {records} pino records, {megabytes:.1} MB raw, {:.1} MB gzip",
        file.len() as f64 / 1e6
    )?;
    writeln!(out, "  gunzip alone              {:8.0} MB per cpu-s", megabytes / best_gunzip)?;
    writeln!(out, "  bytes to blocks           {:8.0} MB per cpu-s", megabytes / best_ingest)?;
    writeln!(out, "  share of gunzip           {:8.2}", best_gunzip / best_ingest)?;
    writeln!(
        out,
        "  redaction                 {:8.0} MB per cpu-s, {:.2} of without (the default rules)",
        megabytes / best_redacted,
        best_ingest / best_redacted
    )?;
    writeln!(
        out,
        "  blocks                    {:8}   of {:.1} KiB",
        bill.blocks,
        bill.bytes as f64 / 1024.0 / bill.blocks as f64
    )?;
    writeln!(out, "  write units per million   {per_million:8}   (at most {MAX_WRITE_UNITS_PER_MILLION})")?;
    let ndjson_rate = megabytes / best_ingest;
    for (name, raw) in [("array", array(&file)?), ("text", text(records))] {
        let mut best = f64::MAX;
        for _ in 0..rounds {
            let (secs, made) = cpu::timed(|| ingest(raw.as_slice(), &plain))?;
            made?;
            best = best.min(secs);
        }
        let rate = raw.len() as f64 / 1e6 / best;
        writeln!(
            out,
            "  {name:<6} not compressed     {rate:8.0} MB per cpu-s, {:.2} of NDJSON in gzip",
            rate / ndjson_rate
        )?;
        if rate < ndjson_rate * MIN_TEXT_SHARE {
            return Err(format!("{name} has become too slow").into());
        }
    }
    if per_million > MAX_WRITE_UNITS_PER_MILLION {
        return Err("blocks have become too expensive".into());
    }
    Ok(())
}

/// The entries of a gzip file of NDJSON as an array.
fn array(file: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = String::new();
    MultiGzDecoder::new(file).read_to_string(&mut text)?;
    Ok(format!("[{}]", text.trim_end().replace('\n', ",\n")).into_bytes())
}

/// Lines of a text logger.
fn text(records: u64) -> Vec<u8> {
    let levels = ["INFO ", "WARN ", "ERROR", "DEBUG"];
    let line = |i: u64| {
        let (minute, second, level) = (i / 60 % 60, i % 60, levels[i as usize % levels.len()]);
        let (order, user, took) = (i * 7_919, i * 31 % 5_000, i % 997);
        format!(
            "2025-04-01 18:{minute:02}:{second:02},581 {level} [http-{}] c.e.Orders - order {order} of user {user} took {took} ms\n",
            i % 13
        )
    };
    (0..records).map(line).collect::<String>().into_bytes()
}

/// Measures the peak memory of a process that ingests a file, for two file sizes.
pub(crate) fn memory(small_records: u64, factor: u64) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let mut peaks = Vec::new();
    for records in [small_records, small_records * factor] {
        let path =
            std::env::temp_dir().join(format!("logferry-bench-{}-{records}.ndjson.gz", std::process::id()));
        generate(records, &path)?;
        let child = Command::new(std::env::current_exe()?).arg("ingest-once").arg(&path).output();
        std::fs::remove_file(&path)?;
        let printed = String::from_utf8(child?.stdout)?;
        let numbers: Vec<u64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [raw_bytes, peak_kib] = numbers[..] else {
            return Err("the child process printed nothing".into());
        };
        writeln!(
            out,
            "peak memory for {:6.0} MB raw: {:6.1} MiB",
            raw_bytes as f64 / 1e6,
            peak_kib as f64 / 1024.0
        )?;
        peaks.push(peak_kib);
    }
    if peaks[1] * 100 > peaks[0] * (100 + MAX_MEMORY_GROWTH_PERCENT) {
        return Err("memory grows with the file".into());
    }
    Ok(())
}

/// Ingests a file, streaming, and prints raw bytes and peak memory (KiB).
pub(crate) fn once(path: &Path) -> Result<(), Box<dyn Error>> {
    let (outcome, _) = ingest(File::open(path)?, &Redactor::standard()?)?;
    writeln!(io::stdout().lock(), "{} {}", outcome.counts.bytes, cpu::peak_memory_kib()?)?;
    Ok(())
}
