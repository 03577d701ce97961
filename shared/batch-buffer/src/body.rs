//! Writes the request body of PutLogEvents (AWS JSON 1.1) directly from events into one buffer, with a
//! single copy of each message.

use crate::escape::Writer;
use crate::event::Event;

/// Appends the whole body to `out`.
pub fn write_body(
    out: &mut Vec<u8>,
    group: &str,
    stream: &str,
    sequence_token: Option<&str>,
    events: &[Event],
) {
    let bytes: usize = events.iter().map(|event| event.message.len() + event.message.len() / 4 + 48).sum();
    let mut body = Writer::new(out, bytes + 256);
    body.push(br#"{"logGroupName":""#);
    body.push_escaped(group);
    body.push(br#"","logStreamName":""#);
    body.push_escaped(stream);
    body.push(br#"","logEvents":["#);
    for (index, event) in events.iter().enumerate() {
        body.push(if index == 0 { br#"{"timestamp":"#.as_slice() } else { br#",{"timestamp":"#.as_slice() });
        push_decimal(&mut body, event.timestamp_ms);
        body.push(br#","message":""#);
        body.push_escaped(&event.message);
        body.push(br#""}"#);
    }
    body.push(b"]");
    if let Some(token) = sequence_token {
        body.push(br#","sequenceToken":""#);
        body.push_escaped(token);
        body.push(b"\"");
    }
    body.push(b"}");
    body.finish();
}

fn push_decimal(out: &mut Writer<'_>, number: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b"-");
    }
    out.push(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(group: &str, stream: &str, token: Option<&str>, events: &[Event]) {
        let mut body = Vec::new();
        write_body(&mut body, group, stream, token, events);
        let mut expect = serde_json::json!({
            "logGroupName": group,
            "logStreamName": stream,
            "logEvents": events.iter()
                .map(|event| serde_json::json!({"timestamp": event.timestamp_ms, "message": event.message}))
                .collect::<Vec<_>>(),
        });
        if let Some(token) = token {
            expect["sequenceToken"] = token.into();
        }
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).ok(), Some(expect));
    }

    #[test]
    fn the_body_is_what_the_service_model_says() {
        check("/a/b", "2024-01-01/0", None, &[Event::new(1, "one")]);
        check(
            "/a/\"b",
            "s\\",
            Some("49\"6"),
            &[Event::new(0, "{\"a\":1}\n"), Event::new(i64::MAX, "\u{1}é€😀")],
        );
        check("g", "s", None, &[Event::new(i64::MIN, "x")]);
        check("g", "s", None, &[]);
    }
}
