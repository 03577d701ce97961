//! `logferry upload FILE` and `logferry upload-logs FILE…`: the upload client with a progress bar.

mod logs;
mod rate;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use logferry_core::model::fault::chain;
use logferry_upload_client::{Client, Credential, Event, Upload};
use rate::parse_bytes;
use serde_json::json;

use crate::terminal::{json_shown, shown};

pub(crate) use logs::{LogArgs, run as run_logs};

/// The service's address and the credential.
#[derive(Debug, clap::Args)]
pub(crate) struct Connection {
    /// URL of the service.
    #[arg(long, env = "API_URL", value_name = "URL")]
    api: String,
    /// An app's API key. Prefer the environment variable: other users can see the command line.
    #[arg(long, env = "LOGFERRY_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
    /// A token instead of a key: an upload token, or a join token for log files.
    #[arg(long, env = "LOGFERRY_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
}

impl Connection {
    fn client(&self) -> Result<Client, Box<dyn Error>> {
        let credential = match (&self.token, &self.api_key) {
            (Some(token), _) => Credential::Token(token.clone()),
            (None, Some(key)) => Credential::ApiKey(key.clone()),
            (None, None) => {
                return Err("set LOGFERRY_API_KEY or LOGFERRY_TOKEN, or pass --api-key or --token".into());
            }
        };
        let client = Client::new(&self.api, credential)?;
        if client.sends_in_clear() {
            eprintln!(
                "logferry: {} is not encrypted: the credential can be read on the network",
                shown(&self.api)
            );
        }
        Ok(client)
    }
}

/// Upload a large file in parts.
///
/// Prints one line of JSON: key, location, size, and the bytes sent by this run. If it is interrupted, the
/// same command resumes it. Exits with 0 if the file is uploaded, with 130 if Ctrl-C paused it, else with
/// 2.
#[derive(Debug, clap::Args)]
pub(crate) struct UploadArgs {
    /// File to upload (not empty).
    file: PathBuf,
    #[command(flatten)]
    connection: Connection,
    /// Content type of the file.
    #[arg(long = "type", default_value = "application/octet-stream", value_name = "TYPE")]
    content_type: String,
    /// Number of parts in flight.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64), value_name = "N")]
    parallel: u8,
    /// Maximum upload speed in bytes per second, such as 500k or 10M.
    #[arg(long, value_parser = parse_bytes, value_name = "RATE")]
    limit_rate: Option<u64>,
    /// Abort the interrupted upload of this file and free its parts.
    #[arg(long)]
    cancel: bool,
    /// Folder for the state of interrupted uploads.
    #[arg(long, env = "LOGFERRY_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Returns `~/.local/state/logferry`, or the folder of XDG_STATE_HOME.
fn default_state_dir() -> Result<PathBuf, Box<dyn Error>> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = state.filter(|path| path.is_absolute()).or_else(home);
    Ok(state.ok_or("neither HOME nor XDG_STATE_HOME is set; pass --state-dir")?.join("logferry"))
}

fn runtime() -> Result<tokio::runtime::Runtime, std::io::Error> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

fn progress_bar() -> Result<ProgressBar, Box<dyn Error>> {
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(template)?);
    Ok(bar)
}

fn show(bar: &ProgressBar, event: &Event<'_>) {
    match event {
        Event::Begin { there_bytes, total_bytes } => {
            bar.set_length(*total_bytes);
            bar.set_position(*there_bytes);
            bar.reset_eta();
        }
        Event::Progress { bytes } => bar.set_position(*bytes),
        Event::Retry { error, wait } => bar.suspend(|| {
            eprintln!("logferry: {}; retrying in {:.1} s", shown(&chain(error)), wait.as_secs_f64());
        }),
        Event::LeftToExpire { error } => bar.suspend(|| {
            eprintln!(
                "logferry: the earlier upload could not be aborted and will expire: {}",
                shown(&chain(error))
            );
        }),
        _ => {}
    }
}

pub(crate) fn run(args: &UploadArgs) -> Result<ExitCode, Box<dyn Error>> {
    let state_dir = args.state_dir.clone().map_or_else(default_state_dir, Ok)?;
    let bar = progress_bar()?;
    let shown_on = bar.clone();
    let mut upload = Upload::new(args.connection.client()?, &args.file, state_dir)
        .content_type(&args.content_type)
        .parallel(usize::from(args.parallel))
        .on_event(move |event| show(&shown_on, event));
    if let Some(rate) = args.limit_rate {
        upload = upload.limit_rate(rate);
    }
    runtime()?.block_on(async {
        if args.cancel {
            let found = upload.cancel().await?;
            eprintln!("{}", if found { "cancelled" } else { "there is no upload of this file to cancel" });
            return Ok(ExitCode::SUCCESS);
        }
        tokio::select! {
            done = upload.run() => {
                bar.finish_and_clear();
                let done = done?;
                print_line(&json!({
                    "key": done.key, "location": done.location, "size": done.size_bytes, "sent": done.sent_bytes,
                }));
                Ok(ExitCode::SUCCESS)
            }
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                bar.abandon();
                eprintln!("paused; run the same command to resume, or add --cancel to abort");
                Ok(ExitCode::from(130))
            }
        }
    })
}

/// Prints machine-readable output: one JSON object per line on standard output.
#[expect(clippy::print_stdout, reason = "this is the command's answer")]
fn print_line(line: &serde_json::Value) {
    println!("{}", json_shown(&line.to_string()));
}
