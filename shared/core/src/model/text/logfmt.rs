//! logfmt: `time=… level=info msg="…" key=value`.

use super::{Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::read_time;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "logfmt",
    title: "logfmt (logrus, slog's text handler, Grafana, HashiCorp)",
    begins: |byte| byte.is_ascii_alphabetic() || byte == b'@',
    read,
    examples: &[
        Example {
            line: r#"time=2025-04-01T18:34:01.581Z level=WARN msg="slow query" ms=12"#,
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Warn,
            message: "slow query",
        },
        Example { line: "level=error msg=broken", time: "", level: Level::Error, message: "broken" },
    ],
};

/// Pairs that are looked at for time, level and message.
const PAIRS_LOOKED_AT: usize = 64;

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut line = Line::default();
    let (mut rest, mut pairs) = (text.trim_end(), 0);
    while !rest.is_empty() && pairs < PAIRS_LOOKED_AT {
        let (key, value, after) = pair(rest)?;
        match key {
            "time" | "ts" | "timestamp" | "t" | "@timestamp" => {
                line.time = line.time.or_else(|| read_time(value, ask.near_ms));
            }
            "level" | "lvl" | "severity" | "@level" => {
                line.level = Level::from_name(value).map_or(SaidLevel::Unknown, SaidLevel::Known);
            }
            "msg" | "message" | "@message" | "event" => line.message = line.message.or(Some(value)),
            "at" if line.level == SaidLevel::Nothing => {
                line.level = Level::from_name(value).map_or(SaidLevel::Nothing, SaidLevel::Known);
            }
            "request_id" | "requestId" | "trace_id" | "traceId" => {
                line.request.id = line.request.id.or(Some(value));
            }
            "method" => line.request.method = Some(value),
            "url" | "path" => line.request.url = Some(value),
            _ => {}
        }
        pairs += 1;
        rest = after.trim_start_matches(' ');
    }
    let says = line.time.is_some() || line.level != SaidLevel::Nothing;
    (pairs >= 2 && says && (line.message.is_some() || line.time.is_some())).then_some(line)
}

/// `key=value` or `key="a value"` at the beginning, and what follows it.
fn pair(text: &str) -> Option<(&str, &str, &str)> {
    let (key, rest) = text.split_once('=')?;
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-@/".contains(&byte);
    (!key.is_empty() && key.bytes().all(named)).then_some(())?;
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(' ').unwrap_or(rest.len());
        return Some((key, &rest[..end], &rest[end..]));
    };
    let mut escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((key, &quoted[..end], &quoted[end + 1..]))
}
