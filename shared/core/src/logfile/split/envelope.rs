//! Envelopes: objects whose array holds the records. Their elements are streamed, the envelope is never held;
//! its other scalar members become the context of each record. An envelope that is short enough to be a record
//! gives all of them, a longer one those before its array.

use super::{Brackets, Splitter, State, Step, What};
use crate::logfile::head::{Said, whole_object};
use crate::logfile::quarantine::QuarantineReason;
use crate::model::json;
use crate::model::names::{Role, member, role};
use crate::model::record::EntryKind;
use crate::model::text::{Ask, SaidLevel, recognise};

/// How deep envelopes may be inside one another: OpenTelemetry's are three.
const MAX_CONTAINERS: usize = 8;

/// An array whose elements are records, or an envelope with one.
#[derive(Debug)]
pub(super) struct Container {
    name: &'static str,
    envelope: bool,
    /// What all elements share, a JSON object; empty where there is nothing.
    context: String,
}

impl Container {
    pub(super) fn array() -> Self {
        Self { name: "json-array", envelope: false, context: String::new() }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn is_envelope(&self) -> bool {
        self.envelope
    }

    /// Whether its elements may wrap a record of their own.
    pub(super) fn wraps(&self) -> bool {
        self.name == "cloudwatch" || !self.context.is_empty()
    }
}

/// The beginning of an envelope, including the `[` of its array.
struct Opening {
    name: &'static str,
    length: usize,
    context: String,
}

impl Splitter {
    /// Enters the envelope at `start`, if it is one; it ends at `end`, or is longer than a record may be.
    pub(super) fn enter_envelope(&mut self, start: u64, end: Option<u64>) -> bool {
        if self.containers.len() >= MAX_CONTAINERS {
            return false;
        }
        let outer = self.containers.last().map_or("", |container| container.context.as_str());
        let text = end.map_or_else(|| self.window(start), |end| self.buffer.between(start, end));
        let Some(opening) = opening(text, end.is_some(), outer) else { return false };
        self.retry_at = 0;
        let is_control =
            member(&opening.context, "messageType").is_some_and(|kind| kind.get() == "\"CONTROL_MESSAGE\"");
        if let Some(end) = end
            && is_control
        {
            self.skipped.control_messages += 1;
            self.state = self.after_container(State::Top);
            (self.begin, self.at) = (end, end);
            return true;
        }
        self.at = start + opening.length as u64;
        self.begin = self.at;
        self.containers.push(Container { name: opening.name, envelope: true, context: opening.context });
        self.state = State::Between { needs_value: true, after_comma: false };
        true
    }

    /// After an envelope's array: its other members, up to its end.
    pub(super) fn tail(&mut self) -> Step {
        let (scanned, ended) = self.brackets.scan(self.buffer.from(self.at).as_bytes());
        self.at += scanned as u64;
        self.begin = self.at;
        if !ended {
            self.unterminated = self.ended.is_some();
            return Step::Wait;
        }
        self.containers.pop();
        self.state = self.after_container(State::Top);
        Step::Again
    }

    /// The record that an object wraps (Docker's `log`, CloudWatch's `message`), or the object with the context
    /// of its envelope, into `composed`. `None`: it is a record by itself.
    pub(super) fn compose(&mut self, start: u64, end: u64, said: &Said) -> Option<(&'static str, What)> {
        let raw = self.buffer.between(start, end);
        let outer = self.containers.last().map_or("", |container| container.context.as_str());
        let (framing, message) = match self.containers.last() {
            Some(container) if container.name == "cloudwatch" => ("cloudwatch", member(raw, "message")),
            _ if said.docker => ("docker", member(raw, "log")),
            // Beside Fluent Bit's `log` are objects, which a context does not keep: the whole is the record.
            container => {
                let log = member(raw, "log").filter(|_| said.log);
                (container.map_or("ndjson", Container::name), log)
            }
        };
        let inner = message.and_then(|raw| json::string(raw.get()));
        let inner = inner.as_deref().map(str::trim).unwrap_or_default();
        let mut what = (said.time, said.level);
        self.composed.clear();
        let own = whole_object(inner, self.near_ms);
        if let Some(own) = own.filter(|_| framing == "cloudwatch" || framing == "docker") {
            let mut context = outer.to_owned();
            walk(raw, |name, value| push_scalar(&mut context, name, value, &["message", "log"]));
            self.composed.push_str(if context.is_empty() { "{}" } else { &context });
            self.composed.push('\n');
            self.composed.push_str(inner);
            what = (own.time.or(said.time), own.level);
        } else {
            if let Some(own) = own {
                what = (said.time.or(own.time), own.level);
            } else if said.level == SaidLevel::Nothing
                && let Some(first) = inner.lines().next()
                && let Some((_, line)) = recognise(first, &Ask::new(self.near_ms, false))
            {
                what = (said.time.or(line.time), line.level);
            }
            if outer.is_empty() {
                let said = Said { time: what.0, level: what.1, ..*said };
                return Some((framing, What::Object(said)));
            }
            self.composed.push_str(outer);
            self.composed.push('\n');
            self.composed.push_str(raw);
        }
        let (time, level) = what;
        if self.composed.len() as u64 > self.max_record_bytes {
            return Some((framing, What::Bad(QuarantineReason::TooLarge)));
        }
        Some((framing, What::Composed { kind: EntryKind::Json, time, level }))
    }
}

/// Reads an envelope up to its array. `whole`: the text is all of it. `outer`: the context around it.
fn opening(text: &str, whole: bool, outer: &str) -> Option<Opening> {
    let mut context = outer.to_owned();
    let mut array = None;
    let mut speaks = false;
    walk(text, |name, value| {
        match role(name.as_bytes()) {
            Some(Role::Envelope) if array.is_none() && holds_objects(value) => {
                let at = value.as_ptr() as usize - text.as_ptr() as usize;
                array = Some((kind(name), at + 1));
                return whole;
            }
            Some(Role::Level(_) | Role::Message(_)) => speaks = true,
            _ => {}
        }
        push_scalar(&mut context, name, value, &[]);
        if name == "resource" {
            push_attributes(&mut context, value);
        }
        true
    });
    let (name, length) = array.filter(|_| !speaks)?;
    Some(Opening { name, length, context })
}

fn kind(array: &str) -> &'static str {
    match array {
        "Records" => "cloudtrail",
        "logEvents" => "cloudwatch",
        "logs" => "logs",
        "records" => "records",
        "entries" => "entries",
        _ => "otlp",
    }
}

/// Whether a value is, or begins as, an array of objects, or an empty one.
fn holds_objects(value: &str) -> bool {
    let inside = value.strip_prefix('[').map(str::trim_start);
    inside.is_some_and(|inside| inside.starts_with(['{', ']']))
}

/// Calls `each` with the members of the object at the beginning of `text`, names as they are written, values up
/// to the end of the text where that comes first; until it returns `false`.
fn walk<'a>(text: &'a str, mut each: impl FnMut(&str, &'a str) -> bool) {
    let mut rest = text.strip_prefix('{').unwrap_or_default();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        let Some(inside) = rest.strip_prefix('"') else { return };
        let Some(end) = string_end(inside) else { return };
        let Some(value) = inside[end + 1..].trim_ascii_start().strip_prefix(':') else { return };
        let value = value.trim_ascii_start();
        let mut brackets = Brackets::element();
        // The end of the object ends its last value too.
        let (length, _) = scan_value(&mut brackets, value);
        if !each(&inside[..end], value[..length].trim_ascii_end()) {
            return;
        }
        rest = &value[length..];
    }
}

/// The length of a value that a comma or the end of the object around it ends.
fn scan_value(brackets: &mut Brackets, value: &str) -> (usize, bool) {
    match value.as_bytes().first() {
        Some(b'{' | b'[') => {
            *brackets = Brackets::object(false);
            brackets.scan(value.as_bytes())
        }
        Some(b'"') => (string_end(&value[1..]).map_or(value.len(), |end| end + 2), true),
        _ => (value.find([',', '}']).unwrap_or(value.len()), true),
    }
}

/// Where the string ends whose inside `text` begins with.
fn string_end(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', &text.as_bytes()[from.min(text.len())..])?;
        if text.as_bytes()[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
    }
}

/// Adds a member to a context unless it is an array, an object or one of `but`.
fn push_scalar(context: &mut String, name: &str, value: &str, but: &[&str]) -> bool {
    let scalar = value.ends_with(|c: char| c == '"' || c.is_ascii_alphanumeric());
    if scalar && !value.starts_with(['{', '[']) && !but.contains(&name) {
        push_member(context, name, value);
    }
    true
}

/// `name` as it is written in JSON.
fn push_member(context: &mut String, name: &str, value: &str) {
    context.truncate(context.trim_end_matches('}').len());
    context.push_str(if context.is_empty() { "{\"" } else { ",\"" });
    context.push_str(name);
    context.push_str("\":");
    context.push_str(value);
    context.push('}');
}

/// The attributes of OpenTelemetry's resource that are scalars.
fn push_attributes(context: &mut String, resource: &str) {
    let attributes = member(resource, "attributes").map(|raw| raw.get());
    let Some(Ok(attributes)) = attributes.map(serde_json::from_str::<Vec<&serde_json::value::RawValue>>)
    else {
        return;
    };
    for attribute in attributes {
        let Some(name) = member(attribute.get(), "key").and_then(|raw| json::string(raw.get())) else {
            continue;
        };
        let Some(value) = member(attribute.get(), "value") else { continue };
        let scalars = ["stringValue", "intValue", "boolValue", "doubleValue"];
        if let Some(scalar) = scalars.iter().find_map(|name| member(value.get(), name)) {
            let mut quoted = Vec::new();
            json::push_string(&mut quoted, &name);
            let quoted = String::from_utf8(quoted).unwrap_or_default();
            push_scalar(context, quoted.trim_matches('"'), scalar.get(), &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_an_object_are_walked_whatever_they_hold() {
        let mut seen = Vec::new();
        walk(r#"{ "a" : 1, "b\"": "x,}" ,"c":[{"d":"]"}],"e":{} , "f":null}"#, |name, value| {
            seen.push(format!("{name}={value}"));
            true
        });
        assert_eq!(seen, ["a=1", "b\\\"=\"x,}\"", "c=[{\"d\":\"]\"}]", "e={}", "f=null"]);
    }

    #[test]
    fn an_envelope_opens_at_its_array_and_gives_its_scalars() {
        let read = |text, whole| opening(text, whole, "").map(|o| (o.name, o.length, o.context));
        let text = r#"{"owner":"1","n":[1],"logEvents":[{"id":"1"}],"late":2}"#;
        assert_eq!(read(text, false), Some(("cloudwatch", 34, r#"{"owner":"1"}"#.to_owned())));
        assert_eq!(read(text, true), Some(("cloudwatch", 34, r#"{"owner":"1","late":2}"#.to_owned())));
        assert_eq!(read(r#"{"Records":[]}"#, true), Some(("cloudtrail", 12, String::new())));
        for none in [
            r#"{"records":[1,2]}"#,
            r#"{"records":{}}"#,
            r#"{"msg":"got","records":[{"a":1}]}"#,
            r#"{"level":30,"logs":[{"a":1}]}"#,
            "{}",
        ] {
            assert_eq!(read(none, true), None, "{none}");
        }
    }
}
