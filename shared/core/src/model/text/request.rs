//! Lines of requests that are no common log format: morgan's `dev`, `tiny` and `short`, uvicorn, Django's
//! `runserver`, Envoy.

use super::access::{address, line, request_line, status};
use super::colours::before_colour;
use super::cursor::{Cursor, present};
use super::{AccessRequest, Ask, Example, Line, Recogniser};
use crate::model::level::Level;
use crate::model::stamp::{Stamp, clf, iso};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    name: "request",
    title: "request lines of frameworks (morgan, uvicorn, Django, Envoy)",
    begins: |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'[' | b':' | 0x1b),
    read,
    examples: &[
        Example {
            line: "GET /orders 200 2 - 0.445 ms",
            time: "",
            level: Level::Info,
            message: "GET /orders 200 2 - 0.445 ms",
        },
        Example {
            line: "127.0.0.1 - GET /orders HTTP/1.1 404 2 - 0.445 ms",
            time: "",
            level: Level::Warn,
            message: "127.0.0.1 - GET /orders HTTP/1.1 404 2 - 0.445 ms",
        },
        Example {
            line: r#"INFO:     127.0.0.1:50001 - "POST /orders HTTP/1.1" 500 Internal Server Error"#,
            time: "",
            level: Level::Error,
            message: r#"INFO:     127.0.0.1:50001 - "POST /orders HTTP/1.1" 500 Internal Server Error"#,
        },
        Example {
            line: r#"[01/Apr/2025 18:34:01] "GET /orders HTTP/1.1" 200 2"#,
            time: "2025-04-01T18:34:01.000Z",
            level: Level::Info,
            message: r#"[01/Apr/2025 18:34:01] "GET /orders HTTP/1.1" 200 2"#,
        },
        Example {
            line: r#"[2025-04-01T18:34:01.581Z] "GET /orders HTTP/1.1" 503 UH 0 19 0 - "-" "curl/8.5.0""#,
            time: "2025-04-01T18:34:01.581Z",
            level: Level::Error,
            message: r#"[2025-04-01T18:34:01.581Z] "GET /orders HTTP/1.1" 503 UH 0 19 0 - "-" "curl/8.5.0""#,
        },
    ],
};

/// Methods of lines that say them without quotes.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

fn read<'a>(text: &'a str, _: &Ask) -> Option<Line<'a>> {
    // Most lines begin with a date.
    if text.as_bytes().get(4) == Some(&b'-') {
        return None;
    }
    let mut cursor = Cursor::new(text);
    cursor.blank();
    let mut stamp = None;
    if cursor.rest().starts_with('[') {
        stamp = Some(bracketed(cursor.between("[", "]")?)?);
    }
    if cursor.eat("INFO:").is_some() {
        cursor.blank();
    }
    let mut host = None;
    let begins_with_method = || METHODS.iter().any(|method| cursor.rest().starts_with(method));
    if stamp.is_none() && (text.as_bytes()[0].is_ascii_digit() || !begins_with_method()) {
        host = cursor.word();
        cursor.eat("- ")?;
        if cursor.rest().starts_with('-') {
            return None;
        }
    }
    let (method, url) = if cursor.rest().starts_with('"') {
        request_line(cursor.quoted_or_word()?)
    } else {
        if stamp.is_some() {
            return None;
        }
        let method = cursor.word().filter(|method| METHODS.contains(method))?;
        let url = cursor.word()?;
        let is_request = url.starts_with(['/', 'h', '*']);
        if cursor.rest().starts_with("HTTP/") {
            cursor.word();
        }
        (Some(method).filter(|_| is_request), Some(url))
    };
    method?;
    cursor.blank();
    let status = status(before_colour(cursor.word()?))?;
    let (remote_address, remote_port) = host.map_or((None, None), address);
    let processing_ms = milliseconds(&mut cursor);
    let request = AccessRequest {
        method,
        url: url.and_then(present),
        remote_address,
        remote_port,
        status: Some(status),
        processing_ms,
        ..AccessRequest::default()
    };
    Some(line(stamp, request))
}

fn bracketed(time: &str) -> Option<Stamp> {
    let read = clf(time).or_else(|| iso(time));
    read.filter(|&(_, length)| length == time.len()).map(|(stamp, _)| stamp)
}

/// The duration that morgan writes: `2 - 0.445 ms`, in `dev` `0.445 ms - 2`.
fn milliseconds(cursor: &mut Cursor<'_>) -> Option<f64> {
    const WORDS_LOOKED_AT: usize = 4;
    let mut last = None;
    for _ in 0..WORDS_LOOKED_AT {
        cursor.blank();
        let word = cursor.word()?;
        if word.starts_with("ms") {
            return last;
        }
        last = word.parse().ok().filter(|ms: &f64| ms.is_finite() && *ms >= 0.0);
    }
    None
}
