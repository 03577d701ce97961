//! Lines that begin with a sign for their level: signale, consola and other loggers for terminals.

use super::colours::before_colour;
use super::cursor::Cursor;
use super::levels::named;
use super::{Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "symbol",
    title: "a sign for the level (signale, consola)",
    begins: |byte| matches!(byte, 0xe2 | 0x1b),
    read,
    examples: &[
        Example { line: "ℹ  info      ready", time: "", level: Level::Info, message: "ready" },
        Example { line: "⚠  warning   slow", time: "", level: Level::Warn, message: "slow" },
        Example { line: "✖ no stock", time: "", level: Level::Error, message: "no stock" },
    ],
};

const SIGNS: [(char, Level); 6] = [
    ('ℹ', Level::Info),
    ('✔', Level::Info),
    ('⚠', Level::Warn),
    ('✖', Level::Error),
    ('✘', Level::Error),
    ('⚙', Level::Debug),
];

fn read<'a>(text: &'a str, _: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    cursor.blank();
    let sign = cursor.rest().chars().next()?;
    let (_, mut level) = SIGNS.into_iter().find(|(known, _)| *known == sign)?;
    cursor.skip(sign.len_utf8());
    // The sign may be shown as a picture.
    let _ = cursor.eat("\u{fe0f}");
    if !cursor.rest().starts_with([' ', '\u{1b}']) {
        return None;
    }
    cursor.blank();
    // signale sets its levels off by two spaces at least.
    let mut after = cursor;
    if let Some(word) = after.word()
        && after.rest().starts_with(' ')
        && let Some(said) = named(before_colour(word))
    {
        (level, cursor) = (said, after);
        cursor.blank();
    }
    Some(Line { level: SaidLevel::Known(level), message_start: cursor.at(), ..Line::default() })
}
