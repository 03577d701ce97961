//! Envelopes: objects whose array holds the records. Their elements are streamed, the envelope is never held;
//! its other scalar members become the context of each record. An envelope that is short enough to be a record
//! gives all of them, a longer one those before its array.

use serde::de::IgnoredAny;

use super::array::Scanned;
use super::{Brackets, Splitter, State, Step, What};
use crate::logfile::head::{Said, whole_object};
use crate::logfile::quarantine::QuarantineReason;
use crate::model::json;
use crate::model::names::{Role, member, role, time_of};
use crate::model::record::EntryKind;
use crate::model::stamp::Stamp;
use crate::model::text::{Ask, SaidLevel, recognise};

/// How deep envelopes may be inside one another: OpenTelemetry's are three.
const MAX_CONTAINERS: usize = 8;

/// The most that records share (bytes). It is stored with each of them.
pub(super) const MAX_CONTEXT_BYTES: usize = 16 * 1024;

/// An array whose elements are records, or an envelope with one.
#[derive(Debug, Default)]
pub(super) struct Container {
    name: &'static str,
    envelope: bool,
    /// What all elements share, a JSON object; empty where there is nothing.
    context: String,
    /// Of elements that say none.
    time: Option<Stamp>,
    /// Where an envelope ends that was read to its end.
    end: Option<u64>,
}

impl Container {
    pub(super) fn array() -> Self {
        Self { name: "json-array", ..Self::default() }
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

impl Splitter {
    /// Enters the envelope at `start`, if it is one; it ends at `end`, or is longer than a record may be.
    pub(super) fn enter_envelope(&mut self, start: u64, end: Option<u64>) -> bool {
        if self.containers.len() >= MAX_CONTAINERS {
            return false;
        }
        let text = end.map_or_else(|| self.window(start), |end| self.buffer.between(start, end));
        let opening = opening(text, end.is_some(), self.containers.last(), self.near_ms);
        let Some((length, container)) = opening else { return false };
        (self.retry_at, self.line_begun) = (0, false);
        let is_control =
            member(&container.context, "messageType").is_some_and(|kind| kind.get() == "\"CONTROL_MESSAGE\"");
        if let Some(end) = end
            && is_control
        {
            self.skipped.control_messages += 1;
            self.state = self.after_container(State::Top);
            (self.begin, self.at) = (end, end);
            return true;
        }
        self.at = start + length as u64;
        self.begin = self.at;
        self.containers.push(Container { end, ..container });
        self.state = State::Between { needs_value: true, after_comma: false };
        true
    }

    /// After an envelope's array: its other members, up to its end.
    pub(super) fn tail(&mut self) -> Step {
        if let Some(end) = self.containers.last().and_then(|envelope| envelope.end) {
            (self.begin, self.at) = (end, end);
            self.containers.pop();
            self.state = self.after_container(State::Top);
            return Step::Again;
        }
        let Some(scanned) = self.scan_on() else { return self.wait_inside_value() };
        let (begin, end) = (self.begin, self.at);
        if scanned == Scanned::Closed {
            self.containers.pop();
            self.state = self.after_container(State::Top);
        } else {
            self.unterminated = scanned == Scanned::EndOfStream;
            self.leave_cut_off();
        }
        if self.is_oversize(end) {
            return self.bad(begin, end, end, QuarantineReason::TooLarge);
        }
        let tail = self.buffer.between(begin, end).trim();
        if is_tail(tail) {
            (self.begin, self.at) = (end, end);
            return Step::Again;
        }
        self.bad(begin, self.trimmed_end(begin, end), end, QuarantineReason::BrokenJson)
    }

    /// The record that an object wraps (Docker's `log`, CloudWatch's `message`), or the object with the context
    /// of its envelope, into `composed`. `None`: it is a record by itself.
    pub(super) fn compose(&mut self, start: u64, end: u64, said: &Said) -> Option<(&'static str, What)> {
        let raw = self.buffer.between(start, end);
        let container = self.containers.last();
        let outer = container.map_or("", |container| container.context.as_str());
        let outer_time = container.and_then(|container| container.time);
        let (framing, name) = match container {
            Some(container) if container.name == "cloudwatch" => ("cloudwatch", "message"),
            _ if said.docker => ("docker", "log"),
            container => (container.map_or("ndjson", Container::name), "log"),
        };
        let wraps = framing == "cloudwatch" || said.docker || said.log;
        let message = wraps.then(|| member(raw, name)).flatten();
        let inner = message.and_then(|raw| json::string(raw.get()));
        let inner = inner.as_deref().map(str::trim).unwrap_or_default();
        let mut what = (said.time, said.level);
        self.composed.clear();
        let own = whole_object(inner, self.near_ms);
        // Fluent Bit's whole entry is the record.
        let beside = own.filter(|_| framing == "cloudwatch" || framing == "docker").and_then(|own| {
            let mut context = outer.to_owned();
            let mut fits = true;
            walk(raw, |member, value| {
                fits = member == name || push_member(&mut context, member, value);
                fits
            });
            fits.then_some((own, context))
        });
        if let Some((own, context)) = beside {
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
        let (time, level) = (what.0.or(outer_time), what.1);
        if self.composed.len() as u64 > self.max_record_bytes {
            return Some((framing, What::Bad(QuarantineReason::TooLarge)));
        }
        Some((framing, What::Composed { kind: EntryKind::Json, time, level }))
    }
}

/// Reads an envelope up to its array: how long that is, including the `[`, and what its elements share. `whole`:
/// the text is all of it. `outer` is around it.
fn opening(text: &str, whole: bool, outer: Option<&Container>, near_ms: i64) -> Option<(usize, Container)> {
    let mut container = Container { envelope: true, ..Container::default() };
    let mut context = outer.map(|outer| outer.context.clone()).unwrap_or_default();
    let (mut array, mut empty) = (None, None);
    let (mut members, mut is_none) = (0, false);
    let mut first_time = usize::MAX;
    walk(text, |name, value| {
        members += 1;
        let after_bracket = value.as_ptr() as usize - text.as_ptr() as usize + 1;
        match (role(name.as_bytes()), array_of(value)) {
            (Some(Role::Envelope), Some(Elements::Objects)) => {
                // Another one would be lost.
                is_none = array.replace((kind(name), after_bracket)).is_some();
                return whole && !is_none;
            }
            (Some(Role::Envelope), Some(Elements::None)) => empty = Some((kind(name), after_bracket)),
            (Some(Role::Level(_) | Role::Message(_)), _) => is_none = true,
            (Some(Role::Time(rank)), _) if rank < first_time => {
                if let Some(time) = time_of(value, near_ms) {
                    (container.time, first_time) = (Some(time), rank);
                }
            }
            _ => {}
        }
        is_none |= !push_scalar(&mut context, name, value);
        match name {
            "resource" => is_none |= !push_attributes(&mut context, value),
            "scope" => is_none |= !push_scope(&mut context, value),
            _ => {}
        }
        !is_none
    });
    // An object that says something beside an empty array is a record.
    let empty = empty.filter(|(name, _)| match *name {
        "otlp" => members == 1 || outer.is_some_and(|outer| outer.name == "otlp"),
        "cloudtrail" | "cloudwatch" => members == 1,
        _ => false,
    });
    let (name, length) = array.or(empty.filter(|_| whole)).filter(|_| !is_none)?;
    let time = container.time.or(outer.and_then(|outer| outer.time));
    Some((length, Container { name, context, time, ..container }))
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

/// What an array holds.
enum Elements {
    None,
    Objects,
}

/// What a value holds that is, or begins as, an array; `None` for one of other values, and for what is no array.
fn array_of(value: &str) -> Option<Elements> {
    match value.strip_prefix('[')?.trim_start().as_bytes().first()? {
        b'{' => Some(Elements::Objects),
        b']' => Some(Elements::None),
        _ => None,
    }
}

/// Whether what stands after an envelope's array is the end of the envelope, without more records.
fn is_tail(text: &str) -> bool {
    if text.is_empty() || text == "}" {
        return true;
    }
    let object = format!("{{\"\":0{text}");
    let mut records = false;
    walk(&object, |name, value| {
        records |= role(name.as_bytes()) == Some(Role::Envelope) && array_of(value).is_some();
        !records
    });
    !records && serde_json::from_str::<IgnoredAny>(&object).is_ok()
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

/// Adds a member to a context unless it is an array or an object; `false` where that is too much.
fn push_scalar(context: &mut String, name: &str, value: &str) -> bool {
    let scalar = value.ends_with(|c: char| c == '"' || c.is_ascii_alphanumeric());
    !scalar || value.starts_with(['{', '[']) || push_member(context, name, value)
}

/// Adds a member to a context, `name` as it is written in JSON; `false` where that is too much.
fn push_member(context: &mut String, name: &str, value: &str) -> bool {
    if context.len() + name.len() + value.len() > MAX_CONTEXT_BYTES {
        return false;
    }
    context.pop();
    context.push_str(if context.is_empty() { "{\"" } else { ",\"" });
    context.push_str(name);
    context.push_str("\":");
    // A context is a line.
    match value.contains('\n') {
        true => context.push_str(&value.replace('\n', " ")),
        false => context.push_str(value),
    }
    context.push('}');
    true
}

/// Adds the attributes of OpenTelemetry's resource or scope that are scalars.
fn push_attributes(context: &mut String, of: &str) -> bool {
    let attributes = member(of, "attributes").map(|raw| raw.get());
    let Some(Ok(attributes)) = attributes.map(serde_json::from_str::<Vec<&serde_json::value::RawValue>>)
    else {
        return true;
    };
    let mut fits = true;
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
            let name = quoted.get(1..quoted.len() - 1).unwrap_or_default();
            fits &= push_scalar(context, name, scalar.get());
        }
    }
    fits
}

/// Adds OpenTelemetry's scope: its name, its version and its attributes.
fn push_scope(context: &mut String, value: &str) -> bool {
    let mut scope = String::new();
    let mut fits = true;
    for name in ["name", "version"] {
        if let Some(text) = member(value, name).filter(|text| text.get() != "\"\"") {
            fits &= push_scalar(&mut scope, name, text.get());
        }
    }
    fits &= push_attributes(&mut scope, value);
    fits && (scope.is_empty() || push_member(context, "scope", &scope))
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
        let read = |text, whole| {
            opening(text, whole, None, 0).map(|(length, opened)| (opened.name, length, opened.context))
        };
        let text = r#"{"owner":"1","n":[1],"logEvents":[{"id":"1"}],"late":2}"#;
        assert_eq!(read(text, false), Some(("cloudwatch", 34, r#"{"owner":"1"}"#.to_owned())));
        assert_eq!(read(text, true), Some(("cloudwatch", 34, r#"{"owner":"1","late":2}"#.to_owned())));
        assert_eq!(read(r#"{"Records":[]}"#, true), Some(("cloudtrail", 12, String::new())));
        for none in [
            r#"{"records":[1,2]}"#,
            r#"{"records":{}}"#,
            r#"{"msg":"got","records":[{"a":1}]}"#,
            r#"{"level":30,"logs":[{"a":1}]}"#,
            r#"{"job":"sync","records":[]}"#,
            r#"{"records":[]}"#,
            r#"{"logs":[{"a":1}],"entries":[{"b":2}]}"#,
            "{}",
        ] {
            assert_eq!(read(none, true), None, "{none}");
        }
    }
}
