//! Wiring: configuration and clients once, then the handler in `lib.rs`.

use std::sync::Arc;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use logferry_aws::apps::DynamoApps;
use logferry_aws::chime::ChimeMeetings;
use logferry_aws::client::AwsEnv;
use logferry_aws::ledger::DynamoLedger;
use logferry_aws::multipart::S3Multipart;
use logferry_aws::secrets::SecretsManager;
use logferry_aws::sessions::DynamoSessions;
use logferry_core::ports::clock::Clock;
use logferry_presign::{Config, JoinVerification, JoinVerifier, Presign, World};
use logferry_presigner::Presigner;
use logferry_service::clock::SystemClock;
use logferry_service::config::environment;
use logferry_service::telemetry;
use logferry_service::tokens::Tokens;

/// The AWS adapters.
struct Aws;

impl World for Aws {
    type Apps = DynamoApps;
    type Grants = DynamoLedger;
    type Secrets = SecretsManager;
    type Attendees = ChimeMeetings;
    type Sessions = DynamoSessions;
    type Multipart = S3Multipart;
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(environment("LOG_LEVEL").as_deref());
    let config = Config::from_lookup(environment)?;
    let aws = AwsEnv::from_environment()?;
    let dynamodb = aws.dynamodb();
    let presign = Presign::<Aws> {
        apps: DynamoApps::new(dynamodb.clone(), config.table_apps),
        // presign only writes grants to the ledger, and only reads usage rows of the stats.
        grants: DynamoLedger::new(dynamodb.clone(), config.table_files, config.table_stats),
        tokens: Tokens::new(SecretsManager::new(aws.secrets()), config.token_secret),
        join_verifier: match config.join_verification {
            JoinVerification::OwnTokens => JoinVerifier::OwnTokens,
            JoinVerification::Chime { app_id } => {
                JoinVerifier::Chime { attendees: ChimeMeetings::new(aws.chime()), app_id }
            }
        },
        sessions: DynamoSessions::new(dynamodb, config.table_uploads),
        multipart: S3Multipart::new(aws.s3(), &config.bucket),
        presigner: Presigner::new(aws.credentials.clone(), &aws.region, &config.bucket, aws.endpoint("S3")),
        region: config.region,
        account_id: config.account_id,
        max_presigned_bytes: config.max_presigned_bytes,
        limits: config.limits,
        log_limits: config.log_limits,
    };
    let door = logferry_presign::door(Arc::new(presign), &config.metrics_namespace);
    let door = &door;
    run(service_fn(|event: LambdaEvent<ApiGatewayV2httpRequest>| async move {
        Ok::<_, Error>(door.serve(event.payload, SystemClock.now_ms()).await)
    }))
    .await
}
