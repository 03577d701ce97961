//! The service's upload routes, seen from a client.

use std::fmt;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long a connection and an answer may take; a part's answer comes after all its bytes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// Why a call failed, by what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No answer, or one that says to come again.
    #[error("{0}")]
    Passing(String, Option<Duration>),
    /// The service said no; a repeat changes nothing.
    #[error("{1} ({0})")]
    Refused(StatusCode, String),
    /// The file cannot be read.
    #[error("the file could not be read: {0}")]
    File(std::io::Error),
}

impl CallError {
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused(status, ..) => Some(*status),
            Self::Passing(..) | Self::File(_) => None,
        }
    }
}

impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        // Without the URL: it carries a signature.
        Self::Passing(logferry_domain::fault::chain(&error.without_url()), None)
    }
}

/// What proves who uploads. `Debug` does not show it.
#[derive(Clone)]
pub(crate) enum Credential {
    ApiKey(String),
    Token(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey(_) => "ApiKey(..)",
            Self::Token(_) => "Token(..)",
        })
    }
}

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    http: reqwest::Client,
    base: String,
    credential: Credential,
}

/// A session as the service made it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Created {
    pub(crate) key: String,
    pub(crate) upload_id: String,
    pub(crate) part_size: u64,
}

/// A part that S3 has.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RemotePart {
    pub(crate) part_number: u32,
    #[serde(rename = "ETag")]
    pub(crate) etag: String,
    pub(crate) size: u64,
}

#[derive(Deserialize)]
struct Signed {
    url: String,
}

/// Where a finished file is.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Completed {
    pub(crate) location: String,
    pub(crate) key: String,
}

/// Where a log file may be put.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogTicket {
    pub(crate) presigned_url: String,
    pub(crate) key: String,
    pub(crate) headers: std::collections::BTreeMap<String, String>,
}

impl Service {
    pub(crate) fn new(base: &str, credential: Credential) -> Result<Self, reqwest::Error> {
        // Who came first has installed the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http =
            reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), credential })
    }

    /// The service's address, without a slash at the end.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, CallError> {
        let address = format!("{}{path}", self.base);
        let url = url::Url::parse_with_params(&address, query);
        let url = url.map_err(|error| CallError::Passing(format!("{address}: {error}"), None))?;
        let request = self.http.request(method, url);
        Ok(match &self.credential {
            Credential::ApiKey(key) => request.header("x-api-key", key),
            Credential::Token(token) => request.bearer_auth(token),
        })
    }

    pub(crate) async fn create(
        &self,
        filename: &str,
        content_type: &str,
        size: u64,
    ) -> Result<Created, CallError> {
        let body = json!({
            "filename": filename, "type": content_type, "metadata": {"name": filename}, "size": size,
        });
        answer(self.request(Method::POST, "/s3/multipart", &[])?.json(&body)).await
    }

    pub(crate) async fn parts(&self, upload_id: &str, key: &str) -> Result<Vec<RemotePart>, CallError> {
        answer(self.request(Method::GET, &path_of(upload_id, ""), &[("key", key)])?).await
    }

    pub(crate) async fn sign_part(
        &self,
        upload_id: &str,
        key: &str,
        number: u32,
        size: u64,
    ) -> Result<String, CallError> {
        let query = [("key", key), ("size", &size.to_string())];
        let path = path_of(upload_id, &format!("/{number}"));
        Ok(answer::<Signed>(self.request(Method::GET, &path, &query)?).await?.url)
    }

    pub(crate) async fn complete(
        &self,
        upload_id: &str,
        key: &str,
        parts: &[(u32, String)],
    ) -> Result<Completed, CallError> {
        let parts: Vec<_> =
            parts.iter().map(|(number, etag)| json!({"PartNumber": number, "ETag": etag})).collect();
        let request = self.request(Method::POST, &path_of(upload_id, "/complete"), &[("key", key)])?;
        answer(request.json(&json!({"parts": parts}))).await
    }

    pub(crate) async fn abort(&self, upload_id: &str, key: &str) -> Result<(), CallError> {
        let request = self.request(Method::DELETE, &path_of(upload_id, ""), &[("key", key)])?;
        answer::<Value>(request).await.map(drop)
    }

    pub(crate) async fn log_ticket(&self, body: &Value) -> Result<LogTicket, CallError> {
        answer(self.request(Method::POST, "/presigned-url", &[])?.json(body)).await
    }

    /// Sends bytes to a presigned URL and returns the ETag.
    pub(crate) async fn put(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        length: u64,
        body: reqwest::Body,
    ) -> Result<String, CallError> {
        let mut request = self.http.put(url).header("content-length", length).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = checked(request.send().await?).await?;
        let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok());
        etag.map(str::to_owned).ok_or_else(|| CallError::Passing("the answer has no ETag".to_owned(), None))
    }
}

fn path_of(upload_id: &str, tail: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    format!("/s3/multipart/{}{tail}", utf8_percent_encode(upload_id, NON_ALPHANUMERIC))
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, CallError> {
    let response = checked(request.send().await?).await?;
    let bytes = response.bytes().await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| CallError::Passing(format!("the answer is not as expected: {error}"), None))
}

async fn checked(response: reqwest::Response) -> Result<reqwest::Response, CallError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let text = response.text().await.unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let message = body["error"].as_str().or_else(|| body["error"]["message"].as_str());
    let message = message.map_or_else(|| s3_message(&text), str::to_owned);
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        Err(CallError::Passing(format!("{message} ({})", status.as_u16()), after.map(Duration::from_secs)))
    } else {
        Err(CallError::Refused(status, message))
    }
}

/// The code of an error as S3 writes it, or a few words.
fn s3_message(text: &str) -> String {
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or_else(|| "refused".to_owned(), |(code, _)| code.to_owned())
}
