//! API keys and the admin key. An API key has 48 hex characters: 16 of key id, 32 of secret. Only a SHA-256
//! of the secret is stored. All comparisons take constant time.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use logferry_core::model::app::{App, Scope};
use logferry_core::model::fault::Fault;
use logferry_core::ports::apps::{Apps, KeyRow};
use logferry_core::ports::secrets::{SecretVersion, Secrets};
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::http::{ApiError, Head};
use crate::random;
use crate::secret_cache::SecretCache;

/// The header with an API key.
pub const API_KEY_HEADER: &str = "x-api-key";
/// The header that may name the key's app.
pub const APP_ID_HEADER: &str = "x-app-id";
/// The header with the admin key.
pub const ADMIN_KEY_HEADER: &str = "x-admin-key";

/// Length of a key (characters).
pub const KEY_CHARS: usize = 48;
/// Length of a key id (characters).
pub const KEY_ID_CHARS: usize = 16;

/// An API key in clear text. `Debug` shows only the id.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}..)", self.key_id())
    }
}

impl ApiKey {
    /// Generates a key from the system's random numbers.
    ///
    /// # Errors
    /// The system has none.
    pub fn generate() -> Result<Self, Fault> {
        Ok(Self(hex::encode(random::bytes::<{ KEY_CHARS / 2 }>()?)))
    }

    /// Makes a key from its parts.
    #[must_use]
    pub fn of_parts(key_id: [u8; KEY_ID_CHARS / 2], secret: [u8; (KEY_CHARS - KEY_ID_CHARS) / 2]) -> Self {
        Self(format!("{}{}", hex::encode(key_id), hex::encode(secret)))
    }

    /// Parses 48 lower-case hex characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let legal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == KEY_CHARS && text.bytes().all(legal)).then(|| Self(text.to_owned()))
    }

    /// Returns the public part, which identifies the key.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.0[..KEY_ID_CHARS]
    }

    /// Returns the stored hash of the secret part.
    #[must_use]
    pub fn secret_hash(&self) -> [u8; 32] {
        Sha256::digest(&self.0.as_bytes()[KEY_ID_CHARS..]).into()
    }

    /// Returns the whole key, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether this is the key of the row. With `None`, a dummy is compared, so that the time is the same.
    #[must_use]
    pub fn fits(&self, row: Option<&KeyRow>) -> bool {
        let stored = row.map_or([0; 32], |row| row.secret_hash);
        let equal: bool = self.secret_hash().ct_eq(&stored).into();
        equal & row.is_some()
    }
}

/// Returns the row of a live key; `None` for anything else.
///
/// # Errors
/// The key could not be looked up.
pub async fn verify(apps: &impl Apps, shown: &str) -> Result<Option<KeyRow>, Fault> {
    let Some(key) = ApiKey::parse(shown) else { return Ok(None) };
    let row = apps.find_key(key.key_id()).await?;
    Ok(if key.fits(row.as_ref()) { row } else { None })
}

/// Returns the app of a request's key if the key has the scope `needs`; `None` without a key.
///
/// # Errors
/// 401 for a wrong key, or `X-App-ID` without a key; 403 if `X-App-ID` names another app, or if the key
/// lacks the scope.
pub async fn app_of_request(apps: &impl Apps, head: &Head, needs: Scope) -> Result<Option<App>, ApiError> {
    let shown = head.headers.get(API_KEY_HEADER).map(HeaderValue::as_bytes);
    app_of_key(apps, head, shown, needs).await
}

/// As [`app_of_request`], of a key that is shown in any of the ways in which clients can show one:
/// `X-API-Key`, `Authorization: Bearer` or `Basic` (the key is the password of any user), or `elsewhere`.
///
/// # Errors
/// As [`app_of_request`].
pub async fn app_of_client(
    apps: &impl Apps,
    head: &Head,
    elsewhere: Option<&str>,
    needs: Scope,
) -> Result<Option<App>, ApiError> {
    let own = head.headers.get(API_KEY_HEADER).map(HeaderValue::as_bytes);
    let authorized = head.headers.get(AUTHORIZATION).map(|value| match head.bearer() {
        Some(token) => Cow::Borrowed(token.as_bytes()),
        None => Cow::Owned(password_in(value.as_bytes()).unwrap_or_default()),
    });
    let shown = own.or(authorized.as_deref()).or(elsewhere.map(str::as_bytes));
    app_of_key(apps, head, shown, needs).await
}

/// The password in a value of `Authorization: Basic`.
fn password_in(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, pair) = value.split_at_checked(6)?;
    let pair = scheme.eq_ignore_ascii_case(b"basic ").then_some(pair)?;
    let pair = BASE64_STANDARD.decode(pair.trim_ascii()).ok()?;
    let colon = pair.iter().position(|&byte| byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

async fn app_of_key(
    apps: &impl Apps,
    head: &Head,
    shown: Option<&[u8]>,
    needs: Scope,
) -> Result<Option<App>, ApiError> {
    let named = head.headers.get(APP_ID_HEADER);
    let Some(shown) = shown else {
        return match named {
            Some(_) => Err(ApiError::unauthorized("X-App-ID needs an X-API-Key beside it")),
            None => Ok(None),
        };
    };
    let wrong = || ApiError::unauthorized("the API key is invalid");
    let shown = std::str::from_utf8(shown).map_err(|_| wrong())?;
    if let Some(key) = ApiKey::parse(shown) {
        head.trail.shows(key.key_id());
    }
    let row = verify(apps, shown).await?.ok_or_else(wrong)?;
    head.trail.concerns(&row.app_id);
    if named.is_some_and(|named| named.as_bytes() != row.app_id.as_str().as_bytes()) {
        return Err(ApiError::forbidden("the API key belongs to another app than X-App-ID names"));
    }
    if !row.scopes.contains(&needs) {
        return Err(missing_scope(needs));
    }
    apps.find(&row.app_id).await?.ok_or_else(wrong).map(Some)
}

fn missing_scope(needs: Scope) -> ApiError {
    let needs = needs.as_str();
    let mut error = ApiError::forbidden(format!("the API key lacks the scope {needs}"));
    error.details = Some(json!({"scope": needs}));
    error
}

/// How long the admin key is cached (ms). A rotated key is accepted for at most this time.
pub const ADMIN_KEY_MAX_AGE_MS: i64 = 10_000;

/// The admin key, a secret in Secrets Manager. Only its current version is accepted.
#[derive(Debug)]
pub struct AdminKey<S> {
    secret: SecretCache<S>,
}

impl<S: Secrets> AdminKey<S> {
    pub fn new(secrets: S, secret_id: impl Into<String>) -> Self {
        Self { secret: SecretCache::current_only(secrets, secret_id, ADMIN_KEY_MAX_AGE_MS) }
    }

    /// Whether `shown` is the admin key.
    ///
    /// # Errors
    /// The secret could not be read.
    pub async fn verify(&self, shown: &str, now_ms: i64) -> Result<bool, Fault> {
        let shown = Sha256::digest(shown.as_bytes());
        let equals = |version: &SecretVersion| shown.ct_eq(&Sha256::digest(version.value.as_bytes())).into();
        Ok(self.secret.first_where(now_ms, equals).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName};
    use logferry_core::model::app::AppId;

    use super::*;
    use crate::http::{QueryParams, Trail};
    use crate::secret_cache::MIN_REREAD_MS;
    use crate::secret_cache::tests::OneSecret;

    struct OneApp {
        app: App,
        keys: Vec<KeyRow>,
    }

    impl OneApp {
        fn with_keys(keys: &[&ApiKey]) -> Self {
            let app_id: AppId = "my-app".parse().unwrap();
            let keys = keys
                .iter()
                .map(|key| KeyRow::with_all_scopes(key.key_id(), app_id.clone(), key.secret_hash()))
                .collect();
            let app = App::new(app_id, "My app", 1);
            Self { app, keys }
        }
    }

    impl Apps for OneApp {
        async fn find(&self, app_id: &AppId) -> Result<Option<App>, Fault> {
            Ok((*app_id == self.app.app_id).then(|| self.app.clone()))
        }

        async fn find_key(&self, key_id: &str) -> Result<Option<KeyRow>, Fault> {
            Ok(self.keys.iter().find(|row| row.key_id == key_id).cloned())
        }

        async fn list(&self) -> Result<Vec<App>, Fault> {
            Ok(vec![self.app.clone()])
        }
    }

    fn request(headers: &[(&'static str, &str)]) -> Head {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        Head {
            path: "/".to_owned(),
            query: QueryParams::default(),
            headers: map,
            path_token: None,
            trail: Trail::default(),
            now_ms: 0,
        }
    }

    #[test]
    fn a_key_is_48_hex_characters_and_reads_back() {
        let key = ApiKey::generate().unwrap();
        assert_eq!(key.reveal().len(), 48);
        assert_eq!(ApiKey::parse(key.reveal()), Some(key.clone()));
        assert_ne!(ApiKey::generate().unwrap(), key);
        assert!(!format!("{key:?}").contains(&key.reveal()[KEY_ID_CHARS..]));
        for bad in
            ["", "abc", &"g".repeat(48), &"A".repeat(48), &"a".repeat(47), &"a".repeat(49), &"ä".repeat(24)]
        {
            assert_eq!(ApiKey::parse(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_live_key_gives_access_to_its_app_and_other_texts_do_not() {
        let (first, second, other) =
            (ApiKey::generate().unwrap(), ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let apps = OneApp::with_keys(&[&first, &second]);
        for key in [&first, &second] {
            assert!(verify(&apps, key.reveal()).await.unwrap().is_some());
        }
        let mixed = format!("{}{}", first.key_id(), &second.reveal()[KEY_ID_CHARS..]);
        for wrong in [other.reveal(), mixed.as_str(), "", "nonsense", &first.reveal().to_uppercase()] {
            assert_eq!(verify(&apps, wrong).await.unwrap(), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_request_is_its_keys_app_unless_it_names_another() {
        let (key, other) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let apps = OneApp::with_keys(&[&key]);
        let (shown, wrong) = (key.reveal(), other.reveal());
        for (headers, answer) in [
            (vec![], Ok(false)),
            (vec![(API_KEY_HEADER, shown)], Ok(true)),
            (vec![(API_KEY_HEADER, shown), (APP_ID_HEADER, "my-app")], Ok(true)),
            (vec![(API_KEY_HEADER, shown), (APP_ID_HEADER, "other")], Err(403)),
            (vec![(APP_ID_HEADER, "my-app")], Err(401)),
            (vec![(API_KEY_HEADER, wrong)], Err(401)),
            (vec![(API_KEY_HEADER, "short")], Err(401)),
            (vec![(API_KEY_HEADER, "short"), (APP_ID_HEADER, "other")], Err(401)),
        ] {
            let app = app_of_request(&apps, &request(&headers), Scope::Read).await;
            let app = app.map(|app| app.is_some()).map_err(|error| error.status.as_u16());
            assert_eq!(app, answer, "{:?}", headers.iter().map(|(name, _)| name).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_client_may_show_its_key_in_several_ways() {
        let (key, other) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let apps = OneApp::with_keys(&[&key]);
        let (shown, wrong) = (key.reveal(), other.reveal());
        let basic = |pair: String| format!("Basic {}", BASE64_STANDARD.encode(pair));
        let authorized = |value: String| vec![("authorization", value)];
        for (headers, elsewhere, answer) in [
            (vec![], None, Ok(false)),
            (vec![], Some(shown), Ok(true)),
            (vec![], Some(wrong), Err(401)),
            (vec![(API_KEY_HEADER, shown.to_owned())], Some(wrong), Ok(true)),
            (
                vec![(API_KEY_HEADER, wrong.to_owned()), ("authorization", basic(shown.to_owned()))],
                None,
                Err(401),
            ),
            (authorized(format!("Bearer {shown}")), None, Ok(true)),
            (authorized(format!("bearer  {shown} ")), None, Ok(true)),
            (authorized(basic(format!("any:{shown}"))), None, Ok(true)),
            (authorized(basic(format!(":{shown}"))), None, Ok(true)),
            (authorized(basic(shown.to_owned())), None, Err(401)),
            (authorized(format!("Bearer {wrong}")), Some(shown), Err(401)),
            (authorized("Basic ***".to_owned()), None, Err(401)),
            (authorized("Bearer".to_owned()), None, Err(401)),
            (authorized(shown.to_owned()), None, Err(401)),
        ] {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let app = app_of_client(&apps, &request(&headers), elsewhere, Scope::Write).await;
            let app = app.map(|app| app.is_some()).map_err(|error| error.status.as_u16());
            assert_eq!(app, answer, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn a_key_opens_what_its_scopes_name_and_the_refusal_names_the_one_that_is_missing() {
        let key = ApiKey::generate().unwrap();
        let mut apps = OneApp::with_keys(&[&key]);
        let shown = request(&[(API_KEY_HEADER, key.reveal())]);
        for owned in [&Scope::ALL[..], &Scope::DEFAULT, &[Scope::Manage], &[]] {
            apps.keys[0].scopes = owned.iter().copied().collect();
            for needs in Scope::ALL {
                let answer = app_of_request(&apps, &shown, needs).await;
                let refused =
                    answer.map(|app| app.is_some()).map_err(|error| (error.status.as_u16(), error.details));
                let expected = match owned.contains(&needs) {
                    true => Ok(true),
                    false => Err((403, Some(json!({"scope": needs.as_str()})))),
                };
                assert_eq!(refused, expected, "{needs:?} of {owned:?}");
            }
        }
    }

    #[tokio::test]
    async fn the_admin_key_is_the_current_secret_also_right_after_a_rotation() {
        let secret = OneSecret::with("old");
        let admin = AdminKey::new(&secret, "id");
        assert!(admin.verify("old", 0).await.unwrap());
        assert!(!admin.verify("guess", 0).await.unwrap());
        assert!(!admin.verify("", 0).await.unwrap());
        secret.rotate("new");
        assert!(admin.verify("new", MIN_REREAD_MS).await.unwrap());
        assert!(!admin.verify("old", MIN_REREAD_MS).await.unwrap());
    }

    #[tokio::test]
    async fn a_rotated_admin_key_is_refused_after_seconds_even_if_the_new_one_is_not_used() {
        let secret = OneSecret::with("old");
        let admin = AdminKey::new(&secret, "id");
        assert!(admin.verify("old", 0).await.unwrap());
        secret.rotate("new");
        assert!(admin.verify("old", ADMIN_KEY_MAX_AGE_MS - 1).await.unwrap());
        assert!(!admin.verify("old", ADMIN_KEY_MAX_AGE_MS).await.unwrap());
        assert!(admin.verify("new", ADMIN_KEY_MAX_AGE_MS).await.unwrap());
    }
}
