//! Wiring only: reads the configuration and creates the clients once, then calls `lib.rs`.

// The future of a batch is nested deeper than rustc looks by default.
#![recursion_limit = "256"]

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use logferry_aws::alerts::DynamoAlerts;
use logferry_aws::apps::DynamoApps;
use logferry_aws::arrivals::DynamoArrivals;
use logferry_aws::blocks::DynamoBlocks;
use logferry_aws::client::AwsEnv;
use logferry_aws::dead_letters::S3DeadLetters;
use logferry_aws::flush_marks::DynamoFlushMarks;
use logferry_aws::logs::CloudWatchLogs;
use logferry_aws::starter::LambdaAlertWaker;
use logferry_core::ports::clock::Clock;
use logferry_flush::Flush;
use logferry_flush::alerts::AlertJudge;
use logferry_flush::arrivals::ArrivalRecorder;
use logferry_flush::config::Config;
use logferry_flush::stream::StreamEvent;
use logferry_service::clock::SystemClock;
use logferry_service::config::environment;
use logferry_service::telemetry;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(environment("LOG_LEVEL").as_deref());
    let config = Config::from_lookup(environment)?;
    let aws = AwsEnv::from_environment()?;
    let dynamodb = aws.dynamodb();
    let (sending, record_metrics) = (config.sending(), config.record_metrics);
    let flush = Flush::new(
        DynamoBlocks::new(dynamodb.clone(), config.table_logs),
        DynamoApps::new(dynamodb.clone(), config.table_apps),
        CloudWatchLogs::new(aws.logs(), Some(config.log_group_class)),
        S3DeadLetters::new(aws.s3(), config.failure_bucket),
        DynamoFlushMarks::new(dynamodb.clone(), config.table_files.clone()),
        SystemClock,
        sending,
    );
    let recorder = ArrivalRecorder(DynamoArrivals::new(dynamodb.clone(), config.table_files));
    let judge = AlertJudge::new(
        DynamoAlerts::new(dynamodb, config.table_checks),
        LambdaAlertWaker::new(aws.lambda(), config.alert_function),
    );
    let (judge, recorder) = (&judge, &recorder);
    let (flush, namespace) = (&flush, config.metrics_namespace.as_str());
    run(service_fn(|event: LambdaEvent<StreamEvent>| async move {
        let deadline_ms = i64::try_from(event.context.deadline).unwrap_or(i64::MAX);
        let (batch, now_ms) = (&event.payload, SystemClock.now_ms());
        let alerts = judge.judge(batch, flush.apps(), flush.blocks(), now_ms);
        let beside = recorder.record_beside(batch, &SystemClock, alerts);
        let handled = flush.handle_beside(batch, deadline_ms, beside).await;
        let now_ms = SystemClock.now_ms();
        handled.emission(namespace).emit(now_ms);
        if record_metrics {
            handled.record_emissions(namespace).for_each(|emission| emission.emit(now_ms));
        }
        Ok::<_, Error>(handled.response)
    }))
    .await
}
