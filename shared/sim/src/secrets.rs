//! Secrets: each has one version, whose value is `value-of-` and its name, long enough to sign with.

use logferry_core::model::fault::Fault;
use logferry_core::ports::secrets::{SecretVersion, Secrets, Stage};

use super::SimCloud;

impl Secrets for SimCloud {
    async fn version(&self, secret_id: &str, stage: Stage) -> Result<Option<SecretVersion>, Fault> {
        let value = format!("value-of-{secret_id}-0123456789abcdef");
        let version = SecretVersion { version_id: "v1".to_owned(), value };
        Ok((stage == Stage::Current).then_some(version))
    }
}
