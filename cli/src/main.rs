//! The `logferry` command line.

mod cost;
mod ingest;
mod local_file;
mod preview;
mod redrive;
mod remote;
mod standard_input;
mod terminal;
mod upload;

use std::error::Error;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use logferry_core::model::fault::chain;
use remote::{alerts, apps, erase, files, query};

/// Query, follow, upload and ingest logs.
///
/// Exits with 0 if everything was done, with 1 if something is missing or failed, with 2 if nothing could be done.
#[derive(Debug, Parser)]
#[command(name = "logferry", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Query(query::QueryArgs),
    Tail(query::TailArgs),
    Files(files::FilesArgs),
    Apps(apps::AppsArgs),
    Keys(apps::KeysArgs),
    Alerts(alerts::AlertsArgs),
    Erase(erase::EraseArgs),
    Health(apps::HealthArgs),
    /// Parse a local log file and print its records, or store them with --write.
    Ingest(ingest::Args),
    /// Upload a large file in parts, or resume an interrupted upload.
    Upload(upload::UploadArgs),
    /// Upload log files for ingestion.
    UploadLogs(upload::LogArgs),
    /// Send dead letters to CloudWatch Logs again.
    RedriveDeadLetters(redrive::Args),
    Cost(cost::Args),
    /// Print a script that completes commands and options in a shell.
    Completions {
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Query(args) => on_service(query::query(&args)),
        Command::Tail(args) => on_service(query::tail(&args)),
        Command::Files(args) => on_service(files::run(&args)),
        Command::Apps(args) => on_service(apps::apps(&args)),
        Command::Keys(args) => on_service(apps::keys(&args)),
        Command::Alerts(args) => on_service(alerts::run(&args)),
        Command::Erase(args) => on_service(erase::run(&args)),
        Command::Health(args) => on_service(apps::health(&args)),
        Command::Ingest(args) => ingest::run(&args),
        Command::Upload(args) => upload::run(&args),
        Command::UploadLogs(args) => upload::run_logs(&args),
        Command::RedriveDeadLetters(args) => redrive::run(&args),
        Command::Cost(args) => cost::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "logferry", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    match ended {
        Ok(code) => code,
        Err(error) if remote::is_gone(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("logferry: {}", terminal::shown(&without_repeats(&chain(&*error))));
            ExitCode::from(2)
        }
    }
}

fn on_service(
    command: impl Future<Output = Result<ExitCode, Box<dyn Error>>>,
) -> Result<ExitCode, Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// A chain of errors without those parts that repeat an earlier one.
fn without_repeats(chain: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in chain.split(": ") {
        if !kept.contains(&part) {
            kept.push(part);
        }
    }
    kept.join(": ")
}
