//! Secrets Manager.

use std::fmt;

use logferry_domain::fault::Fault;

/// A secret's value and the id of its version. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretVersion {
    pub version_id: String,
    pub value: String,
}

impl fmt::Debug for SecretVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretVersion(..)")
    }
}

/// Reads secrets.
pub trait Secrets: Send + Sync {
    /// The current version first, then the previous one where there is one.
    ///
    /// # Errors
    /// The read failed, or there is no such secret.
    fn versions(&self, secret_id: &str) -> impl Future<Output = Result<Vec<SecretVersion>, Fault>> + Send;
}
