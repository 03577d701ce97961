//! Apache's error log.

use super::access::address;
use super::cursor::Cursor;
use super::levels::named;
use super::{AccessRequest, Ask, Example, Line, Recogniser, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::ctime;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "apache-error",
    title: "Apache error log",
    begins: |byte| byte == b'[',
    read,
    examples: &[Example {
        line: "[Tue Apr 01 18:34:01.581234 2025] [core:error] [pid 4711:tid 9] [client 10.0.0.1:5] AH00128: File does not exist: /x",
        time: "2025-04-01T18:34:01.581Z",
        level: Level::Error,
        message: "AH00128: File does not exist: /x",
    }],
};

fn read<'a>(text: &'a str, _: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    let time = cursor.between("[", "]")?;
    let (stamp, _) = ctime(time).filter(|&(_, length)| length == time.len())?;
    let severity = cursor.between("[", "]")?;
    let word = severity.rsplit(':').next().unwrap_or(severity).trim_end_matches(|c: char| c.is_ascii_digit());
    let level = named(word).map_or(SaidLevel::Unknown, SaidLevel::Known);
    let mut request = AccessRequest::default();
    while let Some(inside) = cursor.between("[", "]") {
        if let Some(client) = inside.strip_prefix("client ") {
            (request.remote_address, request.remote_port) = address(client);
        }
    }
    Some(Line { time: Some(stamp), level, message_start: cursor.at(), request, ..Line::default() })
}
