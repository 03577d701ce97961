//! The `logferry` command line.

mod ingest;
mod local_file;
mod preview;
mod redrive;
mod terminal;
mod upload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use logferry_core::model::fault::chain;

/// Ingest, upload and redrive logs.
#[derive(Debug, Parser)]
#[command(name = "logferry", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Parse a local log file and print its records, or store them with --write.
    Ingest(ingest::Args),
    /// Upload a large file in parts, or resume an interrupted upload.
    Upload(upload::UploadArgs),
    /// Upload log files for ingestion.
    UploadLogs(upload::LogArgs),
    /// Send dead letters to CloudWatch Logs again.
    RedriveDeadLetters(redrive::Args),
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Ingest(args) => ingest::run(&args),
        Command::Upload(args) => upload::run(&args),
        Command::UploadLogs(args) => upload::run_logs(&args),
        Command::RedriveDeadLetters(args) => redrive::run(&args),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("logferry: {}", terminal::shown(&chain(&*error)));
            ExitCode::from(2)
        }
    }
}
