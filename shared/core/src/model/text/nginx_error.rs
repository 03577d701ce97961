//! nginx's error log.

use super::access::request_line;
use super::cursor::Cursor;
use super::levels::named;
use super::{AccessRequest, Ask, Example, Line, Recogniser, SaidLevel, digit};
use crate::model::level::Level;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "nginx-error",
    title: "nginx error log",
    begins: digit,
    read,
    examples: &[Example {
        line: r#"2025/04/01 18:34:01 [error] 4711#4711: *1 open() "/x" failed, client: 10.0.0.1, server: _, request: "GET /x HTTP/1.1", host: "h""#,
        time: "2025-04-01T18:34:01.000Z",
        level: Level::Error,
        message: r#"*1 open() "/x" failed, client: 10.0.0.1, server: _, request: "GET /x HTTP/1.1", host: "h""#,
    }],
};

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    (text.as_bytes().get(4) == Some(&b'/')).then_some(())?;
    let (stamp, length) = ask.leading?;
    cursor.skip(length);
    cursor.eat(" ")?;
    let level = SaidLevel::Known(named(cursor.between("[", "]")?)?);
    let process = cursor.word()?.strip_suffix(':')?;
    process.contains('#').then_some(())?;
    let mut request = AccessRequest::default();
    if ask.fields {
        let after = |name: &str| Some(&text[text.find(name)? + name.len()..]);
        request.remote_address = after(", client: ").and_then(|rest| rest.split(',').next());
        let quoted = after(", request: \"").and_then(|rest| rest.split('"').next());
        (request.method, request.url) = quoted.map_or((None, None), request_line);
    }
    Some(Line { time: Some(stamp), level, message_start: cursor.at(), request, ..Line::default() })
}
