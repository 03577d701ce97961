//! Secrets Manager.

use aws_sdk_secretsmanager::Client;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_ports::Secrets;
use logferry_ports::secrets::SecretVersion;

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

    async fn stage(&self, secret_id: &str, stage: &str) -> Result<SecretVersion, Fault> {
        let answer = self
            .client
            .get_secret_value()
            .secret_id(secret_id)
            .version_stage(stage)
            .send()
            .await
            .map_err(|error| fault("GetSecretValue", error))?;
        let missing = || Fault::new(FaultClass::Permanent, "GetSecretValue", "the secret has no text value");
        Ok(SecretVersion {
            version_id: answer.version_id.ok_or_else(missing)?,
            value: answer.secret_string.filter(|value| !value.is_empty()).ok_or_else(missing)?,
        })
    }
}

impl Secrets for SecretsManager {
    async fn versions(&self, secret_id: &str) -> Result<Vec<SecretVersion>, Fault> {
        let mut versions = vec![self.stage(secret_id, "AWSCURRENT").await?];
        match self.stage(secret_id, "AWSPREVIOUS").await {
            Ok(previous) => versions.push(previous),
            // A secret that was never rotated has no previous version.
            Err(fault) if fault.class == FaultClass::NotFound => {}
            Err(fault) => return Err(fault),
        }
        Ok(versions)
    }
}
