//! Common and combined log format, of Apache, nginx and many others.

use super::access::{address, line, request_line, status};
use super::cursor::{Cursor, present};
use super::{AccessRequest, Ask, Example, Line, Recogniser};
use crate::model::level::Level;
use crate::model::stamp::clf;

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "access",
    title: "common and combined log format (Apache, nginx, gunicorn, Werkzeug, aiohttp)",
    begins: |byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'['),
    read,
    examples: &[
        Example {
            line: r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
            time: "2000-10-10T20:55:36.000Z",
            level: Level::Info,
            message: r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
        },
        Example {
            line: r#"2001:db8::1 - - [01/Apr/2025:18:34:01 +0000] "POST /orders HTTP/2.0" 502 157 "-" "curl/8.5.0""#,
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Error,
            message: r#"2001:db8::1 - - [01/Apr/2025:18:34:01 +0000] "POST /orders HTTP/2.0" 502 157 "-" "curl/8.5.0""#,
        },
        Example {
            line: r#"127.0.0.1 [01/Apr/2025:18:34:01 +0000] "GET /orders HTTP/1.1" 404 14"#,
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Warn,
            message: r#"127.0.0.1 [01/Apr/2025:18:34:01 +0000] "GET /orders HTTP/1.1" 404 14"#,
        },
    ],
};

fn read<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    let host = cursor.word()?;
    // aiohttp has neither an identity nor a user.
    let (mut identity, mut user) = ("-", "-");
    if !cursor.rest().starts_with('[') {
        identity = cursor.word()?;
        let rest = cursor.rest();
        let bracket = rest.find(" [")?;
        user = &rest[..bracket];
        cursor.skip(bracket + 1);
    }
    let time = cursor.between("[", "]")?;
    let (stamp, _) = clf(time).filter(|&(_, length)| length == time.len())?;
    let (method, url) = request_line(cursor.quoted_or_word()?);
    let status = status(cursor.word()?)?;
    let bytes = cursor.word();
    let (remote_address, remote_port) = address(host);
    let request = AccessRequest {
        method,
        url,
        remote_address,
        remote_port,
        status: Some(status),
        ..AccessRequest::default()
    };
    let mut read = line(Some(stamp), request);
    if ask.fields {
        let others = [("identity", Some(identity)), ("user", Some(user)), ("bytes", bytes)];
        let tail = [("referer", cursor.quoted_or_word()), ("userAgent", cursor.quoted_or_word())];
        let given = |(name, value): (&'static str, Option<&'a str>)| Some((name, value.and_then(present)?));
        read.more = others.into_iter().chain(tail).filter_map(given).collect();
    }
    Some(read)
}
