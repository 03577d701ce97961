//! Wiring: configuration and clients once, then the handler in `lib.rs`.

// The futures of calls are nested deeper than rustc's default limit.
#![recursion_limit = "256"]

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use logferry_aws::apps::DynamoApps;
use logferry_aws::client::AwsEnv;
use logferry_aws::records::DynamoRecords;
use logferry_core::ports::clock::Clock;
use logferry_rpc::{App, Config};
use logferry_service::clock::SystemClock;
use logferry_service::config::environment;
use logferry_service::telemetry;
use serde_json::value::RawValue;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(environment("LOG_LEVEL").as_deref());
    let config = Config::from_lookup(environment)?;
    let dynamodb = AwsEnv::from_environment()?.dynamodb();
    let app = App {
        book: DynamoRecords::new(dynamodb.clone(), config.table_logs, config.table_stats),
        apps: DynamoApps::new(dynamodb, config.table_apps),
        default_retention_days: config.default_retention_days,
        metrics_namespace: config.metrics_namespace,
        redactor: config.redactor,
        quota: config.quota,
    };
    let app = &app;
    run(service_fn(|event: LambdaEvent<Box<RawValue>>| async move {
        let request_id = &event.context.request_id;
        Ok::<_, Error>(app.handle(&event.payload, request_id, SystemClock.now_ms()).await)
    }))
    .await
}
