//! Ruby's `Logger`, which Rails uses.

use super::cursor::Cursor;
use super::levels::{message_after, named};
use super::{Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::iso;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "ruby",
    title: "Ruby Logger (Rails)",
    begins: |byte| matches!(byte, b'D' | b'I' | b'W' | b'E' | b'F' | b'A'),
    read,
    examples: &[
        Example {
            line: "E, [2025-04-01T18:34:01.581234 #7] ERROR -- shop: no stock",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "shop: no stock",
        },
        Example {
            line: "I, [2025-04-01T18:34:01.581234 #7]  INFO -- : ready",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Info,
            message: "ready",
        },
    ],
};

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    cursor.skip(1);
    cursor.eat(", ")?;
    let (time, pid) = cursor.between("[", "]")?.split_once(" #")?;
    let (stamp, _) = iso(time).filter(|&(_, length)| length == time.len())?;
    cursor.blank();
    let word = cursor.word()?;
    // `ANY` is what Ruby calls a message without a level.
    let level = named(word).or_else(|| (word == "ANY").then_some(Level::Info))?;
    cursor.eat("-- ")?;
    let mut line = Line {
        time: Some(stamp),
        level: SaidLevel::Known(level),
        message_start: message_after(&cursor),
        ..Line::default()
    };
    if ask.fields {
        line.more = vec![("pid", pid)];
    }
    Some(line)
}
