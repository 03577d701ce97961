//! `logferry upload FILE` and `logferry upload-logs FILE…`: the upload client with a progress bar.

mod logs;
mod rate;
mod wait;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use logferry_core::model::fault::chain;
use logferry_upload_client::{Client, Credential, Error as UploadError, Event, Upload};
use rate::parse_bytes;
use serde_json::json;

use crate::remote::{Remote, warn_of_plain_http};
use crate::standard_input::Input;
use crate::terminal::{print_json, shown};

pub(crate) use logs::{LogArgs, run as run_logs};

/// The service, and a token instead of a key.
#[derive(Debug, clap::Args)]
pub(crate) struct Connection {
    #[command(flatten)]
    remote: Remote,
    /// A token instead of a key: an upload token, or a join token for log files. Environment: LOGFERRY_TOKEN.
    #[arg(long, value_name = "TOKEN", conflicts_with = "api_key")]
    token: Option<String>,
}

impl Connection {
    /// The client, and where its credential was found.
    fn client(&self) -> Result<(Client, String), Box<dyn Error>> {
        let place = self.remote.find()?;
        let is_named = place.api_key.as_ref().is_some_and(|key| key.named);
        let in_environment = std::env::var("LOGFERRY_TOKEN").ok();
        let in_environment = in_environment.filter(|token| !token.is_empty() && !is_named);
        let (credential, source) = match (&self.token, in_environment, place.api_key) {
            (Some(token), _, _) => (Credential::Token(token.clone()), "--token".to_owned()),
            (None, Some(token), _) => (Credential::Token(token), "LOGFERRY_TOKEN".to_owned()),
            (None, None, Some(key)) => (Credential::ApiKey(key.value), key.source),
            (None, None, None) => {
                return Err("which key? Set LOGFERRY_API_KEY or LOGFERRY_TOKEN, or name a profile".into());
            }
        };
        warn_of_plain_http(&place.url);
        Ok((Client::new(&place.url, credential)?, source))
    }
}

/// An error of an upload in words of the command line.
fn explained(error: &UploadError, client: &Client, credential: &str) -> String {
    if error.is_connection_refused() {
        return format!("nothing answers at {} (connection refused): is the service running?", client.base());
    }
    let said = in_own_words(error);
    match error {
        UploadError::Refused { status: 401 | 403, .. } => {
            format!("the service refused the credential from {credential}: {said}")
        }
        _ => said,
    }
}

/// An error without its status, and without the prefix that Uppy expects.
fn in_own_words(error: &UploadError) -> String {
    let own = |message: &str| message.strip_prefix("s3: ").unwrap_or(message).to_owned();
    match error {
        UploadError::Refused { message, .. } => own(message),
        UploadError::Unavailable { message, .. } => {
            format!("the service cannot take it now: {}", own(message))
        }
        error => chain(error),
    }
}

/// Upload a large file in parts.
///
/// Prints one line of JSON: key, location, size, and the bytes sent by this run. If it is interrupted, the
/// same command resumes it. Exits with 0 if the file is uploaded, with 130 if Ctrl-C paused it, else with
/// 2.
#[derive(Debug, clap::Args)]
pub(crate) struct UploadArgs {
    /// File to upload (not empty); - is standard input, which cannot be resumed.
    file: PathBuf,
    #[command(flatten)]
    connection: Connection,
    /// Content type of the file.
    #[arg(long = "type", default_value = "application/octet-stream", value_name = "TYPE", value_parser = content_type)]
    content_type: String,
    /// Number of parts in flight, 1 to 64.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64), value_name = "N")]
    parallel: u8,
    /// Maximum upload speed in bytes per second, such as 500k or 10M.
    #[arg(long, value_parser = parse_bytes, value_name = "RATE")]
    limit_rate: Option<u64>,
    /// Abort the interrupted upload of this file and free its parts.
    #[arg(long)]
    cancel: bool,
    /// Folder for the state of interrupted uploads. Without it: ~/.local/state/logferry.
    #[arg(long, env = "LOGFERRY_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

fn content_type(text: &str) -> Result<String, &'static str> {
    let legal = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic() && c != '/');
    let essence = text.split(';').next().unwrap_or_default().trim();
    match essence.split_once('/') {
        Some((kind, name)) if legal(kind) && legal(name) => Ok(text.to_owned()),
        _ => Err("not a content type such as video/mp4"),
    }
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
            eprintln!("logferry: {}; retrying in {:.1} s", shown(&in_own_words(error)), wait.as_secs_f64());
        }),
        Event::LeftToExpire { error } => bar.suspend(|| {
            eprintln!(
                "logferry: the earlier upload could not be aborted and will expire: {}",
                shown(&in_own_words(error))
            );
        }),
        _ => {}
    }
}

pub(crate) fn run(args: &UploadArgs) -> Result<ExitCode, Box<dyn Error>> {
    let state_dir = args.state_dir.clone().map_or_else(default_state_dir, Ok)?;
    let bar = progress_bar()?;
    let shown_on = bar.clone();
    let (client, credential) = args.connection.client()?;
    let input = Input::of(&args.file)?;
    // The state of an upload that cannot be resumed is removed with its file.
    let state_dir = input.folder().map_or(state_dir, PathBuf::from);
    let mut upload = Upload::new(client.clone(), &input.path, state_dir)
        .content_type(&args.content_type)
        .parallel(usize::from(args.parallel))
        .on_event(move |event| show(&shown_on, event));
    if let Some(rate) = args.limit_rate {
        upload = upload.limit_rate(rate);
    }
    runtime()?.block_on(async {
        if args.cancel {
            let found = upload.cancel().await.map_err(|error| explained(&error, &client, &credential))?;
            eprintln!("{}", if found { "cancelled" } else { "there is no upload of this file to cancel" });
            return Ok(ExitCode::SUCCESS);
        }
        let done = tokio::select! {
            done = upload.run() => Some(done),
            interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| None)?,
        };
        if !matches!(done, Some(Ok(_))) && input.folder().is_some() {
            abort(&upload).await?;
        }
        let Some(done) = done else {
            bar.abandon();
            eprintln!(
                "{}",
                match input.folder() {
                    None => "paused; run the same command to resume, or add --cancel to abort",
                    Some(_) => "stopped: an upload of standard input cannot be resumed",
                }
            );
            return Ok(ExitCode::from(130));
        };
        bar.finish_and_clear();
        let done = done.map_err(|error| explained(&error, &client, &credential))?;
        print_line(&json!({
            "key": done.key, "location": done.location, "size": done.size_bytes, "sent": done.sent_bytes,
        }));
        Ok(ExitCode::SUCCESS)
    })
}

/// Aborts the session of an upload that cannot be resumed, unless Ctrl-C comes first.
async fn abort(upload: &Upload) -> Result<(), std::io::Error> {
    tokio::select! {
        aborted = upload.cancel() => if let Err(error) = aborted {
            eprintln!("logferry: the upload could not be aborted and will expire: {}", shown(&in_own_words(&error)));
        },
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

/// Prints machine-readable output: one JSON object per line on standard output.
fn print_line(line: &serde_json::Value) {
    print_json(&line.to_string());
}
