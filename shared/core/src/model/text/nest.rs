//! NestJS's own logger.

use super::colours::before_colour;
use super::cursor::Cursor;
use super::levels::named;
use super::{Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::{Stamp, day_ms, number};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "nest",
    title: "NestJS",
    begins: |byte| matches!(byte, b'[' | 0x1b),
    read,
    examples: &[
        Example {
            line: "[Nest] 7  - 04/01/2025, 6:34:01 PM    WARN [Orders] slow",
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Warn,
            message: "[Orders] slow",
        },
        Example {
            line: "[Nest] 7  - 04/01/2025, 6:34:01 PM     LOG ready",
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Info,
            message: "ready",
        },
    ],
};

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    cursor.blank();
    let app = cursor.between("[", "]").filter(|app| *app == "Nest")?;
    cursor.blank();
    let pid = cursor.word()?;
    cursor.blank();
    cursor.eat("-")?;
    cursor.blank();
    let ms = american(&mut cursor)?;
    cursor.blank();
    let word = cursor.word()?;
    let level = SaidLevel::Known(named(before_colour(word))?);
    cursor.blank();
    let mut line = Line {
        time: Some(Stamp { ms, assumed: true }),
        level,
        message_start: cursor.at(),
        ..Line::default()
    };
    if ask.fields {
        line.more = vec![("app", app), ("pid", pid)];
    }
    Some(line)
}

/// `04/01/2025, 6:34:01 PM`: month, day, year, and a clock of twelve hours.
fn american(cursor: &mut Cursor<'_>) -> Option<i64> {
    let date = cursor.word()?.strip_suffix(',')?;
    let (month, rest) = date.split_once('/')?;
    let (day, year) = rest.split_once('/')?;
    let year = number(year.as_bytes(), 0, 4).filter(|_| year.len() == 4)?;
    let start = day_ms(year, month.parse().ok()?, day.parse().ok()?)?;
    let clock = cursor.word()?;
    let half = before_colour(cursor.word()?);
    let mut parts = clock.split(':').map(str::parse::<i64>);
    let (hour, minute, second) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let valid = (1..=12).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
    let noon = match half {
        "AM" => 0,
        "PM" => 12,
        _ => return None,
    };
    valid.then(|| start + (((hour % 12 + noon) * 60 + minute) * 60 + second) * 1000)
}
