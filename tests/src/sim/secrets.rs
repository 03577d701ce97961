//! Secrets: each has one version, whose value is its name behind `value-of-`.

use logferry_domain::fault::Fault;
use logferry_ports::Secrets;
use logferry_ports::secrets::SecretVersion;

use super::SimCloud;

impl Secrets for SimCloud {
    async fn versions(&self, secret_id: &str) -> Result<Vec<SecretVersion>, Fault> {
        Ok(vec![SecretVersion { version_id: "v1".to_owned(), value: format!("value-of-{secret_id}") }])
    }
}
