//! What the lines of access logs have in common.

use super::cursor::Cursor;
use super::{AccessRequest, Line, SaidLevel};
use crate::model::level::Level;
use crate::model::stamp::Stamp;

/// A request as it stands in quotes: `GET /path HTTP/1.1`. The method and the URL.
pub(super) fn request_line(text: &str) -> (Option<&str>, Option<&str>) {
    // Werkzeug colours what stands in the quotes.
    let mut words = Cursor::new(text).blank().rest().split(' ');
    let method = words.next().filter(|method| {
        !method.is_empty()
            && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_')
    });
    let url = words.next().filter(|_| method.is_some_and(|method| method != "-"));
    (method.filter(|&method| method != "-"), url.filter(|&url| url != "-"))
}

/// An address and its port: `1.2.3.4:5`, `[::1]:5`, `1.2.3.4`.
pub(super) fn address(text: &str) -> (Option<&str>, Option<&str>) {
    match text.rsplit_once(':') {
        _ if matches!(text, "-" | "") => (None, None),
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (Some(host.trim_matches(['[', ']'])), Some(port).filter(|port| is_number(port)))
        }
        _ => (Some(text), None),
    }
}

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A status of three digits.
pub(super) fn status(text: &str) -> Option<&str> {
    (text.len() == 3 && is_number(text)).then_some(text)
}

/// Seconds with a fraction, in milliseconds; a negative number stands for none.
pub(super) fn seconds_ms(text: &str) -> Option<f64> {
    let seconds: f64 = text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)?;
    // To the microsecond, so that 0.001 is 1 and not 1.0000000000000002.
    Some((seconds * 1e6).round() / 1e3)
}

/// The line of a request: all of it is the message, and its level follows from the status.
pub(super) fn line(time: Option<Stamp>, request: AccessRequest<'_>) -> Line<'_> {
    let level = request.status.and_then(|status| status.parse().ok()).map(Level::from_status);
    let level = level.map_or(SaidLevel::Nothing, SaidLevel::Known);
    Line { time, level, message_start: 0, request, ..Line::default() }
}
