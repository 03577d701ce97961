//! Just enough of a JSON object to store it: where it ends, its time, its level, and whether it wraps others.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::json;
use crate::model::level::Level;
use crate::model::names::{
    HOLDERS, LOG, Levels, NESTED_LEVELS, NESTED_TIMES, Role, TIMES, member, nested, role, time_of,
};
use crate::model::stamp::Stamp;
use crate::model::text::SaidLevel;

/// The deepest nesting of a JSON entry; the entry's own braces are the first level.
pub(crate) const MAX_NESTING: u32 = 64;

/// What an object says of itself. Of a key that occurs twice the last counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said {
    pub(crate) time: Option<Stamp>,
    pub(crate) level: SaidLevel,
    /// It has members that are times, whether or not they are usable.
    pub(crate) names_times: bool,
    /// It has a level or a message: then it is no envelope.
    pub(crate) speaks: bool,
    /// It has an array under the name of an envelope's.
    pub(crate) may_wrap: bool,
    /// It has a `log` that is a string, and a `stream`.
    pub(crate) docker: bool,
    /// It has a `log` that is a string, and no level: Fluent Bit's.
    pub(crate) log: bool,
}

/// Why there is no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoObject {
    /// The text ends inside it.
    Incomplete,
    /// With the number of bytes that were read.
    Broken(usize),
}

/// Reads the object that begins `text`, and where it ends.
pub(crate) fn object_at(text: &str) -> Result<(Said, usize), NoObject> {
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<Said>();
    match objects.next() {
        Some(Ok(said)) => Ok((said, objects.byte_offset())),
        Some(Err(error)) if error.is_eof() => Err(NoObject::Incomplete),
        Some(Err(error)) => Err(NoObject::Broken(offset(text, &error))),
        None => Err(NoObject::Broken(0)),
    }
}

/// Where in a text an error is.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let breaks = error.line().checked_sub(2);
    let line = breaks.and_then(|before| memchr::memchr_iter(b'\n', text.as_bytes()).nth(before));
    line.map_or(0, |end| end + 1) + error.column()
}

/// The object that is all of `text`, with its time; `near_ms` is the time of the file.
pub(crate) fn whole_object(text: &str, near_ms: i64) -> Option<Said> {
    if !text.starts_with('{') {
        return None;
    }
    let (said, length) = object_at(text).ok()?;
    (length == text.len() && !too_deep(text.as_bytes())).then(|| with_time(said, text, near_ms))
}

/// Adds the times that only the file's own completes: such without a year.
pub(crate) fn with_time(said: Said, text: &str, near_ms: i64) -> Said {
    if said.time.is_some() || !said.names_times {
        return said;
    }
    let time = TIMES.iter().find_map(|name| time_of(member(text, name)?.get(), near_ms));
    Said { time, ..said }
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SaidVisitor)
    }
}

struct SaidVisitor;

impl<'a> Visitor<'a> for SaidVisitor {
    type Value = Said;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Said, M::Error> {
        let mut said = Said::default();
        let mut times: [Option<&RawValue>; TIMES.len()] = [None; TIMES.len()];
        let mut levels = Levels::default();
        let (mut log, mut stream, mut of_request) = (false, false, false);
        let mut status: Option<&RawValue> = None;
        let mut holders: [Option<&RawValue>; HOLDERS.len()] = [None; HOLDERS.len()];
        while let Some(key) = map.next_key_seed(json::Key)? {
            let Some(role) = role(&key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: &RawValue = map.next_value()?;
            match role {
                Role::Time(rank) => {
                    times[rank] = Some(value);
                    said.names_times = true;
                }
                Role::Level(rank) => {
                    levels.put(rank, value);
                    said.speaks = true;
                }
                Role::Message(rank) => {
                    said.speaks = true;
                    if rank == LOG {
                        log = value.get().starts_with('"');
                        levels.nested(value);
                    }
                }
                Role::Version => levels.version(value),
                Role::Stream => stream = true,
                Role::Status => status = Some(value),
                Role::HttpMethod => of_request = true,
                Role::Holder(rank) => holders[rank] = Some(value),
                Role::Envelope => said.may_wrap |= value.get().starts_with('['),
            }
        }
        said.docker = log && stream;
        let below = |paths: &[(&str, &[&str])]| {
            paths.iter().find_map(|(name, path)| {
                let rank = HOLDERS.iter().position(|holder| holder == name)?;
                nested(holders[rank]?, path)
            })
        };
        if !levels.any()
            && let Some(level) = below(&NESTED_LEVELS)
        {
            levels.put(0, level);
        }
        said.level = levels.said();
        said.log = log && said.level == SaidLevel::Nothing;
        let status = status.map(|status| status.get().trim_matches('"')).filter(|status| status.len() == 3);
        if of_request
            && said.level == SaidLevel::Nothing
            && let Some(Ok(status)) = status.map(str::parse)
        {
            said.level = SaidLevel::Known(Level::from_status(status));
        }
        if said.names_times {
            // A time without a year is none in 1970.
            said.time = times.into_iter().flatten().find_map(|time| time_of(time.get(), 0));
        } else if let Some(time) = below(&NESTED_TIMES) {
            said.time = time_of(time.get(), 0);
        }
        Ok(said)
    }
}

/// Whether brackets are nested too deeply. Few entries have enough brackets to need a look.
pub(crate) fn too_deep(bytes: &[u8]) -> bool {
    if memchr::memchr2_iter(b'{', b'[', bytes).nth(MAX_NESTING as usize).is_none() {
        return false;
    }
    let (mut depth, mut at, mut in_string) = (0u32, 0, false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            return true;
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_743_532_441_581;

    fn said(text: &str) -> Option<Said> {
        whole_object(text, MS)
    }

    fn ms(text: &str) -> Option<i64> {
        said(text).unwrap().time.map(|stamp| stamp.ms)
    }

    fn level(text: &str) -> SaidLevel {
        said(text).unwrap().level
    }

    #[test]
    fn times_are_taken_from_the_first_usable_key() {
        for (text, expect) in [
            (r#"{"time":1743532441581}"#, Some(MS)),
            (r#"{"ts":1743532441581,"timestamp":"x","time":null}"#, Some(MS)),
            (r#"{"timestamp":"2025-04-01T18:34:01.581Z","ts":1}"#, Some(MS)),
            (r#"{"time":1,"timestamp":"2025-04-01T20:34:01.581+02:00"}"#, Some(MS)),
            (r#"{"timestamp":"2025\u002d04-01T18:34:01.581Z"}"#, Some(MS)),
            (r#"{"time":1,"t\u0069me":1743532441581}"#, Some(MS)),
            (r#"{"@timestamp":"2025-04-01T18:34:01,581+0000"}"#, Some(MS)),
            (r#"{"@t":"2025-04-01T18:34:01.5810000Z"}"#, Some(MS)),
            (r#"{"timeUnixNano":"1743532441581000000"}"#, Some(MS)),
            (r#"{"__REALTIME_TIMESTAMP":"1743532441581000"}"#, Some(MS)),
            (r#"{"date":1743532441.581}"#, Some(MS)),
            (r#"{"asctime":"2025-04-01 18:34:01,581"}"#, Some(MS)),
            (r#"{"time":"Apr  1 18:34:01"}"#, Some(MS - 581)),
            (r#"{"eventTime":"2025-04-01T18:34:01Z"}"#, Some(MS - 581)),
            (r#"{"record":{"time":{"timestamp":1743532441.581}}}"#, Some(MS)),
            (r#"{"instant":{"epochSecond":1743532441,"nanoOfSecond":581999999}}"#, Some(MS)),
            (r#"{"instant":{"epochSecond":1},"time":1743532441581}"#, Some(MS)),
            (r#"{"instant":{"epochSecond":9223372036854775807,"nanoOfSecond":0}}"#, None),
            (r#"{"instant":{"epochSecond":1743532441}}"#, Some(MS - 581)),
            (r#"{"instant":"soon"}"#, None),
            (r#"{"time":1743532441581,"time":0}"#, None),
            (r#"{"time":"yesterday"}"#, None),
            (r#"{"a":{"time":1743532441581}}"#, None),
            (r#"{"time":true}"#, None),
            (r#"{"time":-1743532441581}"#, None),
            (r#"{"time":1e999}"#, None),
            (r#"{"time":946684799}"#, None),
            (r#"{"time":4102444800000}"#, None),
            ("{}", None),
        ] {
            assert_eq!(ms(text), expect, "{text}");
        }
    }

    #[test]
    fn levels_are_numbers_or_names_of_any_logger() {
        use Level::{Debug, Error, Info, Warn};
        use SaidLevel::{Known, Nothing, Unknown};
        for (text, expect) in [
            (r#"{"level":20}"#, Known(Debug)),
            (r#"{"level":50}"#, Known(Error)),
            (r#"{"level":"30"}"#, Known(Info)),
            (r#"{"level":39.5}"#, Known(Info)),
            (r#"{"level":"WaRn"}"#, Known(Warn)),
            (r#"{"level":"verbose"}"#, Known(Debug)),
            (r#"{"level":"loud"}"#, Unknown),
            (r#"{"level":null}"#, Nothing),
            (r#"{"level":10,"level":50}"#, Known(Error)),
            (r#"{"severity":"CRITICAL"}"#, Known(Error)),
            (r#"{"log.level":"error"}"#, Known(Error)),
            (r#"{"log":{"level":"warn"}}"#, Known(Warn)),
            (r#"{"@l":"Warning"}"#, Known(Warn)),
            (r#"{"PRIORITY":"3"}"#, Known(Error)),
            (r#"{"severityNumber":17,"severityText":""}"#, Known(Error)),
            (r#"{"severityText":"odd","severityNumber":13}"#, Known(Warn)),
            (r#"{"version":"1.1","level":3}"#, Known(Error)),
            (r#"{"version":"1.0","level":3}"#, Known(Debug)),
            (r#"{"context":{"logLevel":40}}"#, Known(Warn)),
            (r#"{"context":{"logLevel":40},"level":50}"#, Known(Error)),
            (r#"{"context":"logLevel"}"#, Nothing),
            (r#"{"httpMethod":"GET","status":"404"}"#, Known(Warn)),
            (r#"{"httpMethod":"GET","status":502}"#, Known(Error)),
            (r#"{"httpMethod":"GET","status":"-"}"#, Nothing),
            (r#"{"httpMethod":"GET","status":502,"level":"info"}"#, Known(Info)),
            (r#"{"status":502}"#, Nothing),
            (r#"{"record":{"level":{"name":"CRITICAL","no":50}}}"#, Known(Error)),
            (r#"{"@fields":{"level":"warn"}}"#, Known(Warn)),
            ("{}", Nothing),
        ] {
            assert_eq!(level(text), expect, "{text}");
        }
    }

    #[test]
    fn an_object_ends_at_its_bracket_and_a_text_that_ends_before_is_incomplete() {
        let end = |text: &str| object_at(text).map(|(_, end)| end);
        assert_eq!(end("{\"a\":1}{\"b\":2}"), Ok(7));
        assert_eq!(end("{ \"a\" : [ {} ] }, x"), Ok(16));
        for text in ["{", "{\"a\"", "{\"a\":tr", "{\"a\":[1,", "{\"a\":\"\\"] {
            assert_eq!(end(text), Err(NoObject::Incomplete), "{text}");
        }
        for text in ["{a:1}", "{\"a\":}", "{'a':1}", "{\"a\":\"\n", "[1]", "{\"a\":1]"] {
            assert!(matches!(end(text), Err(NoObject::Broken(_))), "{text}");
        }
        assert_eq!(end("{\"a\":!}"), Err(NoObject::Broken(6)));
        assert_eq!(end("{\"a\":\n\n[!"), Err(NoObject::Broken(9)));
    }

    #[test]
    fn sixty_four_levels_are_allowed_and_brackets_in_strings_are_none() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(said(&nested(64)).is_some());
        assert!(said(&nested(65)).is_none());
        assert!(said(&format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(500))).is_some());
    }

    #[test]
    fn half_surrogates_are_kept_as_they_are() {
        assert!(said(r#"{"\udfaa":"\ud800"}"#).is_some());
    }
}
