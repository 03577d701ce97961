//! Wiring: configuration and clients once, then the story in `lib.rs`.

// The future of a request is nested deeper than rustc looks by default.
#![recursion_limit = "256"]

use std::sync::Arc;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use logferry_api::{Api, BadgeCache, Cloud, Config, Console, Limiter, StatusCache};
use logferry_aws::alerts::DynamoAlerts;
use logferry_aws::apps::DynamoApps;
use logferry_aws::arrivals::DynamoArrivals;
use logferry_aws::checks::DynamoChecks;
use logferry_aws::client::AwsEnv;
use logferry_aws::files::DynamoFiles;
use logferry_aws::records::DynamoRecords;
use logferry_aws::secrets::SecretsManager;
use logferry_core::ports::clock::Clock;
use logferry_service::api_key::AdminKey;
use logferry_service::clock::SystemClock;
use logferry_service::config::environment;
use logferry_service::telemetry;
use logferry_service::tokens::Tokens;

#[derive(Debug)]
struct Aws;

impl Cloud for Aws {
    type Book = DynamoRecords;
    type Apps = DynamoApps;
    type Files = DynamoFiles;
    type Checks = DynamoChecks;
    type Alerts = DynamoAlerts;
    type Arrivals = DynamoArrivals;
    type Secrets = SecretsManager;
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(environment("LOG_LEVEL").as_deref());
    let config = Config::from_lookup(environment)?;
    let aws = AwsEnv::from_environment()?;
    let (dynamodb, secrets) = (aws.dynamodb(), SecretsManager::new(aws.secrets()));
    let api: Api<Aws> = Api {
        book: DynamoRecords::new(dynamodb.clone(), config.table_logs, config.table_stats)
            .with_files(config.table_files.clone()),
        apps: DynamoApps::new(dynamodb.clone(), config.table_apps),
        arrivals: DynamoArrivals::new(dynamodb.clone(), config.table_files.clone()),
        files: DynamoFiles::new(dynamodb.clone(), config.table_files),
        alerts: DynamoAlerts::new(dynamodb.clone(), config.table_checks.clone()),
        checks: DynamoChecks::new(dynamodb, config.table_checks),
        admin_key: AdminKey::new(secrets.clone(), config.admin_key_secret),
        tokens: Tokens::new(secrets, config.token_secret),
        limiter: Limiter::new(config.rate_per_second),
        badges: BadgeCache::default(),
        statuses: StatusCache::default(),
        console: Console::beside_program(config.serve_console),
        settings: config.settings,
    };
    let door = logferry_api::door(Arc::new(api), &config.metrics_namespace);
    let door = &door;
    run(service_fn(|event: LambdaEvent<ApiGatewayV2httpRequest>| async move {
        Ok::<_, Error>(door.serve(event.payload, SystemClock.now_ms()).await)
    }))
    .await
}
