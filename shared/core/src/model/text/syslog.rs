//! Syslog, with and without its priority.
//! <https://www.rfc-editor.org/rfc/rfc5424> <https://www.rfc-editor.org/rfc/rfc3164>

use super::cursor::{Cursor, present};
use super::levels::{message_after, named};
use super::{Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::{iso, yearless};

pub(super) static RFC5424: Recogniser = Recogniser {
    name: "syslog-5424",
    title: "syslog RFC 5424",
    begins: |byte| byte == b'<',
    read: rfc5424,
    examples: &[
        Example {
            line: r#"<165>1 2003-10-11T22:14:15.003Z host.example.com evntslog - ID47 [exampleSDID@32473 iut="3"] An event"#,
            time: "2003-10-11T22:14:15.003Z",
            level: Level::Info,
            message: "An event",
        },
        Example {
            line: "<34>1 2003-10-11T22:14:15.003Z host su 123 ID47 - 'su root' failed",
            time: "2003-10-11T22:14:15.003Z",
            level: Level::Error,
            message: "'su root' failed",
        },
    ],
};

pub(super) static RFC3164: Recogniser = Recogniser {
    name: "syslog",
    title: "syslog RFC 3164, also without priority, as files and journald have it",
    begins: |byte| matches!(byte, b'<' | b' ') || byte.is_ascii_uppercase(),
    read: rfc3164,
    examples: &[
        Example {
            line: "<34>Mar 31 22:14:15 mymachine su[42]: 'su root' failed",
            time: "2025-03-31T22:14:15.000Z",
            level: Level::Error,
            message: "'su root' failed",
        },
        Example {
            line: "Apr  1 18:34:01 web-1 systemd[1]: Started Orders.",
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Info,
            message: "Started Orders.",
        },
        Example {
            line: "Apr  1 18:34:01.581 ERRO no stock, app: shop",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "no stock, app: shop",
        },
    ],
};

/// `<priority>`: the severity in it as a level.
fn priority(cursor: &mut Cursor<'_>) -> Option<Level> {
    let number = cursor.rest().strip_prefix('<')?.split_once('>')?.0;
    let value: u16 = number.parse().ok().filter(|value| *value < 192)?;
    cursor.skip(number.len() + 2);
    Some(Level::from_syslog(f64::from(value % 8)))
}

fn rfc5424<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    let level = priority(&mut cursor)?;
    cursor.eat("1 ")?;
    let word = cursor.word()?;
    let time = match present(word) {
        Some(word) => Some(iso(word).filter(|&(_, length)| length == word.len())?.0),
        None => None,
    };
    let (host, app, pid, id) = (cursor.word()?, cursor.word()?, cursor.word()?, cursor.word()?);
    if cursor.eat("-").is_none() {
        // Elements of structured data follow each other; quotes hide brackets.
        while cursor.rest().starts_with('[') {
            let (mut quoted, mut escaped) = (false, false);
            let end = cursor.rest().find(|c| {
                let ends = c == ']' && !quoted;
                quoted ^= c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            })?;
            cursor.skip(end + 1);
        }
    }
    cursor.blank();
    let mut line =
        Line { time, level: SaidLevel::Known(level), message_start: cursor.at(), ..Line::default() };
    if ask.fields {
        let all = [("hostname", host), ("app", app), ("pid", pid), ("msgid", id)];
        line.more = all.into_iter().filter(|(_, value)| present(value).is_some()).collect();
    }
    Some(line)
}

fn rfc3164<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    cursor.blank();
    let level = priority(&mut cursor);
    let rest = cursor.rest();
    let (stamp, length) = yearless(rest, ask.near_ms).or_else(|| iso(rest).filter(|_| level.is_some()))?;
    cursor.skip(length);
    cursor.eat(" ")?;
    let host = cursor.word()?;
    let tagged = cursor;
    // slog's terminal format has a level there.
    if level.is_none()
        && host.bytes().all(|byte| byte.is_ascii_uppercase())
        && let Some(level) = named(host)
    {
        let message_start = message_after(&cursor);
        let level = SaidLevel::Known(level);
        return Some(Line { time: Some(stamp), level, message_start, ..Line::default() });
    }
    let tag = cursor.word().and_then(|word| word.strip_suffix(':'));
    let Some(tag) = tag else {
        // Some leave out the host, and some the tag.
        let message_start = tagged.at();
        let level = level.map_or(SaidLevel::Nothing, SaidLevel::Known);
        return Some(Line { time: Some(stamp), level, message_start, ..Line::default() });
    };
    cursor.blank();
    let (app, pid) = match tag.strip_suffix(']').and_then(|tag| tag.split_once('[')) {
        Some((app, pid)) => (app, Some(pid)),
        None => (tag, None),
    };
    let level = level.map_or(SaidLevel::Nothing, SaidLevel::Known);
    let mut line = Line { time: Some(stamp), level, message_start: cursor.at(), ..Line::default() };
    if ask.fields {
        let all = [("hostname", Some(host)), ("app", Some(app)), ("pid", pid)];
        line.more = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    }
    Some(line)
}
