//! One app, its key and its tokens, a ledger that remembers grants, and requests to send.

#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, unreachable_pub)]

pub mod uploads;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::{FileRow, Grant};
use logferry_core::model::app::{App as Registered, AppId};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::quota::{Exceeded, Quota, Used};
use logferry_core::model::time::Day;
use logferry_core::ports::apps::{Apps, KeyRow};
use logferry_core::ports::secrets::{SecretVersion, Secrets, Stage};
use logferry_core::ports::usage::{Usage, UsageDay};
use logferry_core::uploads::attendees::Attendees;
use logferry_presign::{JoinVerifier, LogLimits, Presign, UploadLimits, World};
use logferry_presigner::Presigner;
use logferry_service::api_key::ApiKey;
use logferry_service::tokens::Tokens;
use serde_json::Value;

/// 2025-04-01T18:34:01.581Z
pub const NOW_MS: i64 = 1_743_532_441_581;
pub const MAX_BYTES: u64 = 10_485_760;
pub const CREATED_MS: i64 = NOW_MS - 60_000;

pub fn app_id() -> AppId {
    "my-app".parse().unwrap()
}

/// `my-app` with one key.
pub struct OneApp {
    pub key: ApiKey,
    pub app: Option<Registered>,
}

impl OneApp {
    pub fn new() -> Self {
        Self { key: ApiKey::generate().unwrap(), app: Some(registered()) }
    }
}

pub fn registered() -> Registered {
    Registered::new(app_id(), "My app", CREATED_MS)
}

impl Apps for OneApp {
    async fn find(&self, app_id: &AppId) -> Result<Option<Registered>, Fault> {
        Ok(self.app.clone().filter(|app| app.app_id == *app_id))
    }

    async fn find_key(&self, key_id: &str) -> Result<Option<KeyRow>, Fault> {
        let row = || KeyRow::with_all_scopes(key_id, app_id(), self.key.secret_hash());
        Ok((key_id == self.key.key_id()).then(row))
    }

    async fn list(&self) -> Result<Vec<Registered>, Fault> {
        Ok(self.app.iter().cloned().collect())
    }
}

/// Stores grants; fails as often as a test asks. Knows today's usage of the app.
#[derive(Default)]
pub struct GrantTable {
    pub granted: Mutex<Vec<Grant>>,
    pub failures: Mutex<Vec<FaultClass>>,
    pub used: Mutex<Used>,
    /// Rows of files by key, where a test has put them.
    pub rows: Mutex<BTreeMap<String, FileRow>>,
}

impl Usage for GrantTable {
    async fn used(&self, of: &UsageDay) -> Result<Used, Fault> {
        assert_eq!((of.app_id.clone(), of.registered_ms, of.day), (app_id(), CREATED_MS, Day::of_ms(NOW_MS)));
        Ok(*self.used.lock().unwrap())
    }

    async fn charge(&self, _: &UsageDay, _: Used, _: &Quota) -> Result<Option<Exceeded>, Fault> {
        unreachable!("presign only reads the usage")
    }
}

impl Grants for GrantTable {
    async fn grant(&self, grant: &Grant) -> Result<(), Fault> {
        if let Some(class) = self.failures.lock().unwrap().pop() {
            return Err(Fault::new(class, "PutItem", "requested by the test"));
        }
        self.granted.lock().unwrap().push(grant.clone());
        Ok(())
    }

    async fn find_grant(&self, bucket: &str, key: &str) -> Result<Option<Grant>, Fault> {
        let granted = self.granted.lock().unwrap();
        Ok(granted.iter().find(|grant| (grant.bucket.as_str(), grant.key.as_str()) == (bucket, key)).cloned())
    }

    async fn find_waiting(&self, bucket: &str, key: &str) -> Result<Option<FileRow>, Fault> {
        let grant = self.find_grant(bucket, key).await?.filter(|grant| grant.used.is_none());
        let ended = self.rows.lock().unwrap().get(key).cloned();
        Ok(grant.map(|grant| ended.unwrap_or_else(|| grant.waiting_row())))
    }

    async fn find(&self, object: &ObjectRef) -> Result<Option<FileRow>, Fault> {
        Ok(self.rows.lock().unwrap().get(&object.key).cloned())
    }
}

/// One secret that never changes.
pub struct OneSecret;

impl Secrets for OneSecret {
    async fn version(&self, _: &str, stage: Stage) -> Result<Option<SecretVersion>, Fault> {
        let value = "the secret of the tests, 32 bytes".to_owned();
        Ok((stage == Stage::Current).then(|| SecretVersion { version_id: "v1".to_owned(), value }))
    }
}

pub const CHIME_MEETING: &str = "0b6b2f43-9e0c-4a5e-9f0e-2c7a3d4e2713";
pub const CHIME_ATTENDEE: &str = "5e1a0f7c-1111-4b6e-8a3f-0123456789ab";

/// A meeting with one attendee; counts how often it is asked.
#[derive(Default)]
pub struct OneMeeting {
    pub asked: AtomicU32,
}

impl Attendees for OneMeeting {
    async fn join_token(&self, meeting: &str, attendee: &str) -> Result<Option<String>, Fault> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok((meeting == CHIME_MEETING && attendee == CHIME_ATTENDEE).then(|| "chime-join-token".to_owned()))
    }
}

/// The stand-ins together.
pub struct Fakes;

impl World for Fakes {
    type Apps = OneApp;
    type Grants = GrantTable;
    type Secrets = OneSecret;
    type Attendees = OneMeeting;
    type Sessions = uploads::Rows;
    type Multipart = uploads::S3;
}

/// The function, as tests call it.
pub struct TestApp(Arc<Presign<Fakes>>);

impl TestApp {
    pub async fn handle(&self, request: &Sent, now_ms: i64) -> Answered {
        let door = logferry_presign::door(self.0.clone(), "Test");
        let (parts, body) = door.answer_event(request.clone(), now_ms).await.into_parts();
        Answered {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap(),
        }
    }
}

impl Deref for TestApp {
    type Target = Presign<Fakes>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for TestApp {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::get_mut(&mut self.0).unwrap()
    }
}

/// A request as API Gateway sends it.
pub type Sent = ApiGatewayV2httpRequest;

pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

pub fn tokens() -> Tokens<OneSecret> {
    Tokens::new(OneSecret, "token-secret")
}

pub fn app() -> TestApp {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests");
    TestApp(Arc::new(Presign {
        apps: OneApp::new(),
        grants: GrantTable::default(),
        tokens: tokens(),
        join_verifier: JoinVerifier::OwnTokens,
        sessions: uploads::Rows::default(),
        multipart: uploads::S3::default(),
        limits: UploadLimits::default(),
        log_limits: LogLimits::default(),
        presigner: Presigner::new(credentials, "eu-west-1", "bucket", None),
        region: "eu-west-1".parse().unwrap(),
        account_id: "123456789012".parse().unwrap(),
        max_presigned_bytes: MAX_BYTES,
    }))
}

pub fn request(method: Method, target: &str, headers: &[(&'static str, &str)], body: &str) -> Sent {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let event = serde_json::json!({
        "version": "2.0",
        "rawPath": target.split('?').next(),
        "rawQueryString": target.split_once('?').map_or("", |(_, query)| query),
        "headers": {},
        "isBase64Encoded": false,
        "body": body,
        "requestContext": {"http": {"method": method.as_str()}, "requestId": "r"},
    });
    let mut event: Sent = serde_json::from_value(event).unwrap();
    event.headers = map;
    event
}

/// Status and JSON body; of an error without the request's id.
pub fn answer(answered: &Answered) -> (u16, Value) {
    let mut body = answered.body.clone();
    if answered.status.as_u16() >= 400 {
        body.as_object_mut().unwrap().remove("request_id");
    }
    (answered.status.as_u16(), body)
}
