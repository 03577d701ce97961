//! The lines that Lambda itself writes around those of a function.
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html>

use super::cursor::Cursor;
use super::levels::{message_after, named};
use super::{AccessRequest, Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::iso;

const REPORT: &str = "REPORT RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95\tDuration: 3.16 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\tMax Memory Used: 65 MB\tInit Duration: 188.50 ms\t";

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "lambda",
    title: "Lambda: START, END, REPORT and INIT_START, and what functions write",
    begins: |byte| byte.is_ascii_digit() || matches!(byte, b'S' | b'E' | b'R' | b'I' | b'['),
    read,
    examples: &[
        Example {
            line: "START RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95 Version: $LATEST",
            time: "",
            level: Level::Info,
            message: "START RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95 Version: $LATEST",
        },
        Example {
            line: "2025-04-01T18:34:01.581Z\t8f507cfc-0000-4697-b07a-ac58fc914c95\tERROR\tno stock",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "no stock",
        },
        Example {
            line: "[WARNING]\t2025-04-01T18:34:01.581Z\t8f507cfc-0000-4697-b07a-ac58fc914c95\tslow",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Warn,
            message: "slow",
        },
        Example {
            line: "2025-04-01T18:34:01.581Z 8f507cfc-0000-4697-b07a-ac58fc914c95 Task timed out after 3.00 seconds",
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: "Task timed out after 3.00 seconds",
        },
        Example { line: REPORT, time: "", level: Level::Info, message: REPORT },
        Example {
            line: "REPORT RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95\tDuration: 3000.00 ms\tStatus: timeout",
            time: "",
            level: Level::Error,
            message: "REPORT RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95\tDuration: 3000.00 ms\tStatus: timeout",
        },
    ],
};

/// The bytes of a time in milliseconds, `2025-04-01T18:34:01.581Z`, and of the id of a request.
const TIME_BYTES: usize = 24;
const ID_BYTES: usize = 36;

/// A line of a function: a time and the id of the request, the level after them (Node.js) or before (Python).
fn of_function(text: &str) -> Option<Line<'_>> {
    let after_time = text.as_bytes().get(TIME_BYTES);
    if !text.starts_with('[') && !matches!(after_time, Some(b'\t' | b' ')) {
        return None;
    }
    let mut cursor = Cursor::new(text);
    let mut level = SaidLevel::Nothing;
    if let Some(word) = cursor.between("[", "]") {
        level = SaidLevel::Known(named(word)?);
        cursor.eat("\t")?;
    }
    let (time, rest) = cursor.rest().split_at_checked(TIME_BYTES)?;
    let id = rest.strip_prefix(['\t', ' '])?.get(..ID_BYTES)?;
    let is_id = id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') && id.as_bytes()[8] == b'-';
    let (stamp, _) = iso(time).filter(|&(_, length)| is_id && length == TIME_BYTES)?;
    cursor.skip(TIME_BYTES + 1 + ID_BYTES);
    cursor.blank();
    let mut after = cursor;
    if level == SaidLevel::Nothing
        && let Some(word) = after.word().filter(|word| word.bytes().all(|byte| byte.is_ascii_uppercase()))
        && let Some(said) = named(word)
    {
        (level, cursor) = (SaidLevel::Known(said), after);
    } else if cursor.rest().starts_with("Task timed out after ") {
        level = SaidLevel::Known(Level::Error);
    }
    let request = AccessRequest { id: Some(id), ..AccessRequest::default() };
    Some(Line { time: Some(stamp), level, message_start: message_after(&cursor), request, ..Line::default() })
}

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    if text.starts_with(|c: char| c.is_ascii_digit() || c == '[') {
        return of_function(text);
    }
    if text.starts_with("INIT_START Runtime Version: ") {
        return Some(Line::default());
    }
    let rest = ["START", "END", "REPORT"].into_iter().find_map(|kind| text.strip_prefix(kind))?;
    let rest = rest.strip_prefix(" RequestId: ")?;
    let id = rest.split([' ', '\t']).next().filter(|id| !id.is_empty())?;
    let mut line =
        Line { request: AccessRequest { id: Some(id), ..AccessRequest::default() }, ..Line::default() };
    for part in rest.split('\t').skip(1) {
        let Some((name, value)) = part.trim().split_once(": ") else { continue };
        let number = value.split(' ').next().unwrap_or(value);
        let field = match name {
            "Duration" => {
                line.request.processing_ms = number.parse().ok().filter(|ms: &f64| ms.is_finite());
                continue;
            }
            "Status" => {
                if matches!(value, "timeout" | "error") {
                    line.level = SaidLevel::Known(Level::Error);
                }
                ("status", value)
            }
            "Billed Duration" => ("billedDurationMs", number),
            "Memory Size" => ("memorySizeMb", number),
            "Max Memory Used" => ("maxMemoryUsedMb", number),
            "Init Duration" => ("initDurationMs", number),
            "XRAY TraceId" => ("traceId", value),
            _ => continue,
        };
        if ask.fields {
            line.more.push(field);
        }
    }
    Some(line)
}
