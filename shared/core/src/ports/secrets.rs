//! Secrets Manager.

use std::fmt;

use crate::model::fault::Fault;

/// A secret's value and version id. `Debug` shows neither.
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

/// A version of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Current,
    /// The version before the last rotation.
    Previous,
}

/// Reads secrets.
pub trait Secrets: Send + Sync {
    /// Returns the secret's version of this stage; `None` for the previous version of a secret that was
    /// never rotated.
    ///
    /// # Errors
    /// The read failed, or there is no such secret.
    fn version(
        &self,
        secret_id: &str,
        stage: Stage,
    ) -> impl Future<Output = Result<Option<SecretVersion>, Fault>> + Send;
}
