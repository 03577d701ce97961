//! The keys of an app: minting, listing, revoking.

use std::collections::BTreeSet;

use http::StatusCode;
use logferry_core::logbook::write::MAX_KEY_BYTES;
use logferry_core::model::app::{AppId, Scope};
use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::app_admin::{AppAdmin, KeyAdded};
use logferry_core::ports::apps::{KeyRow, Repeatable};
use logferry_service::api_key::{ApiKey, KEY_ID_CHARS};
use logferry_service::derived_key::key_id_of;
use logferry_service::http::{
    Answer, ApiError, Body, Fields, Head, Json, Operation, PathPart, Response, State, data, ok,
    text_header_schema,
};
use logferry_service::random;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::auth::{Manage, OnApp, no_such_app};
use crate::writes::key_reused;
use crate::{Api, Cloud, Shared};

/// The header that makes a request act once.
pub(crate) const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";

/// Live keys of an app at most.
pub(crate) const MAX_KEYS: usize = 10;

const ROUTE: &str = "/apps/{id}/keys";

/// A key that is asked for.
pub(crate) struct KeyWish<'a> {
    /// The route that mints it: the same `Idempotency-Key` at another is another request.
    pub(crate) route: &'static str,
    pub(crate) app_id: &'a AppId,
    pub(crate) name: Option<String>,
    pub(crate) scopes: BTreeSet<Scope>,
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"name": "the shipper", "scopes": ["write"]}))]
pub(crate) struct AddKey {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// `write`, `read`, `manage`; without: `write` and `read`.
    #[schema(value_type = Option<Vec<String>>, min_items = 1)]
    scopes: BTreeSet<Scope>,
}

impl Body for AddKey {
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        let name = fields.take_text("name")?.map(|text| name(&text)).transpose()?;
        let scopes =
            fields.take("scopes").map_or_else(|| Ok(Scope::DEFAULT.into()), |value| scopes(&value))?;
        Ok(Self { name, scopes })
    }
}

/// A key as the owners of its app see it: no secret, no hash.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    #[schema(pattern = "^[0-9a-f]{16}$")]
    key_id: String,
    #[schema(required)]
    name: Option<String>,
    #[schema(value_type = Vec<String>)]
    scopes: BTreeSet<Scope>,
    #[schema(required, format = DateTime)]
    created_at: Option<String>,
}

impl From<&KeyRow> for Key {
    fn from(row: &KeyRow) -> Self {
        Self {
            key_id: row.key_id.clone(),
            name: row.name.clone(),
            scopes: row.scopes.clone(),
            created_at: row.created_ms.map(rfc3339_ms),
        }
    }
}

/// A key that was minted, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewKey {
    #[serde(flatten)]
    key: Key,
    #[schema(pattern = "^[0-9a-f]{48}$")]
    api_key: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deleted {
    deleted: bool,
}

impl Deleted {
    pub(crate) const YES: Self = Self { deleted: true };
}

pub(crate) fn takes_idempotency_key(operation: &mut Operation) {
    let description = "The same request again shows the same key, as long as that key lives.";
    operation.takes("header", "Idempotency-Key", description, text_header_schema(MAX_KEY_BYTES));
    operation.errors.extend([409, 422]);
}

pub(crate) fn mints(operation: &mut Operation) {
    operation.answers_data::<NewKey>(201, "minted; the key is shown once");
    takes_idempotency_key(operation);
}

pub(crate) fn takes_key_id(operation: &mut Operation) {
    let schema = json!({"type": "string", "pattern": "^[0-9a-f]{16}$", "examples": ["0123456789abcdef"]});
    operation.takes("path", "key_id", "The first 16 characters of a key.", schema);
}

pub(crate) async fn add_key<C: Cloud>(
    State(api): Shared<C>,
    on: OnApp<Manage>,
    Json { value: AddKey { name, scopes }, bytes }: Json<AddKey>,
) -> Answer {
    let (app, head) = (&on.app, &on.head);
    if let Some((key, row)) = api.minted_before(ROUTE, &app.app_id, head, &bytes).await? {
        return Ok(minted(&row, &key));
    }
    let wish = KeyWish { route: ROUTE, app_id: &app.app_id, name, scopes };
    let (key, row) = api.new_key(&wish, head, &bytes).await?;
    match api.apps.add_key(&row, app.registered_ms, MAX_KEYS).await? {
        KeyAdded::Yes => Ok(minted(&row, &key)),
        KeyAdded::TooMany => {
            Err(ApiError::conflict(format!("an app has at most {MAX_KEYS} live keys: revoke one first")))
        }
        KeyAdded::NoApp => Err(no_such_app()),
        // The same request came twice at once, and the other was quicker.
        KeyAdded::IdTaken => match api.minted_before(ROUTE, &app.app_id, head, &bytes).await? {
            Some((key, row)) => Ok(minted(&row, &key)),
            None => Err(ApiError::conflict("this key is being created; try again")),
        },
    }
}

pub(crate) async fn revoke_key<C: Cloud>(State(api): Shared<C>, on: OnApp<Manage>, part: PathPart) -> Answer {
    let key_id = part.get("key_id");
    // What is no key's id is not asked for: the table takes keys of a limited length only.
    let is_id = key_id.len() == KEY_ID_CHARS && key_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_id && api.apps.revoke_key(&on.app.app_id, key_id).await? {
        true => Ok(ok(&Deleted::YES)),
        false => Err(ApiError::not_found("no such key")),
    }
}

impl<C: Cloud> Api<C> {
    /// A key and its row: a random one, or for an `Idempotency-Key` one that can be shown again.
    pub(crate) async fn new_key(
        &self,
        wish: &KeyWish<'_>,
        head: &Head,
        body: &[u8],
    ) -> Result<(ApiKey, KeyRow), ApiError> {
        let (key, repeatable) = match head.text_header(IDEMPOTENCY_KEY_HEADER, MAX_KEY_BYTES)? {
            None => (ApiKey::generate()?, None),
            Some(idempotency_key) => {
                let nonce = random::bytes()?;
                let key_id = key_id_of(wish.app_id, wish.route, idempotency_key);
                let key = self.tokens.derive_key(key_id, &nonce, head.now_ms).await?;
                (key, Some(Repeatable { nonce, body_hash: Sha256::digest(body).into() }))
            }
        };
        let row = KeyRow {
            name: wish.name.clone(),
            scopes: wish.scopes.clone(),
            created_ms: Some(head.now_ms),
            repeatable,
            ..KeyRow::with_all_scopes(key.key_id(), wish.app_id.clone(), key.secret_hash())
        };
        Ok((key, row))
    }

    /// The key that an earlier request with the same `Idempotency-Key` and body minted and that still lives.
    ///
    /// # Errors
    /// 422 when the body was another; 409 when the key can no longer be shown.
    pub(crate) async fn minted_before(
        &self,
        route: &'static str,
        app_id: &AppId,
        head: &Head,
        body: &[u8],
    ) -> Result<Option<(ApiKey, KeyRow)>, ApiError> {
        let Some(idempotency_key) = head.text_header(IDEMPOTENCY_KEY_HEADER, MAX_KEY_BYTES)? else {
            return Ok(None);
        };
        let key_id = hex::encode(key_id_of(app_id, route, idempotency_key));
        let row = self.apps.find_key_now(&key_id).await?.filter(|row| row.app_id == *app_id);
        let Some(row) = row else { return Ok(None) };
        let body_hash: [u8; 32] = Sha256::digest(body).into();
        if row.repeatable.as_ref().is_none_or(|repeatable| repeatable.body_hash != body_hash) {
            return Err(key_reused());
        }
        match self.tokens.derive_key_again(&row, head.now_ms).await? {
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
    data(StatusCode::CREATED, &NewKey { key: row.into(), api_key: key.reveal().to_owned() })
}

/// The longest name (characters).
const MAX_NAME_CHARS: usize = 200;

/// The name of an app or a key, checked.
pub(crate) fn name(text: &str) -> Result<String, ApiError> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
        let message = format!("name must have 1 to {MAX_NAME_CHARS} characters");
        return Err(ApiError::bad_request("name", message));
    }
    Ok(text.to_owned())
}
