//! `logferry ingest FILE`: runs the code of the ingest function on a local file.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use logferry_aws::apps::DynamoApps;
use logferry_aws::blocks::DynamoBlocks;
use logferry_aws::client::AwsEnv;
use logferry_aws::ledger::DynamoLedger;
use logferry_core::model::app::AppId;
use logferry_core::model::fault::chain;
use logferry_core::ports::clock::Clock;
use logferry_ingest::events::Arrival;
use logferry_ingest::{Config, Ingest, Ingested, Settings};
use logferry_service::clock::SystemClock;
use logferry_service::config::environment;

use crate::local_file::{LOCAL_BUCKET, LocalFile};
use crate::preview::{Form, print};
use crate::standard_input::Input;

/// Maximum duration of a run (ms): a command has no deadline of its own.
const DAY_MS: i64 = 86_400_000;

/// Parse log files and print their records as NDJSON, the bad ones to standard error.
///
/// Records are redacted as they would be stored. Exits with 1 if a file would be FAILED. Retention and prune
/// watermark only apply with --write.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// gzip, zstd or plain; JSON, text or what `docs/formats.md` names, in any mix. - is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// App that the records belong to.
    #[arg(long, default_value = "local")]
    app: String,
    /// Print counts instead of records.
    #[arg(long)]
    summary: bool,
    /// Print what the files were taken for, their first records, and what was not understood and why.
    #[arg(long, conflicts_with_all = ["summary", "write"])]
    explain: bool,
    /// Store the records in the tables TABLE_APPS, TABLE_LOGS, TABLE_FILES and TABLE_STATS. The app must be
    /// registered. Storing the same file again has no effect.
    #[arg(long, requires = "app")]
    write: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let app_id: AppId = args.app.parse()?;
    let mut completed = true;
    for path in &args.files {
        let input = Input::of(path)?;
        let file = LocalFile::of(&input.path)?;
        completed &= if args.write {
            write(&app_id, file)?
        } else {
            let form = match (args.summary, args.explain) {
                (_, true) => Form::Explanation,
                (true, _) => Form::Summary { lines: args.files.len() > 1 },
                (false, false) => Form::Records,
            };
            print(&input, &app_id, &file, form)?
        };
    }
    Ok(ExitCode::from(u8::from(!completed)))
}

#[tokio::main]
async fn write(app_id: &AppId, file: LocalFile) -> Result<bool, Box<dyn Error>> {
    // The local file replaces an object of the bucket.
    let config = Config::from_lookup(|name| match name {
        "BUCKET" => Some(LOCAL_BUCKET.to_owned()),
        name => environment(name),
    })
    .map_err(|error| {
        let hint = "they are outputs of the stack; those of `make up` are in .logferry/local.env";
        format!("{}; {hint}", chain(&error))
    })?;
    let dynamodb = AwsEnv::from_environment()?.dynamodb();
    let object = file.object(app_id);
    let arrival = Arrival {
        bucket: object.bucket,
        key: object.key,
        version: Some(object.version),
        etag: None,
        size_bytes: Some(file.size_bytes()),
    };
    let ingest = Ingest {
        objects: file,
        blocks: DynamoBlocks::new(dynamodb.clone(), config.table_logs),
        apps: DynamoApps::new(dynamodb.clone(), config.table_apps),
        ledger: DynamoLedger::new(dynamodb, config.table_files, config.table_stats),
        clock: SystemClock,
        settings: Settings { takes_older_objects: true, ..config.settings },
    };
    let ended = ingest.take(&arrival, SystemClock.now_ms() + DAY_MS).await?;
    writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&ended)?)?;
    Ok(match ended {
        Ingested::Completed { .. } | Ingested::Duplicate => true,
        Ingested::Failed { .. } | Ingested::Released { .. } | Ingested::LeaseLost | Ingested::Ignored => {
            false
        }
    })
}
