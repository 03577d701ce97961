//! Words that say a level in lines of text.

use super::cursor::Cursor;
use crate::model::level::Level;

/// How many words of a line are looked at for its level.
const WORDS_LOOKED_AT: usize = 6;

/// The level that a word means: a name, or one of the short forms that stand in text alone.
pub(super) fn named(word: &str) -> Option<Level> {
    let is = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(word));
    if !(3..=16).contains(&word.len()) {
        return None;
    }
    Level::from_name(word).or_else(|| {
        if is(&["dbg", "dbug", "vrb", "trc", "trce"]) {
            Some(Level::Debug)
        } else if is(&["inf", "note", "log", "system", "success"]) {
            Some(Level::Info)
        } else if is(&["wrn"]) {
            Some(Level::Warn)
        } else if is(&["ftl", "fail"]) {
            Some(Level::Error)
        } else {
            None
        }
    })
}

/// A level among the words that follow a time, and where the message begins after it. A word in small
/// letters counts only where it is first or stands in brackets: elsewhere it is one of the message's.
pub(super) fn find(cursor: &Cursor<'_>) -> Option<(Level, usize)> {
    let mut look = *cursor;
    for index in 0..WORDS_LOOKED_AT {
        look.blank();
        let before = look.at();
        let word = look.word()?;
        let word = word.split('\u{1b}').next().unwrap_or(word);
        let bare = word.trim_matches(|c: char| "[]()<>|:,-*".contains(c));
        let set_off = bare.len() < word.len() || index == 0;
        let capitals = !bare.bytes().any(|byte| byte.is_ascii_lowercase());
        if let Some(level) = named(bare).filter(|_| set_off || capitals) {
            return Some((level, message_after(&look)));
        }
        // As in `INFO:shop:ready`.
        let head = word.split(':').next().unwrap_or(word);
        let capital = head.len() < word.len() && head.bytes().all(|byte| byte.is_ascii_uppercase());
        if let Some(level) = named(head).filter(|_| capital) {
            return Some((level, before + head.len() + 1));
        }
        // Sentences have no level in them.
        if index > 0 && !set_off && bare.len() < word.len() {
            return None;
        }
    }
    None
}

/// Where the message begins: after blanks and the marks that set it off.
pub(super) fn message_after(cursor: &Cursor<'_>) -> usize {
    let mut look = *cursor;
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
