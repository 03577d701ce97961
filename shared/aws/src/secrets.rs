//! Secrets Manager.

use aws_sdk_secretsmanager::Client;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::ports::secrets::{SecretVersion, Secrets, Stage};

use crate::faults::fault;

/// Reads secrets from Secrets Manager.
#[derive(Debug, Clone)]
pub struct SecretsManager {
    client: Client,
}

impl SecretsManager {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Current => "AWSCURRENT",
        Stage::Previous => "AWSPREVIOUS",
    }
}

impl Secrets for SecretsManager {
    async fn version(&self, secret_id: &str, stage: Stage) -> Result<Option<SecretVersion>, Fault> {
        let sent = self
            .client
            .get_secret_value()
            .secret_id(secret_id)
            .version_stage(stage_name(stage))
            .send()
            .await
            .map_err(|error| fault("GetSecretValue", error));
        let answer = match sent {
            Ok(answer) => answer,
            // A secret that was never rotated has no previous version.
            Err(fault) if fault.class == FaultClass::NotFound && stage == Stage::Previous => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let missing = || Fault::new(FaultClass::Permanent, "GetSecretValue", "the secret has no text value");
        Ok(Some(SecretVersion {
            version_id: answer.version_id.ok_or_else(missing)?,
            value: answer.secret_string.filter(|value| !value.is_empty()).ok_or_else(missing)?,
        }))
    }
}
