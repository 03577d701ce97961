//! `logferry ingest FILE`: runs the code of the ingest function on a local file.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logferry_aws::apps::DynamoApps;
use logferry_aws::blocks::DynamoBlocks;
use logferry_aws::client::AwsEnv;
use logferry_aws::files::DynamoFiles;
use logferry_aws::ledger::DynamoLedger;
use logferry_core::ledger::claim::Ledger;
use logferry_core::ledger::files::Files;
use logferry_core::ledger::row::{FileRow, FileStatus};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logfile::outcome::{Reason, ReasonCode};
use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, chain};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::usage::Usage;
use logferry_ingest::events::Arrival;
use logferry_ingest::{Config, Ingest, Ingested, Settings};
use logferry_service::clock::SystemClock;
use logferry_service::config::environment;

use crate::local_file::{LOCAL_BUCKET, LocalFile};
use crate::preview::{Form, print};
use crate::standard_input::Input;
use crate::terminal::shown;

/// Maximum duration of a run (ms), after which another one resumes. The lease of a command that was killed lasts as long.
const RUN_MS: i64 = 900_000;

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

#[tokio::main]
pub(crate) async fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let app_id: AppId = args.app.parse()?;
    let interrupted = Arc::default();
    if args.write {
        tokio::spawn(listen(Arc::clone(&interrupted)));
    }
    let mut completed = true;
    for path in &args.files {
        let input = Input::of(path)?;
        let file = LocalFile::of(&input.path)?;
        completed &= if args.write {
            let written = write(&app_id, &input, file.until(&interrupted)).await;
            if interrupted.load(Ordering::Relaxed) && written.is_err() {
                return Err("interrupted; the same command resumes".into());
            }
            written?
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

/// Notes a Ctrl-C, after which the file is released. The second one ends the command; then its lease has to expire.
async fn listen(interrupted: Arc<AtomicBool>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if interrupted.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("logferry: stopping; Ctrl-C again stops at once");
    }
}

/// Stores a file. Returns whether it is COMPLETED.
async fn write(app_id: &AppId, input: &Input, file: LocalFile) -> Result<bool, Box<dyn Error>> {
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
    let files = DynamoFiles::new(dynamodb.clone(), config.table_files.clone());
    let object = file.object(app_id);
    let ingest = Ingest {
        objects: file,
        blocks: DynamoBlocks::new(dynamodb.clone(), config.table_logs),
        apps: DynamoApps::new(dynamodb.clone(), config.table_apps),
        ledger: DynamoLedger::new(dynamodb, config.table_files, config.table_stats),
        clock: SystemClock,
        settings: Settings { takes_older_objects: true, ..config.settings },
    };
    let (ended, why_not) = store(&ingest, &files, &object).await?;
    writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&ended)?)?;
    if let Some(why) = &why_not {
        eprintln!("logferry: {}: {}", shown(&input.name), shown(why));
    }
    Ok(why_not.is_none())
}

/// Ingests a file. Returns how that ended, and why the file is not COMPLETED.
async fn store<B: BlockTable, L: Ledger + Usage, A: Apps, C: Clock>(
    ingest: &Ingest<LocalFile, B, L, A, C>,
    files: &impl Files,
    object: &ObjectRef,
) -> Result<(Ingested, Option<String>), Fault> {
    let arrival = Arrival {
        bucket: object.bucket.clone(),
        key: object.key.clone(),
        version: Some(object.version.clone()),
        etag: None,
        size_bytes: Some(ingest.objects.size_bytes()),
    };
    let mut redriven = false;
    loop {
        let ended = ingest.take(&arrival, ingest.clock.now_ms() + RUN_MS).await?;
        let why_not = match &ended {
            // Its time was over, or the app was pruned meanwhile: the next run resumes.
            Ingested::Released { .. } => continue,
            Ingested::Completed { .. } => None,
            Ingested::Failed { reason, .. } => Some(format!("{}: {}", reason.code.as_str(), reason.message)),
            Ingested::Duplicate => {
                let rows = files.of_version(&object.bucket, &object.key, object.version.as_str()).await?;
                match rows.first() {
                    // The deployed `ingest`, which cannot read local files, has ended what a run had left.
                    Some(row) if !redriven && is_gone(row) => {
                        redriven = true;
                        files.redrive(row, ingest.clock.now_ms()).await?;
                        continue;
                    }
                    row => why_not_stored(row),
                }
            }
            Ingested::LeaseLost => Some("another run has taken it over".to_owned()),
            Ingested::Ignored => Some("it was ignored".to_owned()),
        };
        return Ok((ended, why_not));
    }
}

fn is_gone(row: &FileRow) -> bool {
    row.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::ObjectGone)
}

/// Returns why a file that this run may not read is not COMPLETED.
fn why_not_stored(row: Option<&FileRow>) -> Option<String> {
    let time = |ms: Option<i64>| ms.map(rfc3339_ms).unwrap_or_default();
    let Some(row) = row else { return Some("its row has expired: run the command again".to_owned()) };
    match row.status {
        FileStatus::Completed => None,
        FileStatus::Failed => Some(match &row.reason {
            Some(Reason { code, message }) => {
                format!("FAILED in an earlier run: {}: {message}", code.as_str())
            }
            None => "FAILED in an earlier run".to_owned(),
        }),
        FileStatus::Processing => Some(format!(
            "another run is reading it; if that was stopped, run the command again after {}",
            time(row.lease_until_ms)
        )),
        FileStatus::Pending => Some(format!("PENDING; run the command again after {}", time(row.due_at_ms))),
    }
}

#[cfg(test)]
mod tests {
    use logferry_core::logfile::read::IntakeLimits;
    use logferry_sim::SimCloud;
    use serde_json::json;

    use super::*;

    /// Stores a file of this content in a cloud, as often as wanted. Returns why it is not COMPLETED, each time.
    async fn stored(
        cloud: &SimCloud,
        content: &[u8],
        interrupted: &[bool],
    ) -> Vec<Result<Option<String>, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        std::fs::write(&path, content).unwrap();
        let app_id = "my-app".parse().unwrap();
        let mut results = Vec::new();
        for &interrupted in interrupted {
            let file = LocalFile::of(&path).unwrap().until(&Arc::new(interrupted.into()));
            let object = file.object(&app_id);
            let function = logferry_tests::ingest::ingest(cloud, cloud.clock(), IntakeLimits::default());
            let Ingest { blocks, ledger, apps, clock, settings, .. } = function;
            let settings =
                Settings { bucket: LOCAL_BUCKET.to_owned(), takes_older_objects: true, ..settings };
            let ingest = Ingest { objects: file, blocks, ledger, apps, clock, settings };
            let result = store(&ingest, cloud, &object).await;
            results.push(result.map(|(_, why_not)| why_not).map_err(|fault| fault.to_string()));
        }
        results
    }

    fn cloud() -> SimCloud {
        let cloud = SimCloud::default();
        cloud.add_app("my-app");
        cloud
    }

    #[tokio::test]
    async fn a_refused_file_is_not_stored_the_second_time_either_and_a_stored_one_is() {
        let [first, second] = stored(&cloud(), b"PK\x03\x04x", &[false; 2]).await.try_into().unwrap();
        let first = first.unwrap().unwrap();
        assert!(first.starts_with("NOT_A_LOG: "), "{first}");
        assert_eq!(second, Ok(Some(format!("FAILED in an earlier run: {first}"))));
        assert_eq!(stored(&cloud(), b"one\n", &[false; 2]).await, [Ok(None), Ok(None)]);
    }

    #[tokio::test]
    async fn an_interrupted_run_releases_the_file_for_the_next() {
        let cloud = cloud();
        let results = stored(&cloud, b"one\n", &[true, false]).await;
        assert!(results[0].as_ref().unwrap_err().contains("interrupted"), "{results:?}");
        assert_eq!(results[1], Ok(None));
        assert_eq!(cloud.records(&"my-app".parse().unwrap()).len(), 1);
    }

    #[tokio::test]
    async fn a_file_that_the_deployed_ingest_has_ended_is_stored_by_the_next_run() {
        let cloud = cloud();
        let _ = stored(&cloud, b"one\ntwo\n", &[true]).await;
        let object = cloud.rows().remove(0).object.unwrap();
        let deployed = logferry_tests::ingest::ingest(&cloud, cloud.clock(), IntakeLimits::default());
        let deadline_ms = cloud.clock().now_ms() + 60_000;
        let event = json!({"bucket": object.bucket, "key": object.key, "etag": object.version.as_str()});
        deployed.handle(&event, deadline_ms).await.unwrap();
        assert_eq!(cloud.rows()[0].status, FileStatus::Failed);
        assert_eq!(stored(&cloud, b"one\ntwo\n", &[false]).await, [Ok(None)]);
        let app = cloud.apps_now().remove(0);
        assert_eq!(cloud.records(&app.app_id).len(), 2);
        assert_eq!(cloud.counted_levels(&app.app_id), cloud.visible_levels(&app));
    }
}
