//! `logferry`: what the service does, from the command line.

mod ingest;
mod local_file;
mod redrive;
mod terminal;
mod upload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use logferry_core::model::fault::chain;

/// Log files into DynamoDB blocks, and back out of a query.
#[derive(Debug, Parser)]
#[command(name = "logferry", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take in a local file: print what would be stored, or store it.
    Ingest(ingest::Args),
    /// Upload a large file in parts; go on with an interrupted one.
    Upload(upload::UploadArgs),
    /// Upload log files, to be ingested.
    UploadLogs(upload::LogArgs),
    /// Send what could not be sent to CloudWatch Logs once more.
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
