//! Wiring only: reads the configuration and creates the clients once, then calls `lib.rs`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use logferry_aws::apps::DynamoApps;
use logferry_aws::blocks::DynamoBlocks;
use logferry_aws::client::AwsEnv;
use logferry_aws::ledger::DynamoLedger;
use logferry_aws::objects::S3Objects;
use logferry_aws::records::DynamoRecords;
use logferry_ingest::subscription::{Subscriptions, data_of};
use logferry_ingest::{Config, Ingest};
use logferry_service::clock::SystemClock;
use logferry_service::config::environment;
use logferry_service::telemetry;
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(environment("LOG_LEVEL").as_deref());
    let config = Config::from_lookup(environment)?;
    let aws = AwsEnv::from_environment()?;
    let dynamodb = aws.dynamodb();
    let subscriptions = Subscriptions {
        records: DynamoRecords::new(dynamodb.clone(), config.table_logs.clone(), config.table_stats.clone()),
        apps: DynamoApps::new(dynamodb.clone(), config.table_apps.clone()),
        clock: SystemClock,
        groups: config.log_groups,
        settings: config.settings.clone(),
    };
    let ingest = Ingest {
        objects: S3Objects::new(aws.s3()),
        blocks: DynamoBlocks::new(dynamodb.clone(), config.table_logs),
        apps: DynamoApps::new(dynamodb.clone(), config.table_apps),
        ledger: DynamoLedger::new(dynamodb, config.table_files, config.table_stats),
        clock: SystemClock,
        settings: config.settings,
    };
    let (ingest, subscriptions) = (&ingest, &subscriptions);
    run(service_fn(|event: LambdaEvent<Value>| async move {
        if let Some(data) = data_of(&event.payload) {
            let delivered = subscriptions.deliver(data).await?;
            return Ok(serde_json::to_value(delivered)?);
        }
        let deadline_ms = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
        Ok::<_, Error>(serde_json::to_value(ingest.answer(&event.payload, deadline_ms).await?)?)
    }))
    .await
}
