//! Lines that begin with a date and a time, with or without brackets, the level before or after them: the
//! default layouts of log4j, logback, Python, .NET, loguru, log4js, tracing and many others.

use super::cursor::Cursor;
use super::levels::{MAX_ORIGIN_BYTES, find, message_after, named, origin};
use super::{Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::{Stamp, clf, iso, number};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "dated",
    title: "date and time, level before or after it (log4j, logback, Python, .NET, loguru, log4js, tracing, env_logger, Monolog)",
    begins: |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'[' | b'(' | b'<' | b' ' | 0x1b | b'|'),
    read,
    examples: &[
        Example {
            line: "2025-04-01 18:34:01,581 [main] ERROR c.e.Orders - no stock",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "c.e.Orders - no stock",
        },
        Example {
            line: "2025-04-01 18:34:01.581  INFO 4711 --- [main] c.e.Orders : started",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Info,
            message: "4711 --- [main] c.e.Orders : started",
        },
        Example {
            line: "2025-04-01 18:34:01,581 - orders - WARNING - slow",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Warn,
            message: "slow",
        },
        Example {
            line: "2025-04-01 18:34:01.581 +02:00 [ERR] no stock",
            time: "2025-04-01T16:34:01.581Z",
            level: Level::Error,
            message: "no stock",
        },
        Example {
            line: "2025-04-01 18:34:01.581 | CRITICAL | __main__:<module>:3 - no stock",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "__main__:<module>:3 - no stock",
        },
        Example {
            line: "[2025-04-01T18:34:01.581] [WARN] default - slow",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Warn,
            message: "default - slow",
        },
        Example {
            line: "\u{1b}[2m2025-04-01T18:34:01.581234Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m \u{1b}[2morders\u{1b}[0m\u{1b}[2m:\u{1b}[0m slow",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Warn,
            message: "orders\u{1b}[0m\u{1b}[2m:\u{1b}[0m slow",
        },
        Example {
            line: "[INFO] 2025-04-01T18:34:01Z ready",
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Info,
            message: "ready",
        },
        Example {
            line: "ERROR 2025/04/01 18:34:01 no stock",
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Error,
            message: "no stock",
        },
        Example {
            line: "[01-Apr-2025 18:34:01 UTC] PHP Warning:  slow in /x.php",
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Warn,
            message: "slow in /x.php",
        },
        Example {
            line: "[2025-04-01T18:34:01Z WARN  orders] slow",
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Warn,
            message: "slow",
        },
        Example {
            line: "[2025-04-01 18:34:01,581: ERROR/MainProcess] no stock",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "no stock",
        },
        Example {
            line: "2025-04-01 18:34:01.5812|WARN|Shop.Orders|slow",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Warn,
            message: "Shop.Orders|slow",
        },
        Example {
            line: "[2025-04-01 18:34:01] production.ERROR: no stock",
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Error,
            message: "no stock",
        },
        Example {
            line: "[2025-04-01T18:34:01,581][WARN ][o.e.n.Node] [node-1] slow",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Warn,
            message: "[o.e.n.Node] [node-1] slow",
        },
        Example {
            line: "[2025-04-01T18:34:01,581][ERROR][o.e.n.Node] [node-1] no stock",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "[o.e.n.Node] [node-1] no stock",
        },
        Example {
            line: "INFO  [main] 2025-04-01 18:34:01,581 Server.java:12 - ready",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Info,
            message: "Server.java:12 - ready",
        },
        Example {
            line: "2025-04-01 18:34:01,581 ERROR [main] c.e.Orders - no stock",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "c.e.Orders - no stock",
        },
        Example {
            line: "2025-04-01 18:34:01,581 WARN [orders] slow",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Warn,
            message: "[orders] slow",
        },
        Example {
            line: "2025-04-01T18:34:01Z no level at all",
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Info,
            message: "no level at all",
        },
    ],
};

/// The longest word before the time that may be the level, its brackets included (bytes).
const MAX_LEVEL_BYTES: usize = 20;

fn read<'a>(line: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(line);
    let mut level = SaidLevel::Nothing;
    let mut from = None;
    cursor.blank();
    // Most lines begin with the time.
    if !cursor.rest().starts_with(|c: char| c.is_ascii_digit()) && stamp(&mut cursor.clone(), ask).is_none() {
        let word = cursor.word().filter(|word| word.len() <= MAX_LEVEL_BYTES)?;
        let bare = word.trim_matches(|c: char| "[]()<>|:,".contains(c));
        level = SaidLevel::Known(named(bare)?);
        cursor.blank();
        // Cassandra has the thread there.
        if stamp(&mut cursor.clone(), ask).is_none() {
            from = origin(cursor.between("[", "]")?);
        }
    }
    let (time, open) = stamp(&mut cursor, ask)?;
    let start = cursor.at();
    let mut message_start = message_after(&cursor);
    if level == SaidLevel::Nothing
        && let Some(found) = find(&cursor)
    {
        (level, message_start) = (SaidLevel::Known(found.level), found.message_start);
        from = ask.fields.then(|| line.get(start..found.at)).flatten().and_then(origin);
        if ask.fields
            && let Some((thread, logger)) = thread_after_level(line, message_start)
        {
            message_start = logger;
            from = from.or_else(|| origin(thread));
        }
    }
    if open && level != SaidLevel::Nothing {
        // `[2025-04-01T18:34:01Z INFO shop] ready`: the message is after the bracket.
        let rest = line.get(message_start..)?;
        if let Some(close) = rest.find(']').filter(|&close| close <= MAX_ORIGIN_BYTES) {
            from = ask.fields.then(|| origin(&rest[..close])).flatten().or(from);
            let mut after = Cursor::new(&rest[close + 1..]);
            message_start += close + 1 + after.blank().at();
        }
    }
    let more = from.filter(|_| ask.fields).map(|from| ("origin", from)).into_iter().collect();
    Some(Line { time: Some(time), level, message_start, more, ..Line::default() })
}

/// `[main] com.example.Orders - `, as log4j's `%p [%t] %c - %m` has it: the thread, and where the logger begins.
fn thread_after_level(line: &str, start: usize) -> Option<(&str, usize)> {
    let rest = line.get(start..)?;
    let mut cursor = Cursor::new(rest);
    let thread = cursor.between("[", "]")?;
    let logger = cursor.at();
    cursor.word()?;
    cursor.rest().starts_with("- ").then_some((thread, start + logger))
}

/// The time that is next, with its brackets; and whether its bracket is still open after it.
fn stamp(cursor: &mut Cursor<'_>, ask: &Ask) -> Option<(Stamp, bool)> {
    let open = ["[", "(", "|", "<"].into_iter().any(|open| cursor.eat(open).is_some());
    if open {
        cursor.blank();
    }
    let rest = cursor.rest();
    let bytes = rest.as_bytes();
    if !bytes.first()?.is_ascii_digit() {
        return None;
    }
    let (stamp, length) = match number(bytes, 0, 4) {
        Some(_) if cursor.at() == 0 => ask.leading?,
        Some(_) => iso(rest)?,
        // PHP writes 01-Apr-2025 18:34:01 UTC.
        None if bytes.get(2) == Some(&b'-') => {
            let slashed = rest.get(..40.min(rest.len())).or_else(|| rest.get(..26))?.replacen('-', "/", 2);
            clf(&slashed)?
        }
        None => return None,
    };
    let after = bytes.get(length);
    after.is_none_or(|byte| !byte.is_ascii_alphanumeric()).then_some(())?;
    cursor.skip(length);
    cursor.blank();
    let close = ["]", ")", "|", ">", ":", ","].into_iter().find(|close| cursor.eat(close).is_some());
    let ends = |close: &str| matches!(close, "]" | ")" | "|" | ">");
    Some((stamp, open && !close.is_some_and(ends)))
}
