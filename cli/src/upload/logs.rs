//! `logferry upload-logs`: uploads log files through `POST /presigned-url`.

use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use logferry_upload_client::{Attendee, Error as UploadError};
use serde_json::json;

use crate::standard_input::Input;
use crate::terminal::shown;

use super::{Connection, explained, print_line, runtime};

/// Upload log files for ingestion.
///
/// Uncompressed files are compressed while they are read. Prints one line of JSON per file: its key, or why
/// it failed. A failing file does not stop the others. Exits with 1 if a file failed.
#[derive(Debug, clap::Args)]
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
}

pub(crate) fn run(args: &LogArgs) -> Result<ExitCode, Box<dyn Error>> {
    let (client, credential) = args.connection.client()?;
    let attendee = args.meeting.clone().zip(args.attendee.clone());
    let attendee = attendee.map(|(meeting, attendee)| Attendee { meeting, attendee });
    let mut failed = 0;
    runtime()?.block_on(async {
        for file in &args.files {
            let name = file.display().to_string();
            let input = match Input::of(file) {
                Ok(input) => input,
                Err(error) => {
                    failed += 1;
                    report(&name, &error.to_string(), true);
                    continue;
                }
            };
            match client.upload_log(&input.path, attendee.as_ref()).await {
                Ok(key) => print_line(&json!({"file": name, "key": key})),
                Err(error) => {
                    failed += 1;
                    let said = match &error {
                        UploadError::Refused { status: 413, .. } => too_large(&input.path),
                        error => explained(error, &client, &credential),
                    };
                    // These errors contain the file name.
                    report(&name, &said, matches!(error, UploadError::File { .. }));
                }
            }
        }
    });
    if failed < args.files.len() && std::io::stderr().is_terminal() {
        eprintln!("uploaded; `logferry files` shows what becomes of them");
    }
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("logferry: {failed} of {} files failed", args.files.len());
    Ok(ExitCode::from(1))
}

/// Reports a file that failed: to people, and to the reader of the output if it is a program.
fn report(name: &str, said: &str, names_the_file: bool) {
    match names_the_file {
        true => eprintln!("logferry: {}", shown(said)),
        false => eprintln!("logferry: {}: {}", shown(name), shown(said)),
    }
    if !std::io::stdout().is_terminal() {
        print_line(&json!({"file": name, "error": said}));
    }
}

/// What to do with a file that is too large for one request.
fn too_large(file: &Path) -> String {
    let bytes = std::fs::metadata(file).map(|metadata| metadata.len()).unwrap_or_default();
    format!(
        "compressed, it is larger than the 10 MiB that a log file may have here ({} before); split it, or copy it \
         below logs/APP/ with the AWS CLI",
        indicatif::HumanBytes(bytes)
    )
}
