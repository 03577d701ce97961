//! Join, upload and view tokens: JSON web tokens, HS256 only, signed with a version of one secret. `kid`
//! is the version's id, so a rotation invalidates no token early. `aud` is the kind of token.

use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use logferry_core::model::app::{App, AppId};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::ports::secrets::{SecretVersion, Secrets};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::secret_cache::SecretCache;

/// Default lifetime of a token (s).
pub const DEFAULT_TTL_SECS: u32 = 3_600;
/// Maximum lifetime of a join token: a day (s).
pub const MAX_JOIN_TTL_SECS: u32 = 86_400;
/// Maximum lifetime of an upload token: as long as a session, a week (s).
pub const MAX_UPLOAD_TTL_SECS: u32 = 7 * 86_400;

/// Maximum lifetime of a view token: a week (s).
pub const MAX_VIEW_TTL_SECS: u32 = 7 * 86_400;

/// Maximum length of a token (bytes).
const MAX_TOKEN_BYTES: usize = 4_096;

/// Minimum length of the signing secret (bytes): as long as the hash of HS256.
/// <https://www.rfc-editor.org/rfc/rfc7518#section-3.2>
pub const MIN_SECRET_BYTES: usize = 32;

/// A secret that is too short neither signs nor verifies.
pub(crate) fn strong(version: SecretVersion) -> Result<SecretVersion, Fault> {
    if version.value.len() < MIN_SECRET_BYTES {
        let code = format!("the token secret is shorter than {MIN_SECRET_BYTES} bytes");
        return Err(Fault::new(FaultClass::Permanent, "sign", code));
    }
    Ok(version)
}

/// Claims of a join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinClaims {
    pub app: AppId,
    #[serde(rename = "meetingId")]
    pub meeting_id: String,
    #[serde(rename = "attendeeId")]
    pub attendee_id: String,
    /// Expiry (s since the epoch).
    pub exp: i64,
    /// When it was issued (s); always set by us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// When the app that it was issued for was registered (ms); always set by us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
}

/// Claims of an upload token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadClaims {
    pub app: AppId,
    /// The uploader; part of the keys.
    pub sub: String,
    /// Maximum size of a file (bytes); missing means the deployment's maximum.
    #[serde(default, rename = "maxBytes", skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Expiry (s since the epoch).
    pub exp: i64,
    /// When it was issued (s); always set by us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// When the app that it was issued for was registered (ms); always set by us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
}

/// Claims of a view token: it reads what its app has, and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewClaims {
    pub app: AppId,
    /// Expiry (s since the epoch).
    pub exp: i64,
    /// When it was issued (s).
    pub iat: i64,
    /// When the app that it was issued for was registered (ms).
    pub epoch: i64,
    /// Whether it reads; always true. A token without `aud` and without this claim is of another kind.
    pub view: bool,
}

/// Claims of any kind.
pub trait Claims: Serialize + DeserializeOwned {
    /// The claim `aud` of this kind.
    const AUDIENCE: &'static str;
    /// Claims that only the other kinds have. A token without `aud`, which we did not issue, is refused if it
    /// has one of them, because it could be of either kind.
    const NOT_OURS: &'static [&'static str];

    /// Returns the expiry of the token (s since the epoch).
    fn expires_secs(&self) -> i64;
}

/// Whether a token with this `iat` and `epoch` was issued for this registration of the app, not for an
/// earlier app with the same id (`iat` is in whole seconds).
#[must_use]
pub fn minted_for(app: &App, iat: Option<i64>, epoch: Option<i64>) -> bool {
    match epoch {
        Some(epoch) => epoch == app.registered_ms,
        None => iat.is_none_or(|iat| iat.saturating_add(1).saturating_mul(1000) > app.registered_ms),
    }
}

impl Claims for JoinClaims {
    const AUDIENCE: &'static str = "logferry:join";
    const NOT_OURS: &'static [&'static str] = &["sub", "maxBytes", "view"];

    fn expires_secs(&self) -> i64 {
        self.exp
    }
}

impl Claims for UploadClaims {
    const AUDIENCE: &'static str = "logferry:upload";
    const NOT_OURS: &'static [&'static str] = &["meetingId", "attendeeId", "view"];

    fn expires_secs(&self) -> i64 {
        self.exp
    }
}

impl Claims for ViewClaims {
    const AUDIENCE: &'static str = "logferry:view";
    const NOT_OURS: &'static [&'static str] = &["meetingId", "attendeeId", "sub", "maxBytes"];

    fn expires_secs(&self) -> i64 {
        self.exp
    }
}

/// Claims as they are signed.
#[derive(Serialize)]
struct Aimed<'a, C> {
    aud: &'static str,
    #[serde(flatten)]
    claims: &'a C,
}

/// A token and its expiry (ms).
#[derive(Clone, PartialEq, Eq)]
pub struct Minted {
    pub token: String,
    pub expires_ms: i64,
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("expires_ms", &self.expires_ms).finish_non_exhaustive()
    }
}

/// Why a token is rejected.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token is malformed")]
    Malformed,
    /// Signed with an unknown key: another one, or none of our secret's versions.
    #[error("the token's signature is wrong")]
    WrongSignature,
    #[error("the token has expired")]
    Expired,
    /// Valid, but for another purpose.
    #[error("the token is not meant for this")]
    Foreign,
    #[error("the token could not be checked")]
    Unchecked(#[from] Fault),
}

/// Issues and verifies tokens.
#[derive(Debug)]
pub struct Tokens<S> {
    pub(crate) secret: SecretCache<S>,
}

impl<S: Secrets> Tokens<S> {
    /// `secret_id` is the signing secret in Secrets Manager.
    pub fn new(secrets: S, secret_id: impl Into<String>) -> Self {
        crate::jwt_crypto::install();
        Self { secret: SecretCache::new(secrets, secret_id) }
    }

    /// Issues a join token that is valid for `ttl_secs`.
    ///
    /// # Errors
    /// The secret could not be read.
    pub async fn mint_join(
        &self,
        app: &App,
        meeting_id: &str,
        attendee_id: &str,
        ttl_secs: u32,
        now_ms: i64,
    ) -> Result<Minted, Fault> {
        let now_secs = now_ms.div_euclid(1000);
        let claims = JoinClaims {
            app: app.app_id.clone(),
            meeting_id: meeting_id.to_owned(),
            attendee_id: attendee_id.to_owned(),
            exp: now_secs + i64::from(ttl_secs),
            iat: Some(now_secs),
            epoch: Some(app.registered_ms),
        };
        self.mint(&claims, now_ms).await
    }

    /// Issues an upload token that is valid for `ttl_secs`.
    ///
    /// # Errors
    /// The secret could not be read.
    pub async fn mint_upload(
        &self,
        app: &App,
        sub: &str,
        max_bytes: Option<u64>,
        ttl_secs: u32,
        now_ms: i64,
    ) -> Result<Minted, Fault> {
        let now_secs = now_ms.div_euclid(1000);
        let claims = UploadClaims {
            app: app.app_id.clone(),
            sub: sub.to_owned(),
            max_bytes,
            exp: now_secs + i64::from(ttl_secs),
            iat: Some(now_secs),
            epoch: Some(app.registered_ms),
        };
        self.mint(&claims, now_ms).await
    }

    /// Issues a view token that is valid for `ttl_secs`.
    ///
    /// # Errors
    /// The secret could not be read.
    pub async fn mint_view(&self, app: &App, ttl_secs: u32, now_ms: i64) -> Result<Minted, Fault> {
        let now_secs = now_ms.div_euclid(1000);
        let claims = ViewClaims {
            app: app.app_id.clone(),
            exp: now_secs + i64::from(ttl_secs),
            iat: now_secs,
            epoch: app.registered_ms,
            view: true,
        };
        self.mint(&claims, now_ms).await
    }

    /// Signs claims with the current secret.
    ///
    /// # Errors
    /// The secret could not be read.
    pub async fn mint<C: Claims>(&self, claims: &C, now_ms: i64) -> Result<Minted, Fault> {
        let secret = strong(self.secret.current(now_ms).await?)?;
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(secret.version_id);
        let key = EncodingKey::from_secret(secret.value.as_bytes());
        let token = jsonwebtoken::encode(&header, &Aimed { aud: C::AUDIENCE, claims }, &key)
            .map_err(|e| Fault::new(FaultClass::Permanent, "sign token", "not signed").with_source(e))?;
        Ok(Minted { token, expires_ms: claims.expires_secs() * 1000 })
    }

    /// Returns the claims of a token that we issued, that has not expired and is of this kind.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub async fn verify<C: Claims>(&self, token: &str, now_ms: i64) -> Result<C, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        // `none` and other unsupported algorithms are parse errors.
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != Algorithm::HS256 || header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let kid = header.kid.ok_or(TokenError::Malformed)?;
        let secret = self.secret.first_where(now_ms, |version| version.version_id == kid).await?;
        let secret = strong(secret.ok_or(TokenError::WrongSignature)?)?;

        // Expiry is checked with our clock, so the library only checks the signature.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let key = DecodingKey::from_secret(secret.value.as_bytes());
        let claims = jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => TokenError::WrongSignature,
                _ => TokenError::Malformed,
            })?
            .claims;

        let exp = claims.get("exp").and_then(serde_json::Value::as_i64).ok_or(TokenError::Malformed)?;
        if now_ms.div_euclid(1000) >= exp {
            return Err(TokenError::Expired);
        }
        let foreign = match claims.get("aud") {
            Some(audience) => audience != C::AUDIENCE,
            None => C::NOT_OURS.iter().any(|name| claims.get(name).is_some()),
        };
        if foreign {
            return Err(TokenError::Foreign);
        }
        serde_json::from_value(claims).map_err(|_| TokenError::Foreign)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::secret_cache::MIN_REREAD_MS;
    use crate::secret_cache::tests::OneSecret;

    const NOW_MS: i64 = 1_743_532_441_581;
    const S1: &str = "s1-0123456789abcdef0123456789abcdef";
    const S2: &str = "s2-0123456789abcdef0123456789abcdef";
    const S3: &str = "s3-0123456789abcdef0123456789abcdef";

    const CREATED_MS: i64 = NOW_MS - 60_000;

    fn app() -> App {
        App::new("my-app".parse().unwrap(), "My app", CREATED_MS)
    }

    async fn join_token(secret: &OneSecret) -> String {
        let tokens = Tokens::new(secret, "id");
        tokens.mint_join(&app(), "meeting-1", "attendee-1", 60, NOW_MS).await.unwrap().token
    }

    async fn verify(secret: &OneSecret, token: &str, now_ms: i64) -> Result<JoinClaims, String> {
        let tokens = Tokens::new(secret, "id");
        tokens.verify(token, now_ms).await.map_err(|error| format!("{error:?}"))
    }

    fn part(value: &Value) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
    }

    /// A token with any header and claims, signed with `key` by HMAC-SHA256 whatever the header says.
    fn forge(header: &Value, claims: &Value, key: &str) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let key = EncodingKey::from_secret(key.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    #[tokio::test]
    async fn a_minted_token_verifies_until_its_last_second() {
        let secret = OneSecret::with(S1);
        let token = join_token(&secret).await;
        let claims = verify(&secret, &token, NOW_MS).await.unwrap();
        assert_eq!(
            (claims.app, claims.meeting_id.as_str(), claims.attendee_id.as_str()),
            (app().app_id, "meeting-1", "attendee-1")
        );
        let last = claims.exp * 1000 - 1;
        assert!(verify(&secret, &token, last).await.is_ok());
        assert_eq!(verify(&secret, &token, last + 1).await.unwrap_err(), "Expired");
    }

    #[tokio::test]
    async fn a_token_outlives_one_rotation_of_the_secret_and_not_two() {
        let secret = OneSecret::with(S1);
        let token = join_token(&secret).await;
        secret.rotate(S2);
        assert!(verify(&secret, &token, NOW_MS).await.is_ok());
        secret.rotate(S3);
        assert_eq!(verify(&secret, &token, NOW_MS).await.unwrap_err(), "WrongSignature");
    }

    #[tokio::test]
    async fn a_token_of_a_rotation_that_the_cache_has_not_seen_is_accepted_after_a_moment() {
        let secret = OneSecret::with(S1);
        let verifier = Tokens::new(&secret, "id");
        let old = join_token(&secret).await;
        verifier.verify::<JoinClaims>(&old, NOW_MS).await.unwrap();
        secret.rotate(S2);
        let new = join_token(&secret).await;
        let later = NOW_MS + MIN_REREAD_MS;
        assert!(verifier.verify::<JoinClaims>(&new, later).await.is_ok());
        assert!(verifier.verify::<JoinClaims>(&old, later).await.is_ok());
    }

    #[tokio::test]
    async fn every_bad_token_is_refused_for_its_own_reason() {
        let secret = OneSecret::with(S1);
        let good = join_token(&secret).await;
        let exp = NOW_MS / 1000 + 60;
        let claims = json!({"app": "my-app", "meetingId": "m", "attendeeId": "a", "exp": exp});
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": format!("v-{S1}")});
        let with = |base: &Value, name: &str, value: Value| {
            let mut changed = base.clone();
            changed[name] = value;
            changed
        };
        let without = |base: &Value, name: &str| {
            let mut changed = base.clone();
            changed.as_object_mut().unwrap().shift_remove(name);
            changed
        };
        assert!(verify(&secret, &forge(&header, &claims, S1), NOW_MS).await.is_ok());

        let (message, signature) = good.rsplit_once('.').unwrap();
        let (head, _) = message.split_once('.').unwrap();
        let none = with(&header, "alg", json!("none"));
        for (what, token, refusal) in [
            ("empty", String::new(), "Malformed"),
            ("not a token", "abc".to_owned(), "Malformed"),
            ("two parts", message.to_owned(), "Malformed"),
            ("four parts", format!("{good}.x"), "Malformed"),
            ("not base64", good.replace('.', ".*"), "Malformed"),
            ("endless", format!("{good}{}", "a".repeat(5_000)), "Malformed"),
            ("alg none, unsigned", format!("{}.{}.", part(&none), part(&claims)), "Malformed"),
            ("alg none, signed", forge(&none, &claims, S1), "Malformed"),
            ("alg NONE", forge(&with(&header, "alg", json!("NONE")), &claims, S1), "Malformed"),
            ("alg RS256", forge(&with(&header, "alg", json!("RS256")), &claims, S1), "Malformed"),
            ("alg HS512", forge(&with(&header, "alg", json!("HS512")), &claims, S1), "Malformed"),
            ("no kid", forge(&without(&header, "kid"), &claims, S1), "Malformed"),
            ("critical", forge(&with(&header, "crit", json!(["b64"])), &claims, S1), "Malformed"),
            ("other kid", forge(&with(&header, "kid", json!("v-s0")), &claims, S1), "WrongSignature"),
            ("other key", forge(&header, &claims, "guess"), "WrongSignature"),
            ("no signature", format!("{message}."), "WrongSignature"),
            ("other claims", format!("{head}.{}.{signature}", part(&claims)), "WrongSignature"),
            ("no exp", forge(&header, &without(&claims, "exp"), S1), "Malformed"),
            ("exp as text", forge(&header, &with(&claims, "exp", json!("9999999999")), S1), "Malformed"),
            ("expired", forge(&header, &with(&claims, "exp", json!(NOW_MS / 1000)), S1), "Expired"),
            ("no meeting", forge(&header, &without(&claims, "meetingId"), S1), "Foreign"),
            (
                "audience of uploads",
                forge(&header, &with(&claims, "aud", json!("logferry:upload")), S1),
                "Foreign",
            ),
            ("audience of others", forge(&header, &with(&claims, "aud", json!("elsewhere")), S1), "Foreign"),
            ("audiences", forge(&header, &with(&claims, "aud", json!(["logferry:join"])), S1), "Foreign"),
            ("no audience and a subject", forge(&header, &with(&claims, "sub", json!("jo")), S1), "Foreign"),
            ("no audience and a size", forge(&header, &with(&claims, "maxBytes", json!(1)), S1), "Foreign"),
            ("bad app", forge(&header, &with(&claims, "app", json!("No App")), S1), "Foreign"),
            ("claims of no object", forge(&header, &json!([1]), S1), "Malformed"),
        ] {
            let refused = verify(&secret, &token, NOW_MS).await;
            assert_eq!(refused.map_err(|e| e.clone()), Err(refusal.to_owned()), "{what}");
        }
    }

    #[tokio::test]
    async fn an_upload_token_is_no_join_token_nor_the_other_way_round() {
        let secret = OneSecret::with(S1);
        let tokens = Tokens::new(&secret, "id");
        let upload = tokens.mint_upload(&app(), "jo", Some(5), 60, NOW_MS).await.unwrap().token;
        let claims: UploadClaims = tokens.verify(&upload, NOW_MS).await.unwrap();
        assert_eq!((claims.sub.as_str(), claims.max_bytes), ("jo", Some(5)));
        let refused = tokens.verify::<JoinClaims>(&upload, NOW_MS).await;
        assert!(matches!(refused, Err(TokenError::Foreign)));
        let refused = tokens.verify::<UploadClaims>(&join_token(&secret).await, NOW_MS).await;
        assert!(matches!(refused, Err(TokenError::Foreign)));
    }

    #[tokio::test]
    async fn a_secret_that_is_too_short_signs_nothing_and_vouches_for_nothing() {
        let short = &S1[..MIN_SECRET_BYTES - 1];
        let secret = OneSecret::with(short);
        let tokens = Tokens::new(&secret, "id");
        let refused = tokens.mint_join(&app(), "m", "a", 60, NOW_MS).await.unwrap_err();
        assert_eq!(refused.class, FaultClass::Permanent);
        let header = json!({"alg": "HS256", "kid": format!("v-{short}")});
        let claims = json!({"app": "my-app", "meetingId": "m", "attendeeId": "a", "exp": NOW_MS});
        let refused = tokens.verify::<JoinClaims>(&forge(&header, &claims, short), NOW_MS).await;
        assert!(matches!(refused, Err(TokenError::Unchecked(_))));
        secret.rotate(&S1[..MIN_SECRET_BYTES]);
        let later = NOW_MS + crate::secret_cache::MAX_AGE_MS;
        assert!(tokens.mint_join(&app(), "m", "a", 60, later).await.is_ok());
    }

    #[tokio::test]
    async fn a_token_says_what_it_is_for_and_one_with_the_claims_of_both_kinds_is_neither() {
        let secret = OneSecret::with(S1);
        let tokens = Tokens::new(&secret, "id");
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": format!("v-{S1}")});
        let claims = json!({"app": "my-app", "meetingId": "m", "attendeeId": "a", "sub": "jo",
            "exp": NOW_MS / 1000 + 60});
        let aimed = |aud: Value| {
            let mut claims = claims.clone();
            claims["aud"] = aud;
            forge(&header, &claims, S1)
        };
        for (aud, join, upload) in
            [("logferry:join", true, false), ("logferry:upload", false, true), ("x", false, false)]
        {
            let token = aimed(json!(aud));
            assert_eq!(tokens.verify::<JoinClaims>(&token, NOW_MS).await.is_ok(), join, "{aud}");
            assert_eq!(tokens.verify::<UploadClaims>(&token, NOW_MS).await.is_ok(), upload, "{aud}");
        }
        let unaimed = forge(&header, &claims, S1);
        assert!(matches!(tokens.verify::<JoinClaims>(&unaimed, NOW_MS).await, Err(TokenError::Foreign)));
        assert!(matches!(tokens.verify::<UploadClaims>(&unaimed, NOW_MS).await, Err(TokenError::Foreign)));
    }

    #[test]
    fn a_token_is_for_the_registration_of_its_app_that_it_was_minted_for() {
        let app = app();
        let secs = CREATED_MS.div_euclid(1000);
        for (iat, epoch, fits) in [
            (Some(secs), Some(CREATED_MS), true),
            // Issued in the second in which the app was replaced.
            (Some(secs), Some(CREATED_MS - 1), false),
            (Some(secs + 60), Some(CREATED_MS + 1), false),
            (Some(secs), None, true),
            (Some(secs - 1), None, false),
            (None, None, true),
        ] {
            assert_eq!(minted_for(&app, iat, epoch), fits, "{iat:?} {epoch:?}");
        }
    }

    #[tokio::test]
    async fn debug_shows_no_token() {
        let secret = OneSecret::with(S1);
        let minted = Tokens::new(&secret, "id").mint_join(&app(), "m", "a", 60, NOW_MS).await.unwrap();
        assert!(!format!("{minted:?}").contains(&minted.token));
    }
}
