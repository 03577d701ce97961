//! The `apps` table: apps and their keys.

use std::collections::BTreeSet;

use crate::model::app::{App, AppId, Scope};
use crate::model::fault::Fault;

/// A key's row: what there is to compare a secret with, and what the key may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// 16 hex characters.
    pub key_id: String,
    pub app_id: AppId,
    /// SHA-256 of the secret part.
    pub secret_hash: [u8; 32],
    /// What its owner calls it.
    pub name: Option<String>,
    pub scopes: BTreeSet<Scope>,
    /// When it was minted (ms since the epoch); `None` for keys from before this was stored.
    pub created_ms: Option<i64>,
    /// `None` for a key that was asked for without an Idempotency-Key.
    pub repeatable: Option<Repeatable>,
}

impl KeyRow {
    /// The row of a key with every scope and nothing else to tell.
    #[must_use]
    pub fn with_all_scopes(key_id: impl Into<String>, app_id: AppId, secret_hash: [u8; 32]) -> Self {
        Self {
            key_id: key_id.into(),
            app_id,
            secret_hash,
            name: None,
            scopes: Scope::ALL.into(),
            created_ms: None,
            repeatable: None,
        }
    }
}

/// What shows a key again to the request that minted it. The secret is not in it: that takes the
/// token secret as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeatable {
    pub nonce: [u8; 16],
    /// SHA-256 of the request's body: another body is another request.
    pub body_hash: [u8; 32],
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
