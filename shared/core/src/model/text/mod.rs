//! Lines of text that say more than their words: how well-known loggers, servers and AWS services begin
//! them. Each recogniser is a file of its own with a table of examples; [`ALL`] is the only list of them,
//! and the first that reads a line counts. What a line says depends on nothing but the line.

mod access;
mod apache_error;
mod clf;
mod cloudfront;
pub(crate) mod colours;
mod cri;
mod cursor;
mod database;
mod elb;
mod go_log;
mod iso;
mod klog;
mod lambda;
mod level_first;
mod levels;
mod logfmt;
mod nest;
mod nginx_error;
mod request;
mod ruby;
mod s3_access;
mod symbol;
mod syslog;
mod time_only;
mod tornado;
mod traceback;
mod vpc_flow;
pub mod worker;

use std::borrow::Cow;

use colours::colour_len;

use crate::model::json;
use crate::model::level::Level;
use crate::model::stamp::{Stamp, iso};

pub use vpc_flow::is_header as is_flow_header;

/// The longest header of a line (bytes).
pub const MAX_HEADER_BYTES: usize = 1024;

/// A kind of line.
#[derive(Debug)]
pub struct Recogniser {
    /// As blocks and `docs/formats.md` name it.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Whether a line of this kind may begin with this byte: spares most lines the reading.
    pub begins: fn(u8) -> bool,
    pub read: for<'a> fn(&'a str, &Ask) -> Option<Line<'a>>,
    pub examples: &'static [Example],
}

/// A line and what is read from it; the tests and `docs/formats.md` use it.
#[derive(Debug)]
pub struct Example {
    pub line: &'static str,
    /// RFC 3339 in UTC, or empty where the line says no time.
    pub time: &'static str,
    pub level: Level,
    pub message: &'static str,
}

/// How a line is to be read.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The time of the file (ms), for times without a year.
    pub near_ms: i64,
    /// All fields are wanted, not only time and level.
    pub fields: bool,
    /// The time with which the line begins and its length (bytes), read once for all recognisers.
    leading: Option<(Stamp, usize)>,
}

impl Ask {
    #[must_use]
    pub const fn new(near_ms: i64, fields: bool) -> Self {
        Self { near_ms, fields, leading: None }
    }
}

/// What a line says of its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SaidLevel {
    #[default]
    Nothing,
    Known(Level),
    /// A word stands in the place of the level that names none.
    Unknown,
}

/// What a line says.
#[derive(Debug, Clone, Default)]
pub struct Line<'a> {
    pub time: Option<Stamp>,
    pub level: SaidLevel,
    /// Where the message begins, in bytes from the beginning of the line.
    pub message_start: usize,
    /// The message, where it does not reach to the end of the entry.
    pub message: Option<&'a str>,
    pub request: AccessRequest<'a>,
    /// Other fields by name, where they were asked for. Numbers stay as they were written.
    pub more: Vec<(&'static str, &'a str)>,
}

/// The request of an access log's line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AccessRequest<'a> {
    pub id: Option<&'a str>,
    pub method: Option<&'a str>,
    pub url: Option<&'a str>,
    pub remote_address: Option<&'a str>,
    pub remote_port: Option<&'a str>,
    pub status: Option<&'a str>,
    pub processing_ms: Option<f64>,
}

/// All recognisers. Where two could read the same line, the more special one stands first.
pub static ALL: &[&Recogniser] = &[
    &worker::RECOGNISER,
    &cri::RECOGNISER,
    &syslog::RFC5424,
    &syslog::RFC3164,
    &lambda::RECOGNISER,
    &elb::ALB,
    &elb::NLB,
    &elb::CLASSIC,
    &database::POSTGRES,
    &database::MYSQL,
    &nginx_error::RECOGNISER,
    &go_log::RECOGNISER,
    &cloudfront::RECOGNISER,
    &request::RECOGNISER,
    &nest::RECOGNISER,
    &tornado::RECOGNISER,
    &ruby::RECOGNISER,
    &iso::RECOGNISER,
    &apache_error::RECOGNISER,
    &database::REDIS,
    &clf::RECOGNISER,
    &s3_access::RECOGNISER,
    &vpc_flow::RECOGNISER,
    &klog::RECOGNISER,
    &time_only::RECOGNISER,
    &level_first::RECOGNISER,
    &symbol::RECOGNISER,
    &traceback::RECOGNISER,
    &logfmt::RECOGNISER,
];

/// The recogniser that reads a line, and what it reads.
#[must_use]
pub fn recognise<'a>(line: &'a str, ask: &Ask) -> Option<(&'static Recogniser, Line<'a>)> {
    let first = *line.as_bytes().first()?;
    let ask = &Ask { leading: iso(line), ..*ask };
    ALL.iter().filter(|recogniser| (recogniser.begins)(first)).find_map(|recogniser| {
        let read = (recogniser.read)(line, ask)?;
        Some((*recogniser, read))
    })
}

/// A message as its logger meant it: without the colours of terminals, the escapes of logfmt decoded.
#[must_use]
pub fn as_meant<'a>(recogniser: &Recogniser, message: &'a str) -> Cow<'a, str> {
    if recogniser.name == "logfmt" && message.contains('\\') {
        let decoded = json::string(&format!("\"{message}\"")).map(Cow::into_owned);
        return decoded.map_or(Cow::Borrowed(message), Cow::Owned);
    }
    if !message.contains("\u{1b}[") {
        return Cow::Borrowed(message);
    }
    let (mut plain, mut rest) = (String::with_capacity(message.len()), message);
    while let Some(at) = rest.find('\u{1b}') {
        // An escape that is no colour stays.
        let length = colour_len(&rest.as_bytes()[at..]);
        plain.push_str(&rest[..at + usize::from(length.is_none())]);
        rest = &rest[at + length.unwrap_or(1)..];
    }
    plain.push_str(rest);
    plain.truncate(plain.trim_end().len());
    Cow::Owned(plain)
}

/// The bytes that begin a number.
pub(crate) fn digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::rfc3339_ms;
    use proptest::prelude::*;

    /// 2025-04-01T18:34:01.581Z
    const NEAR_MS: i64 = 1_743_532_441_581;
    const ASK: Ask = Ask::new(NEAR_MS, true);

    #[test]
    fn every_example_is_read_by_its_own_recogniser_and_says_what_its_table_says() {
        for recogniser in ALL {
            assert!(!recogniser.examples.is_empty(), "{}", recogniser.name);
            for example in recogniser.examples {
                let (by, line) = recognise(example.line, &ASK).unwrap_or_else(|| panic!("{}", example.line));
                assert_eq!(by.name, recogniser.name, "{}", example.line);
                let time = line.time.map_or_else(String::new, |stamp| rfc3339_ms(stamp.ms));
                assert_eq!(time, example.time, "{}", example.line);
                let level = match line.level {
                    SaidLevel::Known(level) => level,
                    SaidLevel::Nothing | SaidLevel::Unknown => Level::Info,
                };
                assert_eq!(level, example.level, "{}", example.line);
                let message = line.message.unwrap_or(&example.line[line.message_start..]);
                assert_eq!(message, example.message, "{}", example.line);
            }
        }
    }

    #[test]
    fn a_message_has_no_colours_and_no_escapes_of_logfmt() {
        let meant = |line: &str| {
            let (recogniser, read) = recognise(line, &ASK).unwrap();
            let message = read.message.unwrap_or(&line[read.message_start..]);
            as_meant(recogniser, message).into_owned()
        };
        for (line, expect) in [
            (
                "\u{1b}[32mINFO\u{1b}[0m \u{1b}[1mready\u{1b}[0m port=\u{1b}[35m80   \u{1b}[0m",
                "ready port=80",
            ),
            ("INFO a \u{1b}[2J\u{1b}[0m b", "a \u{1b}[2J b"),
            ("level=info msg=\"a \\\"b\\\"\\n c\"", "a \"b\"\n c"),
            ("level=info msg=\"a \\x c\"", "a \\x c"),
        ] {
            assert_eq!(meant(line), expect, "{line}");
        }
    }

    #[test]
    fn names_are_distinct() {
        let mut names: Vec<_> = ALL.iter().map(|recogniser| recogniser.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn numbers_of_any_length_are_read_without_overflow() {
        for line in [
            "[Nest] 7  - 04/01/9223372036854775807, 6:34:01 PM LOG x",
            "[Nest] 7  - 9223372036854775807/01/2025, 9223372036854775807:34:01 PM LOG x",
            "I9223372036854775807 18:34:01.581234 4711 main.go:3] x",
            "2025-04-01T18:34:01.99999999999999999999999 [WARN] x",
            "<9223372036854775807>1 2025-04-01T18:34:01Z host app - - - x",
            "9223372036854775807 [main] ERROR x",
            "2 123456789010 eni-1 - - - - - - - 9223372036854775807 1431280934 - NODATA",
            "time=9223372036854775807.9 level=info msg=x",
        ] {
            let _ = recognise(line, &ASK);
        }
    }

    #[test]
    fn prose_is_not_recognised() {
        for line in [
            "",
            "started",
            "{ port: 3000 }",
            "[web] listening",
            "[12, 345] is a pair",
            "42",
            "listening on http://localhost:3000/?a=b",
            "I am a sentence: with a colon",
            "Error: something",
            "at 12:30 the train left",
            "ready - started server on 0.0.0.0:3000",
        ] {
            let read = recognise(line, &ASK).map(|(recogniser, _)| recogniser.name);
            assert_eq!(read, None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_a_recogniser_panic(line in "\\PC{0,80}", at in 0usize..200, with in "\\PC{0,3}") {
            let _ = recognise(&line, &ASK);
            let huge = "[Nest] 7  - 04/01/9223372036854775807, 6:34:01 PM LOG x";
            let examples = ALL.iter().flat_map(|recogniser| recogniser.examples).map(|example| example.line);
            for line in examples.chain([huge]) {
                let (before, after) = line.split_at(line.floor_char_boundary(at.min(line.len())));
                for mutated in [before.to_owned(), after.to_owned(), format!("{before}{with}{after}")] {
                    if let Some((_, line)) = recognise(&mutated, &ASK) {
                        prop_assert!(mutated.is_char_boundary(line.message_start), "{}", mutated);
                    }
                }
            }
        }
    }
}
