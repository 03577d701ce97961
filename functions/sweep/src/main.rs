//! Wiring: configuration and clients once, then the story in `lib.rs`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use logferry_aws::backlog::DynamoBacklog;
use logferry_aws::client::AwsEnv;
use logferry_aws::multipart::S3Multipart;
use logferry_aws::objects::S3Objects;
use logferry_aws::sessions::DynamoSessions;
use logferry_aws::starter::LambdaStarter;
use logferry_ports::SystemClock;
use logferry_service::config::environment;
use logferry_service::telemetry;
use logferry_sweep::uploads::Uploads;
use logferry_sweep::{App, Config};
use serde_json::{Value, json};

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
    let uploads = Uploads {
        sessions: DynamoSessions::new(aws.dynamodb(), config.table_uploads),
        multipart: S3Multipart::new(aws.s3(), config.bucket),
        clock: SystemClock,
    };
    let (app, uploads) = (&app, &uploads);
    run(service_fn(|_: LambdaEvent<Value>| async move {
        // Each part does its work whatever became of the other.
        let (files, uploads) = (app.run().await, Box::pin(uploads.run()).await);
        Ok::<_, Error>(json!({"files": files?, "uploads": uploads?}))
    }))
    .await
}
