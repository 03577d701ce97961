//! Entries in write requests. The checks are stricter than for files, because the caller gets an error. The
//! caller's text is stored byte for byte.

use std::borrow::Cow;
use std::fmt;

use crate::logfile::head::{MAX_NESTING, too_deep, whole_object};
use crate::logfile::read::MAX_FUTURE_MS;
use crate::model::level::Level;
use crate::model::names::{LEVELS, MESSAGES, TIMES, time_of};
use crate::model::record::{Entry, EntryKind, Marks};
use crate::model::text::SaidLevel;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Maximum number of entries in a request.
pub const MAX_ENTRIES: usize = 10_000;
/// Maximum size of an entry (bytes).
pub const MAX_ENTRY_BYTES: usize = 1024 * 1024;
/// Maximum length of a request id (bytes).
pub const MAX_REQUEST_ID_BYTES: usize = 1_024;

/// A validation error, with the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    pub field: String,
    pub message: String,
}

impl Invalid {
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The entries of a request: one, or a batch.
#[derive(Debug)]
pub struct Entries<'a> {
    pub batch: bool,
    /// Whether each must have a level and a message. Shippers send what programs write, which may have
    /// neither: then the level is INFO.
    pub complete: bool,
    pub entries: Vec<&'a RawValue>,
}

/// A validated entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    pub level: Level,
    /// `None` if it has no time; it gets its time of arrival.
    pub timestamp_ms: Option<i64>,
    pub marks: Marks,
    pub kind: EntryKind,
    pub raw: String,
}

impl NewEntry {
    /// Returns the entry to be stored. `raw` is its own text, or that with a request id added.
    pub(crate) fn entry<'a>(&self, ordinal: u64, raw: &'a str, arrived_ms: i64) -> Entry<'a> {
        Entry {
            ordinal,
            timestamp_ms: self.timestamp_ms.unwrap_or(arrived_ms),
            level: self.level,
            kind: self.kind,
            timestamp_fallback: self.timestamp_ms.is_none(),
            marks: self.marks,
            raw,
        }
    }
}

/// Finds the entries of a request's body: the body itself, the elements of its `logs` or of the array that it
/// is, or one JSON value after the other, as in NDJSON. `lines`: it is sent as NDJSON, so that even one value
/// is a batch.
///
/// # Errors
/// The body is not JSON, is not an object, or has too many entries.
pub fn entries(body: &[u8], lines: bool) -> Result<Entries<'_>, Invalid> {
    let text = std::str::from_utf8(body).map_err(|_| Invalid::new("body", "the body must be UTF-8"))?;
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let broken = |error: &serde_json::Error| format!("the body must be JSON: {error}");
    let whole = match values.next() {
        Some(Ok(whole)) => whole,
        Some(Err(error)) => return Err(Invalid::new("body", broken(&error))),
        None if lines => return Ok(Entries { batch: true, complete: false, entries: Vec::new() }),
        None => return Err(Invalid::new("body", "the body must be JSON, this is empty")),
    };
    let mut all = vec![whole];
    for value in values {
        let value = value.map_err(|error| {
            let many = lines || all.len() > 1;
            let field = if many { format!("body[{}]", all.len()) } else { "body".to_owned() };
            Invalid::new(field, broken(&error))
        })?;
        all.push(value);
        if all.len() > MAX_ENTRIES {
            return Err(too_many("body"));
        }
    }
    if lines || all.len() > 1 {
        return Ok(Entries { batch: true, complete: false, entries: all });
    }
    if whole.get().starts_with('[') {
        return Ok(Entries { complete: false, ..batch(whole, "body")? });
    }
    if !whole.get().starts_with('{') {
        return Err(Invalid::new("body", "the body must be a JSON object or an array of them"));
    }
    let mut found = Logs::default();
    if let Err(error) = serde_json::Deserializer::from_str(whole.get()).deserialize_map(&mut found) {
        // Names with halves of surrogate pairs cannot be `logs`.
        if matches!(half_surrogates_replaced(whole.get()), Cow::Borrowed(_)) {
            return Err(Invalid::new("body", broken(&error)));
        }
        found = Logs::default();
    }
    let Some(logs) = found.logs else {
        return Ok(Entries { batch: false, complete: true, entries: all });
    };
    if found.others {
        return Err(Invalid::new("logs", "logs must be the only member: a body is one entry or a batch"));
    }
    batch(logs, "logs")
}

/// Returns the entries of an array; `name` is its field.
///
/// # Errors
/// It is not an array, or has too many entries.
pub fn batch<'a>(array: &'a RawValue, name: &str) -> Result<Entries<'a>, Invalid> {
    let entries = serde_json::Deserializer::from_str(array.get())
        .deserialize_seq(AtMost)
        .map_err(|_| Invalid::new(name, format!("{name} must be an array of entries")))?;
    if entries.len() > MAX_ENTRIES {
        return Err(too_many(name));
    }
    Ok(Entries { batch: true, complete: true, entries })
}

fn too_many(name: &str) -> Invalid {
    Invalid::new(name, format!("{name} must have at most {MAX_ENTRIES} entries: split it"))
}

/// Reads an array, keeping at most one element more than a request may have.
struct AtMost;

impl<'de> Visitor<'de> for AtMost {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = array.next_element()? {
            if all.len() <= MAX_ENTRIES {
                all.push(element);
            }
        }
        Ok(all)
    }
}

#[derive(Default)]
struct Logs<'a> {
    logs: Option<&'a RawValue>,
    others: bool,
}

impl<'a> Visitor<'a> for &mut Logs<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key::<std::borrow::Cow<'a, str>>()? {
            if name == "logs" {
                self.logs = Some(map.next_value()?);
            } else {
                self.others = true;
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Validates an entry that arrived at `arrived_ms`. `at` is its field, such as `logs[3]`, or empty if the
/// body is the entry. `complete`: it must have a level and a message.
///
/// # Errors
/// [`Invalid`] with the invalid field.
pub fn check(json: &str, at: &str, complete: bool, arrived_ms: i64) -> Result<NewEntry, Invalid> {
    let field = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    let json = object(json, if at.is_empty() { "body" } else { at })?;
    let Object { text, members } = json;
    let present = |name: &str| members.get(name).filter(|value| !value.is_null());

    let said = whole_object(&text, arrived_ms).unwrap_or_default();
    let level = match said.level {
        SaidLevel::Known(level) => level,
        SaidLevel::Nothing if !complete && present("level").is_none() => Level::Info,
        SaidLevel::Nothing if present("level").is_none() => {
            return Err(Invalid::new(field("level"), "level is required"));
        }
        SaidLevel::Nothing | SaidLevel::Unknown => {
            let name = LEVELS.into_iter().find(|name| present(name).is_some()).unwrap_or("level");
            let message = format!(
                "{name} must be one of DEBUG, INFO, WARN, ERROR, or a name or number that loggers use for them"
            );
            return Err(Invalid::new(field(name), message));
        }
    };
    // As in files, `msg` takes precedence over `message`.
    match MESSAGES.into_iter().find_map(|name| Some((name, present(name)?))) {
        Some((name @ ("msg" | "message"), value)) if !value.is_string() => {
            return Err(Invalid::new(field(name), format!("{name} must be a string")));
        }
        None if complete => return Err(Invalid::new(field("message"), "message is required")),
        Some(_) | None => {}
    }
    if present("context").is_some_and(|context| !context.is_object()) {
        return Err(Invalid::new(field("context"), "context must be an object"));
    }
    match present("request_id") {
        None => {}
        Some(Value::String(id)) if id.len() <= MAX_REQUEST_ID_BYTES => {}
        Some(Value::String(_)) => {
            let message = format!("request_id must be at most {MAX_REQUEST_ID_BYTES} bytes");
            return Err(Invalid::new(field("request_id"), message));
        }
        Some(_) => return Err(Invalid::new(field("request_id"), "request_id must be a string")),
    }
    // As in files: the first that is there counts. One that is no time is an error.
    let time = TIMES.iter().find_map(|name| Some((*name, present(name)?)));
    let time = match time {
        None => None,
        Some((name, value)) => {
            let wrong = |message: &str| Invalid::new(field(name), format!("{name} {message}"));
            let stamp = time_of(&value.to_string(), arrived_ms).ok_or_else(|| {
                wrong("must be a date and time such as RFC 3339, or a number since the epoch, from 2000 to 2100")
            })?;
            if stamp.ms > arrived_ms.saturating_add(MAX_FUTURE_MS) {
                return Err(wrong("must be at most 24 hours in the future"));
            }
            Some(stamp)
        }
    };
    let marks = Marks::NONE.with(Marks::TIME_ASSUMED, time.is_some_and(|stamp| stamp.assumed));
    let timestamp_ms = time.map(|stamp| stamp.ms);
    Ok(NewEntry { level, timestamp_ms, marks, kind: EntryKind::Json, raw: text.into_owned() })
}

/// An entry that is a JSON object within the limits.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    /// Without halves of surrogate pairs.
    pub(crate) text: Cow<'a, str>,
    pub(crate) members: Map<String, Value>,
}

/// Reads an entry as an object; `field` is its own.
///
/// # Errors
/// It is too large, nested too deeply, not JSON, or not an object.
pub(crate) fn object<'a>(json: &'a str, field: &str) -> Result<Object<'a>, Invalid> {
    let wrong = |message: String| Invalid::new(field, message);
    if json.len() > MAX_ENTRY_BYTES {
        return Err(wrong(format!("an entry must be at most {MAX_ENTRY_BYTES} bytes")));
    }
    if too_deep(json.as_bytes()) {
        return Err(wrong(format!("an entry must be nested at most {MAX_NESTING} levels deep")));
    }
    let text = without_half_surrogates(json);
    // Beyond the grammar this refuses numbers that no double holds.
    match serde_json::from_str(&text) {
        Ok(Value::Object(members)) => Ok(Object { text, members }),
        Ok(_) => Err(wrong("an entry must be a JSON object".to_owned())),
        Err(error) => Err(wrong(format!("an entry must be valid JSON: {error}"))),
    }
}

/// An object in which halves of surrogate pairs are U+FFFD. One that had some says so in a member of its own.
fn without_half_surrogates(json: &str) -> Cow<'_, str> {
    let Cow::Owned(mut replaced) = half_surrogates_replaced(json) else { return Cow::Borrowed(json) };
    if let Some(end) = replaced.rfind('}') {
        replaced.truncate(end);
        replaced.push_str(",\"surrogatesReplaced\":true}");
    }
    Cow::Owned(replaced)
}

/// JSON in which halves of surrogate pairs are U+FFFD: they are legal there and no text.
#[must_use]
pub fn half_surrogates_replaced(json: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut from, mut search) = (0, 0);
    let code = |at: usize| {
        let hex = json.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(hex, 16).ok()
    };
    while let Some(at) = json[search..].find('\\').map(|at| at + search) {
        let Some(unit) = code(at) else {
            // Another escape: what is escaped is no backslash of its own.
            search = (at + 2).min(json.len());
            search = json.ceil_char_boundary(search);
            continue;
        };
        search = at + 6;
        let pair = (0xd800..0xdc00).contains(&unit)
            && code(search).is_some_and(|second| (0xdc00..0xe000).contains(&second));
        if pair {
            search += 6;
        } else if (0xd800..0xe000).contains(&unit) {
            out.push_str(&json[from..at]);
            out.push_str("\\ufffd");
            from = search;
        }
    }
    if from == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[from..]);
    Cow::Owned(out)
}

/// Adds a request id to an entry as its last member, so that it counts.
pub fn push_request_id(raw: &mut String, request_id: &str) {
    let Some(end) = raw.rfind('}') else { return };
    raw.truncate(end);
    if !raw.trim_end().ends_with('{') {
        raw.push(',');
    }
    raw.push_str("\"request_id\":");
    raw.push_str(&Value::from(request_id).to_string());
    raw.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-04-01T18:34:01.581Z
    const NOW_MS: i64 = 1_743_532_441_581;

    fn field_of(json: &str) -> String {
        check(json, "", true, NOW_MS).map_or_else(|bad| bad.field, |_| "ok".to_owned())
    }

    #[test]
    fn the_error_of_an_invalid_entry_names_its_field() {
        for (json, field) in [
            (r#"{"level":"INFO","message":"x"}"#, "ok"),
            (r#"{"level":"fatal","msg":"","context":null,"timestamp":null}"#, "ok"),
            (r#"{"level":"INFO","message":"x","time":1743532441,"more":[1]}"#, "ok"),
            (r#"{"message":"x"}"#, "level"),
            (r#"{"level":"LOUD","message":"x"}"#, "level"),
            (r#"{"level":30,"message":"x"}"#, "ok"),
            (r#"{"level":true,"message":"x"}"#, "level"),
            (r#"{"level":"","message":"x"}"#, "level"),
            (r#"{"level":null,"severity":"CRITICAL","short_message":"x"}"#, "ok"),
            (r#"{"severity":"LOUD","message":"x"}"#, "severity"),
            (r#"{"level":"INFO"}"#, "message"),
            (r#"{"level":"INFO","message":5}"#, "message"),
            (r#"{"level":"INFO","message":"x","context":"c"}"#, "context"),
            (r#"{"level":"INFO","message":"x","request_id":7}"#, "request_id"),
            (r#"{"level":"INFO","message":"x","timestamp":"1969-12-31T23:59:59Z"}"#, "timestamp"),
            (r#"{"level":"INFO","message":"x","timestamp":"9999-01-01T00:00:00Z"}"#, "timestamp"),
            (r#"{"level":"INFO","message":"x","timestamp":"2024-01-01T00:00:00"}"#, "ok"),
            (r#"{"level":"INFO","message":"x","timestamp":"yesterday"}"#, "timestamp"),
            (r#"{"level":"critical","message":"x","@timestamp":"2025-04-01 18:34:01,581"}"#, "ok"),
            (r#"{"level":"INFO","message":"x","@timestamp":"yesterday"}"#, "@timestamp"),
            (r#"{"level":"INFO","message":"x","timestamp":"2025-04-02T18:34:01.581Z"}"#, "ok"),
            (r#"{"level":"INFO","message":"x","timestamp":"2025-04-02T18:34:01.582Z"}"#, "timestamp"),
            (r#"{"level":"INFO","message":"x","time":"2099-12-31T23:59:59Z"}"#, "time"),
            (r#"{"level":"INFO","message":"x","ts":1743618841582}"#, "ts"),
            (r#"{"level":"INFO","message":"x","timestamp":"1999-12-31T23:59:59.999Z"}"#, "timestamp"),
            (r#"{"level":"INFO","message":"x","timestamp":0}"#, "timestamp"),
            (r#"{"level":"INFO","message":"x","timestamp":true}"#, "timestamp"),
            ("[1]", "body"),
            ("null", "body"),
        ] {
            assert_eq!(field_of(json), field, "{json}");
        }
        let deep = format!(
            r#"{{"level":"INFO","message":"[[","context":{{"a":{}1{}}}}}"#,
            "[".repeat(62),
            "]".repeat(62)
        );
        assert_eq!(field_of(&deep), "ok");
        assert_eq!(field_of(&deep.replace("1", "[1]")), "body");
        assert_eq!(check("[]", "logs[3]", true, NOW_MS).unwrap_err().field, "logs[3]");
        assert_eq!(check("{}", "logs[3]", true, NOW_MS).unwrap_err().field, "logs[3].level");
    }

    #[test]
    fn times_are_read_by_their_size() {
        for time in [
            "1743532441.581",
            "1743532441581",
            "1743532441581999",
            "1743532441581999999",
            "\"2025-04-01T18:34:01.581Z\"",
            "\"2025-04-01T20:34:01.5819+02:00\"",
        ] {
            let entry =
                check(&format!(r#"{{"level":"INFO","message":"x","timestamp":{time}}}"#), "", true, NOW_MS)
                    .unwrap();
            assert_eq!(entry.timestamp_ms, Some(1_743_532_441_581), "{time}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced_and_the_entry_says_so() {
        let check = |json: &str| check(json, "", true, NOW_MS).unwrap().raw;
        assert_eq!(
            check(r#"{"level":"INFO","message":"\ud83d!"}"#),
            r#"{"level":"INFO","message":"\ufffd!","surrogatesReplaced":true}"#
        );
        for whole in
            [r#"{"level":"INFO","message":"\ud83d\ude00"}"#, r#"{"level":"INFO","message":"\\ud83d"}"#]
        {
            assert_eq!(check(whole), whole);
        }
    }

    #[test]
    fn an_entry_of_a_shipper_may_lack_level_and_message_but_what_it_has_must_be_right() {
        let level = |json: &str| check(json, "body[0]", false, NOW_MS).map(|entry| entry.level);
        assert_eq!(level("{}"), Ok(Level::Info));
        assert_eq!(level(r#"{"level":50,"msg":"x"}"#), Ok(Level::Error));
        for (json, field) in [
            (r#"{"level":"LOUD"}"#, "body[0].level"),
            (r#"{"lvl":"LOUD"}"#, "body[0].lvl"),
            (r#"{"msg":1}"#, "body[0].msg"),
            (r#"{"time":"soon"}"#, "body[0].time"),
        ] {
            assert_eq!(level(json).unwrap_err().field, field, "{json}");
        }
    }

    #[test]
    fn a_request_id_is_added_also_to_an_entry_without_members() {
        for (raw, with_id) in [
            ("{}", r#"{"request_id":"r"}"#),
            ("{ }", r#"{ "request_id":"r"}"#),
            (r#"{"a":{}}"#, r#"{"a":{},"request_id":"r"}"#),
        ] {
            let mut added = raw.to_owned();
            push_request_id(&mut added, "r");
            assert_eq!(added, with_id);
        }
    }

    #[test]
    fn a_body_is_an_entry_a_batch_or_one_value_after_the_other() {
        let read =
            |body: &'static [u8]| entries(body, false).map(|all| (all.batch, all.complete, all.entries));
        for (body, batch, complete, last) in [
            (&br#" {"logs":[{"a":1}, {"b":2}]} "#[..], true, true, r#"{"b":2}"#),
            (br#"{"level":"x"}"#, false, true, r#"{"level":"x"}"#),
            (br#"[{"a":1},{"b":2}]"#, true, false, r#"{"b":2}"#),
            (b"{\"a\":1}\r\n\n{\"b\":2}\n", true, false, r#"{"b":2}"#),
            (br#"{"a":1}{"b":2}"#, true, false, r#"{"b":2}"#),
        ] {
            let (is_batch, is_complete, all) = read(body).unwrap();
            assert_eq!((is_batch, is_complete, all.last().unwrap().get()), (batch, complete, last));
        }
        // Half a surrogate pair in a name.
        assert_eq!(read(br#"{"\ud83d":1,"level":"x"}"#).unwrap().2.len(), 1);
        let lines = |body| entries(body, true).map(|all| (all.batch, all.entries.len()));
        assert_eq!(lines(br#"{"a":1}"#), Ok((true, 1)));
        assert_eq!(lines(b"\n"), Ok((true, 0)));
        assert_eq!(lines(b"{\"a\":1}\n{\"b\"").unwrap_err().field, "body[1]");
        for (body, field) in [
            (&b"{"[..], "body"),
            (b"[1", "body"),
            (b"\"x\"", "body"),
            (b"\xff", "body"),
            (b"{\"logs\":{}}", "logs"),
            (b"{\"logs\":[],\"level\":1}", "logs"),
            (b"{\"level\":1} x", "body"),
            (b"{}\n{}\n{", "body[2]"),
            (b"", "body"),
        ] {
            assert_eq!(read(body).unwrap_err().field, field, "{body:?}");
        }
        let many = "{}\n".repeat(MAX_ENTRIES + 1);
        assert_eq!(entries(many.as_bytes(), true).unwrap_err().field, "body");
        let many = format!("[{}0]", "0,".repeat(1 << 20));
        assert_eq!(entries(many.as_bytes(), false).unwrap_err().field, "body");
    }

    #[test]
    fn a_request_id_is_added_as_the_last_member() {
        let mut raw = r#"{"message":"}" , "request_id":null }"#.to_owned();
        push_request_id(&mut raw, "a\"b");
        assert_eq!(raw, r#"{"message":"}" , "request_id":null ,"request_id":"a\"b"}"#);
    }
}
