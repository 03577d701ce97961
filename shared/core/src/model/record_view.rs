//! A record as callers see it. It is built at read time by parsing the stored entry.
//! [`LogRecord::write_json`] writes it for queries, [`LogRecord::write_line`] for CloudWatch. Values are
//! copied as written: numbers keep their digits.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::model::app::AppId;
use crate::model::embedded_metrics::{Member, inert_members};
use crate::model::ids::RecordId;
use crate::model::json;
use crate::model::level::Level;
use crate::model::names::{LOG, MESSAGES, NESTED_MESSAGES, Role, member, nested, role, time_of};
use crate::model::record::{EntryKind, Marks, StoredRecord};
use crate::model::text::{self, Ask};
use crate::model::time::rfc3339_ms;

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
    pub marks: Marks,
    pub level: Level,
    pub message: Cow<'a, str>,
    /// Always a text; numbers as written.
    pub request_id: Option<Cow<'a, str>>,
    pub kind: EntryKind,
    /// The original, byte for byte.
    pub raw: &'a str,
    fields: [Option<Json<'a>>; Field::ALL.len()],
    rest: Vec<Member<'a>>,
    rest_of_req: Vec<Member<'a>>,
    /// Members with our names that mean something else. A line for CloudWatch does not have them.
    own_names: Vec<Member<'a>>,
}

/// A value as JSON: as it was written, or made of text.
type Json<'a> = Cow<'a, str>;

impl<'a> LogRecord<'a> {
    /// Parses all fields of the entry. Never fails: an entry that does not match its kind becomes the
    /// message.
    #[must_use]
    pub fn read(record: &StoredRecord<'a>) -> Self {
        let entry = &record.entry;
        let (context, raw) = entry.parts();
        let mut this = Self {
            id: record.id,
            timestamp_ms: entry.timestamp_ms,
            timestamp_fallback: entry.timestamp_fallback,
            marks: entry.marks,
            level: entry.level,
            message: Cow::Borrowed(raw),
            request_id: None,
            kind: entry.kind,
            raw,
            fields: [const { None }; Field::ALL.len()],
            rest: Vec::new(),
            rest_of_req: Vec::new(),
            own_names: Vec::new(),
        };
        match entry.kind {
            EntryKind::Json => {
                let mut found = Found::default();
                match parse_object(raw, &mut found) {
                    Some(()) => this.take(found),
                    None => this.kind = EntryKind::PlainText,
                }
            }
            EntryKind::WorkerText | EntryKind::LogText => this.take_line(entry.timestamp_ms),
            EntryKind::PlainText => {}
        }
        if let Some(context) = context {
            this.take_context(context);
        }
        this
    }

    /// A field as JSON, as it was written; `None` where the entry has none, or null.
    /// `request_id` is a member of its own.
    #[must_use]
    pub fn field(&self, field: Field) -> Option<&str> {
        self.fields[field as usize].as_deref()
    }

    /// Takes what the recogniser of the first line reads.
    fn take_line(&mut self, near_ms: i64) {
        let raw = self.raw;
        let first = raw.lines().next().unwrap_or_default();
        let Some((recogniser, line)) = text::recognise(first, &Ask::new(near_ms, true)) else { return };
        let message = line.message.or_else(|| raw.get(line.message_start..)).unwrap_or_default();
        self.message = match self.kind {
            EntryKind::LogText => text::as_meant(recogniser, message),
            EntryKind::Json | EntryKind::WorkerText | EntryKind::PlainText => Cow::Borrowed(message),
        };
        let request = line.request;
        self.request_id = request.id.map(Cow::Borrowed);
        let mut set = |field: Field, value: Option<Json<'a>>| self.fields[field as usize] = value;
        let quoted = |text: Option<&str>| text.map(|text| Cow::Owned(quoted_text(text)));
        set(Field::Method, quoted(request.method));
        set(Field::Url, quoted(request.url));
        set(Field::RemoteAddress, quoted(request.remote_address));
        set(Field::RemotePort, request.remote_port.map(scalar));
        set(Field::ProcessingTimeMs, request.processing_ms.map(|ms| Cow::Owned(ms.to_string())));
        let mut context = Vec::new();
        let status = request.status.map(|status| ("status", status));
        for (name, value) in status.into_iter().chain(line.more) {
            match name {
                "hostname" => set(Field::Hostname, Some(Cow::Owned(quoted_text(value)))),
                "pid" => set(Field::Pid, Some(scalar(value))),
                _ => context.push((name, scalar(value))),
            }
        }
        if !context.is_empty() {
            let mut object = Vec::new();
            for (name, value) in context {
                object.push(if object.is_empty() { b'{' } else { b',' });
                json::push_string(&mut object, name);
                object.push(b':');
                object.extend_from_slice(value.as_bytes());
            }
            object.push(b'}');
            set(Field::Context, String::from_utf8(object).ok().map(Cow::Owned));
        }
    }

    /// Adds what an envelope says to the entry's own context, and what its columns name to the fields.
    fn take_context(&mut self, context: &'a str) {
        for (name, field) in COLUMNS {
            if self.fields[field as usize].is_none()
                && matches!(self.kind, EntryKind::LogText)
                && let Some(value) = member(context, name).filter(|value| value.get() != "\"-\"")
            {
                self.fields[field as usize] = Some(match (name, json::string(value.get())) {
                    // Seconds of CloudFront, with a fraction; IIS writes milliseconds.
                    ("time-taken", Some(seconds)) if seconds.contains('.') => {
                        seconds.parse::<f64>().map_or(Cow::Borrowed(value.get()), |secs| {
                            Cow::Owned((secs * 1e6 / 1e3).to_string())
                        })
                    }
                    _ => Cow::Borrowed(value.get()),
                });
            }
        }
        let own = &mut self.fields[Field::Context as usize];
        // A context that is no object has no place for them.
        if own.as_deref().is_some_and(|own| !own.starts_with('{')) {
            let envelope = serde_json::from_str(context).map(|raw| (Cow::Borrowed("envelope"), raw));
            self.rest.splice(0..0, envelope);
            return;
        }
        let merged = match own.as_deref().and_then(|own| own.trim_end().strip_suffix('}')) {
            // Members of the entry's own context are last: of two with one name, that one counts.
            Some(members) if members.starts_with('{') => {
                let (outer, inner) = (&context[..context.len() - 1], &members[1..]);
                let comma = if inner.trim().is_empty() || outer == "{" { "" } else { "," };
                format!("{outer}{comma}{inner}}}")
            }
            _ => context.to_owned(),
        };
        *own = Some(Cow::Owned(merged));
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
        self.take_message(top.messages);
        if self.message.is_empty() {
            self.take_nested_message();
        }
        let ids = top.request_ids.into_iter().chain(req.request_ids).chain(top.trace_ids);
        self.request_id = ids.flatten().find_map(|raw| scalar_text(raw.get()));
        let of_req = req.fields.iter().chain(&top.below).chain(&top.fields).chain(&top.also);
        let all: Vec<_> = of_req.copied().collect();
        let given = |i: usize| all.iter().skip(i).step_by(Field::ALL.len()).find_map(|raw| *raw);
        self.fields = std::array::from_fn(|i| given(i).map(|raw| Cow::Borrowed(raw.get())));
        let said = |(_, raw): &(Cow<'_, str>, &RawValue)| {
            let stamp = time_of(raw.get(), self.timestamp_ms);
            !self.timestamp_fallback && stamp.is_some_and(|stamp| stamp.ms == self.timestamp_ms)
        };
        let mut times = top.times;
        if let Some(first) = times.iter().position(said) {
            times.remove(first);
        }
        self.own_names.extend(top.own_names);
        times.into_iter().for_each(|time| self.keep(time));
    }

    /// Keeps a member that is neither the message nor the time, though its name says so.
    fn keep(&mut self, member: Member<'a>) {
        match &*member.0 {
            "message" | "timestamp" => self.own_names.push(member),
            _ => self.rest.push(member),
        }
    }

    /// Takes a message that stands below another member. The member stays.
    fn take_nested_message(&mut self) {
        for (name, path) in NESTED_MESSAGES {
            let Some((_, holder)) = self.rest.iter().find(|(rest, _)| rest == name) else { continue };
            if let Some(text) = nested(holder, path).and_then(|raw| json::string(raw.get())) {
                self.message = text;
                return;
            }
        }
    }

    /// Takes the first of the messages that is a text, else the first that is there. The others stay members.
    fn take_message(&mut self, messages: Vec<(usize, &'a RawValue)>) {
        let ranked = |with: fn(&RawValue) -> bool| {
            messages.iter().filter(|(_, raw)| with(raw)).min_by_key(|(rank, _)| *rank).map(|(rank, _)| *rank)
        };
        let says = |raw: &RawValue| message_text(raw.get()).is_some();
        let chosen = ranked(says).or_else(|| ranked(|raw| raw.get() != "null"));
        self.message = Cow::Borrowed("");
        for (rank, raw) in messages {
            if Some(rank) == chosen {
                let text = message_text(raw.get()).unwrap_or(Cow::Borrowed(raw.get()));
                self.message = match text {
                    Cow::Borrowed(text) if rank == LOG => Cow::Borrowed(text.trim_end_matches(['\n', '\r'])),
                    Cow::Owned(text) if rank == LOG => {
                        Cow::Owned(text.trim_end_matches(['\n', '\r']).to_owned())
                    }
                    text => text,
                };
            } else {
                self.keep((Cow::Borrowed(MESSAGES[rank]), raw));
            }
        }
    }

    /// Appends the record as a query answers it: one JSON object. Members of the entry that a record has no name
    /// for are below `fields`. `app_id` where records of many
    /// apps are mixed; `rawData` (the entry itself where it is JSON, else a string) when asked for.
    pub fn write_json(&self, out: &mut Vec<u8>, app_id: Option<&AppId>, with_raw: bool) {
        self.write_head(out, "id");
        if let Some(app_id) = app_id {
            out.extend_from_slice(b",\"app_id\":");
            json::push_string(out, app_id.as_str());
        }
        self.write_fields(out);
        self.write_rest(out);
        if with_raw {
            out.extend_from_slice(b",\"rawData\":");
            match self.kind {
                EntryKind::Json => out.extend_from_slice(self.raw.as_bytes()),
                EntryKind::WorkerText | EntryKind::PlainText | EntryKind::LogText => {
                    json::push_string(out, self.raw);
                }
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
        for (name, raw) in inert_members(&self.rest).iter() {
            out.push(b',');
            json::push_member(out, name, raw);
        }
        if !self.rest_of_req.is_empty() {
            out.extend_from_slice(b",\"req\":{");
            push_members(out, self.rest_of_req.iter());
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

    fn write_rest(&self, out: &mut Vec<u8>) {
        if self.rest.is_empty() && self.rest_of_req.is_empty() && self.own_names.is_empty() {
            return;
        }
        out.extend_from_slice(b",\"fields\":{");
        push_members(out, self.rest.iter().chain(&self.own_names));
        if !self.rest_of_req.is_empty() {
            let comma: &[u8] = if self.rest.is_empty() && self.own_names.is_empty() { b"" } else { b"," };
            out.extend_from_slice(comma);
            out.extend_from_slice(b"\"req\":{");
            push_members(out, self.rest_of_req.iter());
            out.push(b'}');
        }
        out.push(b'}');
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
            } else if let Some(value) = &self.fields[field as usize] {
                out.push(b',');
                json::push_string(out, field.as_str());
                out.push(b':');
                out.extend_from_slice(value.as_bytes());
            }
        }
        let marks: [(bool, &[u8]); 3] = [
            (self.timestamp_fallback, b",\"timestampFallback\":true"),
            (self.marks.has(Marks::TIME_ASSUMED), b",\"timestampAssumed\":true"),
            (self.marks.has(Marks::LEVEL_UNKNOWN), b",\"levelUnknown\":true"),
        ];
        for (_, mark) in marks.into_iter().filter(|(holds, _)| *holds) {
            out.extend_from_slice(mark);
        }
    }
}

/// Appends members, without those whose key occurs again later.
fn push_members<'m, 'a: 'm>(out: &mut Vec<u8>, members: impl DoubleEndedIterator<Item = &'m Member<'a>>) {
    let mut seen = HashSet::with_capacity(members.size_hint().0);
    let mut last: Vec<_> = members.rev().filter(|(name, _)| seen.insert(name)).collect();
    last.reverse();
    for (index, (name, raw)) in last.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::push_member(out, name, raw);
    }
}

/// Returns a string's text, or a number or boolean as written.
fn scalar_text(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' => json::string(json),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(json)),
    }
}

/// Names of columns (CloudFront, IIS, VPC flow) and the fields that they are.
const COLUMNS: [(&str, Field); 9] = [
    ("cs-method", Field::Method),
    ("cs-uri-stem", Field::Url),
    ("c-ip", Field::RemoteAddress),
    ("c-port", Field::RemotePort),
    ("time-taken", Field::ProcessingTimeMs),
    ("srcaddr", Field::RemoteAddress),
    ("srcport", Field::RemotePort),
    ("pkt-srcaddr", Field::RemoteAddress),
    ("s-computername", Field::Hostname),
];

/// A message's text: a string, or the string of an OpenTelemetry body.
fn message_text(json: &str) -> Option<Cow<'_, str>> {
    json::string(json).or_else(|| json::string(member(json, "stringValue")?.get()))
}

fn quoted_text(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    json::push_string(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

/// A number as it is, anything else as a string.
fn scalar<'a>(text: &'a str) -> Json<'a> {
    let number = text.len() < 16 && serde_json::from_str::<serde_json::Number>(text).is_ok();
    if number { Cow::Borrowed(text) } else { Cow::Owned(quoted_text(text)) }
}

/// What an object (the entry, or its `req`) holds. Of a key that occurs twice the last counts.
#[derive(Default)]
struct Found<'a> {
    of_req: bool,
    fields: [Option<&'a RawValue>; Field::ALL.len()],
    /// The same, from members that stay members under their own names.
    also: [Option<&'a RawValue>; Field::ALL.len()],
    /// The same, from below `http` and `httpRequest`.
    below: [Option<&'a RawValue>; Field::ALL.len()],
    /// With their ranks.
    messages: Vec<(usize, &'a RawValue)>,
    req: Option<&'a RawValue>,
    /// `request_id`, `requestId`, `reqId`, `requestID` of an entry; `id` of a request.
    request_ids: [Option<&'a RawValue>; 4],
    /// Ids of traces, which stand for that of the request where there is none.
    trace_ids: [Option<&'a RawValue>; 4],
    times: Vec<Member<'a>>,
    own_names: Vec<Member<'a>>,
    rest: Vec<Member<'a>>,
}

impl<'a> Found<'a> {
    fn put(&mut self, name: Cow<'a, [u8]>, raw: &'a RawValue) {
        let value = Some(raw).filter(|raw| raw.get() != "null");
        if !self.of_req
            && let Some(Role::Message(rank)) = role(&name)
            && !(rank == LOG && raw.get().starts_with('{'))
        {
            self.messages.retain(|(other, _)| *other != rank);
            self.messages.extend(value.map(|raw| (rank, raw)));
            return;
        }
        let slot = if self.of_req { self.slot_of_req(&name) } else { self.slot_of_entry(&name) };
        if let Some(slot) = slot {
            *slot = value;
            return;
        }
        if !self.of_req {
            self.look_at(&name, value);
        }
        let text = match name {
            Cow::Borrowed(name) => String::from_utf8_lossy(name),
            Cow::Owned(name) => Cow::Owned(String::from_utf8_lossy(&name).into_owned()),
        };
        match &*text {
            "time" | "timestamp" | "ts" if !self.of_req => self.times.push((text, raw)),
            // Known by name.
            "level" if !self.of_req => {}
            "logId" | "timestampFallback" | "timestampAssumed" | "levelUnknown" if !self.of_req => {
                self.own_names.push((text, raw));
            }
            _ => self.rest.push((text, raw)),
        }
    }

    /// Takes note of what a member says of the request. It stays a member.
    fn look_at(&mut self, name: &[u8], value: Option<&'a RawValue>) {
        let field = match name {
            b"trace_id" => return self.trace_ids[0] = value,
            b"traceId" => return self.trace_ids[1] = value,
            b"x-amzn-trace-id" | b"xrayTraceId" => return self.trace_ids[2] = value,
            b"extendedRequestId" => return self.trace_ids[3] = value,
            b"httpMethod" | b"http.request.method" => Field::Method,
            b"path" | b"resourcePath" | b"uri" | b"url.original" | b"url.full" | b"url.path" => Field::Url,
            b"ip" | b"sourceIp" | b"sourceIPAddress" | b"srcaddr" | b"remote_addr" | b"client.ip" => {
                Field::RemoteAddress
            }
            b"srcport" | b"client.port" => Field::RemotePort,
            b"host.name" => Field::Hostname,
            b"http" | b"httpRequest" | b"request" => {
                let object = value.map_or("", RawValue::get);
                let object = member(object, "request").map_or(object, RawValue::get);
                return self.look_below(object);
            }
            _ => return,
        };
        self.also[field as usize] = self.also[field as usize].or(value);
    }

    /// The request of ECS (`http.request`), of Google Cloud and of WAF (`httpRequest`).
    fn look_below(&mut self, object: &'a str) {
        for (name, field) in [
            ("method", Field::Method),
            ("requestMethod", Field::Method),
            ("httpMethod", Field::Method),
            ("url", Field::Url),
            ("requestUrl", Field::Url),
            ("remoteAddress", Field::RemoteAddress),
            ("uri", Field::Url),
            ("remoteIp", Field::RemoteAddress),
            ("remote_ip", Field::RemoteAddress),
            ("clientIp", Field::RemoteAddress),
        ] {
            if let Some(raw) = member(object, name).filter(|raw| raw.get() != "null") {
                self.below[field as usize] = Some(raw);
            }
        }
        for name in ["requestId", "id"] {
            if let Some(raw) = member(object, name) {
                self.trace_ids[3] = self.trace_ids[3].or(Some(raw));
            }
        }
    }

    fn slot_of_entry(&mut self, name: &[u8]) -> Option<&mut Option<&'a RawValue>> {
        let field = match name {
            b"req" => return Some(&mut self.req),
            b"request_id" => return Some(&mut self.request_ids[0]),
            b"requestId" => return Some(&mut self.request_ids[1]),
            b"reqId" => return Some(&mut self.request_ids[2]),
            b"requestID" => return Some(&mut self.request_ids[3]),
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
    json::members(json, |name, raw| found.put(name, raw))
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
                marks: Marks::NONE,
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
                r#""cacheHit":false,"documentCount":2,"lastUpdated":"2024-01-01T00:00:00.000Z","#,
                r#""fields":{"err":{"stack":"x\ny"},"timestamp":"2024-01-01T00:00:00.000Z","req":{"extra":1.50}}}"#
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
    fn an_envelope_beside_a_context_that_is_a_text_is_a_member() {
        let raw = "{\"stream\":\"stdout\"}\n{\"msg\":\"x\",\"context\":\"Ctrl\",\"a\":1}";
        let mut record = stored(EntryKind::Json, false, raw);
        record.entry.marks = Marks::WRAPPED;
        let view = LogRecord::read(&record);
        let mut out = Vec::new();
        view.write_json(&mut out, None, false);
        let envelope = r#""envelope":{"stream":"stdout"},"a":1"#;
        assert_eq!(
            without_id(&String::from_utf8(out).unwrap()),
            format!(r#"{{"message":"x","context":"Ctrl","fields":{{{envelope}}}}}"#)
        );
        assert_eq!(without_id(&view.to_line()), format!(r#"{{"message":"x","context":"Ctrl",{envelope}}}"#));
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
    fn no_member_is_lost_where_several_say_the_same_or_have_our_names() {
        assert_eq!(query(r#"{"msg":"a","message":"b"}"#), r#"{"message":"a","fields":{"message":"b"}}"#);
        assert_eq!(query(r#"{"msg":{"x":1},"message":"b"}"#), r#"{"message":"b","fields":{"msg":{"x":1}}}"#);
        let time = rfc3339_ms(1_743_532_441_581);
        assert_eq!(
            query(&format!(r#"{{"ts":"x","time":"{time}","timestamp":"{time}","msg":"a"}}"#)),
            format!(r#"{{"message":"a","fields":{{"ts":"x","timestamp":"{time}"}}}}"#)
        );
        assert_eq!(
            query(r#"{"msg":"a","logId":1,"levelUnknown":2,"b":3}"#),
            r#"{"message":"a","fields":{"b":3,"logId":1,"levelUnknown":2}}"#
        );
    }

    #[test]
    fn what_a_record_has_no_name_for_is_below_fields() {
        let raw = r#"{"msg":"x","err":1,"res":{"statusCode":500},"err":{"type":"T"},"responseTime":12.50,"none":null}"#;
        let fields = r#"{"res":{"statusCode":500},"err":{"type":"T"},"responseTime":12.50,"none":null}"#;
        assert_eq!(query(raw), format!(r#"{{"message":"x","fields":{fields}}}"#));
        assert_eq!(
            query(r#"{"msg":"x","req":{"id":1,"a":2,"a":3}}"#),
            r#"{"message":"x","request_id":"1","fields":{"req":{"a":3}}}"#
        );
        assert_eq!(
            query(r#"{"msg":"x","fields":{"fields":1}}"#),
            r#"{"message":"x","fields":{"fields":{"fields":1}}}"#
        );
    }

    #[test]
    fn msg_goes_before_message_and_what_is_no_text_is_written_as_json() {
        assert_eq!(query(r#"{"message":"b","msg":"a"}"#), r#"{"message":"a","fields":{"message":"b"}}"#);
        assert_eq!(query(r#"{"message":"b","msg":null}"#), r#"{"message":"b"}"#);
        assert_eq!(query(r#"{"msg":{"a":1}}"#), r#"{"message":"{\"a\":1}"}"#);
        assert_eq!(query(r#"{"msg":"\ud800!"}"#).chars().filter(|&c| c == '\u{fffd}').count().min(1), 1);
    }

    #[test]
    fn a_message_below_another_member_is_read_where_there_is_no_other() {
        assert_eq!(
            query(r#"{"fields":{"message":"a","n":1}}"#),
            r#"{"message":"a","fields":{"fields":{"message":"a","n":1}}}"#
        );
        assert_eq!(
            query(r#"{"err":{"message":"a"},"msg":"b"}"#),
            r#"{"message":"b","fields":{"err":{"message":"a"}}}"#
        );
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
