//! Logs of databases: PostgreSQL, MySQL and Redis.

use super::cursor::Cursor;
use super::levels::named;
use super::{Ask, Example, Line, Recogniser, SaidLevel, digit};
use crate::model::level::Level;
use crate::model::stamp::rfc2822;

pub(super) static POSTGRES: Recogniser = Recogniser {
    name: "postgres",
    title: "PostgreSQL server log",
    begins: digit,
    read: postgres,
    examples: &[
        Example {
            line: "2025-04-01 18:34:01.581 UTC [4711] ERROR:  relation \"orders\" does not exist",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "relation \"orders\" does not exist",
        },
        Example {
            line: "2025-04-01 18:34:01.581 UTC [4711] shop@orders LOG:  duration: 12.3 ms",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Info,
            message: "duration: 12.3 ms",
        },
    ],
};

pub(super) static MYSQL: Recogniser = Recogniser {
    name: "mysql",
    title: "MySQL error log",
    begins: digit,
    read: mysql,
    examples: &[Example {
        line: "2025-04-01T18:34:01.581234Z 0 [Warning] [MY-010068] [Server] CA certificate is self signed.",
        time: "2025-04-01T18:34:01.581Z",
        level: Level::Warn,
        message: "[MY-010068] [Server] CA certificate is self signed.",
    }],
};

pub(super) static REDIS: Recogniser = Recogniser {
    name: "redis",
    title: "Redis server log",
    begins: digit,
    read: redis,
    examples: &[Example {
        line: "4711:M 01 Apr 2025 18:34:01.581 # WARNING overcommit_memory is set to 0",
        time: "2025-04-01T18:34:01.581Z",
        level: Level::Warn,
        message: "WARNING overcommit_memory is set to 0",
    }],
};

fn postgres<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    let (stamp, length) = ask.leading?;
    cursor.skip(length);
    cursor.eat(" ")?;
    let pid = cursor.between("[", "]")?;
    pid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-').then_some(())?;
    let mut word = cursor.word()?;
    let mut user = None;
    if !word.ends_with(':') && word.contains('@') {
        user = Some(word);
        word = cursor.word()?;
    }
    let severity = word.strip_suffix(':')?;
    let level = match severity.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "STATEMENT" | "DETAIL" | "HINT" | "CONTEXT" | "QUERY" | "LOCATION" => Level::Info,
        name => named(name)?,
    };
    cursor.blank();
    let (time, level) = (Some(stamp), SaidLevel::Known(level));
    let mut line = Line { time, level, message_start: cursor.at(), ..Line::default() };
    if ask.fields {
        line.more = [("pid", Some(pid)), ("user", user)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
    }
    Some(line)
}

fn mysql<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    let (stamp, length) = ask.leading?;
    cursor.skip(length);
    cursor.blank();
    let thread = cursor.word()?;
    thread.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    let level = SaidLevel::Known(named(cursor.between("[", "]")?)?);
    Some(Line { time: Some(stamp), level, message_start: cursor.at(), ..Line::default() })
}

fn redis<'a>(text: &'a str, _: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    let (pid, role) = cursor.word()?.split_once(':')?;
    let known = matches!(role, "M" | "S" | "C" | "X") && pid.bytes().all(|byte| byte.is_ascii_digit());
    known.then_some(())?;
    let (stamp, length) = rfc2822(cursor.rest())?;
    cursor.skip(length);
    cursor.eat(" ")?;
    let level = match cursor.word()? {
        "." | "-" => Level::Debug,
        "*" => Level::Info,
        "#" => Level::Warn,
        _ => return None,
    };
    let (time, level) = (Some(stamp), SaidLevel::Known(level));
    Some(Line { time, level, message_start: cursor.at(), ..Line::default() })
}
