//! The `apps` table: apps and their keys.

use std::collections::BTreeSet;

use crate::model::app::{App, AppId, Scope};
use crate::model::fault::Fault;

/// The row of an API key: the hash of its secret, and its scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// 16 hex characters.
    pub key_id: String,
    pub app_id: AppId,
    /// SHA-256 of the secret part.
    pub secret_hash: [u8; 32],
    /// Name given by the owner.
    pub name: Option<String>,
    pub scopes: BTreeSet<Scope>,
    /// When it was created (ms since the epoch); `None` for keys from before this was stored.
    pub created_ms: Option<i64>,
    /// `None` for a key that was created without an Idempotency-Key.
    pub repeatable: Option<Repeatable>,
}

impl KeyRow {
    /// Returns the row of a key with all scopes and no other attributes.
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

/// Allows the response with a new key to be repeated for the same request. It does not contain the secret:
/// deriving it also needs the token secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeatable {
    pub nonce: [u8; 16],
    /// SHA-256 of the request body: a different body is a different request.
    pub body_hash: [u8; 32],
}

/// Reads apps and keys, strongly consistent.
pub trait Apps: Send + Sync {
    /// Returns the app; `None` if no app with this id is registered.
    ///
    /// # Errors
    /// The read failed.
    fn find(&self, app_id: &AppId) -> impl Future<Output = Result<Option<App>, Fault>> + Send;

    /// Returns the key; `None` if it does not exist or was revoked. An id that was unknown may count as
    /// unknown for a few seconds more.
    ///
    /// # Errors
    /// The read failed.
    fn find_key(&self, key_id: &str) -> impl Future<Output = Result<Option<KeyRow>, Fault>> + Send;

    /// Returns all apps.
    ///
    /// # Errors
    /// The read failed.
    fn list(&self) -> impl Future<Output = Result<Vec<App>, Fault>> + Send;
}
