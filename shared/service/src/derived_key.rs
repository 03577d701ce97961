//! API keys whose creation can be retried. A key created with an `Idempotency-Key` has an id derived from
//! it, and a secret derived from the token secret and a nonce in its row. A retry whose first response was
//! lost gets the same key, although only a hash of it is stored. Neither the table nor the token secret
//! alone reveals a key. Revoking a key deletes its nonce, so that no retry restores it.

use hmac::{Hmac, KeyInit, Mac};
use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::ports::apps::{KeyRow, Repeatable};
use logferry_core::ports::secrets::{SecretVersion, Secrets};
use sha2::{Digest, Sha256};

use crate::api_key::{ApiKey, KEY_ID_CHARS};
use crate::tokens::{Tokens, strong};

/// Bytes of a key's id.
pub type KeyId = [u8; KEY_ID_CHARS / 2];

/// Separates these messages from tokens, which have no zero byte.
const PURPOSE: &[u8] = b"logferry api key\0";

/// Returns the id of the key that an app's request with this `Idempotency-Key` creates. `route` separates
/// requests of different routes.
#[must_use]
pub fn key_id_of(app_id: &AppId, route: &str, idempotency_key: &str) -> KeyId {
    let mut hash = Sha256::new();
    for part in [app_id.as_str(), route, idempotency_key] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let mut id = KeyId::default();
    id.copy_from_slice(&hash.finalize()[..KEY_ID_CHARS / 2]);
    id
}

fn derived(secret: &SecretVersion, key_id: KeyId, nonce: &[u8; 16]) -> Result<ApiKey, Fault> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.value.as_bytes())
        .map_err(|error| Fault::new(FaultClass::Permanent, "derive a key", error.to_string()))?;
    let mac = mac.chain_update(PURPOSE).chain_update(key_id).chain_update(nonce).finalize().into_bytes();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&mac[..16]);
    Ok(ApiKey::of_parts(key_id, bytes))
}

impl<S: Secrets> Tokens<S> {
    /// Derives the key of this id and nonce.
    ///
    /// # Errors
    /// The token secret could not be read, or is too short.
    pub async fn derive_key(&self, key_id: KeyId, nonce: &[u8; 16], now_ms: i64) -> Result<ApiKey, Fault> {
        derived(&strong(self.secret.current(now_ms).await?)?, key_id, nonce)
    }

    /// Derives the key of this row again. `None` if it was not created with an `Idempotency-Key`, or the
    /// token secret was rotated twice since.
    ///
    /// # Errors
    /// The token secret could not be read.
    pub async fn derive_key_again(&self, row: &KeyRow, now_ms: i64) -> Result<Option<ApiKey>, Fault> {
        let Some(Repeatable { nonce, .. }) = &row.repeatable else { return Ok(None) };
        let mut key_id = KeyId::default();
        if hex::decode_to_slice(&row.key_id, &mut key_id).is_err() {
            return Ok(None);
        }
        let of =
            |version: &SecretVersion| derived(version, key_id, nonce).ok().filter(|key| key.fits(Some(row)));
        let found = self.secret.first_where(now_ms, |version| of(version).is_some()).await?;
        Ok(found.and_then(|version| of(&version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret_cache::MAX_AGE_MS;
    use crate::secret_cache::tests::OneSecret;

    const SECRETS: [&str; 3] = [
        "first-0123456789abcdef0123456789",
        "second-0123456789abcdef012345678",
        "third-0123456789abcdef0123456789",
    ];

    #[test]
    fn ids_follow_from_app_route_and_idempotency_key_and_from_each_of_them() {
        let (a, b): (AppId, AppId) = ("a".parse().unwrap(), "ab".parse().unwrap());
        let ids = [
            key_id_of(&a, "r", "bc"),
            key_id_of(&b, "r", "c"),
            key_id_of(&a, "rb", "c"),
            key_id_of(&a, "r", "b"),
        ];
        assert_eq!(ids[0], key_id_of(&a, "r", "bc"));
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{ids:?}");
        }
    }

    #[tokio::test]
    async fn a_key_is_derived_again_until_the_secret_was_rotated_twice() {
        let secret = OneSecret::with(SECRETS[0]);
        let tokens = Tokens::new(&secret, "id");
        let app_id: AppId = "shop".parse().unwrap();
        let key = tokens.derive_key([7; 8], &[1; 16], 0).await.unwrap();
        let row = KeyRow {
            repeatable: Some(Repeatable { nonce: [1; 16], body_hash: [0; 32] }),
            ..KeyRow::with_all_scopes(key.key_id(), app_id, key.secret_hash())
        };
        assert_eq!(tokens.derive_key_again(&row, 0).await.unwrap(), Some(key.clone()));
        let other_nonce =
            KeyRow { repeatable: Some(Repeatable { nonce: [2; 16], body_hash: [0; 32] }), ..row.clone() };
        assert_eq!(tokens.derive_key_again(&other_nonce, 0).await.unwrap(), None);
        let random = KeyRow { repeatable: None, ..row.clone() };
        assert_eq!(tokens.derive_key_again(&random, 0).await.unwrap(), None);
        secret.rotate(SECRETS[1]);
        assert_eq!(tokens.derive_key_again(&row, MAX_AGE_MS).await.unwrap(), Some(key));
        secret.rotate(SECRETS[2]);
        assert_eq!(tokens.derive_key_again(&row, 2 * MAX_AGE_MS).await.unwrap(), None);
    }
}
