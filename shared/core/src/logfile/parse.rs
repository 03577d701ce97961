//! Extracts the time and level of an entry and checks that it is well formed. The rest stays unparsed.
//!
//! A JSON entry is checked in this order: UTF-8, nesting, grammar, being an object. If a key occurs twice,
//! the last one counts. The time is the first usable one of `time`, `timestamp` and `ts`.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::logfile::quarantine::{BadRecord, QuarantineReason};
use crate::logfile::split::{Body, Piece};
use crate::model::level::Level;
use crate::model::record::EntryKind;
use crate::model::redact::MAX_SAMPLE_BYTES;
use crate::model::time::{in_range, parse_rfc3339_ms};
use crate::model::{json, worker_line};

/// Maximum nesting of a JSON entry. The entry's own braces are the first level.
pub const MAX_NESTING: u32 = 64;

/// An entry with its time and level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// `None` if the entry has no usable time.
    pub timestamp_ms: Option<i64>,
    pub level: Level,
    pub kind: EntryKind,
    pub raw: &'a str,
}

/// Parses the time and level of an entry.
///
/// # Errors
/// Why it cannot be a record.
pub fn parse<'a>(piece: &Piece<'a>) -> Result<Parsed<'a>, QuarantineReason> {
    match piece.body {
        Body::TooLarge(_) => Err(QuarantineReason::TooLarge),
        Body::Json(bytes) => match parse_json(bytes) {
            // An object that is complete is valid, even if the stream ends after it.
            Err(_) if piece.cut_off => Err(QuarantineReason::CutOff),
            parsed => parsed,
        },
        Body::Line(bytes) => {
            let trimmed = bytes.trim_ascii();
            if trimmed.starts_with(b"{")
                && trimmed.ends_with(b"}")
                && let Ok(parsed) = parse_json(trimmed)
            {
                return Ok(parsed);
            }
            text(piece, bytes, EntryKind::PlainText)
        }
        Body::Worker(bytes) => text(piece, bytes, EntryKind::WorkerText),
    }
}

/// Describes an entry that cannot be a record.
#[must_use]
pub fn bad(piece: &Piece<'_>, reason: QuarantineReason) -> BadRecord {
    BadRecord { ordinal: piece.ordinal, reason, start: piece.start, end: piece.end }
}

/// Returns the sample that is kept of a bad record: its beginning.
#[must_use]
pub fn sample(piece: &Piece<'_>) -> String {
    let (Body::Json(bytes) | Body::Line(bytes) | Body::Worker(bytes) | Body::TooLarge(bytes)) = piece.body;
    let mut sample = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_SAMPLE_BYTES)]).into_owned();
    sample.truncate(sample.floor_char_boundary(MAX_SAMPLE_BYTES));
    sample
}

fn text<'a>(piece: &Piece<'_>, bytes: &'a [u8], kind: EntryKind) -> Result<Parsed<'a>, QuarantineReason> {
    if piece.cut_off {
        return Err(QuarantineReason::CutOff);
    }
    let raw = simdutf8::basic::from_utf8(bytes).map_err(|_| QuarantineReason::InvalidUtf8)?;
    let header = match kind {
        EntryKind::WorkerText => worker_line::parse_header(bytes),
        EntryKind::Json | EntryKind::PlainText => None,
    };
    Ok(Parsed {
        timestamp_ms: header.and_then(|h| parse_rfc3339_ms(h.timestamp)).filter(|&ms| in_range(ms)),
        level: header.and_then(|h| h.level.parse().ok()).unwrap_or(Level::Info),
        kind,
        raw,
    })
}

fn parse_json(bytes: &[u8]) -> Result<Parsed<'_>, QuarantineReason> {
    let raw = simdutf8::basic::from_utf8(bytes).map_err(|_| QuarantineReason::InvalidUtf8)?;
    if too_deep(bytes) {
        return Err(QuarantineReason::TooDeep);
    }
    if bytes.first() != Some(&b'{') {
        return Err(match serde_json::from_str::<IgnoredAny>(raw) {
            Ok(_) => QuarantineReason::NotAnObject,
            Err(_) => QuarantineReason::BrokenJson,
        });
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    let head = deserializer.deserialize_map(HeadVisitor).map_err(|_| QuarantineReason::BrokenJson)?;
    deserializer.end().map_err(|_| QuarantineReason::BrokenJson)?;
    Ok(Parsed {
        timestamp_ms: head.times.into_iter().flatten().find_map(|time| timestamp_ms(time.get())),
        level: head.level.map_or(Level::Info, |level| level_of(level.get())),
        kind: EntryKind::Json,
        raw,
    })
}

/// Returns the level of a JSON value; INFO if it is unknown.
fn level_of(json: &str) -> Level {
    match json.as_bytes().first() {
        Some(b'"') => json::string(json).and_then(|text| text.parse().ok()).unwrap_or(Level::Info),
        Some(b'-' | b'0'..=b'9') => json.parse().map_or(Level::Info, Level::from_pino),
        _ => Level::Info,
    }
}

/// Returns the time of a JSON value (ms); `None` if it is not between 2000 and 2100.
fn timestamp_ms(json: &str) -> Option<i64> {
    let ms = match json.as_bytes().first()? {
        b'"' => parse_rfc3339_ms(&json::string(json)?)?,
        b'0'..=b'9' => number_ms(json)?,
        _ => return None,
    };
    in_range(ms).then_some(ms)
}

/// Converts a number of seconds, milliseconds, microseconds or nanoseconds since the epoch to ms. The size
/// of the number decides which.
fn number_ms(text: &str) -> Option<i64> {
    const SECONDS_BELOW: i64 = 100_000_000_000;
    const MILLIS_BELOW: i64 = SECONDS_BELOW * 1000;
    const MICROS_BELOW: i64 = MILLIS_BELOW * 1000;
    if let Ok(number) = text.parse::<i64>() {
        return Some(match number {
            0..SECONDS_BELOW => number * 1000,
            SECONDS_BELOW..MILLIS_BELOW => number,
            MILLIS_BELOW..MICROS_BELOW => number / 1000,
            MICROS_BELOW.. => number / 1_000_000,
            ..0 => return None,
        });
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    let ms = if number < SECONDS_BELOW as f64 {
        (number * 1000.0).round()
    } else if number < MILLIS_BELOW as f64 {
        number.floor()
    } else if number < MICROS_BELOW as f64 {
        (number / 1000.0).floor()
    } else {
        (number / 1_000_000.0).floor()
    };
    Some(ms as i64)
}

/// Whether brackets are nested too deeply. Most entries have too few brackets and need no further check.
fn too_deep(bytes: &[u8]) -> bool {
    // `{` and `[` differ in one bit only, and compilers vectorize a plain count.
    let opening = |chunk: &[u8]| chunk.iter().map(|&b| u8::from(b | 0x20 == b'{')).sum::<u8>();
    if bytes.chunks(255).map(|chunk| u32::from(opening(chunk))).sum::<u32>() <= MAX_NESTING {
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

#[derive(Default)]
struct Head<'a> {
    times: [Option<&'a RawValue>; 3],
    level: Option<&'a RawValue>,
}

struct HeadVisitor;

impl<'a> Visitor<'a> for HeadVisitor {
    type Value = Head<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Head<'a>, M::Error> {
        let mut head = Head::default();
        while let Some(key) = map.next_key_seed(json::Key)? {
            let slot = match &*key {
                b"time" => &mut head.times[0],
                b"timestamp" => &mut head.times[1],
                b"ts" => &mut head.times[2],
                b"level" => &mut head.level,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *slot = Some(map.next_value()?);
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logfile::framing::Framing;

    fn piece(body: Body<'_>) -> Piece<'_> {
        Piece { ordinal: 0, start: 0, end: 0, cut_off: false, framing: Framing::Text, body }
    }

    fn json(text: &str) -> Result<(Option<i64>, Level), QuarantineReason> {
        parse(&piece(Body::Json(text.as_bytes()))).map(|parsed| (parsed.timestamp_ms, parsed.level))
    }

    const MS: i64 = 1_743_532_441_581;

    #[test]
    fn times_are_taken_from_the_first_usable_key() {
        for (text, ms) in [
            (r#"{"time":1743532441581}"#, Some(MS)),
            (r#"{"ts":1743532441581,"timestamp":"x","time":null}"#, Some(MS)),
            (r#"{"timestamp":"2025-04-01T18:34:01.581Z","ts":1}"#, Some(MS)),
            (r#"{"time":1,"timestamp":"2025-04-01T20:34:01.581+02:00"}"#, Some(MS)),
            (r#"{"timestamp":"2025\u002d04-01T18:34:01.581Z"}"#, Some(MS)),
            (r#"{"time":1,"t\u0069me":1743532441581}"#, Some(MS)),
            (r#"{"time":1743532441581,"time":0}"#, None),
            (r#"{"time":"yesterday"}"#, None),
            (r#"{"a":{"time":1743532441581}}"#, None),
            (r#"{"time":true}"#, None),
            (r#"{"time":-1743532441581}"#, None),
            (r#"{"time":1e999}"#, None),
            ("{}", None),
        ] {
            assert_eq!(json(text).map(|(ms, _)| ms), Ok(ms), "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_to_nanoseconds_by_their_size() {
        for (number, ms) in [
            ("1743532441", Some(MS - 581)),
            ("1743532441.581", Some(MS)),
            ("1743532441581", Some(MS)),
            ("1743532441581.9", Some(MS)),
            ("1743532441581000", Some(MS)),
            ("1743532441581999999", Some(MS)),
            ("1.743532441581e12", Some(MS)),
            ("946684800", Some(946_684_800_000)),
            ("946684799", None),
            ("4102444800000", None),
            ("4102444799999", Some(4_102_444_799_999)),
            ("17435324415810000000", None),
        ] {
            assert_eq!(timestamp_ms(number), ms, "{number}");
        }
    }

    #[test]
    fn levels_are_numbers_or_names_and_anything_else_is_info() {
        use Level::{Debug, Error, Info, Warn};
        for (text, level) in [
            (r#"{"level":20}"#, Debug),
            (r#"{"level":50}"#, Error),
            (r#"{"level":39.5}"#, Info),
            (r#"{"level":"WaRn"}"#, Warn),
            (r#"{"level":"fatal"}"#, Error),
            (r#"{"level":"verbose"}"#, Info),
            (r#"{"level":null}"#, Info),
            (r#"{"level":10,"level":50}"#, Error),
            ("{}", Info),
        ] {
            assert_eq!(json(text).map(|(_, level)| level), Ok(level), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_a_record_has_a_reason() {
        use QuarantineReason::{BrokenJson, NotAnObject};
        for (text, reason) in [
            ("{\"a\":}", BrokenJson),
            ("{\"a\":1} x", BrokenJson),
            ("{\"a\":\"\n\"}", BrokenJson),
            ("{'a':1}", BrokenJson),
            ("", BrokenJson),
            ("nul", BrokenJson),
            ("[1", BrokenJson),
            ("null", NotAnObject),
            ("[1,2]", NotAnObject),
            ("\"x\"", NotAnObject),
        ] {
            assert_eq!(json(text), Err(reason), "{text}");
        }
        assert_eq!(
            parse(&piece(Body::Json(b"{\"a\":\"\xff\"}"))).unwrap_err(),
            QuarantineReason::InvalidUtf8
        );
        assert_eq!(parse(&piece(Body::Line(b"\xff"))).unwrap_err(), QuarantineReason::InvalidUtf8);
    }

    #[test]
    fn sixty_four_levels_are_allowed_and_brackets_in_strings_are_none() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(json(&nested(64)).is_ok());
        assert_eq!(json(&nested(65)), Err(QuarantineReason::TooDeep));
        assert_eq!(json(&"[".repeat(1_000_000)), Err(QuarantineReason::TooDeep));
        assert!(json(&format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(500))).is_ok());
    }

    #[test]
    fn half_surrogates_are_kept_as_they_are() {
        assert!(json(r#"{"\udfaa":"\ud800"}"#).is_ok());
    }

    #[test]
    fn a_text_line_that_is_a_json_object_is_one() {
        let parsed = parse(&piece(Body::Line(b" {\"level\":40} "))).unwrap();
        assert_eq!((parsed.kind, parsed.level, parsed.raw), (EntryKind::Json, Level::Warn, "{\"level\":40}"));
        let parsed = parse(&piece(Body::Line(b" {level:40}"))).unwrap();
        assert_eq!((parsed.kind, parsed.raw), (EntryKind::PlainText, " {level:40}"));
    }

    #[test]
    fn a_worker_line_says_time_and_level() {
        let parsed = parse(&piece(Body::Worker(b"2025-04-01T18:34:01.581Z [error] x\ny"))).unwrap();
        assert_eq!((parsed.timestamp_ms, parsed.level), (Some(MS), Level::Error));
        let parsed = parse(&piece(Body::Worker(b"2025-13-01T18:34:01.581Z [LOUD] x"))).unwrap();
        assert_eq!((parsed.timestamp_ms, parsed.level), (None, Level::Info));
    }

    #[test]
    fn where_the_stream_broke_off_only_a_complete_object_is_kept() {
        let cut = |body| parse(&Piece { cut_off: true, ..piece(body) });
        assert!(cut(Body::Json(b"{\"a\":1}")).is_ok());
        for body in
            [Body::Json(b"{\"a\":"), Body::Line(b"hel"), Body::Worker(b"2025-04-01T18:34:01.581Z [error] x")]
        {
            assert_eq!(cut(body), Err(QuarantineReason::CutOff));
        }
    }

    #[test]
    fn samples_are_a_kibibyte_at_most_also_of_bytes_that_are_no_text() {
        assert_eq!(sample(&piece(Body::Json(b"abc"))), "abc");
        assert!((1020..=1024).contains(&sample(&piece(Body::Line(&[0xff; 5000]))).len()));
    }
}
