//! `logferry upload-logs`: uploads log files through `POST /presigned-url`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use logferry_core::model::fault::chain;
use logferry_upload_client::{Attendee, Error as UploadError};
use serde_json::json;

use crate::terminal::shown;

use super::{Connection, print_line, runtime};

/// Upload log files for ingestion.
///
/// Uncompressed files are compressed while they are read. Prints one line of JSON per file: its key, or why
/// it failed. A failing file does not stop the others. Exits with 1 if a file failed.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
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
    let client = args.connection.client()?;
    let attendee = args.meeting.clone().zip(args.attendee.clone());
    let attendee = attendee.map(|(meeting, attendee)| Attendee { meeting, attendee });
    let mut failed = 0;
    runtime()?.block_on(async {
        for file in &args.files {
            let name = file.display().to_string();
            match client.upload_log(file, attendee.as_ref()).await {
                Ok(key) => print_line(&json!({"file": name, "key": key})),
                Err(error) => {
                    failed += 1;
                    let said = chain(&error);
                    match error {
                        // These errors contain the file name.
                        UploadError::File { .. } => eprintln!("logferry: {}", shown(&said)),
                        _ => eprintln!("logferry: {}: {}", shown(&name), shown(&said)),
                    }
                    print_line(&json!({"file": name, "error": said}));
                }
            }
        }
    });
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("logferry: {failed} of {} files failed", args.files.len());
    Ok(ExitCode::from(1))
}
