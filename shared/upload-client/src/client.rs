//! Client of the service's upload routes.

use std::fmt;
use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::error::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of a call. Sending the bytes of a part is not limited by it.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long sending a part may make no progress before it is cancelled. A slow connection is allowed.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum size of a response (bytes). The largest expected one, a list of 10,000 parts, has 1 MiB.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// The credential of the uploader. `Debug` does not show it.
#[derive(Clone)]
pub enum Credential {
    /// An app's API key.
    ApiKey(String),
    /// An upload token, or a join token for log files.
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

/// A service and the credential for it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    credential: Credential,
}

/// A session as created by the service.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Created {
    pub(crate) key: String,
    pub(crate) upload_id: String,
    pub(crate) part_size: u64,
}

/// A part stored in S3.
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

/// Location of a finished file.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Completed {
    pub(crate) location: String,
    pub(crate) key: String,
}

/// A presigned URL for a log file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogTicket {
    pub(crate) presigned_url: String,
    pub(crate) key: String,
    pub(crate) headers: std::collections::BTreeMap<String, String>,
}

/// Progress of sending one body: counted by its reader, watched by its sender.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    bytes: AtomicU64,
    failure: Mutex<Option<Error>>,
}

impl Flow {
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Records why the body ends early: the HTTP client's error does not contain it.
    pub(crate) fn fail(&self, error: Error) -> io::Error {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        io::Error::other("the body ended early")
    }

    fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns when nothing was sent for a while.
    async fn stalled(&self) {
        let mut seen = u64::MAX;
        while seen != self.bytes() {
            seen = self.bytes();
            tokio::time::sleep(STALL_TIMEOUT).await;
        }
    }
}

impl Client {
    /// Creates a client of the service at `base`, such as `https://id.execute-api.eu-west-1.amazonaws.com`.
    ///
    /// # Errors
    /// [`Error::Unusable`] if that is not an address.
    pub fn new(base: &str, credential: Credential) -> Result<Self, Error> {
        // An error means that the same provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = Url::parse(base).map_err(|error| Error::Unusable(format!("{base}: {error}")))?;
        if !matches!(address.scheme(), "http" | "https") {
            return Err(Error::Unusable(format!("{base} must start with http:// or https://")));
        }
        // A redirect would send the key to another host.
        let http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).redirect(Policy::none());
        Ok(Self { http: http.build()?, base: base.trim_end_matches('/').to_owned(), credential })
    }

    /// Returns the service's address, without trailing slash.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> Result<RequestBuilder, Error> {
        let address = format!("{}{path}", self.base);
        let url = Url::parse_with_params(&address, query);
        let url = url.map_err(|error| Error::Unusable(format!("{address}: {error}")))?;
        let request = self.http.request(method, url).timeout(CALL_TIMEOUT);
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
    ) -> Result<Created, Error> {
        let body = json!({
            "filename": filename, "type": content_type, "metadata": {"name": filename}, "size": size,
        });
        answer(self.request(Method::POST, "/s3/multipart", &[])?.json(&body)).await
    }

    pub(crate) async fn parts(&self, upload_id: &str, key: &str) -> Result<Vec<RemotePart>, Error> {
        answer(self.request(Method::GET, &path_of(upload_id, ""), &[("key", key)])?).await
    }

    pub(crate) async fn sign_part(
        &self,
        upload_id: &str,
        key: &str,
        number: u32,
        size: u64,
    ) -> Result<String, Error> {
        let query = [("key", key), ("size", &size.to_string())];
        let path = path_of(upload_id, &format!("/{number}"));
        Ok(answer::<Signed>(self.request(Method::GET, &path, &query)?).await?.url)
    }

    pub(crate) async fn complete(
        &self,
        upload_id: &str,
        key: &str,
        parts: &[(u32, String)],
    ) -> Result<Completed, Error> {
        let parts: Vec<_> =
            parts.iter().map(|(number, etag)| json!({"PartNumber": number, "ETag": etag})).collect();
        let request = self.request(Method::POST, &path_of(upload_id, "/complete"), &[("key", key)])?;
        answer(request.json(&json!({"parts": parts}))).await
    }

    pub(crate) async fn abort(&self, upload_id: &str, key: &str) -> Result<(), Error> {
        let request = self.request(Method::DELETE, &path_of(upload_id, ""), &[("key", key)])?;
        answer::<Value>(request).await.map(drop)
    }

    pub(crate) async fn log_ticket(&self, body: &Value) -> Result<LogTicket, Error> {
        answer(self.request(Method::POST, "/presigned-url", &[])?.json(body)).await
    }

    /// Sends a body of this length to a presigned URL and returns the ETag.
    pub(crate) async fn put(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        length: u64,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        flow: &Flow,
    ) -> Result<String, Error> {
        let mut request = self.http.put(url).header("content-length", length);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(reqwest::Body::wrap_stream(body));
        let sending = async {
            let response = checked(request.send().await?).await?;
            let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok());
            etag.map(str::to_owned).ok_or_else(|| Error::NoAnswer("the response has no ETag".into()))
        };
        let sent = tokio::select! {
            sent = sending => sent,
            () = flow.stalled() => Err(Error::NoAnswer("no progress for two minutes".into())),
        };
        sent.map_err(|error| flow.failure().unwrap_or(error))
    }
}

/// Whether requests to this address, and their credential, are sent unencrypted: plain HTTP to another machine.
#[must_use]
pub fn sends_in_clear(base: &str) -> bool {
    let Ok(address) = Url::parse(base) else { return false };
    let here = match address.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    address.scheme() == "http" && !here
}

fn path_of(upload_id: &str, tail: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    format!("/s3/multipart/{}{tail}", utf8_percent_encode(upload_id, NON_ALPHANUMERIC))
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Error> {
    let response = checked(request.send().await?).await?;
    let bytes = read(response).await?;
    serde_json::from_slice(&bytes).map_err(|error| Error::NoAnswer(error.into()))
}

/// Reads a response's body up to the size limit.
async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Error::NoAnswer(
                format!("the response is longer than {MAX_ANSWER_BYTES} bytes").into(),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn checked(response: reqwest::Response) -> Result<reqwest::Response, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let text = String::from_utf8_lossy(&read(response).await.unwrap_or_default()).into_owned();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let message = body["error"].as_str().or_else(|| body["error"]["message"].as_str());
    let message = message.map_or_else(|| s3_message(&text), str::to_owned);
    let (status, again) = (status.as_u16(), status.is_server_error());
    Err(if again || matches!(status, 408 | 429) {
        Error::Unavailable { status, message, retry_after: after.map(Duration::from_secs) }
    } else {
        Error::Refused { status, message }
    })
}

/// Returns the code of an S3 error, or a short text.
fn s3_message(text: &str) -> String {
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or_else(|| "refused".to_owned(), |(code, _)| code.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn client(base: &str) -> Client {
        Client::new(base, Credential::ApiKey("k".to_owned())).unwrap()
    }

    #[test]
    fn plain_http_to_another_machine_is_known_as_such() {
        for (base, in_clear) in [
            ("http://logs.example.com", true),
            ("http://10.0.0.1:80/x", true),
            ("https://logs.example.com", false),
            ("http://localhost:4566", false),
            ("http://x.localhost", false),
            ("http://127.0.0.1:4566", false),
            ("http://[::1]:4566", false),
            ("http://localhost.example.com", true),
        ] {
            assert_eq!(sends_in_clear(base), in_clear, "{base}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_not_read_to_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.read(&mut [0; 4096]).await;
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n[").await;
                // Until the client closes the connection.
                while socket.write_all(&[b' '; 65_536]).await.is_ok() {}
            }
        });
        let refused = client(&base).parts("id", "key").await.unwrap_err();
        assert!(
            matches!(&refused, Error::NoAnswer(why) if why.to_string().contains("longer than")),
            "{refused:?}"
        );
    }
}
