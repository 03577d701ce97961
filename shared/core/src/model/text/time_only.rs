//! Lines that begin with a time of day or a running time, and then a level: logback's and log4j's default
//! layouts. The file's own time is theirs.

use super::cursor::Cursor;
use super::levels::{message_after, named, origin};
use super::{Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::{clock, number};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "time-of-day",
    title: "time of day or running time, then a level (logback, log4j, pino-pretty, Serilog, zerolog)",
    begins: |byte| byte.is_ascii_digit() || matches!(byte, b'[' | 0x1b),
    read,
    examples: &[
        Example {
            line: "18:34:01.581 [main] WARN  c.e.Orders - slow",
            time: "",
            level: Level::Warn,
            message: "c.e.Orders - slow",
        },
        Example {
            line: "176 [main] ERROR Orders  - no stock",
            time: "",
            level: Level::Error,
            message: "Orders  - no stock",
        },
        Example { line: "[18:34:01.581] WARN (7): slow", time: "", level: Level::Warn, message: "slow" },
        Example { line: "[18:34:01 ERR] no stock", time: "", level: Level::Error, message: "no stock" },
        Example { line: "18:34:01 [WARN] slow", time: "", level: Level::Warn, message: "slow" },
        Example { line: "6:34PM INF ready port=80", time: "", level: Level::Info, message: "ready port=80" },
    ],
};

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    let mut from = None;
    cursor.blank();
    let open = cursor.eat("[").is_some();
    let rest = cursor.rest();
    match clock(rest.as_bytes(), 0).map(|(_, end)| end).or_else(|| kitchen(rest)) {
        Some(end) => cursor.skip(end),
        None => {
            let word = cursor.word()?;
            let running = word.bytes().all(|byte| byte.is_ascii_digit()) && cursor.rest().starts_with('[');
            (running && !open).then_some(())?;
        }
    }
    cursor.blank();
    let level_inside = open && cursor.eat("]").is_none();
    cursor.blank();
    if !level_inside && cursor.rest().starts_with('[') {
        let thread = cursor.between("[", "]")?;
        // Some have the level there.
        if let Some(level) = named(thread.trim_ascii()) {
            return Some(line(level, &cursor));
        }
        from = origin(thread).filter(|_| ask.fields);
    }
    // Only a word in capitals, right here: a sentence may begin with a number.
    cursor.blank();
    let word = cursor.rest().split([' ', '\t', ':', ']', '\u{1b}']).next()?;
    word.bytes().all(|byte| byte.is_ascii_uppercase()).then_some(())?;
    let level = named(word)?;
    cursor.skip(word.len());
    if level_inside {
        cursor.blank().eat("]")?;
    }
    let more = from.map(|from| ("origin", from)).into_iter().collect();
    Some(Line { more, ..line(level, &cursor) })
}

fn line<'a>(level: Level, cursor: &Cursor<'_>) -> Line<'a> {
    Line { level: SaidLevel::Known(level), message_start: message_after(cursor), ..Line::default() }
}

/// `6:34PM`, as zerolog's console has it: where it ends.
fn kitchen(text: &str) -> Option<usize> {
    let (hour, rest) = text.split_once(':')?;
    let half = rest.get(2..4)?;
    let minute = number(rest.as_bytes(), 0, 2)?;
    let valid = matches!(hour.parse(), Ok(1..=12u8)) && minute < 60 && matches!(half, "AM" | "PM");
    valid.then_some(hour.len() + 5)
}
