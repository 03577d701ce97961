//! Tornado's log: a letter, the date in six digits, the time.

use super::cursor::Cursor;
use super::{Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::{Stamp, clock, day_ms, number};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "tornado",
    title: "Tornado",
    begins: |byte| matches!(byte, b'[' | 0x1b),
    read,
    examples: &[Example {
        line: "[E 250401 18:34:01 web:2344] 500 GET /orders (127.0.0.1) 1.20ms",
        time: "2025-04-01T18:34:01.000Z",
        level: Level::Error,
        message: "500 GET /orders (127.0.0.1) 1.20ms",
    }],
};

fn read<'a>(text: &'a str, _: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    cursor.blank();
    let head = cursor.between("[", "]")?.as_bytes();
    let level = match head.first()? {
        b'D' => Level::Debug,
        b'I' => Level::Info,
        b'W' => Level::Warn,
        b'E' | b'C' => Level::Error,
        _ => return None,
    };
    let (year, month, day) = (number(head, 2, 2)?, number(head, 4, 2)?, number(head, 6, 2)?);
    let (ms, _) = clock(head, 9)?;
    let time = Some(Stamp { ms: day_ms(2000 + year, month, day)? + ms, assumed: true });
    cursor.blank();
    Some(Line { time, level: SaidLevel::Known(level), message_start: cursor.at(), ..Line::default() })
}
