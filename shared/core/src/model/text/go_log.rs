//! Go's `log` and `log/slog` in their default configuration.

use super::cursor::Cursor;
use super::{Ask, Example, Line, Recogniser, SaidLevel, digit};
use crate::model::level::Level;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "go",
    title: "Go log and log/slog",
    begins: digit,
    read,
    examples: &[
        Example {
            line: "2025/04/01 18:34:01 listening on :8080",
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Info,
            message: "listening on :8080",
        },
        Example {
            line: "2025/04/01 18:34:01 WARN slow ms=12",
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Warn,
            message: "slow ms=12",
        },
    ],
};

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    (text.as_bytes().get(4) == Some(&b'/')).then_some(())?;
    let (stamp, length) = ask.leading?;
    cursor.skip(length);
    cursor.eat(" ")?;
    let mut level = SaidLevel::Nothing;
    let mut message_start = cursor.at();
    // slog writes the level as `INFO` or `WARN+1`.
    let word = cursor.word().unwrap_or_default();
    let name = word.split(['+', '-']).next().unwrap_or(word);
    if matches!(name, "DEBUG" | "INFO" | "WARN" | "ERROR") {
        level = Level::from_name(name).map_or(SaidLevel::Nothing, SaidLevel::Known);
        message_start = cursor.at();
    } else if word.starts_with('[') {
        // Others, such as `[notice]`, are of another kind.
        return None;
    }
    Some(Line { time: Some(stamp), level, message_start, ..Line::default() })
}
