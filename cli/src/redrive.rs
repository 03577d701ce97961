//! `logferry redrive-dead-letters`: sends dead letters to CloudWatch Logs again.

use std::error::Error;
use std::process::ExitCode;

use logferry::redrive_dead_letters::{FileReport, KnownMarks, Redrive, Selection};
use logferry_aws::apps::DynamoApps;
use logferry_aws::blocks::DynamoBlocks;
use logferry_aws::client::AwsEnv;
use logferry_aws::dead_letters::S3DeadLetters;
use logferry_aws::flush_marks::DynamoFlushMarks;
use logferry_aws::logs::CloudWatchLogs;
use logferry_core::model::app::AppId;
use logferry_core::model::time::Day;
use logferry_flush::Flush;
use logferry_flush::config::Config;
use logferry_service::clock::SystemClock;
use logferry_service::config::environment;

use crate::terminal::{print_json, shown};

/// Send the events in the failure bucket to CloudWatch Logs again: dead letters of flush, and discarded
/// batches of the event source mapping.
///
/// Accepted events are removed from the bucket, the others stay. Prints one line of JSON per file. Exits
/// with 1 if something stays. Run one at a time.
///
/// Reads TABLE_APPS, TABLE_LOGS and TABLE_FILES, and like flush LOG_GROUP_PREFIX, LOG_GROUP_CLASS and
/// LOG_RETENTION_DAYS.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The failure bucket.
    #[arg(long, env = "FAILURE_BUCKET", value_name = "BUCKET")]
    bucket: String,
    /// Only this app's records.
    #[arg(long)]
    app: Option<AppId>,
    /// Only records of this UTC day, such as 2024-03-01.
    #[arg(long, value_name = "DAY", value_parser = day)]
    date: Option<Day>,
    /// Only files with this key prefix.
    #[arg(long)]
    prefix: Option<String>,
    /// List the files without sending or changing anything.
    #[arg(long)]
    dry_run: bool,
}

fn day(text: &str) -> Result<Day, &'static str> {
    text.parse().map_err(|_| "not a day such as 2024-03-01")
}

#[tokio::main]
pub(crate) async fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let config = Config::from_lookup(|name| match name {
        "FAILURE_BUCKET" => Some(args.bucket.clone()),
        // What is sent again was judged by alerts before.
        "TABLE_CHECKS" | "ALERT_FUNCTION" => Some("unused".to_owned()),
        name => environment(name),
    })?;
    let aws = AwsEnv::from_environment()?;
    let dynamodb = aws.dynamodb();
    let sending = config.sending();
    let redrive = Redrive(Flush::new(
        DynamoBlocks::new(dynamodb.clone(), config.table_logs),
        DynamoApps::new(dynamodb.clone(), config.table_apps),
        CloudWatchLogs::new(aws.logs(), Some(config.log_group_class)),
        S3DeadLetters::new(aws.s3(), config.failure_bucket),
        KnownMarks(DynamoFlushMarks::new(dynamodb, config.table_files)),
        SystemClock,
        sending,
    ));

    let selection = Selection { prefix: args.prefix.clone(), app_id: args.app.clone(), day: args.date };
    let redriven = redrive.run(&selection, args.dry_run, print).await?;
    let (done, kept) = (redriven.files_done, redriven.files_kept);
    if args.dry_run {
        eprintln!("{} files with {} events; nothing was sent", done + kept, redriven.events_kept);
        return Ok(ExitCode::SUCCESS);
    }
    let (sent, left) = (redriven.events_sent, redriven.events_kept);
    eprintln!("{sent} events sent, {left} kept; {done} files done, {kept} files left");
    Ok(ExitCode::from(u8::from(kept > 0)))
}

fn print(report: &FileReport) {
    match serde_json::to_string(report) {
        Ok(line) => print_json(&line),
        Err(error) => eprintln!("logferry: {}: {}", shown(&report.file), shown(&error.to_string())),
    }
}
