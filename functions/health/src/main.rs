//! Wiring only: reads the configuration and creates the clients once, then calls `lib.rs`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lambda_events::eventbridge::EventBridgeEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use logferry_aws::apps::DynamoApps;
use logferry_aws::checks::DynamoChecks;
use logferry_aws::client::AwsEnv;
use logferry_aws::notifier::SnsNotifier;
use logferry_core::ports::clock::Clock;
use logferry_health::probe::{Judge, Prober, Tcp, public_tls};
use logferry_health::{Config, Health};
use logferry_health_checks::guard::resolve::SystemResolver;
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
    let health = Health {
        apps: DynamoApps::new(dynamodb.clone(), config.table_apps),
        table: DynamoChecks::new(dynamodb, config.table_checks),
        notifier: SnsNotifier::new(aws.sns(), config.health_topic_arn),
        clock: SystemClock,
        prober: Prober {
            resolver: Arc::new(SystemResolver),
            dial: Arc::new(Tcp),
            tls: public_tls()?,
            policy: config.policy,
            judge: Judge::default(),
        },
        schedule_ms: config.schedule_ms,
        metrics_namespace: config.metrics_namespace,
        metrics_detail: config.metrics_detail,
    };
    let health = &health;
    run(service_fn(|event: LambdaEvent<EventBridgeEvent<Value>>| async move {
        let budget = event.context.deadline().duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
        let event_ms =
            event.payload.time.map_or_else(|| health.clock.now_ms(), |time| time.timestamp_millis());
        health.run(event_ms, budget).await.map(|_| ()).map_err(Error::from)
    }))
    .await
}
