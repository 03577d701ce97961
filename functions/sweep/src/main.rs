//! Wiring: configuration and clients once, then the story in `lib.rs`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use logferry_aws::backlog::DynamoBacklog;
use logferry_aws::client::AwsEnv;
use logferry_aws::objects::S3Objects;
use logferry_aws::starter::LambdaStarter;
use logferry_ports::SystemClock;
use logferry_service::config::environment;
use logferry_service::telemetry;
use logferry_sweep::{App, Config};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(environment("LOG_LEVEL").as_deref());
    let config = Config::from_lookup(environment)?;
    let aws = AwsEnv::from_environment()?;
    let app = App {
        backlog: DynamoBacklog::new(aws.dynamodb(), config.table_files),
        objects: S3Objects::new(aws.s3()),
        starter: LambdaStarter::new(aws.lambda(), config.ingest_function),
        clock: SystemClock,
        metrics_namespace: config.metrics_namespace,
    };
    let app = &app;
    run(service_fn(|_: LambdaEvent<Value>| async move { app.run().await.map_err(Error::from) })).await
}
