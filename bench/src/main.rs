//! `make bench`: all figures of Logferry in one run, and the generator of pino files. One module per subject;
//! `race` interleaves the rounds of what is compared, `report` prints and keeps the figures.

mod accepting;
mod clock;
mod cold_start;
mod function;
mod ingest;
mod memory;
mod node;
mod nowhere;
mod put_log_events;
mod query;
mod race;
mod report;
mod signing;
mod stored;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use flate2::Compression;
use flate2::write::GzEncoder;

use logferry_corpus::pino;
use race::Failure;
use report::Report;

#[derive(Debug, Parser)]
#[command(name = "logferry-bench")]
struct Cli {
    /// What to measure; everything if none is named.
    #[arg(value_enum)]
    subjects: Vec<Subject>,
    /// Also write the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Records of the pino file.
    #[arg(long, default_value_t = 200_000)]
    records: u64,
    /// Records that queries search.
    #[arg(long, default_value_t = 10_000_000)]
    stored: u64,
    /// Rounds of everything that is compared; cold starts have 20 times as many.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How many times as large the large object is, whose memory is measured.
    #[arg(long, default_value_t = 10)]
    large: u32,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// CPU and wall time from bytes to blocks, beside gunzip, splitting and zstd alone.
    Ingest,
    /// The same for each kind of content.
    Kinds,
    /// The usual Node handler on the same file.
    Node,
    /// Peak memory for a small and for a large object.
    Memory,
    /// Bodies of PutLogEvents beside those of the SDK, and the batch buffer.
    Flush,
    /// CPU per presigned URL.
    Signing,
    /// Queries and counts beside decompression alone.
    Query,
    /// Starts and sizes of all functions.
    ColdStart,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a file of pino entries, gzipped if its name ends with .gz.
    GeneratePino {
        #[arg(long, default_value_t = 200_000)]
        records: u64,
        #[arg(long)]
        out: PathBuf,
    },
    /// Print bytes and peak memory after reading a file; `memory` starts it.
    #[command(hide = true)]
    PeakMemory { file: Option<PathBuf> },
}

/// Rounds of cold starts per round of everything else.
const STARTS_PER_ROUND: u32 = 20;
/// Rounds of the Node handler, which takes seconds.
const NODE_ROUNDS: u32 = 3;

fn measure(subject: Subject, cli: &Cli, report: &mut Report) -> Result<(), Failure> {
    let (records, rounds) = (cli.records, cli.rounds);
    match subject {
        Subject::Ingest => ingest::stages(report, records, rounds),
        Subject::Kinds => ingest::kinds(report, records / 2, rounds),
        Subject::Node => node::beside_node(report, records, rounds.min(NODE_ROUNDS)),
        Subject::Memory => memory::memory(report, cli.large),
        Subject::Flush => {
            put_log_events::bodies(report, records, rounds)?;
            put_log_events::buffer(report, 500_000, rounds)
        }
        Subject::Signing => signing::signing(report, 1_000, rounds),
        Subject::Query => query::costs(report, cli.stored, rounds),
        Subject::ColdStart => cold_start::cold_starts(report, rounds * STARTS_PER_ROUND),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Some(Command::GeneratePino { records, out }) => return generate(*records, out),
        Some(Command::PeakMemory { file }) => return memory::once(file.as_deref()),
        None => {}
    }
    let mut report = Report::new();
    report.print_about()?;
    let named = |subject: &Subject| cli.subjects.is_empty() || cli.subjects.contains(subject);
    for subject in Subject::value_variants().iter().copied().filter(named) {
        measure(subject, cli, &mut report)?;
    }
    if let Some(path) = &cli.json {
        report.write_json(path)?;
    }
    report.verdict()
}

fn generate(records: u64, out: &Path) -> Result<(), Failure> {
    let mut file = BufWriter::new(File::create(out)?);
    if out.extension().is_some_and(|ending| ending == "gz") {
        let mut gzip = GzEncoder::new(file, Compression::new(6));
        pino::write(records, &mut gzip)?;
        return Ok(gzip.finish()?.flush()?);
    }
    pino::write(records, &mut file)?;
    Ok(file.flush()?)
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("logferry-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
