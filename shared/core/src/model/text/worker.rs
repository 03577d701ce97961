//! The header line of a browser worker's entry: `2024-01-01T00:00:00.000Z [INFO] message`. Everything that
//! is neither a header nor a JSON object continues it.

use super::{Ask, Example, Line, Recogniser, SaidLevel, digit};
use crate::model::level::Level;
use crate::model::stamp::Stamp;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "worker",
    title: "browser worker",
    begins: digit,
    read,
    examples: &[
        Example {
            line: "2024-01-01T00:00:00.000Z [INFO] joined the meeting",
            time: "2024-01-01T00:00:00.000Z",
            level: Level::Info,
            message: "joined the meeting",
        },
        Example {
            line: "2024-01-01T01:00:00+01:00 [warn] slow",
            time: "2024-01-01T00:00:00.000Z",
            level: Level::Warn,
            message: "slow",
        },
    ],
};

fn read<'a>(line: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let header = parse_header(line.as_bytes())?;
    let level = SaidLevel::Known(Level::from_name(header.level)?);
    let time = ask.leading.map(|(stamp, _)| Stamp { assumed: false, ..stamp });
    Some(Line { time, level, message_start: header.message_start, ..Line::default() })
}

/// Number of leading bytes that decide whether a line is a header.
pub const MAX_HEADER_BYTES: usize = 64;

/// Maximum length of a word in brackets that can be a level (bytes).
const MAX_LEVEL_BYTES: usize = 16;

/// A parsed header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerHeader<'a> {
    /// As written. It has the form of RFC 3339, but the date may not exist.
    pub timestamp: &'a str,
    /// As written, without its brackets.
    pub level: &'a str,
    /// Start of the message, in bytes from the start of the line.
    pub message_start: usize,
}

/// Parses the header at the start of `line`; `None` if there is none.
#[must_use]
pub fn parse_header(line: &[u8]) -> Option<WorkerHeader<'_>> {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let line = &line[..line.len().min(MAX_HEADER_BYTES)];
    let (date, mut rest) = line.split_at_checked(SHAPE.len())?;
    let fits = |(&b, &s): (&u8, &u8)| if s == b'd' { b.is_ascii_digit() } else { b == s };
    if !date.iter().zip(SHAPE).all(fits) {
        return None;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if !(1..=9).contains(&count) {
            return None;
        }
        rest = &fraction[count..];
    }
    rest = match rest {
        [b'Z', rest @ ..] => rest,
        [b'+' | b'-', h1, h2, b':', m1, m2, rest @ ..] if digits(&[*h1, *h2, *m1, *m2]) == 4 => rest,
        _ => return None,
    };
    let timestamp = &line[..line.len() - rest.len()];
    let rest = rest.strip_prefix(b" [")?;
    let count = rest.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
    if !(1..=MAX_LEVEL_BYTES).contains(&count) {
        return None;
    }
    let (level, rest) = rest.split_at(count);
    let rest = rest.strip_prefix(b"]")?;
    let rest = match rest {
        [b' ', rest @ ..] => rest,
        [] | [b'\r' | b'\n', ..] => rest,
        _ => return None,
    };
    Some(WorkerHeader {
        timestamp: std::str::from_utf8(timestamp).ok()?,
        level: std::str::from_utf8(level).ok()?,
        message_start: line.len() - rest.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_time_level_and_message() {
        let line = b"2024-01-01T00:00:00.000Z [INFO] hello [x]";
        let header = parse_header(line).unwrap();
        assert_eq!(
            (header.timestamp, header.level, &line[header.message_start..]),
            ("2024-01-01T00:00:00.000Z", "INFO", b"hello [x]".as_slice())
        );
        assert_eq!(parse_header(b"2024-01-01T00:00:00+01:00 [warn]").unwrap().message_start, 32);
    }

    #[test]
    fn lines_that_only_look_alike_are_no_headers() {
        for line in [
            "",
            "2024-01-01",
            "2024-01-01T00:00:00.000Z",
            "2024-01-01T00:00:00.000Z INFO hello",
            "2024-01-01T00:00:00.000Z [] hello",
            "2024-01-01T00:00:00.000Z [INFO]hello",
            "2024-01-01T00:00:00. [INFO] hello",
            "2024-01-01 00:00:00Z [INFO] hello",
            " 2024-01-01T00:00:00.000Z [INFO] hello",
            "2024-01-01T00:00:00.000Z [a level that is far too long] hello",
        ] {
            assert_eq!(parse_header(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn the_longest_header_fits_into_its_limit() {
        let line = "2024-01-01T00:00:00.123456789+01:00 [ABCDEFGHIJKLMNOP] x";
        assert!(parse_header(line.as_bytes()).is_some());
        assert!(line.len() <= MAX_HEADER_BYTES);
    }
}
