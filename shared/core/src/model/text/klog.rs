//! klog and glog: `E0401 18:34:01.581234    4711 main.go:3] message`.

use super::cursor::Cursor;
use super::{Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::{Stamp, clock, day_ms, in_year_of, number};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "klog",
    title: "klog and glog",
    begins: |byte| matches!(byte, b'D' | b'I' | b'W' | b'E' | b'F'),
    read,
    examples: &[
        Example {
            line: "E0401 18:34:01.581234    4711 main.go:3] no stock",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "no stock",
        },
        Example {
            line: "I20230401 18:34:01.581234    4711 main.cc:3] ready",
            time: "2023-04-01T18:34:01.581Z",
            level: Level::Info,
            message: "ready",
        },
    ],
};

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let bytes = text.as_bytes();
    let level = match bytes.first()? {
        b'D' => Level::Debug,
        b'I' => Level::Info,
        b'W' => Level::Warn,
        _ => Level::Error,
    };
    // glog may write the year before month and day.
    let digits = bytes[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let at = match digits {
        4 => 1,
        8 => 5,
        _ => return None,
    };
    let (month, day) = (number(bytes, at, 2)?, number(bytes, at + 2, 2)?);
    (bytes.get(at + 4) == Some(&b' ')).then_some(())?;
    let (ms, end) = clock(bytes, at + 5)?;
    let time = match digits {
        4 => in_year_of(ask.near_ms, month, day, ms)?,
        _ => Stamp { ms: day_ms(number(bytes, 1, 4)?, month, day)? + ms, assumed: true },
    };
    let mut cursor = Cursor::new(text);
    let close = text.get(end..)?.find("] ")?;
    cursor.skip(end + close + 2);
    Some(Line {
        time: Some(time),
        level: SaidLevel::Known(level),
        message_start: cursor.at(),
        ..Line::default()
    })
}
