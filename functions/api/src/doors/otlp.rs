//! OTLP over HTTP: logs of OpenTelemetry, in protobuf and in JSON.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use logferry_core::logbook::carried::{Carried, Identity};
use logferry_core::logbook::new_entry::{MAX_ENTRY_BYTES, half_surrogates_replaced};
use logferry_core::logbook::write::Refused;
use logferry_core::model::app::App;
use logferry_core::model::level::Level;
use logferry_service::http::{
    Answer, ApiError, BodyBytes, ErrorShape, IntoResponse as _, Operation, Response, Route, Routes, State,
    with_pause,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::wire::{Fields, Malformed, Value as Wire, put_bytes, put_number, text};
use super::{Batch, Few, unread};
use crate::auth::AsShipper;
use crate::{Api, Cloud, Shared};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
/// The deepest nesting of a value.
const MAX_DEPTH: usize = 60;

pub(super) fn routes<C: Cloud, R: Routes<Arc<Api<C>>>>(into: R) -> R {
    into.add(
        Route::post("/otlp/v1/logs", "writeOtlp", super::TAG)
            .says("OTLP/HTTP: logs of OpenTelemetry")
            .with(takes_otlp)
            .with(describes),
        write::<C>,
    )
}

/// Describes bodies and answers in protobuf.
pub(crate) fn takes_otlp(operation: &mut Operation) {
    let request = "OTLP: `ExportLogsServiceRequest`, answered with `ExportLogsServiceResponse`.";
    operation.takes_body_as(PROTOBUF, json!({"description": request}));
    operation.answers_as(200, "stored", PROTOBUF, json!({}));
}

fn describes(operation: &mut Operation) {
    operation.takes_body_as(JSON, json!({"type": "object"}));
    let partial = json!({"type": "object", "properties": {
        "rejectedLogRecords": {"type": "string", "pattern": "^[0-9]+$"}, "errorMessage": {"type": "string"}}});
    operation.answers(200, "stored", json!({"type": "object", "properties": {"partialSuccess": partial}}));
    operation.error_shape = ErrorShape { name: "Otlp", schemas: otlp_errors };
}

/// The schemas of an error: `google.rpc.Status`.
pub(crate) fn otlp_errors() -> Vec<(&'static str, Value)> {
    let status = json!({"code": {"type": "integer"}, "message": {"type": "string"}});
    let json_status = ErrorShape::object(&["code", "message"], status);
    vec![(JSON, json_status), (PROTOBUF, json!({"description": "`google.rpc.Status`."}))]
}

async fn write<C: Cloud>(
    State(api): Shared<C>,
    by: Result<AsShipper, ApiError>,
    payload: Result<BodyBytes, ApiError>,
) -> Answer {
    let json = payload.as_ref().is_ok_and(|payload| payload.media_type == JSON);
    Ok(match (by, payload) {
        (Ok(by), Ok(payload)) => write_otlp(&api, &by.app, by.head.now_ms, &payload).await,
        (Err(error), _) | (_, Err(error)) => status(&error, !json),
    })
}

/// Whether a body of `POST /logs` is OTLP: protobuf, or an object with `resourceLogs`.
pub(crate) fn is_otlp(payload: &BodyBytes) -> bool {
    // A request has no other member.
    let first = payload.bytes.trim_ascii_start();
    let first = first.strip_prefix(b"{").unwrap_or_default().trim_ascii_start();
    let named = first.starts_with(b"\"resourceLogs\"") || first.starts_with(b"\"resource_logs\"");
    payload.media_type == PROTOBUF || payload.may_be_json() && named
}

/// Stores the log records of a request, and answers it.
pub(crate) async fn write_otlp<C: Cloud>(
    api: &Api<C>,
    app: &App,
    now_ms: i64,
    payload: &BodyBytes,
) -> Response {
    let protobuf = payload.media_type == PROTOBUF;
    let batch = match protobuf {
        true => of_protobuf(&payload.bytes),
        false if payload.may_be_json() => of_json(&payload.bytes),
        false => Err(ApiError::unsupported("send application/x-protobuf or application/json")),
    };
    let refused = async { api.carry(app, now_ms, "otlp", &batch?, Identity::Content).await };
    match refused.await {
        Ok(refused) => accepted(&refused, protobuf),
        Err(error) => status(&error, protobuf),
    }
}

/// `ExportLogsServiceResponse`, with what was not stored.
fn accepted(refused: &[Refused], protobuf: bool) -> Response {
    let Some(first) = refused.first() else {
        return answer(StatusCode::OK, protobuf, Vec::new(), &json!({}));
    };
    let mut partial = Vec::new();
    put_number(&mut partial, 1, refused.len() as u64);
    put_bytes(&mut partial, 2, first.why.to_string().as_bytes());
    let mut message = Vec::new();
    put_bytes(&mut message, 1, &partial);
    // 64-bit numbers are strings in protobuf's JSON.
    let partial =
        json!({"rejectedLogRecords": refused.len().to_string(), "errorMessage": first.why.to_string()});
    answer(StatusCode::OK, protobuf, message, &json!({"partialSuccess": partial}))
}

/// An error as `google.rpc.Status`. 429 and 503 are retryable, every other is not.
/// <https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes>
fn status(error: &ApiError, protobuf: bool) -> Response {
    // <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>
    let code = match error.status.as_u16() {
        401 => 16,
        403 => 7,
        429 => 8,
        500 => 13,
        503 => 14,
        _ => 3,
    };
    let mut message = Vec::new();
    put_number(&mut message, 1, code);
    put_bytes(&mut message, 2, error.message.as_bytes());
    let body = json!({"code": code, "message": error.message});
    with_pause(answer(error.status, protobuf, message, &body), error.retry_after_secs)
}

fn answer(status: StatusCode, protobuf: bool, message: Vec<u8>, body: &Value) -> Response {
    match protobuf {
        true => (status, [(CONTENT_TYPE, PROTOBUF)], message).into_response(),
        false => logferry_service::http::json(status, body),
    }
}

fn malformed(what: &str) -> ApiError {
    ApiError::bad_request("body", format!("the body is no ExportLogsServiceRequest: {what}"))
}

impl From<Malformed> for ApiError {
    fn from(_: Malformed) -> Self {
        malformed("it is not valid protobuf")
    }
}

/// A log record, from either encoding.
#[derive(Debug, Default)]
struct LogRecord<'a> {
    time_ns: u64,
    observed_ns: u64,
    severity_number: u64,
    severity_text: Cow<'a, str>,
    body: Option<Value>,
    attributes: Map<String, Value>,
    flags: u64,
    trace_id: String,
    span_id: String,
    event_name: Cow<'a, str>,
}

/// A record as an entry of Logferry.
#[derive(Serialize)]
struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    level: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    context: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    span_id: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    trace_flags: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    event_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a Value>,
    #[serde(skip_serializing_if = "str::is_empty")]
    severity_text: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    severity_number: u64,
    #[serde(skip_serializing_if = "is_zero")]
    observed_timestamp: u64,
    #[serde(skip_serializing_if = "Map::is_empty")]
    resource: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    scope: &'a Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl LogRecord<'_> {
    /// The record as an entry of Logferry.
    fn carried(
        &self,
        resource: &Map<String, Value>,
        scope: &Map<String, Value>,
    ) -> Result<Carried<'static>, ApiError> {
        let time_ns = [self.time_ns, self.observed_ns].into_iter().find(|ns| *ns > 0);
        let level = match (self.severity_number, &*self.severity_text) {
            (0, "") => Cow::Borrowed("INFO"),
            (0, text) => Cow::Borrowed(text),
            #[expect(
                clippy::cast_precision_loss,
                reason = "24 at most; what is larger is an error all the same"
            )]
            (number, _) => Cow::Owned(Level::from_opentelemetry(number as f64).to_string()),
        };
        let (message, body) = match &self.body {
            None => (Cow::Borrowed(&*self.event_name), None),
            Some(Value::String(text)) => (Cow::Borrowed(text.as_str()), None),
            Some(body) => (Cow::Owned(body.to_string()), Some(body)),
        };
        let entry = Entry {
            timestamp: time_ns,
            level: &level,
            message: &message,
            context: &self.attributes,
            trace_id: &self.trace_id,
            span_id: &self.span_id,
            trace_flags: self.flags,
            event_name: &self.event_name,
            body,
            severity_text: &self.severity_text,
            severity_number: self.severity_number,
            observed_timestamp: self.observed_ns,
            resource,
            scope,
        };
        let text = serde_json::to_string(&entry).map_err(|error| ApiError::internal(&error))?;
        Ok(Carried { text: text.into(), time_ns, ..Carried::default() })
    }
}

// The numbers of fields are those of opentelemetry/proto/{common,resource,logs}/v1/*.proto.

fn of_protobuf(body: &[u8]) -> Result<Batch<'_>, ApiError> {
    let mut batch = Batch::default();
    for resource_logs in messages(body, 1) {
        let resource_logs = resource_logs?;
        let mut resource = Map::new();
        for message in messages(resource_logs, 1) {
            put_attributes(&mut resource, message?, 1)?;
        }
        for scope_logs in messages(resource_logs, 2) {
            let scope_logs = scope_logs?;
            let mut scope = Map::new();
            for message in messages(scope_logs, 1) {
                let message = message?;
                for (field, name) in [(1, "name"), (2, "version")] {
                    for value in messages(message, field) {
                        scope.insert(name.to_owned(), text(value?).into());
                    }
                }
                put_attributes(&mut scope, message, 3)?;
            }
            for record in messages(scope_logs, 2) {
                let record = record?;
                let entry = match record.len() > MAX_ENTRY_BYTES {
                    true => too_large(record),
                    false => record_of(record)?.carried(&resource, &scope)?,
                };
                batch.push(entry)?;
            }
        }
    }
    Ok(batch)
}

/// The values of a field that is a message, a text or bytes.
fn messages(message: &[u8], field: u64) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields(message).filter_map(move |read| match read {
        Ok((number, Wire::Bytes(bytes))) if number == field => Some(Ok(bytes)),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    })
}

fn put_attributes(into: &mut Map<String, Value>, message: &[u8], field: u64) -> Result<(), Malformed> {
    for attribute in messages(message, field) {
        let (key, value) = key_value(attribute?, 0)?;
        into.insert(key, value);
    }
    Ok(())
}

fn record_of(message: &[u8]) -> Result<LogRecord<'_>, Malformed> {
    let mut record = LogRecord::default();
    for field in Fields(message) {
        match field? {
            (1, Wire::Fixed64(ns)) => record.time_ns = ns,
            (2, Wire::Varint(number)) => record.severity_number = number,
            (3, Wire::Bytes(bytes)) => record.severity_text = text(bytes),
            (5, Wire::Bytes(bytes)) => {
                record.body = Some(any_value(bytes, 0)?).filter(|body| !body.is_null())
            }
            (6, Wire::Bytes(bytes)) => {
                let (key, value) = key_value(bytes, 0)?;
                record.attributes.insert(key, value);
            }
            (8, Wire::Fixed32(flags)) => record.flags = flags.into(),
            (9, Wire::Bytes(bytes)) => record.trace_id = hex::encode(bytes),
            (10, Wire::Bytes(bytes)) => record.span_id = hex::encode(bytes),
            (11, Wire::Fixed64(ns)) => record.observed_ns = ns,
            (12, Wire::Bytes(bytes)) => record.event_name = text(bytes),
            _ => {}
        }
    }
    Ok(record)
}

fn key_value(message: &[u8], depth: usize) -> Result<(String, Value), Malformed> {
    let (mut key, mut value) = (String::new(), Value::Null);
    for field in Fields(message) {
        match field? {
            (1, Wire::Bytes(bytes)) => key = text(bytes).into_owned(),
            (2, Wire::Bytes(bytes)) => value = any_value(bytes, depth + 1)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn any_value(message: &[u8], depth: usize) -> Result<Value, Malformed> {
    if depth > MAX_DEPTH {
        return Err(Malformed);
    }
    let mut value = Value::Null;
    for field in Fields(message) {
        value = match field? {
            (1, Wire::Bytes(bytes)) => text(bytes).into(),
            (2, Wire::Varint(flag)) => (flag != 0).into(),
            (3, Wire::Varint(number)) => number.cast_signed().into(),
            (4, Wire::Fixed64(bits)) => double(f64::from_bits(bits)),
            (5, Wire::Bytes(array)) => {
                let values = messages(array, 1).map(|value| any_value(value?, depth + 1));
                values.collect::<Result<Vec<_>, _>>()?.into()
            }
            (6, Wire::Bytes(list)) => {
                let pairs = messages(list, 1).map(|pair| key_value(pair?, depth));
                pairs.collect::<Result<Map<_, _>, _>>()?.into()
            }
            (7, Wire::Bytes(bytes)) => BASE64_STANDARD.encode(bytes).into(),
            _ => continue,
        };
    }
    Ok(value)
}

/// A number, or the name of what JSON has no number for.
fn double(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::from)
}

// Receivers must ignore members that they do not know. Records stay as they came until they are read one by one.

#[derive(Debug, Deserialize)]
struct Request<'a> {
    #[serde(borrow, default, rename = "resourceLogs", alias = "resource_logs")]
    resource_logs: Few<ResourceLogs<'a>>,
}

#[derive(Debug, Deserialize)]
struct ResourceLogs<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "scopeLogs", alias = "scope_logs")]
    scope_logs: Few<ScopeLogs<'a>>,
}

#[derive(Debug, Deserialize)]
struct ScopeLogs<'a> {
    #[serde(borrow, default)]
    scope: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "logRecords", alias = "log_records")]
    log_records: Few<&'a RawValue>,
}

fn of_json(body: &[u8]) -> Result<Batch<'static>, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
    let text = half_surrogates_replaced(text);
    if !text.trim_start().starts_with('{') {
        return Err(malformed("it is no object"));
    }
    let request: Request<'_> = serde_json::from_str(&text).map_err(|error| unread(&error, malformed))?;
    let mut batch = Batch::default();
    for ResourceLogs { resource, scope_logs } in request.resource_logs {
        let resource = attributes_of(member(&object_of(resource)?, "attributes", "attributes"))?;
        for ScopeLogs { scope, log_records } in scope_logs {
            let said = object_of(scope)?;
            let mut scope = Map::new();
            for name in ["name", "version"] {
                if let Some(Value::String(text)) = said.get(name).filter(|text| *text != "") {
                    scope.insert(name.to_owned(), text.as_str().into());
                }
            }
            scope.extend(attributes_of(member(&said, "attributes", "attributes"))?);
            for record in log_records {
                if record.get().len() > MAX_ENTRY_BYTES {
                    batch.push(too_large(record.get().as_bytes()))?;
                    continue;
                }
                let record = object_of(Some(record))?;
                batch.push(record_of_json(&record)?.carried(&resource, &scope)?)?;
            }
        }
    }
    Ok(batch)
}

/// A record that is refused without having been read.
fn too_large(record: &[u8]) -> Carried<'static> {
    Carried { text: text(record).into_owned().into(), ..Carried::default() }
}

fn object_of(raw: Option<&RawValue>) -> Result<Map<String, Value>, ApiError> {
    let Some(raw) = raw else { return Ok(Map::new()) };
    match serde_json::from_str(raw.get()) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(malformed("an element is no object")),
        Err(error) => Err(malformed(&error.to_string())),
    }
}

/// A member by its name in JSON or in protobuf, unless it is null.
fn member<'a>(of: &'a Map<String, Value>, name: &str, in_protobuf: &str) -> Option<&'a Value> {
    of.get(name).or_else(|| of.get(in_protobuf)).filter(|value| !value.is_null())
}

fn record_of_json(of: &Map<String, Value>) -> Result<LogRecord<'static>, ApiError> {
    let text = |name: &str, in_protobuf: &str| match member(of, name, in_protobuf) {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    let number = |name: &str, in_protobuf: &str| match member(of, name, in_protobuf) {
        None => Ok(0),
        Some(value) => integer(value).ok_or_else(|| malformed(&format!("{name} is no number"))),
    };
    let severity_number = match member(of, "severityNumber", "severity_number") {
        Some(Value::String(name)) if name.starts_with("SEVERITY_NUMBER_") => severity_of(name),
        _ => number("severityNumber", "severity_number")?,
    };
    Ok(LogRecord {
        time_ns: number("timeUnixNano", "time_unix_nano")?,
        observed_ns: number("observedTimeUnixNano", "observed_time_unix_nano")?,
        severity_number,
        severity_text: text("severityText", "severity_text").into(),
        body: member(of, "body", "body").map(any_value_of_json).filter(|body| !body.is_null()),
        attributes: attributes_of(member(of, "attributes", "attributes"))?,
        flags: number("flags", "flags")?,
        trace_id: text("traceId", "trace_id"),
        span_id: text("spanId", "span_id"),
        event_name: text("eventName", "event_name").into(),
    })
}

/// The number of a name such as `SEVERITY_NUMBER_WARN2`; 0 for one that does not exist.
fn severity_of(name: &str) -> u64 {
    let name = name.trim_start_matches("SEVERITY_NUMBER_");
    let base = name.trim_end_matches(['2', '3', '4']);
    let first = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"].iter().position(|known| *known == base);
    let step = name[base.len()..].parse::<u64>().map_or(0, |step| step - 1);
    first.map_or(0, |first| first as u64 * 4 + 1 + step)
}

/// 64-bit numbers are strings in protobuf's JSON; some clients send numbers.
fn integer(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) if text.is_empty() => Some(0),
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

fn attributes_of(list: Option<&Value>) -> Result<Map<String, Value>, ApiError> {
    match list {
        None => Ok(Map::new()),
        Some(Value::Array(pairs)) => Ok(pairs_of(pairs)),
        Some(_) => Err(malformed("attributes are no array")),
    }
}

fn pairs_of(pairs: &[Value]) -> Map<String, Value> {
    let pair = |pair: &Value| {
        let key = pair.get("key")?.as_str()?.to_owned();
        Some((key, pair.get("value").map_or(Value::Null, any_value_of_json)))
    };
    pairs.iter().filter_map(pair).collect()
}

/// An `AnyValue`; what is none stays as it is. `serde_json` limits how deep it may be.
fn any_value_of_json(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|members| members.iter().next()) else {
        return if value.is_object() { Value::Null } else { value.clone() };
    };
    let values = || inner.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    match kind.as_str() {
        "intValue" | "int_value" => match inner {
            Value::String(text) => text.parse::<i64>().map_or_else(|_| inner.clone(), Value::from),
            _ => inner.clone(),
        },
        "stringValue" | "string_value" | "boolValue" | "bool_value" | "doubleValue" | "double_value"
        | "bytesValue" | "bytes_value" => inner.clone(),
        "arrayValue" | "array_value" => values().iter().map(any_value_of_json).collect(),
        "kvlistValue" | "kvlist_value" => pairs_of(values()).into(),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use logferry_core::logbook::new_entry::Invalid;

    use super::*;

    fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        fields.iter().for_each(|(field, bytes)| put_bytes(&mut out, *field, bytes));
        out
    }

    fn fixed64(out: &mut Vec<u8>, field: u8, value: u64) {
        out.push(field << 3 | 1);
        out.extend_from_slice(&value.to_le_bytes());
    }

    fn text_value(text: &str) -> Vec<u8> {
        message(&[(1, text.as_bytes())])
    }

    fn attribute(key: &str, value: &[u8]) -> Vec<u8> {
        message(&[(1, key.as_bytes()), (2, value)])
    }

    /// A request of one record.
    fn request(record: &[u8]) -> Vec<u8> {
        let resource = message(&[(1, &attribute("service.name", &text_value("shop")))]);
        let scope = message(&[(1, b"scope"), (2, b"1.0")]);
        let scope_logs = message(&[(1, &scope), (2, record)]);
        // The resource may come after its records.
        message(&[(1, &message(&[(2, &scope_logs), (1, &resource)]))])
    }

    fn entries(batch: Result<Batch<'_>, ApiError>) -> Vec<Value> {
        let batch = batch.unwrap();
        batch.entries.iter().map(|entry| serde_json::from_str(&entry.text).unwrap()).collect()
    }

    #[test]
    fn protobuf_and_json_say_the_same() {
        let mut int = Vec::new();
        put_number(&mut int, 3, (-7_i64).cast_unsigned());
        let mut flag = Vec::new();
        put_number(&mut flag, 2, 1);
        let mut pi = Vec::new();
        fixed64(&mut pi, 4, 3.5_f64.to_bits());
        let list = message(&[(5, &message(&[(1, &text_value("a")), (1, &int), (1, b"")]))]);
        let nested = message(&[(6, &message(&[(1, &attribute("flag", &flag)), (1, &attribute("pi", &pi))]))]);
        let mut record = Vec::new();
        fixed64(&mut record, 1, 1_743_532_441_581_000_001);
        fixed64(&mut record, 11, 1_743_532_441_582_000_000);
        put_number(&mut record, 2, 14);
        put_bytes(&mut record, 3, b"WARN2");
        put_bytes(&mut record, 5, &text_value("careful"));
        for (key, value) in [("list", list), ("nested", nested), ("bytes", message(&[(7, b"\xff")]))] {
            put_bytes(&mut record, 6, &attribute(key, &value));
        }
        record.extend_from_slice(&[8 << 3 | 5, 1, 0, 0, 0]);
        put_bytes(&mut record, 9, &[0xab; 16]);
        put_bytes(&mut record, 10, &[0xcd; 8]);
        let json = json!({"resourceLogs": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeLogs": [{"scope": {"name": "scope", "version": "1.0"}, "unknown": 1, "logRecords": [{
                "timeUnixNano": "1743532441581000001", "observedTimeUnixNano": 1_743_532_441_582_000_000_u64,
                "severityNumber": 14, "severityText": "WARN2", "body": {"stringValue": "careful"},
                "attributes": [
                    {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "-7"}, {}]}}},
                    {"key": "nested", "value": {"kvlistValue": {"values": [
                        {"key": "flag", "value": {"boolValue": true}}, {"key": "pi", "value": {"doubleValue": 3.5}}]}}},
                    {"key": "bytes", "value": {"bytesValue": "/w=="}}],
                "flags": 1, "traceId": "ab".repeat(16), "spanId": "cd".repeat(8)}]}]}]});
        let expected = json!({
            "timestamp": 1_743_532_441_581_000_001_u64, "level": "WARN", "message": "careful",
            "context": {"list": ["a", -7, null], "nested": {"flag": true, "pi": 3.5}, "bytes": "/w=="},
            "trace_id": "ab".repeat(16), "span_id": "cd".repeat(8), "trace_flags": 1, "severity_text": "WARN2",
            "severity_number": 14, "observed_timestamp": 1_743_532_441_582_000_000_u64,
            "resource": {"service.name": "shop"}, "scope": {"name": "scope", "version": "1.0"}});
        assert_eq!(entries(of_protobuf(&request(&record))), std::slice::from_ref(&expected));
        assert_eq!(entries(of_json(json.to_string().as_bytes())), [expected]);
    }

    #[test]
    fn bodies_of_every_kind_have_a_message_and_levels_come_from_number_or_text() {
        for (record, level, said) in [
            (json!({}), "INFO", ""),
            (json!({"eventName": "login"}), "INFO", "login"),
            (json!({"body": {"intValue": "5"}}), "INFO", "5"),
            (
                json!({"body": {"kvlistValue": {"values": [{"key": "a", "value": {"boolValue": false}}]}}}),
                "INFO",
                r#"{"a":false}"#,
            ),
            (json!({"severityText": "Critical", "body": {"stringValue": "x"}}), "Critical", "x"),
            (json!({"severityNumber": "SEVERITY_NUMBER_FATAL4"}), "ERROR", ""),
            (json!({"severityNumber": "SEVERITY_NUMBER_DEBUG"}), "DEBUG", ""),
            (json!({"severityNumber": 99}), "ERROR", ""),
            (json!({"body": null, "attributes": null}), "INFO", ""),
        ] {
            let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).to_string();
            let entry = entries(of_json(body.as_bytes())).remove(0);
            assert_eq!(
                (entry["level"].as_str(), entry["message"].as_str()),
                (Some(level), Some(said)),
                "{record}"
            );
        }
        let nan = message(&[(2, &[])]);
        assert_eq!(entries(of_protobuf(&request(&nan))).len(), 1);
        assert_eq!(double(f64::NAN), "NaN");
    }

    #[test]
    fn what_is_no_request_is_malformed() {
        let mut deep = text_value("x");
        for _ in 0..100 {
            deep = message(&[(5, &message(&[(1, &deep)]))]);
        }
        for body in [&b"\x0a\x05x"[..], b"\x0f", b"{}", &request(&message(&[(5, &deep)]))] {
            assert_eq!(of_protobuf(body).unwrap_err().status, 400, "{body:?}");
        }
        for body in [
            "",
            "[]",
            "{\"resourceLogs\":{}}",
            "{\"resourceLogs\":[1]}",
            "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[1]}]}]}",
            "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":\"soon\"}]}]}]}",
            "{\"resourceLogs\":[{\"resource\":{\"attributes\":1}}]}",
        ] {
            assert_eq!(of_json(body.as_bytes()).unwrap_err().status, 400, "{body}");
        }
        assert!(of_json(b"{\"resourceLogs\":null}").unwrap().entries.is_empty());
        assert!(of_protobuf(b"").unwrap().entries.is_empty());
    }

    #[test]
    fn a_resource_that_belongs_to_many_records_counts_for_each() {
        let resource = message(&[(1, &attribute("k", &text_value(&"x".repeat(1 << 20))))]);
        let record = message(&[(5, &text_value("x"))]);
        let scope_logs = message(&vec![(2, record.as_slice()); 1000]);
        let body = message(&[(1, &message(&[(1, &resource), (2, &scope_logs)]))]);
        assert_eq!(of_protobuf(&body).unwrap_err().status, 413);
    }

    #[tokio::test]
    async fn answers_are_messages_of_the_protocol_in_the_encoding_of_the_request() {
        let why = Invalid::new("entries[0]", "too large");
        let refused = [Refused { index: 0, why }];
        let mut error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "slow down");
        error.retry_after_secs = Some(7);
        let partial =
            r#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"entries[0]: too large"}}"#;
        for (response, status_code, body) in [
            (accepted(&[], true), 200, &b""[..]),
            (accepted(&[], false), 200, b"{}"),
            (accepted(&refused, true), 200, b"\x0a\x19\x08\x01\x12\x15entries[0]: too large"),
            (accepted(&refused, false), 200, partial.as_bytes()),
            (status(&error, true), 429, b"\x08\x08\x12\x09slow down"),
            (status(&error, false), 429, br#"{"code":8,"message":"slow down"}"#),
        ] {
            assert_eq!(response.status(), status_code);
            assert_eq!(response.headers().contains_key("retry-after"), status_code == 429);
            let answered = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
            assert_eq!(&*answered, body);
        }
    }
}
