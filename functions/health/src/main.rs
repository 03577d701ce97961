//! Wiring only: reads the configuration and creates the clients once, then calls `lib.rs`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lambda_events::eventbridge::EventBridgeEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use logferry_aws::alerts::DynamoAlerts;
use logferry_aws::apps::DynamoApps;
use logferry_aws::checks::DynamoChecks;
use logferry_aws::client::AwsEnv;
use logferry_aws::notifier::SnsNotifier;
use logferry_core::ports::clock::Clock;
use logferry_health::alerts::{ALERTS_RESERVE, Alerts, is_for_alerts};
use logferry_health::probe::{Judge, Prober, Tcp, public_tls};
use logferry_health::{Config, Health};
use logferry_health_checks::guard::resolve::SystemResolver;
use logferry_service::clock::SystemClock;
use logferry_service::config::environment;
use logferry_service::telemetry;
use serde::Deserialize as _;
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(environment("LOG_LEVEL").as_deref());
    let config = Config::from_lookup(environment)?;
    let aws = AwsEnv::from_environment()?;
    let dynamodb = aws.dynamodb();
    let apps = DynamoApps::new(dynamodb.clone(), config.table_apps);
    let prober = Prober {
        resolver: Arc::new(SystemResolver),
        dial: Arc::new(Tcp),
        tls: public_tls()?,
        policy: config.policy,
        judge: Judge::default(),
    };
    let alerts = Alerts {
        apps: apps.clone(),
        table: DynamoAlerts::new(dynamodb.clone(), config.table_checks.clone()),
        notifier: SnsNotifier::new(aws.sns(), config.alert_topic_arn),
        clock: SystemClock,
        prober: prober.clone(),
        metrics_namespace: config.metrics_namespace.clone(),
    };
    let health = Health {
        apps,
        table: DynamoChecks::new(dynamodb, config.table_checks),
        notifier: SnsNotifier::new(aws.sns(), config.health_topic_arn),
        clock: SystemClock,
        prober,
        schedule_ms: config.schedule_ms,
        metrics_namespace: config.metrics_namespace,
        metrics_detail: config.metrics_detail,
    };
    let (health, alerts) = (&health, &alerts);
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let budget = event.context.deadline().duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
        let for_alerts = budget.saturating_sub(ALERTS_RESERVE);
        if is_for_alerts(&event.payload) {
            return alerts.run(for_alerts).await.map(|_| ()).map_err(Error::from);
        }
        let slot = EventBridgeEvent::<Value>::deserialize(event.payload)?;
        let event_ms = slot.time.map_or_else(|| health.clock.now_ms(), |time| time.timestamp_millis());
        let (checked, alerted) = tokio::join!(health.run(event_ms, budget), alerts.run(for_alerts));
        checked.map(|_| ()).and(alerted.map(|_| ())).map_err(Error::from)
    }))
    .await
}
