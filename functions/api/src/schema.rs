//! Shapes of the document that have no type of their own here: what callers send in many forms, and
//! what other crates write.

#![expect(dead_code, reason = "only described, never made")]

use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

#[derive(ToSchema)]
#[schema(rename_all = "UPPERCASE")]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// What goes on to CloudWatch Logs.
#[derive(ToSchema)]
pub(crate) struct Flush {
    enabled: Option<bool>,
    #[schema(nullable = false)]
    min_level: Option<Level>,
}

/// A URL, a check with conditions, or a job that reports itself.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum HealthUrl {
    #[schema(example = "https://shop.example.com/")]
    Url(String),
    Check(Check),
    Job(Job),
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Check {
    #[schema(max_length = 1000)]
    url: String,
    #[schema(min_length = 1, max_length = 64)]
    name: Option<String>,
    /// HEAD, GET, POST, PUT, PATCH, DELETE or OPTIONS.
    method: Option<String>,
    /// Values are write-only: answers show `(stored)`, which keeps the value when it is saved again.
    #[schema(value_type = Option<Object>)]
    headers: Option<Value>,
    /// At most 8 KiB; needs a method that has one.
    body: Option<String>,
    #[schema(minimum = 100, maximum = 10_000)]
    timeout_ms: Option<u32>,
    /// As in Gatus; see `docs/api.md`.
    #[schema(max_items = 20)]
    conditions: Option<Vec<String>>,
    #[schema(minimum = 1, maximum = 10)]
    failure_threshold: Option<u32>,
    #[schema(minimum = 1, maximum = 10)]
    success_threshold: Option<u32>,
    /// 1m to 24h, such as `15m`.
    interval: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Job {
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    name: String,
    /// 1m to 744h, such as `26h`.
    heartbeat: String,
    #[schema(minimum = 1, maximum = 10)]
    failure_threshold: Option<u32>,
    #[schema(minimum = 1, maximum = 10)]
    success_threshold: Option<u32>,
}

/// An entry, an array of entries, or `{"logs": [entry, …]}`. Any other member of an entry is stored too.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum NewEntries {
    One(NewEntry),
    Array(Vec<ShippedEntry>),
    Many(ManyEntries),
}

/// DEBUG, INFO, WARN or ERROR, or another name or number that docs/formats.md lists; case is ignored.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum LevelName {
    Name(String),
    Number(f64),
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ManyEntries {
    #[schema(max_items = 10_000)]
    logs: Vec<NewEntry>,
}

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"level": "INFO", "message": "hello", "context": {"user": 7}}))]
pub(crate) struct NewEntry {
    level: LevelName,
    message: String,
    #[schema(value_type = Option<Object>)]
    context: Option<Value>,
    /// RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds; from 2000 on and at
    /// most 24 hours later than the arrival, which it is if it is missing.
    timestamp: Option<Value>,
    #[schema(max_length = 1024)]
    request_id: Option<String>,
}

/// An entry of an array, which may lack level and message; its level is INFO then.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShippedEntry {
    level: Option<LevelName>,
    message: Option<String>,
    #[schema(value_type = Option<Object>)]
    context: Option<Value>,
    timestamp: Option<Value>,
    #[schema(max_length = 1024)]
    request_id: Option<String>,
}

/// A stored record. It has further members, such as `method` and `url`, where the entry had them.
#[derive(ToSchema)]
pub(crate) struct Record {
    #[schema(pattern = "^[0-9a-f]{32}$")]
    id: String,
    /// Where records of all apps are merged.
    #[schema(nullable = false)]
    app_id: Option<String>,
    #[schema(format = DateTime)]
    timestamp: String,
    level: Level,
    message: String,
    context: Option<Value>,
    #[schema(nullable = false)]
    request_id: Option<String>,
    /// Members of the entry that have no place of their own here, such as `err` and `res`.
    #[schema(value_type = Option<Object>, nullable = false)]
    fields: Option<Value>,
    /// `true` if `timestamp` is the time of arrival.
    #[schema(nullable = false, rename = "timestampFallback")]
    timestamp_fallback: Option<bool>,
    #[schema(rename = "rawData")]
    raw_data: Option<Value>,
    /// When the record could first be followed; only with `after`.
    #[schema(format = DateTime, nullable = false)]
    arrived_at: Option<String>,
}

/// A result of a check.
#[derive(ToSchema)]
pub(crate) struct CheckRow {
    url: String,
    /// 0 if nothing answered.
    status: u16,
    latency_ms: u32,
    ok: bool,
    error: Option<String>,
    #[schema(format = DateTime)]
    checked_at: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "UPPERCASE")]
pub(crate) enum FileStatus {
    Pending,
    Processing,
    Completed,
    Failed,
}

/// Why a file FAILED.
#[derive(ToSchema)]
pub(crate) struct Reason {
    code: ReasonCode,
    message: String,
}

/// Records and bytes of a file.
#[derive(ToSchema)]
pub(crate) struct FileCounts {
    ok: u64,
    quarantined: u64,
    /// Good records that a prune has hidden.
    pruned: u64,
    /// Decompressed bytes that were read.
    bytes: u64,
}

#[derive(ToSchema)]
pub(crate) struct Quarantined {
    /// Of the first bad record: its place in the file, from 0.
    ordinal: u64,
    /// Of the last one.
    last_ordinal: u64,
    /// Bad records among these ordinals; the others are good and stored.
    #[schema(minimum = 1)]
    count: u64,
    /// Of the first one.
    reason: QuarantineReason,
    /// How many are bad for which reason.
    #[schema(value_type = Object)]
    reasons: Value,
    /// First byte in the decompressed file.
    start: u64,
    /// End of the last one, excluded.
    end: u64,
    /// The beginning of the first one, redacted.
    #[schema(max_length = 1024)]
    sample: String,
}

/// The codes of a file's reason.
pub(crate) struct ReasonCode;

impl PartialSchema for ReasonCode {
    fn schema() -> RefOr<Schema> {
        let codes = logferry_core::logfile::outcome::ReasonCode::ALL.map(|code| code.as_str());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes)).into()
    }
}

impl ToSchema for ReasonCode {}

/// The reasons of bad records.
pub(crate) struct QuarantineReason;

impl PartialSchema for QuarantineReason {
    fn schema() -> RefOr<Schema> {
        let reasons = logferry_core::logfile::quarantine::QuarantineReason::ALL;
        let names = reasons.iter().filter_map(|reason| serde_json::to_value(reason).ok());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.collect::<Vec<_>>())).into()
    }
}

impl ToSchema for QuarantineReason {}
