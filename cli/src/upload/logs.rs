//! `logferry upload-logs`: log files through `POST /presigned-url`.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flate2::Compression;
use flate2::write::GzEncoder;
use logferry_domain::fault::chain;
use logferry_domain::keys::Filename;
use serde_json::json;

use super::pace::patiently;
use super::service::{CallError, Service};
use super::{Connection, print_line, runtime};

/// Uploads log files to be ingested; what is not compressed is, on the way. Prints each file's key.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    connection: Connection,
    /// With a join token: the meeting that it is for.
    #[arg(long, requires = "attendee", value_name = "ID")]
    meeting: Option<String>,
    /// With a join token: the attendee that it is for.
    #[arg(long, requires = "meeting", value_name = "ID")]
    attendee: Option<String>,
}

/// Sends every file, whatever becomes of the others; ends with 1 when one failed.
pub(crate) fn run(args: &LogArgs) -> Result<ExitCode, Box<dyn Error>> {
    let service = args.connection.service()?;
    let mut code = ExitCode::SUCCESS;
    runtime()?.block_on(async {
        for file in &args.files {
            match send(&service, args, file).await {
                Ok(key) => print_line(&json!({"file": file.display().to_string(), "key": key})),
                Err(error) => {
                    eprintln!("logferry: {}: {}", file.display(), chain(&*error));
                    code = ExitCode::from(1);
                }
            }
        }
    });
    Ok(code)
}

async fn send(service: &Service, args: &LogArgs, file: &Path) -> Result<String, Box<dyn Error>> {
    let bytes = bytes::Bytes::from(compressed(std::fs::read(file)?)?);
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let mut body = json!({"filename": Filename::nearest(&name).as_str(), "contentLength": bytes.len()});
    if let (Some(meeting), Some(attendee)) = (&args.meeting, &args.attendee) {
        body["meetingId"] = meeting.as_str().into();
        body["attendeeId"] = attendee.as_str().into();
    }
    let status_is = |error: &CallError, status: u16| error.status().is_some_and(|is| is == status);
    let key = patiently(
        |error| status_is(error, 403),
        async || {
            let ticket = service.log_ticket(&body).await?;
            let named = ticket.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            // A repeat after a lost answer must not store, and so ingest, the file twice.
            let headers: Vec<_> = named.chain([("if-none-match", "*")]).collect();
            let put = patiently(
                |_| false,
                async || {
                    let body = bytes.clone().into();
                    service.put(&ticket.presigned_url, &headers, bytes.len() as u64, body).await.map(drop)
                },
            );
            match put.await {
                Err(error) if !status_is(&error, 412) => Err(error),
                _ => Ok(ticket.key),
            }
        },
    );
    Ok(key.await?)
}

/// The bytes as they are where they are gzip or zstd, else as gzip.
fn compressed(bytes: Vec<u8>) -> Result<Vec<u8>, std::io::Error> {
    if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(bytes);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&bytes)?;
    encoder.finish()
}
