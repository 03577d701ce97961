//! `logferry files`: what became of uploaded files.

use std::error::Error;
use std::process::ExitCode;

use reqwest::Method;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::output::{Format, Output};
use super::{Pairs, Remote, Role, Service};

/// List uploaded files and what became of them, or start failed ones again.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct FilesArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// Of this status: failed, completed, processing or pending (its URL is not used yet, or it waits to be read).
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// First heard of since: 15m, 3d, 2026-11-23, RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The most files.
    #[arg(long, short = 'n', default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the entries of a file that could not be read, with the reason and a sample.
    Bad(BadArgs),
    /// Read files again from their beginning.
    Redrive(RedriveArgs),
}

#[derive(Debug, clap::Args)]
struct BadArgs {
    key: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct RedriveArgs {
    /// This file.
    #[arg(required_unless_present_any = ["reason", "all"])]
    key: Option<String>,
    /// All failed files, or all completed ones with --status completed.
    #[arg(long, conflicts_with_all = ["key", "reason"])]
    all: bool,
    /// Only files that failed for this reason, such as ATTEMPTS_EXHAUSTED.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// failed, or completed.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// For the administrator: of this app alone. Environment: LOGFERRY_APP.
    #[arg(long, value_name = "APP")]
    pub(super) app: Option<String>,
    #[command(flatten)]
    pub(super) format: Format,
    #[command(flatten)]
    pub(super) remote: Remote,
}

impl Common {
    fn app_pairs(&self, service: &Service) -> Pairs {
        let app =
            service.app(self.app.as_deref()).filter(|_| self.app.is_some() || service.is_admin(Role::App));
        app.map(|app| ("app_id".to_owned(), app.to_owned())).into_iter().collect()
    }
}

pub(crate) async fn run(args: &FilesArgs) -> Result<ExitCode, Box<dyn Error>> {
    match &args.action {
        None => list(args).await,
        Some(Action::Bad(args)) => bad(args).await,
        Some(Action::Redrive(args)) => redrive(args).await,
    }
}

/// Follows the cursors of a list.
pub(super) async fn all_of(
    service: &Service,
    role: Role,
    path: &str,
    pairs: &Pairs,
    most: usize,
) -> Result<Vec<Box<RawValue>>, Box<dyn Error>> {
    let (mut found, mut cursor): (Vec<Box<RawValue>>, _) = (Vec::new(), None::<String>);
    loop {
        let mut query = pairs.clone();
        query.push(("limit".to_owned(), (most - found.len()).min(1_000).to_string()));
        query.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
        let page = service.page(role, path, &query).await?;
        found.extend(page.data);
        cursor = page.cursor;
        if found.len() >= most || cursor.is_none() {
            return Ok(found);
        }
    }
}

async fn list(args: &FilesArgs) -> Result<ExitCode, Box<dyn Error>> {
    let service = Service::new(&args.common.remote)?;
    let mut pairs = args.common.app_pairs(&service);
    pairs.extend(args.status.as_ref().map(|status| ("status".to_owned(), status.to_uppercase())));
    pairs.extend(args.since.as_ref().map(|since| ("since".to_owned(), since.clone())));
    let found = all_of(&service, Role::App, "/v1/files", &pairs, usize::try_from(args.limit)?).await?;
    let mut output = Output::new(args.common.format);
    if output.json {
        found.iter().try_for_each(|file| output.json(file))?;
    } else {
        let rows: Vec<_> = found.iter().map(|file| row(file)).collect();
        output.table(&["CREATED", "STATUS", "RECORDS", "BAD", "BYTES", "KEY", "WHY"], &rows)?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn row(file: &RawValue) -> Vec<String> {
    let file: Value = serde_json::from_str(file.get()).unwrap_or_default();
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let why = match file["reason"]["code"].as_str() {
        Some(code) => format!("{code}: {}", text(&file["reason"]["message"])),
        None => text(&file["warning"]),
    };
    vec![
        text(&file["created_at"]),
        text(&file["status"]),
        text(&file["counts"]["ok"]),
        text(&file["counts"]["quarantined"]),
        text(&file["size"]),
        text(&file["key"]),
        why,
    ]
}

async fn bad(args: &BadArgs) -> Result<ExitCode, Box<dyn Error>> {
    let service = Service::new(&args.common.remote)?;
    let mut pairs = args.common.app_pairs(&service);
    pairs.push(("key".to_owned(), args.key.clone()));
    let found = all_of(&service, Role::App, "/v1/files/quarantine", &pairs, usize::MAX).await?;
    let mut output = Output::new(args.common.format);
    if output.json {
        found.iter().try_for_each(|row| output.json(row))?;
    } else {
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|row| {
                let row: Value = serde_json::from_str(row.get()).unwrap_or_default();
                let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                let sample: String = text("sample").chars().take(80).collect();
                let bytes = format!("{}-{}", row["start"], row["end"]);
                vec![row["ordinal"].to_string(), row["count"].to_string(), bytes, text("reason"), sample]
            })
            .collect();
        output.table(&["ENTRY", "COUNT", "BYTES", "REASON", "SAMPLE"], &rows)?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn redrive(args: &RedriveArgs) -> Result<ExitCode, Box<dyn Error>> {
    let service = Service::new(&args.common.remote)?;
    let mut body = json!({});
    if let Some(key) = &args.key {
        body["key"] = key.as_str().into();
    }
    if let Some(reason) = &args.reason {
        body["reason"] = reason.as_str().into();
    }
    if let Some(status) = &args.status {
        body["status"] = status.to_uppercase().into();
    }
    let pairs = args.common.app_pairs(&service);
    let answer = service.call(Role::App, Method::POST, "/v1/files/redrive", &pairs, Some(&body)).await?;
    let mut output = Output::new(args.common.format);
    if output.json {
        output.line(&answer["data"].to_string())?;
    } else {
        let rest =
            if answer["data"]["complete"] == false { "; the rest is started in the background" } else { "" };
        output.line(&format!("{} files are read again{rest}", answer["data"]["redriven"]))?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
