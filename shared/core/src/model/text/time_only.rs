//! Lines that begin with a time of day or a running time, and then a level: logback's and log4j's default
//! layouts. The file's own time is theirs.

use super::cursor::Cursor;
use super::levels::{find, message_after};
use super::{Ask, Example, Line, Recogniser, SaidLevel, digit};
use crate::model::level::Level;
use crate::model::stamp::clock;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "time-of-day",
    title: "time of day or running time, then a level (logback, log4j)",
    begins: digit,
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
    ],
};

fn read<'a>(text: &'a str, _: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    match clock(text.as_bytes(), 0) {
        Some((_, end)) => cursor.skip(end),
        None => {
            let word = cursor.word()?;
            let running = word.bytes().all(|byte| byte.is_ascii_digit()) && cursor.rest().starts_with('[');
            running.then_some(())?;
        }
    }
    cursor.blank();
    if cursor.rest().starts_with('[') {
        cursor.between("[", "]")?;
    }
    // Only a word in capitals, right here: a sentence may begin with a number.
    cursor.blank();
    let word = cursor.rest().split([' ', '\t']).next()?;
    word.bytes().all(|byte| byte.is_ascii_uppercase()).then_some(())?;
    let (level, _) = find(&cursor)?;
    cursor.skip(word.len());
    Some(Line { level: SaidLevel::Known(level), message_start: message_after(&cursor), ..Line::default() })
}
