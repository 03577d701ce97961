//! Wiring: configuration and clients once, then the story in `lib.rs`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use logferry_aws::apps::DynamoApps;
use logferry_aws::backlog::DynamoBacklog;
use logferry_aws::bookmarks::DynamoBookmarks;
use logferry_aws::client::AwsEnv;
use logferry_aws::files::DynamoFiles;
use logferry_aws::ledger::DynamoLedger;
use logferry_aws::listing::S3Listing;
use logferry_aws::multipart::S3Multipart;
use logferry_aws::objects::S3Objects;
use logferry_aws::records::DynamoRecords;
use logferry_aws::sessions::DynamoSessions;
use logferry_aws::starter::LambdaStarter;
use logferry_ports::SystemClock;
use logferry_service::config::environment;
use logferry_service::telemetry;
use logferry_sweep::jobs::Jobs;
use logferry_sweep::missed::Missed;
use logferry_sweep::uploads::Uploads;
use logferry_sweep::{App, Config};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(environment("LOG_LEVEL").as_deref());
    let config = Config::from_lookup(environment)?;
    let aws = AwsEnv::from_environment()?;
    let (dynamodb, s3) = (aws.dynamodb(), aws.s3());
    let (starter, stats) = (LambdaStarter::new(aws.lambda(), config.ingest_function), config.table_stats);
    let apps = DynamoApps::new(dynamodb.clone(), config.table_apps.clone());
    let book = DynamoRecords::new(dynamodb.clone(), config.table_apps, config.table_logs, stats.clone())
        .with_files(config.table_files.clone());
    let app = App {
        backlog: DynamoBacklog::new(dynamodb.clone(), config.table_files.clone()),
        objects: S3Objects::new(s3.clone()),
        starter: starter.clone(),
        clock: SystemClock,
        metrics_namespace: config.metrics_namespace,
    };
    let files = DynamoFiles::new(dynamodb.clone(), config.table_files.clone());
    let jobs = Jobs { apps: apps.clone(), book, files, bucket: config.bucket.clone() };
    let missed = Missed {
        bucket: config.bucket.clone(),
        bookmarks: DynamoBookmarks::new(dynamodb.clone(), config.table_files.clone()),
        listing: S3Listing::new(s3.clone()),
        ledger: DynamoLedger::new(dynamodb.clone(), config.table_files, stats),
        apps,
        starter,
        clock: SystemClock,
    };
    let uploads = Uploads {
        sessions: DynamoSessions::new(dynamodb, config.table_uploads),
        multipart: S3Multipart::new(s3, config.bucket),
        clock: SystemClock,
    };
    let (app, missed, uploads, jobs) = (&app, &missed, &uploads, &jobs);
    run(service_fn(|_: LambdaEvent<Value>| async move {
        // Each part does its work whatever became of the others.
        let (rows, uploads) = (app.run().await, Box::pin(uploads.run()).await);
        let jobs = Box::pin(jobs.run(&SystemClock)).await;
        let missed = Box::pin(missed.run()).await;
        Ok::<_, Error>(json!({"files": rows?, "uploads": uploads?, "jobs": jobs?, "missed": missed?}))
    }))
    .await
}
