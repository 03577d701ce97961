//! The keys of an app: create, list, revoke.

use std::collections::BTreeSet;

use http::StatusCode;
use logferry_core::logbook::write::MAX_KEY_BYTES;
use logferry_core::model::app::{App as Tenant, AppId, Scope};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::app_admin::{AppAdmin, KeyAdded};
use logferry_core::ports::apps::{Apps, KeyRow, Repeatable};
use logferry_service::api_key::{ApiKey, KEY_ID_CHARS};
use logferry_service::derived_key::key_id_of;
use logferry_service::http::{ApiError, Request, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fields::{Fields, IDEMPOTENCY_KEY_HEADER, header, name};
use crate::{App, Cloud};

/// Maximum number of live keys of an app.
pub(crate) const MAX_KEYS: usize = 10;

const ROUTE: &str = "/apps/{id}/keys";

/// A request to create a key.
pub(crate) struct KeyWish<'a> {
    /// The route of the request: the same `Idempotency-Key` on another route is another request.
    pub(crate) route: &'static str,
    pub(crate) app_id: &'a AppId,
    pub(crate) name: Option<String>,
    pub(crate) scopes: BTreeSet<Scope>,
}

impl<C: Cloud> App<C> {
    pub(crate) async fn add_key(
        &self,
        app: &Tenant,
        request: &Request,
        now_ms: i64,
    ) -> Result<Response, ApiError> {
        let mut fields = Fields::of_optional(request)?;
        let name = fields.take_text("name")?.map(|text| name(&text)).transpose()?;
        let scopes =
            fields.take("scopes").map_or_else(|| Ok(Scope::DEFAULT.into()), |value| scopes(&value))?;
        fields.finish()?;
        if let Some((key, row)) = self.minted_before(ROUTE, &app.app_id, request, now_ms).await? {
            return Ok(minted(&row, &key));
        }
        let wish = KeyWish { route: ROUTE, app_id: &app.app_id, name, scopes };
        let (key, row) = self.new_key(&wish, request, now_ms).await?;
        match self.apps.add_key(&row, app.registered_ms, MAX_KEYS).await? {
            KeyAdded::Yes => Ok(minted(&row, &key)),
            KeyAdded::TooMany => {
                Err(ApiError::conflict(format!("an app has at most {MAX_KEYS} live keys: revoke one first")))
            }
            KeyAdded::NoApp => Err(ApiError::not_found("no such app")),
            // A concurrent retry of this request has created the key.
            KeyAdded::IdTaken => match self.minted_before(ROUTE, &app.app_id, request, now_ms).await? {
                Some((key, row)) => Ok(minted(&row, &key)),
                None => Err(ApiError::conflict("this key is being created; try again")),
            },
        }
    }

    pub(crate) async fn revoke_key(&self, app: &Tenant, key_id: &str) -> Result<Response, ApiError> {
        // Only valid ids are looked up: the table limits the length of its keys.
        let is_id = key_id.len() == KEY_ID_CHARS && key_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        match is_id && self.apps.revoke_key(&app.app_id, key_id).await? {
            true => Ok(Response::ok(&json!({"deleted": true}))),
            false => Err(ApiError::not_found("no such key")),
        }
    }

    /// Creates a key and its row: a random one, or with an `Idempotency-Key` one that can be shown again.
    pub(crate) async fn new_key(
        &self,
        wish: &KeyWish<'_>,
        request: &Request,
        now_ms: i64,
    ) -> Result<(ApiKey, KeyRow), ApiError> {
        let (key, repeatable) = match header(request, IDEMPOTENCY_KEY_HEADER, MAX_KEY_BYTES)? {
            None => (ApiKey::generate()?, None),
            Some(idempotency_key) => {
                let mut nonce = [0; 16];
                getrandom::fill(&mut nonce)
                    .map_err(|error| Fault::new(FaultClass::Transient, "getrandom", error.to_string()))?;
                let key_id = key_id_of(wish.app_id, wish.route, idempotency_key);
                let key = self.tokens.derive_key(key_id, &nonce, now_ms).await?;
                (key, Some(Repeatable { nonce, body_hash: Sha256::digest(&request.body).into() }))
            }
        };
        let row = KeyRow {
            name: wish.name.clone(),
            scopes: wish.scopes.clone(),
            created_ms: Some(now_ms),
            repeatable,
            ..KeyRow::with_all_scopes(key.key_id(), wish.app_id.clone(), key.secret_hash())
        };
        Ok((key, row))
    }

    /// Returns the key that an earlier request with the same `Idempotency-Key` and body created, if it is
    /// still live.
    ///
    /// # Errors
    /// 422 if the body was different; 409 if the key can no longer be shown.
    pub(crate) async fn minted_before(
        &self,
        route: &'static str,
        app_id: &AppId,
        request: &Request,
        now_ms: i64,
    ) -> Result<Option<(ApiKey, KeyRow)>, ApiError> {
        let Some(idempotency_key) = header(request, IDEMPOTENCY_KEY_HEADER, MAX_KEY_BYTES)? else {
            return Ok(None);
        };
        let key_id = hex::encode(key_id_of(app_id, route, idempotency_key));
        let row = self.apps.find_key(&key_id).await?.filter(|row| row.app_id == *app_id);
        let Some(row) = row else { return Ok(None) };
        let body_hash: [u8; 32] = Sha256::digest(&request.body).into();
        if row.repeatable.as_ref().is_none_or(|repeatable| repeatable.body_hash != body_hash) {
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "IDEMPOTENCY_KEY_REUSED",
                "this Idempotency-Key was used with another body",
            ));
        }
        match self.tokens.derive_key_again(&row, now_ms).await? {
            Some(key) => Ok(Some((key, row))),
            None => Err(ApiError::conflict(format!(
                "the key {key_id} was created for this Idempotency-Key and can no longer be shown: revoke it and \
                 mint another"
            ))),
        }
    }
}

fn scopes(value: &Value) -> Result<BTreeSet<Scope>, ApiError> {
    let parsed = value.as_array().filter(|names| !names.is_empty()).and_then(|names| {
        names.iter().map(|name| name.as_str().and_then(|name| name.parse().ok())).collect::<Option<_>>()
    });
    parsed.ok_or_else(|| ApiError::bad_request("scopes", "scopes must be an array of write, read and manage"))
}

fn minted(row: &KeyRow, key: &ApiKey) -> Response {
    let mut shown = shown_key(row);
    shown["api_key"] = key.reveal().into();
    Response::data(StatusCode::CREATED, &shown)
}

/// Returns a key without secret and hash.
pub(crate) fn shown_key(row: &KeyRow) -> Value {
    json!({
        "key_id": row.key_id, "name": row.name, "scopes": row.scopes,
        "created_at": row.created_ms.map(rfc3339_ms),
    })
}
