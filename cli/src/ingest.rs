//! `logferry ingest FILE`: runs the code of the ingest function on a local file.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use logferry_aws::apps::DynamoApps;
use logferry_aws::blocks::DynamoBlocks;
use logferry_aws::client::AwsEnv;
use logferry_aws::ledger::DynamoLedger;
use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::pack::{PackSource, Packed};
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::logfile::read::{IntakeError, IntakeLimits, Sink, Stopped, read_log_file};
use logferry_core::model::app::AppId;
use logferry_core::model::block::Payload;
use logferry_core::model::record_view::LogRecord;
use logferry_core::ports::clock::Clock;
use logferry_ingest::events::Arrival;
use logferry_ingest::{Config, Ingest, Ingested, Settings};
use logferry_service::clock::SystemClock;
use logferry_service::config::environment;
use serde_json::json;

use crate::local_file::{LOCAL_BUCKET, LocalFile};
use crate::terminal::{json_shown, shown};

/// Maximum duration of a run (ms): a command has no deadline of its own.
const DAY_MS: i64 = 86_400_000;

/// Parse a log file and print its records as NDJSON, the bad ones to standard error.
///
/// Exits with 1 if the file is damaged. Retention and prune watermark only apply with --write.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// gzip, zstd or plain; a JSON array, NDJSON or text.
    file: PathBuf,
    /// App that the records belong to.
    #[arg(long, default_value = "local")]
    app: String,
    /// Print counts instead of records.
    #[arg(long)]
    summary: bool,
    /// Store the records in the tables TABLE_APPS, TABLE_LOGS, TABLE_FILES and TABLE_STATS. The app must be
    /// registered. Storing the same file again has no effect.
    #[arg(long, requires = "app")]
    write: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let app_id: AppId = args.app.parse()?;
    let file = LocalFile::of(&args.file)?;
    if args.write { write(&app_id, file) } else { print(args, &app_id, &file) }
}

fn print(args: &Args, app_id: &AppId, file: &LocalFile) -> Result<ExitCode, Box<dyn Error>> {
    let object = file.object(app_id);
    let name = args.file.display().to_string();
    let seed = object.seed();
    let source = PackSource {
        app_id,
        seed: &seed,
        source: &name,
        registered_ms: 0,
        arrived_ms: file.modified_ms(),
        retention_days: 0,
        pruned_before_ms: None,
    };
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        summary: args.summary,
        blocks: 0,
        stored_bytes: 0,
    };
    let outcome = match read_log_file(File::open(&args.file)?, source, &IntakeLimits::default(), &mut printer)
    {
        Ok(outcome) => outcome,
        // The reader of the output has closed it.
        Err(IntakeError::Stopped) => return Ok(ExitCode::SUCCESS),
        Err(error) => return Err(error.into()),
    };
    printer.finish(&outcome)?;
    if let Some(reason) = &outcome.reason {
        eprintln!("logferry: {}: {}", reason.code.as_str(), shown(&reason.message));
    }
    Ok(ExitCode::from(u8::from(outcome.reason.is_some())))
}

struct Printer<W: Write> {
    out: W,
    summary: bool,
    blocks: u64,
    stored_bytes: u64,
}

impl<W: Write> Printer<W> {
    fn finish(mut self, outcome: &Outcome) -> io::Result<()> {
        if self.summary {
            let days: serde_json::Map<_, _> = outcome
                .days
                .iter()
                .map(|(day, counts)| (day.to_string(), counts.total().levels.total().into()))
                .collect();
            let summary = json!({
                "status": if outcome.reason.is_some() { "FAILED" } else { "COMPLETED" },
                "reason": outcome.reason,
                "counts": outcome.counts,
                "blocks": self.blocks,
                "block_bytes": self.stored_bytes,
                "records_per_day": days,
            });
            writeln!(self.out, "{summary:#}")?;
        }
        self.out.flush()
    }

    fn print_records(&mut self, data: &[u8]) -> io::Result<()> {
        let payload = Payload::decode(data).map_err(io::Error::other)?;
        let mut line = Vec::new();
        for record in payload.records() {
            line.clear();
            LogRecord::read(&record).write_json(&mut line, None, true);
            // Inside JSON, a line break is always white space.
            line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
            let text = std::str::from_utf8(&line).map_err(io::Error::other)?;
            writeln!(self.out, "{}", json_shown(text))?;
        }
        Ok(())
    }
}

impl<W: Write> Sink for Printer<W> {
    fn packed(&mut self, packed: Packed) -> Result<(), Stopped> {
        let Some(block) = packed.block else { return Ok(()) };
        self.blocks += 1;
        self.stored_bytes += block.data.len() as u64;
        if self.summary {
            return Ok(());
        }
        // The reader of the output has closed it (`| head`).
        self.print_records(&block.data).map_err(|_| Stopped)
    }

    fn quarantined(&mut self, record: Quarantined) -> Result<(), Stopped> {
        if !self.summary {
            eprintln!("quarantined: {}", json_shown(&serde_json::to_string(&record).unwrap_or_default()));
        }
        Ok(())
    }
}

#[tokio::main]
async fn write(app_id: &AppId, file: LocalFile) -> Result<ExitCode, Box<dyn Error>> {
    // The local file replaces an object of the bucket.
    let config = Config::from_lookup(|name| match name {
        "BUCKET" => Some(LOCAL_BUCKET.to_owned()),
        name => environment(name),
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
    Ok(ExitCode::from(match ended {
        Ingested::Completed { .. } | Ingested::Duplicate => 0,
        Ingested::Failed { .. } | Ingested::Released { .. } | Ingested::LeaseLost | Ingested::Ignored => 1,
    }))
}
