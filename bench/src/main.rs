//! `make bench`: costs as ratios within one run, and the generator of pino files.

mod cpu;
mod ingest;
mod nowhere;
mod pino;
mod put_log_events;
mod query;
mod signing;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "logferry-bench")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
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
    /// CPU and write units of the pure path, compared with gunzip.
    Ingest {
        #[arg(long, default_value_t = 200_000)]
        records: u64,
        #[arg(long, default_value_t = 5)]
        rounds: u32,
    },
    /// Peak memory for 100 MB and for ten times as much.
    Memory {
        #[arg(long, default_value_t = 187_300)]
        records: u64,
    },
    /// Bodies of PutLogEvents, compared with the SDK's own types and memcpy.
    Bodies {
        #[arg(long, default_value_t = 200_000)]
        records: u64,
        #[arg(long, default_value_t = 5)]
        rounds: u32,
    },
    /// Events through the batch buffer with 1, 10 and 1,000 streams.
    Buffer {
        #[arg(long, default_value_t = 2_000_000)]
        events: usize,
    },
    /// Pages, read units and CPU of queries over ten million records.
    Query {
        #[arg(long, default_value_t = 10_000_000)]
        records: u64,
    },
    /// CPU per presigned URL.
    Signing {
        #[arg(long, default_value_t = 1_000)]
        urls: u32,
        #[arg(long, default_value_t = 5)]
        rounds: u32,
    },
    /// Ingest one file and print its cost; used by `memory`.
    #[command(hide = true)]
    IngestOnce { file: PathBuf },
}

fn run(command: Option<Command>) -> Result<(), Box<dyn Error>> {
    match command {
        Some(Command::GeneratePino { records, out }) => Ok(ingest::generate(records, &out)?),
        Some(Command::Ingest { records, rounds }) => ingest::speed(records, rounds),
        Some(Command::Memory { records }) => ingest::memory(records, 10),
        Some(Command::Bodies { records, rounds }) => put_log_events::bodies(records, rounds),
        Some(Command::Buffer { events }) => put_log_events::buffer(events),
        Some(Command::Query { records }) => query::costs(records),
        Some(Command::Signing { urls, rounds }) => signing::signing(urls, rounds),
        Some(Command::IngestOnce { file }) => ingest::once(&file),
        None => {
            ingest::speed(200_000, 5)?;
            ingest::memory(187_300, 10)?;
            put_log_events::bodies(200_000, 5)?;
            put_log_events::buffer(2_000_000)?;
            signing::signing(1_000, 5)?;
            query::costs(10_000_000)
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("logferry-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
