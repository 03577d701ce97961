//! Words that say a level in lines of text.

use super::colours::before_colour;
use super::cursor::Cursor;
use crate::model::level::Level;

/// How many words of a line are looked at for its level.
const WORDS_LOOKED_AT: usize = 6;

/// The longest name of a level, with the blanks that fill it up.
const LONGEST_BYTES: usize = 16;

/// The level that a word means: a name, or one of the short forms that stand in text alone.
pub(super) fn named(word: &str) -> Option<Level> {
    let is = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(word));
    if !(3..=LONGEST_BYTES).contains(&word.len()) {
        return None;
    }
    Level::from_name(word).or_else(|| {
        if is(&["dbg", "dbug", "vrb", "trc"]) {
            Some(Level::Debug)
        } else if is(&["inf", "note", "log", "system", "success"]) {
            Some(Level::Info)
        } else if is(&["wrn"]) {
            Some(Level::Warn)
        } else if is(&["ftl", "fail", "pnc"]) {
            Some(Level::Error)
        } else {
            None
        }
    })
}

/// A level among the words that follow a time, and where the message begins after it. A word in small
/// letters counts only where it is first or stands in brackets: elsewhere it is one of the message's.
pub(super) fn find(cursor: &Cursor<'_>) -> Option<Found> {
    let found = |level, at, message_start| Some(Found { level, at, message_start });
    let mut look = *cursor;
    for index in 0..WORDS_LOOKED_AT {
        look.blank();
        // A bracket before the colour of the level.
        if look.rest().starts_with("[\u{1b}") {
            look.skip(1);
            look.blank();
        }
        let before = look;
        // As in `[WARN][orders]`.
        if let Some(inside) = look.rest().strip_prefix('[')
            && let Some(length) = inside.bytes().take(LONGEST_BYTES + 1).position(|byte| byte == b']')
            && let Some(level) = named(inside[..length].trim_ascii())
        {
            look.skip(length + 2);
            return found(level, before.at(), message_after(&look));
        }
        let word = look.word()?;
        let word = before_colour(word);
        let bare = word.trim_matches(|c: char| "[]()<>|:,-*".contains(c));
        let set_off = bare.len() < word.len() || index == 0;
        let capitals = !bare.bytes().any(|byte| byte.is_ascii_lowercase());
        if let Some(level) = named(bare).filter(|_| set_off || capitals) {
            // As in `[INFO ][main]`.
            if word.starts_with('[') && !word.contains(']') {
                let _ = look.blank().eat("]");
            }
            return found(level, before.at(), message_after(&look));
        }
        // As in `INFO:shop:ready`, `INFO|shop|ready`, `INFO/main`, `shop.INFO: ready`.
        let head = word.split([':', '|', '/']).next().unwrap_or(word);
        let name = head.rsplit('.').next().unwrap_or(head);
        let capital = head.len() < word.len() && name.bytes().all(|byte| byte.is_ascii_uppercase());
        if let Some(level) = named(name).filter(|_| capital) {
            let mut after = before;
            after.skip(head.len() + 1);
            let at = before.at() + head.len() - name.len();
            return found(level, at, message_after(&after));
        }
    }
    None
}

/// A level in a line.
pub(super) struct Found {
    pub(super) level: Level,
    /// Where its name begins (bytes from the beginning of the line).
    pub(super) at: usize,
    /// Where the message begins after it (bytes from the beginning of the line).
    pub(super) message_start: usize,
}

/// A thread, a logger, a process: what stands between the time and the level, without the marks around it.
/// `None` where nothing is there, or colours, or a half of a pair of brackets.
pub(super) fn origin(text: &str) -> Option<&str> {
    let text = text.trim_matches([' ', '\t', '-', ':', '|', '.', '/']);
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let text = inside.filter(|inside| !inside.contains(['[', ']'])).unwrap_or(text).trim_ascii();
    let whole = text.matches('[').count() == text.matches(']').count();
    (whole && !text.is_empty() && !text.contains('\u{1b}')).then_some(text)
}

/// The longest text in brackets after a level that says where the message is from (bytes).
pub(super) const MAX_ORIGIN_BYTES: usize = 128;

/// Where the message begins: after blanks, the marks that set it off and, as pino-pretty has it, an origin
/// in brackets.
pub(super) fn message_after(cursor: &Cursor<'_>) -> usize {
    let mut look = *cursor;
    look.blank();
    if look.rest().starts_with('(')
        && let Some(end) = look.rest().find("): ").filter(|&end| end <= MAX_ORIGIN_BYTES)
    {
        look.skip(end + 2);
    }
    loop {
        look.blank();
        let rest = look.rest();
        let mark = rest.starts_with(['|', ':', '-', ']']) && rest[1..].starts_with([' ', '\t']);
        if !mark {
            return look.at();
        }
        look.skip(1);
    }
}
