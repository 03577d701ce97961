//! A record as callers see it. It is built at read time by parsing the stored entry.
//! [`LogRecord::write_json`] writes it for queries, [`LogRecord::write_line`] for CloudWatch. Values are
//! copied as written: numbers keep their digits.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::app::AppId;
use crate::model::embedded_metrics::inert_name;
use crate::model::ids::RecordId;
use crate::model::level::Level;
use crate::model::record::{EntryKind, StoredRecord};
use crate::model::time::rfc3339_ms;
use crate::model::{json, worker_line};

/// The fields of a record besides id, time, level and message, in output order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    Context,
    RequestId,
    Method,
    Url,
    Query,
    Headers,
    Params,
    AuthUserId,
    Pid,
    Hostname,
    RemoteAddress,
    RemotePort,
    ProcessingTimeMs,
    CacheHit,
    DocumentCount,
    LastUpdated,
    CreatedAt,
    UpdatedAt,
}

impl Field {
    pub const ALL: [Self; 18] = [
        Self::Context,
        Self::RequestId,
        Self::Method,
        Self::Url,
        Self::Query,
        Self::Headers,
        Self::Params,
        Self::AuthUserId,
        Self::Pid,
        Self::Hostname,
        Self::RemoteAddress,
        Self::RemotePort,
        Self::ProcessingTimeMs,
        Self::CacheHit,
        Self::DocumentCount,
        Self::LastUpdated,
        Self::CreatedAt,
        Self::UpdatedAt,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::RequestId => "request_id",
            Self::Method => "method",
            Self::Url => "url",
            Self::Query => "query",
            Self::Headers => "headers",
            Self::Params => "params",
            Self::AuthUserId => "authUserId",
            Self::Pid => "pid",
            Self::Hostname => "hostname",
            Self::RemoteAddress => "remoteAddress",
            Self::RemotePort => "remotePort",
            Self::ProcessingTimeMs => "processingTimeMs",
            Self::CacheHit => "cacheHit",
            Self::DocumentCount => "documentCount",
            Self::LastUpdated => "lastUpdated",
            Self::CreatedAt => "createdAt",
            Self::UpdatedAt => "updatedAt",
        }
    }
}

/// A record with the fields of its entry. Borrows from the entry unless an escape must be decoded.
#[derive(Debug, Clone)]
pub struct LogRecord<'a> {
    pub id: RecordId,
    pub timestamp_ms: i64,
    pub timestamp_fallback: bool,
    pub level: Level,
    pub message: Cow<'a, str>,
    /// Always a text; numbers as written.
    pub request_id: Option<Cow<'a, str>>,
    pub kind: EntryKind,
    /// The original, byte for byte.
    pub raw: &'a str,
    fields: [Option<&'a RawValue>; Field::ALL.len()],
    rest: Vec<(Cow<'a, str>, &'a RawValue)>,
    rest_of_req: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> LogRecord<'a> {
    /// Parses all fields of the entry. Never fails: an entry that does not match its kind becomes the
    /// message.
    #[must_use]
    pub fn read(record: &StoredRecord<'a>) -> Self {
        let entry = &record.entry;
        let mut this = Self {
            id: record.id,
            timestamp_ms: entry.timestamp_ms,
            timestamp_fallback: entry.timestamp_fallback,
            level: entry.level,
            message: Cow::Borrowed(entry.raw),
            request_id: None,
            kind: entry.kind,
            raw: entry.raw,
            fields: [None; Field::ALL.len()],
            rest: Vec::new(),
            rest_of_req: Vec::new(),
        };
        match entry.kind {
            EntryKind::Json => {
                let mut found = Found::default();
                match parse_object(entry.raw, &mut found) {
                    Some(()) => this.take(found),
                    None => this.kind = EntryKind::PlainText,
                }
            }
            EntryKind::WorkerText => {
                if let Some(header) = worker_line::parse_header(entry.raw.as_bytes()) {
                    this.message = Cow::Borrowed(entry.raw.get(header.message_start..).unwrap_or_default());
                }
            }
            EntryKind::PlainText => {}
        }
        this
    }

    /// Returns a field's JSON as written; `None` if it is missing or null. `request_id` is a separate
    /// member.
    #[must_use]
    pub fn field(&self, field: Field) -> Option<&'a RawValue> {
        self.fields[field as usize]
    }

    fn take(&mut self, top: Found<'a>) {
        let mut req = Found { of_req: true, ..Found::default() };
        self.rest = top.rest;
        if let Some(raw) = top.req {
            match parse_object(raw.get(), &mut req) {
                Some(()) => self.rest_of_req = std::mem::take(&mut req.rest),
                None => self.rest.push((Cow::Borrowed("req"), raw)),
            }
        }
        let text = |raw: Option<&'a RawValue>| raw.and_then(|raw| json::string(raw.get()));
        self.message = text(top.msg)
            .or_else(|| text(top.message))
            .or_else(|| top.msg.or(top.message).map(|raw| Cow::Borrowed(raw.get())))
            .unwrap_or_default();
        let ids = top.request_ids.into_iter().chain(req.request_ids);
        self.request_id = ids.flatten().find_map(|raw| scalar_text(raw.get()));
        self.fields = std::array::from_fn(|i| req.fields[i].or(top.fields[i]));
        if self.timestamp_fallback {
            self.rest.extend(top.times);
        }
    }

    /// Appends the record as JSON object of a query result. `app_id` is added if records of several apps
    /// are mixed; `rawData` (the entry itself if it is JSON, else a string) on request.
    pub fn write_json(&self, out: &mut Vec<u8>, app_id: Option<&AppId>, with_raw: bool) {
        self.write_head(out, "id");
        if let Some(app_id) = app_id {
            out.extend_from_slice(b",\"app_id\":");
            json::push_string(out, app_id.as_str());
        }
        self.write_fields(out);
        if with_raw {
            out.extend_from_slice(b",\"rawData\":");
            match self.kind {
                EntryKind::Json => out.extend_from_slice(self.raw.as_bytes()),
                EntryKind::WorkerText | EntryKind::PlainText => json::push_string(out, self.raw),
            }
        }
        out.push(b'}');
    }

    /// Appends the record as CloudWatch receives it: one line of JSON, `logId` first. Instead of the
    /// original, it contains those fields of the original that a record has no name for. Names that
    /// CloudWatch acts on are changed.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        self.write_head(out, "logId");
        self.write_fields(out);
        let is_taken = |inert: &str| self.rest.iter().any(|(name, _)| name == inert);
        for (name, raw) in &self.rest {
            out.push(b',');
            push_member(out, &inert_name(name, is_taken), raw);
        }
        if !self.rest_of_req.is_empty() {
            out.extend_from_slice(b",\"req\":{");
            push_members(out, &self.rest_of_req, true);
            out.push(b'}');
        }
        out.push(b'}');
        // In valid JSON, a line break is always white space between tokens.
        for byte in &mut out[begin..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }

    /// Returns the record as [`LogRecord::write_line`] writes it.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut out = Vec::with_capacity(self.raw.len() + 128);
        self.write_line(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    fn write_head(&self, out: &mut Vec<u8>, id_name: &str) {
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(id_name.as_bytes());
        out.extend_from_slice(b"\":\"");
        out.extend_from_slice(self.id.to_string().as_bytes());
        out.extend_from_slice(b"\",\"timestamp\":\"");
        out.extend_from_slice(rfc3339_ms(self.timestamp_ms).as_bytes());
        out.extend_from_slice(b"\",\"level\":\"");
        out.extend_from_slice(self.level.as_str().as_bytes());
        out.extend_from_slice(b"\",\"message\":");
        json::push_string(out, &self.message);
    }

    fn write_fields(&self, out: &mut Vec<u8>) {
        for field in Field::ALL {
            if field == Field::RequestId {
                if let Some(request_id) = &self.request_id {
                    out.extend_from_slice(b",\"request_id\":");
                    json::push_string(out, request_id);
                }
            } else if let Some(raw) = self.fields[field as usize] {
                push_members(out, &[(Cow::Borrowed(field.as_str()), raw)], false);
            }
        }
        if self.timestamp_fallback {
            out.extend_from_slice(b",\"timestampFallback\":true");
        }
    }
}

fn push_members(out: &mut Vec<u8>, members: &[(Cow<'_, str>, &RawValue)], mut first: bool) {
    for (name, raw) in members {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        push_member(out, name, raw);
    }
}

fn push_member(out: &mut Vec<u8>, name: &str, raw: &RawValue) {
    json::push_string(out, name);
    out.push(b':');
    out.extend_from_slice(raw.get().as_bytes());
}

/// Returns a string's text, or a number or boolean as written.
fn scalar_text(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' => json::string(json),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(json)),
    }
}

/// The members of an object (the entry, or its `req`). If a key occurs twice, the last one counts.
#[derive(Default)]
struct Found<'a> {
    of_req: bool,
    fields: [Option<&'a RawValue>; Field::ALL.len()],
    msg: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    req: Option<&'a RawValue>,
    /// `request_id`, `requestId`, `reqId` of an entry; `id` of a request.
    request_ids: [Option<&'a RawValue>; 3],
    times: Vec<(Cow<'a, str>, &'a RawValue)>,
    rest: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Found<'a> {
    fn put(&mut self, name: Cow<'a, [u8]>, raw: &'a RawValue) {
        let value = Some(raw).filter(|raw| raw.get() != "null");
        let slot = if self.of_req { self.slot_of_req(&name) } else { self.slot_of_entry(&name) };
        if let Some(slot) = slot {
            *slot = value;
            return;
        }
        let text = match name {
            Cow::Borrowed(name) => String::from_utf8_lossy(name),
            Cow::Owned(name) => Cow::Owned(String::from_utf8_lossy(&name).into_owned()),
        };
        match &*text {
            "time" | "timestamp" | "ts" if !self.of_req => self.times.push((text, raw)),
            // Replaced by our own value; the original stays in `rawData`.
            "level" | "logId" | "timestampFallback" if !self.of_req => {}
            _ => self.rest.push((text, raw)),
        }
    }

    fn slot_of_entry(&mut self, name: &[u8]) -> Option<&mut Option<&'a RawValue>> {
        let field = match name {
            b"msg" => return Some(&mut self.msg),
            b"message" => return Some(&mut self.message),
            b"req" => return Some(&mut self.req),
            b"request_id" => return Some(&mut self.request_ids[0]),
            b"requestId" => return Some(&mut self.request_ids[1]),
            b"reqId" => return Some(&mut self.request_ids[2]),
            b"context" => Field::Context,
            b"authUserId" => Field::AuthUserId,
            b"pid" => Field::Pid,
            b"hostname" => Field::Hostname,
            b"processingTimeMs" => Field::ProcessingTimeMs,
            b"cacheHit" => Field::CacheHit,
            b"documentCount" => Field::DocumentCount,
            b"lastUpdated" => Field::LastUpdated,
            b"createdAt" => Field::CreatedAt,
            b"updatedAt" => Field::UpdatedAt,
            _ => request_field(name)?,
        };
        Some(&mut self.fields[field as usize])
    }

    fn slot_of_req(&mut self, name: &[u8]) -> Option<&mut Option<&'a RawValue>> {
        match name {
            b"id" => Some(&mut self.request_ids[0]),
            _ => request_field(name).map(|field| &mut self.fields[field as usize]),
        }
    }
}

/// Fields that an entry has itself or below `req`. Those below `req` take precedence.
fn request_field(name: &[u8]) -> Option<Field> {
    Some(match name {
        b"method" => Field::Method,
        b"url" => Field::Url,
        b"query" => Field::Query,
        b"headers" => Field::Headers,
        b"params" => Field::Params,
        b"remoteAddress" => Field::RemoteAddress,
        b"remotePort" => Field::RemotePort,
        _ => return None,
    })
}

/// Reads the members of a JSON object; `None` if `json` is not an object.
fn parse_object<'a>(json: &'a str, found: &mut Found<'a>) -> Option<()> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(Members(found)).ok()?;
    deserializer.end().ok()
}

struct Members<'f, 'a>(&'f mut Found<'a>);

impl<'a> Visitor<'a> for Members<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key_seed(json::Key)? {
            self.0.put(name, map.next_value()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::Seed;
    use crate::model::record::Entry;

    fn stored(kind: EntryKind, fallback: bool, raw: &str) -> StoredRecord<'_> {
        StoredRecord {
            id: Seed::of(&[b"test"]).record_id(0),
            entry: Entry {
                ordinal: 0,
                timestamp_ms: 1_743_532_441_581,
                level: Level::Info,
                kind,
                timestamp_fallback: fallback,
                raw,
            },
        }
    }

    fn query(raw: &str) -> String {
        let mut out = Vec::new();
        LogRecord::read(&stored(EntryKind::Json, false, raw)).write_json(&mut out, None, false);
        without_id(&String::from_utf8(out).unwrap())
    }

    fn line(raw: &str) -> String {
        without_id(&LogRecord::read(&stored(EntryKind::Json, false, raw)).to_line())
    }

    /// The part after id, time and level, which are the same in all these tests.
    fn without_id(json: &str) -> String {
        serde_json::from_str::<serde_json::Value>(json).unwrap();
        let at = json.find("\"message\"").unwrap();
        format!("{{{}", &json[at..])
    }

    const SEED: &str = r#"{"level":30,"time":1743532441581,"timestamp":"2024-01-01T00:00:00.000Z","pid":46,
        "hostname":"server-1","req":{"id":3558,"method":"GET","url":"/api/endpoint","query":{},"headers":{"host":"api.example.com"},
        "remoteAddress":"::ffff:10.0.236.240","remotePort":19250,"extra":1.50},"context":"ApiController",
        "message":"Processing GET request","authUserId":1102,"processingTimeMs":0,"cacheHit":false,"documentCount":2,
        "lastUpdated":"2024-01-01T00:00:00.000Z","err":{"stack":"x\ny"}}"#;

    #[test]
    fn a_pino_entry_has_all_its_fields_also_those_below_req() {
        assert_eq!(
            query(SEED),
            concat!(
                r#"{"message":"Processing GET request","context":"ApiController","request_id":"3558","method":"GET","#,
                r#""url":"/api/endpoint","query":{},"headers":{"host":"api.example.com"},"authUserId":1102,"pid":46,"#,
                r#""hostname":"server-1","remoteAddress":"::ffff:10.0.236.240","remotePort":19250,"processingTimeMs":0,"#,
                r#""cacheHit":false,"documentCount":2,"lastUpdated":"2024-01-01T00:00:00.000Z"}"#
            )
        );
    }

    #[test]
    fn the_line_for_cloudwatch_keeps_what_a_record_has_no_name_for() {
        let text = line(SEED);
        assert!(text.ends_with(r#","err":{"stack":"x\ny"},"req":{"extra":1.50}}"#), "{text}");
        assert!(!text.contains('\n') && !text.contains("\"time\""));
    }

    #[test]
    fn the_line_begins_with_the_log_id() {
        let record = stored(EntryKind::PlainText, true, "a \"b\"\nc");
        let id = record.id;
        assert_eq!(
            LogRecord::read(&record).to_line(),
            format!(
                r#"{{"logId":"{id}","timestamp":"2025-04-01T18:34:01.581Z","level":"INFO","message":"a \"b\"\nc","timestampFallback":true}}"#
            )
        );
    }

    #[test]
    fn raw_data_is_the_entry_byte_for_byte_or_a_string() {
        let json = r#"{ "b":1.10 ,"a":12345678901234567890,"msg":"x" }"#;
        let mut out = Vec::new();
        LogRecord::read(&stored(EntryKind::Json, false, json)).write_json(&mut out, None, true);
        assert!(String::from_utf8(out).unwrap().ends_with(&format!(",\"rawData\":{json}}}")));
        let mut out = Vec::new();
        LogRecord::read(&stored(EntryKind::PlainText, false, "it's \"\t")).write_json(&mut out, None, true);
        assert!(String::from_utf8(out).unwrap().ends_with(r#","rawData":"it's \"\t"}"#));
    }

    #[test]
    fn of_a_key_that_occurs_twice_the_last_counts_also_when_escaped() {
        assert_eq!(query(r#"{"msg":"a","m\u0073g":"b","pid":1,"pid":2}"#), r#"{"message":"b","pid":2}"#);
        assert_eq!(query(r#"{"req":{"id":"a"},"req":{"id":"b"}}"#), r#"{"message":"","request_id":"b"}"#);
    }

    #[test]
    fn msg_goes_before_message_and_what_is_no_text_is_written_as_json() {
        assert_eq!(query(r#"{"message":"b","msg":"a"}"#), r#"{"message":"a"}"#);
        assert_eq!(query(r#"{"message":"b","msg":null}"#), r#"{"message":"b"}"#);
        assert_eq!(query(r#"{"msg":{"a":1}}"#), r#"{"message":"{\"a\":1}"}"#);
        assert_eq!(query(r#"{"msg":"\ud800!"}"#).chars().filter(|&c| c == '\u{fffd}').count().min(1), 1);
    }

    #[test]
    fn request_ids_come_under_many_names() {
        for raw in [
            r#"{"request_id":"7"}"#,
            r#"{"requestId":"7"}"#,
            r#"{"reqId":"7"}"#,
            r#"{"req":{"id":7}}"#,
            r#"{"request_id":null,"reqId":7}"#,
        ] {
            assert_eq!(query(raw), r#"{"message":"","request_id":"7"}"#, "{raw}");
        }
    }

    #[test]
    fn worker_text_has_the_message_after_its_header() {
        let raw = "2024-01-01T00:00:00.000Z [WARN] first\n  second";
        let record = stored(EntryKind::WorkerText, false, raw);
        assert_eq!(LogRecord::read(&record).message, "first\n  second");
    }
}
