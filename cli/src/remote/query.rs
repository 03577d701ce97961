//! `logferry query` and `logferry tail`.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::value::RawValue;

use super::matching::Matching;
use super::output::{Format, Output};
use super::{Pairs, Remote, Role, Service, passes};
use crate::terminal::shown;

/// Records of a request: the most that a page has.
const PAGE: usize = 1_000;
/// Failures in a row after which a tail ends, and the longest pause between two of its attempts.
const MAX_FAILURES: u32 = 10;
const MAX_PAUSE_SECS: u64 = 30;

/// Which records.
#[derive(Debug, clap::Args)]
struct Asked {
    #[command(flatten)]
    matching: Matching,
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// For the administrator: of this app alone. Environment: LOGFERRY_APP.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    remote: Remote,
}

impl Asked {
    fn pairs(&self, service: &Service) -> Pairs {
        let mut pairs = self.matching.pairs();
        let mut add = |name: &str, value: Option<&str>| {
            pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        };
        add("request_id", self.request_id.as_deref());
        if service.is_admin(Role::App) {
            add("app_id", service.app(self.app.as_deref()));
        } else {
            add("app_id", self.app.as_deref());
        }
        pairs
    }
}

/// Print records, newest first unless --oldest-first.
///
/// Reads on until --limit records are found or there are no more. Columns on a terminal, a line of JSON per record
/// in a pipe.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  logferry query --since 3d --level ERROR\n  \
    logferry query --since 1h 'res.statusCode>=500' userId=u-42\n  \
    logferry query --search 'card declined' --anywhere\n  \
    logferry query --since 1d --all | jq -r .message | sort | uniq -c")]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    asked: Asked,
    /// Not before: 15m, 3d (s, m, h, d, w), 2026-11-23, RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Oldest first.
    #[arg(long)]
    oldest_first: bool,
    /// The most records.
    #[arg(long, short = 'n', default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All records.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// With the original entry, in rawData.
    #[arg(long)]
    raw: bool,
}

pub(crate) async fn query(args: &QueryArgs) -> Result<ExitCode, Box<dyn Error>> {
    let service = Service::new(&args.asked.remote)?;
    let mut pairs = args.asked.pairs(&service);
    let mut add = |name: &str, value: Option<&str>| {
        pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    };
    add("since", args.since.as_deref());
    add("until", args.until.as_deref());
    add("order", args.oldest_first.then_some("asc"));
    add("raw", args.raw.then_some("true"));
    let most = if args.all { usize::MAX } else { usize::try_from(args.limit)? };
    let mut output = Output::new(args.asked.format);
    let mut found = 0;
    let skipped = pages(&service, &pairs, most, |record| {
        found += 1;
        output.record(record)
    })
    .await?;
    output.flush()?;
    if found == 0 {
        match args.asked.matching.hint() {
            Some(hint) => eprintln!("no records: {hint}"),
            None => eprintln!("no records"),
        }
    }
    complete(skipped)
}

fn complete(skipped: u64) -> Result<ExitCode, Box<dyn Error>> {
    if skipped > 0 {
        eprintln!("logferry: {skipped} blocks could not be read: their records are missing here");
    }
    Ok(ExitCode::from(u8::from(skipped > 0)))
}

/// Follows the cursors of a query until `most` records were found. Returns how many blocks could not be read.
async fn pages(
    service: &Service,
    pairs: &Pairs,
    most: usize,
    mut each: impl FnMut(&RawValue) -> std::io::Result<()>,
) -> Result<u64, Box<dyn Error>> {
    let (mut left, mut skipped, mut cursor) = (most, 0, None);
    loop {
        let mut query = pairs.clone();
        query.push(("limit".to_owned(), left.min(PAGE).to_string()));
        query.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
        let page = service.page(Role::App, "/v1/logs", &query).await?;
        skipped += page.skipped;
        for record in &page.data {
            each(record)?;
        }
        left = left.saturating_sub(page.data.len());
        cursor = page.cursor;
        if left == 0 || cursor.is_none() {
            return Ok(skipped);
        }
    }
}

/// Print records as they arrive, each once.
///
/// In the order of arrival: those of a file that is uploaded late come too, marked with late=. Begins with what has
/// arrived since --since, at most a day ago.
#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    asked: Asked,
    /// Where to begin: now, 15m, 2026-11-23, RFC 3339.
    #[arg(long, default_value = "1m", value_name = "TIME")]
    since: String,
    /// Seconds between two requests while nothing arrives.
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// End after this many records.
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
}

pub(crate) async fn tail(args: &TailArgs) -> Result<ExitCode, Box<dyn Error>> {
    let service = Service::new(&args.asked.remote)?;
    let pairs = args.asked.pairs(&service);
    let mut output = Output::new(args.asked.format);
    let (mut left, mut any_skipped) = (args.limit.unwrap_or(usize::MAX), false);
    let (mut after, mut failures) = (args.since.clone(), 0);
    while left > 0 {
        let mut query = pairs.clone();
        query.push(("after".to_owned(), after.clone()));
        query.push(("limit".to_owned(), left.min(PAGE).to_string()));
        let page = match service.page(Role::App, "/v1/logs", &query).await {
            Ok(page) => page,
            // An address or key that is wrong fails the first request.
            Err(error) if after != args.since && passes(&*error) && failures < MAX_FAILURES => {
                let wait = MAX_PAUSE_SECS.min(1 << failures);
                eprintln!("logferry: {}; retrying in {wait} s", shown(&error.to_string()));
                failures += 1;
                tokio::time::sleep(Duration::from_secs(wait)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        failures = 0;
        for record in &page.data {
            output.record(record)?;
        }
        output.flush()?;
        // Said at once: a tail need not end.
        complete(page.skipped)?;
        any_skipped |= page.skipped > 0;
        left = left.saturating_sub(page.data.len());
        after = page.cursor.ok_or("the answer has no cursor: is the service older than this command?")?;
        if left > 0 && !page.more {
            tokio::time::sleep(Duration::from_secs(args.interval)).await;
        }
    }
    Ok(ExitCode::from(u8::from(any_skipped)))
}
