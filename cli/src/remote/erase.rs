//! `logferry erase`.

use std::error::Error;
use std::process::ExitCode;

use logferry_core::model::time::rfc3339_ms;
use logferry_core::model::time_bound::TimeBound;
use logferry_core::ports::clock::Clock;
use logferry_service::clock::SystemClock;
use reqwest::Method;
use serde_json::{Value, json};

use super::apps::{elements, encoded, print, print_list, text};
use super::files::Common;
use super::matching::{Matching, SPELLING, shown_filter};
use super::{Role, Service};

/// How much earlier than now an erasure in progress may end that one until now repeats (ms).
const SAME_MS: i64 = 3_600_000;

/// Erase the records that match, with the files that they came from.
///
/// Counts only, unless --yes is given. Then a job erases in the background; --job shows its progress.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  logferry erase --since 90d userId=u-42\n  \
    logferry erase --since 90d userId=u-42 --yes\n  logferry erase --jobs\n  logferry erase --job 0123456789abcdef0123456789abcdef")]
pub(crate) struct EraseArgs {
    #[command(flatten)]
    matching: Matching,
    /// Not before: 15m, 3d (s, m, h, d, w), 2026-11-23, RFC 3339.
    #[arg(long, value_name = "TIME", required_unless_present_any = ["job", "jobs"])]
    since: Option<String>,
    /// Before this time; without it, until now.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Erase.
    #[arg(long)]
    yes: bool,
    /// Show a job instead.
    #[arg(long, value_name = "JOB", conflicts_with_all = ["yes", "since", "until"])]
    job: Option<String>,
    /// List the unfinished jobs instead.
    #[arg(long, conflicts_with_all = ["yes", "since", "until", "job"])]
    jobs: bool,
    #[command(flatten)]
    common: Common,
}

fn time(flag: &str, text: &str) -> Result<String, Box<dyn Error>> {
    let bound = TimeBound::parse(text).map_err(|bad| format!("{flag} {bad}"))?;
    Ok(rfc3339_ms(bound.ms(SystemClock.now_ms())))
}

pub(crate) async fn run(args: &EraseArgs) -> Result<ExitCode, Box<dyn Error>> {
    let common = &args.common;
    let service = Service::new(&common.remote)?;
    let app = service.own_app(Role::App, common.app.as_deref()).await?;
    let path = format!("/v1/apps/{app}/erase");
    if let Some(job) = &args.job {
        let path = format!("{path}/{}", encoded(job));
        let answer = service.call(Role::App, Method::GET, &path, &[], None).await?;
        return shown(common, &answer["data"]);
    }
    if args.jobs {
        let answer = service.call(Role::App, Method::GET, &path, &[], None).await?;
        let titles = ["JOB", "STATE", "REQUESTED", "RECORDS", "FILES", "FILTER"];
        return print_list(common, &elements(&answer), &titles, |job| {
            let own = ["job_id", "state", "requested_at", "records", "files"].map(|name| text(&job[name]));
            own.into_iter().chain([shown_filter(&job["filter"])]).collect()
        });
    }
    let filter = args.matching.filter()?;
    if filter.as_object().is_none_or(|filter| filter.is_empty()) {
        return Err("which records? Name a condition such as userId=u-42, --level or --search".into());
    }
    let mut body = json!({
        "filter": filter,
        "since": time("--since", args.since.as_deref().unwrap_or_default())?,
        "until": time("--until", args.until.as_deref().unwrap_or("0s"))?,
        "dry_run": true,
    });
    let found = service.call(Role::App, Method::POST, &path, &[], Some(&body)).await?;
    if found["data"]["records"] == 0 && found["data"]["complete"] == true {
        shown(common, &found["data"])?;
        return Err(format!("no record matches, so nothing is erased: {SPELLING}").into());
    }
    if !args.yes {
        let ended = shown(common, &found["data"])?;
        eprintln!("nothing is erased yet: add --yes");
        return Ok(ended);
    }
    // A range that ends now differs each time: the same erasure would be a second job.
    let least = match args.until {
        Some(_) => body["until"].clone(),
        None => rfc3339_ms(SystemClock.now_ms() - SAME_MS).into(),
    };
    let jobs = service.call(Role::App, Method::GET, &path, &[], None).await?;
    let same = elements(&jobs).into_iter().find(|job| {
        job["state"] == "pending"
            && job["filter"] == body["filter"]
            && job["since"].as_str() <= body["since"].as_str()
            && job["until"].as_str() >= least.as_str()
    });
    if let Some(same) = same {
        eprintln!("such an erasure is in progress: for later records, start another when it is complete");
        return shown(common, &same);
    }
    body["dry_run"] = false.into();
    let answer = service.call(Role::App, Method::POST, &path, &[], Some(&body)).await?;
    shown(common, &answer["data"])
}

/// Prints a job or a preview.
fn shown(common: &Common, job: &Value) -> Result<ExitCode, Box<dyn Error>> {
    let ended = print(common, job)?;
    if job["complete"] == false {
        eprintln!("the time was over before the end of the range: there may be more");
        return Ok(ExitCode::from(1));
    }
    Ok(ended)
}
