//! The local stack as its users see it: HTTP, S3, and the tables for what a route does not show.
//!
//! `make test` starts its own stack and names its `local.env` in `LOGFERRY_LOCAL_ENV`; without the variable,
//! the stack of `make up` is used. If there is none, tests that need one are skipped and say so.
#![expect(clippy::panic, reason = "a test that cannot go on says why and stops")]

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use logferry_aws::apps::DynamoApps;
use logferry_aws::client::AwsEnv;
use logferry_core::ports::apps::Apps as _;
use reqwest::Method;
use serde_json::{Value, json};

/// How long a background effect may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The running stack.
#[derive(Debug, Clone)]
pub struct Stack {
    env: HashMap<String, String>,
    http: reqwest::Client,
    pub aws: AwsEnv,
}

/// An app that belongs to one test.
#[derive(Debug, Clone)]
pub struct TestApp {
    pub app_id: String,
    pub api_key: String,
}

/// A response, read completely.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|_| panic!("not JSON ({}): {}", self.status, self.text))
    }

    /// Returns the `data` of a successful response.
    #[must_use]
    pub fn data(&self) -> Value {
        assert!(self.status < 300, "{}: {}", self.status, self.text);
        self.json()["data"].take()
    }

    /// Returns status and error code of an error.
    #[must_use]
    pub fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl Stack {
    /// Returns the stack of `LOGFERRY_LOCAL_ENV`, else that of `make up`; `None` if neither exists.
    ///
    /// # Panics
    /// `LOGFERRY_LOCAL_ENV` or `local.env` is set and unusable: a test run with a stack skips nothing.
    #[must_use]
    pub fn running() -> Option<Self> {
        let named = std::env::var_os("LOGFERRY_LOCAL_ENV").map(PathBuf::from);
        let path = named
            .clone()
            .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.logferry/local.env")));
        if named.is_none() && !path.exists() {
            say_skipped();
            return None;
        }
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("no local stack: {}: {error}; run `make up`", path.display()));
        let env: HashMap<_, _> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let aws = AwsEnv::from_lookup(|name| env.get(name).cloned());
        // The command's TLS is built into reqwest here too, where the whole workspace is built at once.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Some(Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .unwrap_or_else(|e| panic!("no HTTP client: {e}")),
            aws: aws.unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            env,
        })
    }

    /// A value of `local.env`.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        self.env.get(name).unwrap_or_else(|| panic!("local.env has no {name}"))
    }

    /// Sends a request to the API; `path` starts with `/`.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(|body| body.to_string().into_bytes());
        self.call_bytes(method, path, headers, body).await
    }

    pub async fn call_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let url = format!("{}{path}", self.value("API_URL"));
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_else(|_| panic!("no method {method}"));
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        self.finish(request).await
    }

    async fn finish(&self, request: reqwest::RequestBuilder) -> Answer {
        let response =
            request.send().await.unwrap_or_else(|error| panic!("the stack does not answer: {error}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap_or_else(|error| panic!("the answer broke off: {error}"));
        Answer { status, headers, text }
    }

    /// Sends a request as the administrator.
    pub async fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call(method, path, &[("x-admin-key", self.value("ADMIN_KEY"))], body).await
    }

    /// Sends a request as an app.
    pub async fn app(&self, app: &TestApp, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call(method, path, &[("x-api-key", &app.api_key)], body).await
    }

    /// Registers an app that only this test uses; its id starts with `name`.
    pub async fn new_app(&self, name: &str) -> TestApp {
        let app_id = format!("{name}-{}", ulid::Ulid::generate().to_string().to_lowercase());
        let answer = self.admin("POST", "/apps", Some(&json!({"app_id": app_id, "name": name}))).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let api_key = answer.data()["api_key"].as_str().map(str::to_owned);
        TestApp { app_id, api_key: api_key.unwrap_or_else(|| panic!("no api_key: {}", answer.text)) }
    }

    /// Returns when an app was registered (ms), the epoch of its blocks.
    pub async fn registered_ms(&self, app: &TestApp) -> i64 {
        let app_id = app.app_id.parse().unwrap_or_else(|error| panic!("{}: {error}", app.app_id));
        let apps = DynamoApps::new(self.aws.dynamodb(), self.value("TABLE_APPS"));
        let found = apps.find(&app_id).await.unwrap_or_else(|fault| panic!("{fault}"));
        found.unwrap_or_else(|| panic!("{app_id} is not registered")).registered_ms
    }

    /// Sends bytes to a presigned URL, like a client that knows only the URL.
    pub async fn put_url(&self, url: &str, body: Vec<u8>) -> Answer {
        self.finish(self.http.put(url).header("content-type", "application/gzip").body(body)).await
    }

    /// Puts an object with IAM permissions, like a service, and returns its version id.
    pub async fn put_object(&self, key: &str, body: Vec<u8>) -> String {
        let put = self.aws.s3().put_object().bucket(self.value("BUCKET")).key(key).body(body.into());
        let answer = put.send().await.unwrap_or_else(|error| panic!("PutObject {key}: {error:?}"));
        answer.version_id.unwrap_or_else(|| panic!("the bucket is not versioned"))
    }

    /// Invokes a function directly and returns its response; panics on a function error.
    pub async fn invoke(&self, function: &str, payload: &Value) -> Value {
        let sent = self
            .aws
            .lambda()
            .invoke()
            .function_name(self.value(function))
            .payload(payload.to_string().into_bytes().into())
            .send()
            .await
            .unwrap_or_else(|error| panic!("Invoke {function}: {error:?}"));
        let body = sent.payload.map(|blob| blob.into_inner()).unwrap_or_default();
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(sent.function_error.is_none(), "{function} failed: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Returns the ledger rows of a key, as its app sees them.
    pub async fn files(&self, app: &TestApp, key: &str) -> Vec<Value> {
        let path = format!("/files?key={}", encode(key));
        let data = self.app(app, "GET", &path, None).await.data();
        data.as_array().cloned().unwrap_or_default()
    }

    /// Waits until the file is terminal and returns its row.
    pub async fn ended(&self, app: &TestApp, key: &str) -> Value {
        until(&format!("{key} to be terminal"), async || {
            let rows = self.files(app, key).await;
            rows.into_iter().find(|row| matches!(row["status"].as_str(), Some("COMPLETED" | "FAILED")))
        })
        .await
    }

    /// Returns all matching records of an app, through all pages, newest first.
    pub async fn records(&self, app: &TestApp, filter: &str) -> Vec<Value> {
        let mut records = Vec::new();
        let mut cursor = None::<String>;
        loop {
            let after = cursor.map(|cursor| format!("&cursor={}", encode(&cursor))).unwrap_or_default();
            let answer = self.app(app, "GET", &format!("/logs?limit=1000&{filter}{after}"), None).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let mut page = answer.json();
            records.extend(page["data"].as_array_mut().map(std::mem::take).unwrap_or_default());
            match page["cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return records,
            }
        }
    }

    /// Returns all messages of an app in CloudWatch Logs, as JSON.
    pub async fn cloudwatch(&self, app: &TestApp) -> Vec<Value> {
        let pages = self
            .aws
            .logs()
            .filter_log_events()
            .log_group_name(format!("/logferry/{}", app.app_id))
            .into_paginator()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await;
        // Before the first flush, there is no group to read.
        let Ok(pages) = pages else { return Vec::new() };
        let events = pages.into_iter().flat_map(|page| page.events.unwrap_or_default());
        let messages = events.filter_map(|event| event.message);
        messages.map(|message| serde_json::from_str(&message).unwrap_or(Value::String(message))).collect()
    }
}

/// Says on the terminal that the current test is skipped. Not with `eprintln!`, whose output the test harness
/// shows for failed tests only.
fn say_skipped() {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("skipped: {test}: no local stack; run `make test`, or `make up` first\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Polls until there is a result.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "timed out waiting for {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Encodes a value for a query string.
#[must_use]
pub fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// One gzip member.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.unwrap_or_else(|error| panic!("gzip: {error}"))
}
