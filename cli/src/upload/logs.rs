//! `logferry upload-logs`: uploads log files through `POST /presigned-url`.

use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use logferry_upload_client::{Attendee, Error as UploadError};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::standard_input::Input;
use crate::terminal::shown;

use super::wait::{Ended, Files};
use super::{Connection, explained, print_line, runtime};

/// Upload log files for ingestion.
///
/// Uncompressed files are compressed while they are read. Prints one line of JSON per file: its key, or why
/// it failed. A failing file does not stop the others. Exits with 1 if a file failed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  logferry upload-logs app.log\n  logferry upload-logs --wait *.log.gz\n  \
    journalctl -o json | logferry upload-logs -"
)]
pub(crate) struct LogArgs {
    /// Log files; - is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    connection: Connection,
    /// Meeting of the join token.
    #[arg(long, requires = "attendee", value_name = "ID")]
    meeting: Option<String>,
    /// Attendee of the join token.
    #[arg(long, requires = "meeting", value_name = "ID")]
    attendee: Option<String>,
    /// Wait until the files are read, at most this long; without a number, 300 seconds. A file that is FAILED, or not
    /// read in time, has failed. Needs a key with the scope read.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "300",
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait: Option<u64>,
}

pub(crate) fn run(args: &LogArgs) -> Result<ExitCode, Box<dyn Error>> {
    let (client, credential) = args.connection.client()?;
    let attendee = args.meeting.clone().zip(args.attendee.clone());
    let attendee = attendee.map(|(meeting, attendee)| Attendee { meeting, attendee });
    let failed = runtime()?.block_on(async {
        let waiting = match args.wait {
            Some(secs) => Some((Files::new(&args.connection.remote).await?, Duration::from_secs(secs))),
            None => None,
        };
        let (mut failed, mut sent) = (0, Vec::new());
        for file in &args.files {
            let name = file.display().to_string();
            let input = match Input::of(file) {
                Ok(input) => input,
                Err(error) => {
                    failed += 1;
                    report(&json!({"file": name}), &error.to_string(), true);
                    continue;
                }
            };
            match client.upload_log(&input.path, attendee.as_ref()).await {
                Ok(key) if waiting.is_some() => sent.push(json!({"file": name, "key": key})),
                Ok(key) => print_line(&json!({"file": name, "key": key})),
                Err(error) => {
                    failed += 1;
                    let said = match &error {
                        UploadError::Refused { status: 413, .. } => {
                            too_large(&input.path, "10 MiB that a log file may have here")
                        }
                        UploadError::TooLarge { max_bytes, .. } => {
                            let held = indicatif::HumanBytes(*max_bytes);
                            too_large(&input.path, &format!("{held} that this command holds in memory"))
                        }
                        error => explained(error, &client, &credential),
                    };
                    // These errors contain the file name.
                    report(&json!({"file": name}), &said, matches!(error, UploadError::File { .. }));
                }
            }
        }
        if let Some((files, time)) = waiting {
            let deadline = Instant::now() + time;
            for line in sent {
                failed += usize::from(!is_read(&files, line, deadline).await);
            }
        }
        Ok::<_, Box<dyn Error>>(failed)
    })?;
    if args.wait.is_none() && failed < args.files.len() && std::io::stderr().is_terminal() {
        eprintln!("uploaded; `logferry files` shows what becomes of them");
    }
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("logferry: {failed} of {} files failed", args.files.len());
    Ok(ExitCode::from(1))
}

/// Waits for an uploaded file and prints what became of it. Returns whether it is COMPLETED.
async fn is_read(files: &Files, mut line: Value, deadline: Instant) -> bool {
    let key = line["key"].as_str().unwrap_or_default().to_owned();
    let row = match files.ended(&key, deadline).await {
        Ok(Ended::Read(row)) => row,
        Err(error) => {
            report(&line, &format!("uploaded, but its state cannot be read: {error}"), false);
            return false;
        }
        Ok(Ended::Late(status)) => {
            line["status"] = status.as_str().into();
            let said = format!("not read in time: it is {status}; `logferry files` shows what becomes of it");
            report(&line, &said, false);
            return false;
        }
    };
    line["status"] = row["status"].clone();
    line["records"] = row["counts"]["ok"].clone();
    line["bad"] = row["counts"]["quarantined"].clone();
    if row["status"] == "COMPLETED" {
        print_line(&line);
        return true;
    }
    let text = |name: &str| row["reason"][name].as_str().unwrap_or_default().to_owned();
    report(&line, &format!("{}: {}", text("code"), text("message")), false);
    false
}

/// Reports a file that failed: to people, and to the reader of the output if it is a program.
fn report(line: &Value, said: &str, names_the_file: bool) {
    match names_the_file {
        true => eprintln!("logferry: {}", shown(said)),
        false => eprintln!("logferry: {}: {}", shown(line["file"].as_str().unwrap_or_default()), shown(said)),
    }
    if !std::io::stdout().is_terminal() {
        let mut line = line.clone();
        line["error"] = said.into();
        print_line(&line);
    }
}

/// What to do with a file that is too large for one request.
fn too_large(file: &Path, limit: &str) -> String {
    let bytes = std::fs::metadata(file).map(|metadata| metadata.len()).unwrap_or_default();
    format!(
        "compressed, it is larger than the {limit} ({} before); split it, or copy it below logs/APP/ with the AWS CLI",
        indicatif::HumanBytes(bytes)
    )
}
