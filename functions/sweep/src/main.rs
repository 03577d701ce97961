//! Wiring only: reads the configuration and creates the clients once, then calls `lib.rs`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use logferry_aws::apps::DynamoApps;
use logferry_aws::backlog::DynamoBacklog;
use logferry_aws::bookmarks::DynamoBookmarks;
use logferry_aws::client::AwsEnv;
use logferry_aws::files::DynamoFiles;
use logferry_aws::listing::S3Listing;
use logferry_aws::multipart::S3Multipart;
use logferry_aws::objects::S3Objects;
use logferry_aws::records::DynamoRecords;
use logferry_aws::sessions::DynamoSessions;
use logferry_aws::starter::LambdaStarter;
use logferry_service::clock::SystemClock;
use logferry_service::config::environment;
use logferry_service::telemetry;
use logferry_sweep::{Config, DueRows, Jobs, Missed, Sweep, Uploads};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(environment("LOG_LEVEL").as_deref());
    let config = Config::from_lookup(environment)?;
    let aws = AwsEnv::from_environment()?;
    let (dynamodb, s3) = (aws.dynamodb(), aws.s3());
    let clock = SystemClock;
    let starter = LambdaStarter::new(aws.lambda(), config.ingest_function);
    let apps = DynamoApps::new(dynamodb.clone(), config.table_apps);
    let book = DynamoRecords::new(dynamodb.clone(), config.table_logs, config.table_stats)
        .with_files(config.table_files.clone());
    let backlog = DynamoBacklog::new(dynamodb.clone(), config.table_files.clone());
    let files = DueRows {
        backlog: backlog.clone(),
        objects: S3Objects::new(s3.clone()),
        starter: starter.clone(),
        clock,
        bucket: config.bucket.clone(),
        metrics_namespace: config.metrics_namespace.clone(),
        interval: config.interval,
    };
    let jobs = Jobs {
        apps: apps.clone(),
        book,
        files: DynamoFiles::new(dynamodb.clone(), config.table_files.clone()),
        objects: S3Objects::new(s3.clone()),
        bucket: config.bucket.clone(),
        clock,
    };
    let missed = Missed {
        bucket: config.bucket.clone(),
        bookmarks: DynamoBookmarks::new(dynamodb.clone(), config.table_files),
        listing: S3Listing::new(s3.clone()),
        backlog,
        apps,
        starter,
        clock,
        metrics_namespace: config.metrics_namespace,
    };
    let uploads = Uploads {
        sessions: DynamoSessions::new(dynamodb, config.table_uploads),
        multipart: S3Multipart::new(s3, config.bucket),
        clock,
    };
    let sweep = &Sweep { files, uploads, jobs, missed, clock };
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let deadline_ms = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
        sweep.run(deadline_ms).await.answer().map_err(Error::from)
    }))
    .await
}
