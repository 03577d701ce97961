//! The `apps` table: apps and their keys.

use logferry_domain::app::{App, AppId};
use logferry_domain::fault::Fault;

/// A key's row: what there is to compare a secret with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// 16 hex characters.
    pub key_id: String,
    pub app_id: AppId,
    /// SHA-256 of the secret part.
    pub secret_hash: [u8; 32],
}

/// Reads apps and keys; strongly consistent.
pub trait Apps: Send + Sync {
    /// The app, or `None` when none of this id is registered.
    ///
    /// # Errors
    /// The read failed.
    fn find(&self, app_id: &AppId) -> impl Future<Output = Result<Option<App>, Fault>> + Send;

    /// The key, or `None` when it never was or was revoked.
    ///
    /// # Errors
    /// The read failed.
    fn find_key(&self, key_id: &str) -> impl Future<Output = Result<Option<KeyRow>, Fault>> + Send;

    /// All apps.
    ///
    /// # Errors
    /// The read failed.
    fn list(&self) -> impl Future<Output = Result<Vec<App>, Fault>> + Send;
}
