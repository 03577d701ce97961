//! Peak memory of a process that runs the function's pipeline over a small and over a large object.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::Command;

use logferry_core::model::redact::Redactor;
use logferry_corpus::Corpus;

use crate::race::Failure;
use crate::report::{Report, Row, Table};
use crate::{clock, function};

/// Records of the small object: about 100 MB raw.
const RECORDS: u64 = 187_300;
/// Maximum additional memory for the large object (percent).
const MAX_GROWTH_PERCENT: u64 = 10;
/// Maximum memory beside the program, however large the object (MiB).
const MAX_BESIDE_MIB: f64 = 64.0;

/// Measures an object of about 100 MB, and one that is `factor` times as large.
pub(crate) fn memory(report: &mut Report, factor: u32) -> Result<(), Failure> {
    let member = Corpus::of("NDJSON", RECORDS)?.gzip;
    let path = std::env::temp_dir().join(format!("logferry-bench-{}.ndjson.gz", std::process::id()));
    let empty = peak(&["peak-memory"])?.1;
    let mut rows = Vec::new();
    let mut peaks = Vec::new();
    for members in [1, factor] {
        write_members(&member, members, &path)?;
        let measured = peak(&["peak-memory", &path.to_string_lossy()]);
        std::fs::remove_file(&path)?;
        let (bytes, kib) = measured?;
        let [whole, beside] = [kib, kib.saturating_sub(empty)].map(|kib| kib as f64 / 1024.0);
        rows.push(Row::new(format!("{:.0} MB raw", bytes as f64 / 1e6), [whole, beside]));
        report.require(beside <= MAX_BESIDE_MIB, format!("reading an object takes {beside:.0} MiB"));
        peaks.push(kib);
    }
    report.add(Table {
        id: "memory",
        title: "Peak memory of the function's pipeline over one object".to_owned(),
        columns: vec!["MiB", "MiB beside the program"],
        rows,
    })?;
    let grows = peaks[1] * 100 > peaks[0] * (100 + MAX_GROWTH_PERCENT);
    report.require(!grows, format!("memory grows by more than {MAX_GROWTH_PERCENT} % with the object"));
    Ok(())
}

/// A gzip file of several members is read like one of one member.
fn write_members(member: &[u8], members: u32, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    (0..members).try_for_each(|_| file.write_all(member))?;
    file.flush()
}

/// Returns raw bytes and peak memory (KiB) of a child.
fn peak(arguments: &[&str]) -> Result<(u64, u64), Failure> {
    let child = Command::new(std::env::current_exe()?).args(arguments).output()?;
    let printed = String::from_utf8(child.stdout)?;
    let numbers: Vec<u64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [bytes, kib] => Ok((bytes, kib)),
        _ => Err(format!("no figures: {}", String::from_utf8_lossy(&child.stderr)).into()),
    }
}

/// Prints raw bytes and peak memory (KiB) of this process after reading a file, or none.
pub(crate) fn once(path: Option<&Path>) -> Result<(), Failure> {
    let redactor = Redactor::standard()?;
    let bytes = match path {
        Some(path) => function::run_file(path, &redactor)?.counts.bytes,
        None => 0,
    };
    Ok(writeln!(io::stdout().lock(), "{bytes} {}", clock::peak_memory_kib()?)?)
}
