//! Lines that begin with a level and say no time: Python's `basicConfig`, .NET's console, winston's `simple`, npm.

use super::cursor::Cursor;
use super::levels::{message_after, named};
use super::{Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "level-first",
    title: "level, no time (Python basicConfig, .NET console, winston simple, npm)",
    begins: |byte| byte.is_ascii_alphabetic() || matches!(byte, b'[' | b' ' | 0x1b),
    read,
    examples: &[
        Example { line: "WARNING:root:slow", time: "", level: Level::Warn, message: "root:slow" },
        Example { line: "fail: Orders[0]", time: "", level: Level::Error, message: "Orders[0]" },
        Example { line: "error: no stock", time: "", level: Level::Error, message: "no stock" },
        Example { line: "[WARN] slow", time: "", level: Level::Warn, message: "slow" },
        Example { line: "INFO  ready", time: "", level: Level::Info, message: "ready" },
        Example { line: " WARN  orders > slow", time: "", level: Level::Warn, message: "orders > slow" },
        Example { line: "ERR! shop no stock", time: "", level: Level::Error, message: "shop no stock" },
        Example { line: "info shop ready", time: "", level: Level::Info, message: "shop ready" },
        Example { line: "verb shop cached", time: "", level: Level::Debug, message: "shop cached" },
        Example { line: "npm warn deprecated a@1", time: "", level: Level::Warn, message: "deprecated a@1" },
        Example { line: "npm ERR! code E404", time: "", level: Level::Error, message: "code E404" },
    ],
};

/// Names of npmlog in small letters that do not begin prose.
const SMALL: [(&str, Level); 3] = [("info", Level::Info), ("verb", Level::Debug), ("sill", Level::Debug)];

fn read<'a>(text: &'a str, _: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    cursor.blank();
    let npm = cursor.eat("npm ").is_some();
    let rest = cursor.rest();
    let bracketed = rest.starts_with('[');
    let word = &rest[usize::from(bracketed)..];
    let length = word.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (word, after) = word.split_at(length);
    let capitals = !word.bytes().any(|byte| byte.is_ascii_lowercase());
    let small = !word.bytes().any(|byte| byte.is_ascii_uppercase());
    let of_npmlog = SMALL.into_iter().find(|(name, _)| *name == word).map(|(_, level)| level);
    let set_off = match after.as_bytes().first() {
        Some(b']') => bracketed,
        Some(b':') if !bracketed => capitals || (small && after[1..].starts_with([' ', '\t'])),
        Some(b' ' | b'\t') => !bracketed && (capitals || npm || of_npmlog.is_some()),
        // npmlog writes `ERR!`.
        Some(b'!') => !bracketed && capitals && after[1..].starts_with(' '),
        // The end of a colour.
        Some(0x1b) => !bracketed,
        _ => false,
    };
    // `Error: …` and the like begin a message.
    (set_off && (capitals || small)).then_some(())?;
    let level = of_npmlog.or_else(|| named(word).filter(|_| !word.eq_ignore_ascii_case("log")))?;
    cursor.skip(usize::from(bracketed) + length + usize::from(!after.starts_with('\u{1b}')));
    Some(Line { level: SaidLevel::Known(level), message_start: message_after(&cursor), ..Line::default() })
}
