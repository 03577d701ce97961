//! The service over HTTP: requests, pages, and errors in words of the command line.

pub(crate) mod alerts;
pub(crate) mod apps;
mod condition;
pub(crate) mod erase;
pub(crate) mod files;
mod matching;
mod output;
pub(crate) mod profile;
pub(crate) mod query;

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Once;
use std::time::Duration;

use logferry_service::random;
use logferry_upload_client::sends_in_clear;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::terminal::shown;
use profile::{Found, Place};

pub(crate) use output::is_gone;
pub(crate) use profile::Remote;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A query may take 12 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts at a request that the service asks to repeat later.
const ATTEMPTS: u32 = 4;
/// The longest wait between two of them.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Parameters of a request.
pub(crate) type Pairs = Vec<(String, String)>;

/// The key to send if there are both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    App,
    Admin,
}

#[derive(Debug)]
pub(crate) struct Service {
    http: reqwest::Client,
    place: Place,
}

/// Why a request failed, in words of the command line.
#[derive(Debug)]
struct Failed {
    said: String,
    /// Whether the same request may succeed later.
    passes: bool,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl Error for Failed {}

/// Whether a request failed in a way that a retry may fix.
pub(crate) fn passes(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<Failed>().is_some_and(|failed| failed.passes)
}

/// Warns, once, if the credential is sent unencrypted.
pub(crate) fn warn_of_plain_http(url: &str) {
    static WARNED: Once = Once::new();
    if sends_in_clear(url) {
        WARNED.call_once(|| {
            eprintln!("logferry: {} is not encrypted: the credential can be read on the network", shown(url));
        });
    }
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    #[serde(default)]
    pub(crate) data: Vec<Box<RawValue>>,
    pub(crate) cursor: Option<String>,
    /// Blocks that could not be read.
    #[serde(default)]
    pub(crate) skipped: u64,
    /// Of a tail: whether more has arrived already.
    #[serde(default)]
    pub(crate) more: bool,
}

impl Service {
    pub(crate) fn new(remote: &Remote) -> Result<Self, Box<dyn Error>> {
        let place = remote.find()?;
        // An error means that the same provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A redirect would send the key to another host.
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, place })
    }

    /// Whether requests are the administrator's.
    pub(crate) fn is_admin(&self, role: Role) -> bool {
        self.credential(role).is_some_and(|(name, _)| name == "x-admin-key")
    }

    /// The app that `--app` names, or the profile.
    pub(crate) fn app<'a>(&'a self, named: Option<&'a str>) -> Option<&'a str> {
        named.or(self.place.app.as_deref())
    }

    /// The app of the key, unless another one is named.
    pub(crate) async fn own_app(&self, role: Role, named: Option<&str>) -> Result<String, Box<dyn Error>> {
        if let Some(app) = self.app(named) {
            return Ok(app.to_owned());
        }
        if self.is_admin(role) {
            return Err("which app? Pass --app, or set LOGFERRY_APP".into());
        }
        let ids = self.call(role, Method::GET, "/v1/apps", &[], None).await?;
        let own = ids["data"].get(0).and_then(Value::as_str);
        own.map(str::to_owned).ok_or_else(|| "the key belongs to no app".into())
    }

    fn credential(&self, role: Role) -> Option<(&'static str, &Found)> {
        let header = |key: &Found| if is_view_token(&key.value) { "authorization" } else { "x-api-key" };
        let app = self.place.api_key.as_ref().map(|key| (header(key), key));
        let admin = self.place.admin_key.as_ref().map(|key| ("x-admin-key", key));
        match role {
            Role::App => app.or(admin),
            Role::Admin => admin.or(app),
        }
    }

    /// Returns the answer to a request.
    pub(crate) async fn call(
        &self,
        role: Role,
        method: Method,
        path: &str,
        query: &[(String, String)],
        body: Option<&Value>,
    ) -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_str(&self.text(role, method, path, query, body, None).await?)?)
    }

    /// Creates something once: the request has an `Idempotency-Key`, so that it can be sent again if its answer is lost.
    pub(crate) async fn create(&self, role: Role, path: &str, body: &Value) -> Result<Value, Box<dyn Error>> {
        let once = hex::encode(random::bytes::<16>()?);
        Ok(serde_json::from_str(&self.text(role, Method::POST, path, &[], Some(body), Some(&once)).await?)?)
    }

    /// Returns a page of a list, its elements byte for byte.
    pub(crate) async fn page(&self, role: Role, path: &str, query: &Pairs) -> Result<Page, Box<dyn Error>> {
        let text = self.text(role, Method::GET, path, query, None, None).await?;
        serde_json::from_str(&text).map_err(|error| format!("the answer is no list: {error}").into())
    }

    async fn text(
        &self,
        role: Role,
        method: Method,
        path: &str,
        query: &[(String, String)],
        body: Option<&Value>,
        once: Option<&str>,
    ) -> Result<String, Box<dyn Error>> {
        let Some((header, key)) = self.credential(role) else {
            return Err("which key? Set LOGFERRY_API_KEY, or name it in a profile".into());
        };
        warn_of_plain_http(&self.place.url);
        let address = format!("{}{path}", self.place.url.trim_end_matches('/'));
        let mut attempt = 1;
        loop {
            let mut request = self.http.request(method.clone(), &address).query(query);
            request = match header {
                "authorization" => request.bearer_auth(&key.value),
                header => request.header(header, &key.value),
            };
            if let Some(once) = once {
                request = request.header("idempotency-key", once);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let wait = match answer(request).await {
                Ok((status, _, text)) if status.is_success() => return Ok(text),
                Ok((status, wait, text)) => {
                    let asks =
                        matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
                    let wait = Duration::from_secs(wait.unwrap_or(1));
                    if !asks || attempt == ATTEMPTS || wait > MAX_WAIT {
                        return Err(self.refused(status, &text, key).into());
                    }
                    wait
                }
                // Nothing was sent if there is no connection.
                Err(error) if once.is_some() && !error.is_connect() && attempt < ATTEMPTS => {
                    Duration::from_secs(1)
                }
                Err(error) => return Err(self.unreachable(&error).into()),
            };
            attempt += 1;
            tokio::time::sleep(wait).await;
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failed {
        Failed { said: self.unreachable_because(error), passes: !error.is_builder() }
    }

    fn unreachable_because(&self, error: &reqwest::Error) -> String {
        let url = &self.place.url;
        let mut source: Option<&dyn Error> = Some(error);
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<io::Error>()
                && io.kind() == io::ErrorKind::ConnectionRefused
            {
                return format!("nothing answers at {url} (connection refused): is the service running?");
            }
            let said = cause.to_string();
            if said.contains("failed to lookup address") || said.contains("dns error") {
                return format!("{url}: there is no host of this name");
            }
            source = cause.source();
        }
        if error.is_timeout() {
            return format!("{url} did not answer in time");
        }
        format!("{url} cannot be reached: {}", innermost(error))
    }

    fn refused(&self, status: StatusCode, text: &str, key: &Found) -> Failed {
        let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Failed { said: self.refused_because(status, text, key), passes }
    }

    fn refused_because(&self, status: StatusCode, text: &str, key: &Found) -> String {
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        let error = &body["error"];
        let Some(message) = error["message"].as_str() else {
            let url = &self.place.url;
            return match status.is_server_error() {
                true => format!("the service at {url} failed, or is none of Logferry; try again later"),
                false => format!("{url} does not answer as Logferry does: is it the service's URL?"),
            };
        };
        match status.as_u16() {
            401 => format!("the key from {} is not valid at {}", key.source, self.place.url),
            403 => match error["details"]["scope"].as_str() {
                Some(scope) => {
                    format!("the key from {} may not do this: it needs the scope {scope}", key.source)
                }
                None => format!("the key from {} may not do this: {message}", key.source),
            },
            400 => in_own_words(message, error["details"]["field"].as_str()),
            _ => match body["request_id"].as_str() {
                Some(id) if status.is_server_error() => format!("{message} (request {id})"),
                _ => message.to_owned(),
            },
        }
    }
}

/// Sends a request. Returns the status, `Retry-After` and the body of its answer.
async fn answer(
    request: reqwest::RequestBuilder,
) -> Result<(StatusCode, Option<u64>, String), reqwest::Error> {
    let response = request.send().await?;
    let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    Ok((response.status(), wait, response.text().await?))
}

/// Whether a key is a view token, which has three parts.
fn is_view_token(key: &str) -> bool {
    key.split('.').count() == 3
}

/// An error of a parameter, named as the command line names it.
fn in_own_words(message: &str, field: Option<&str>) -> String {
    const FLAGS: [(&str, &str); 12] = [
        ("after", "--since"),
        ("since", "--since"),
        ("until", "--until"),
        ("level", "--level"),
        ("limit", "--limit"),
        ("status", "--status"),
        ("app_id", "--app"),
        ("days", "--days"),
        ("threshold", "--threshold"),
        ("window_minutes", "--window"),
        ("quiet_minutes", "--quiet"),
        ("retention_days", "--retention-days"),
    ];
    let flag = FLAGS.into_iter().find(|(name, _)| field == Some(*name));
    match flag.and_then(|(name, flag)| Some((flag, message.strip_prefix(name)?))) {
        Some((flag, rest)) => format!("{flag}{rest}"),
        // A condition is written without it.
        None => message.strip_prefix("field.").unwrap_or(message).to_owned(),
    }
}

fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    shown(&cause.to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_the_names_of_the_command_line() {
        let message = "since must be a duration";
        assert_eq!(in_own_words(message, Some("since")), "--since must be a duration");
        assert_eq!(
            in_own_words("field.a: nothing stands after >", Some("field.a")),
            "a: nothing stands after >"
        );
        assert_eq!(in_own_words("window_minutes must be 1", Some("window_minutes")), "--window must be 1");
    }
}
