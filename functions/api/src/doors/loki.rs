//! Loki's push API: streams of lines with labels, in protobuf with snappy and in JSON.
//! <https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs>

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use logferry_core::logbook::carried::{Carried, Context, Identity};
use logferry_core::logbook::new_entry::half_surrogates_replaced;
use logferry_service::http::{
    Answer, ApiError, BodyBytes, Describe, ErrorShape, IntoResponse as _, MAX_DECODED_BYTES, Operation,
    Response, Route, Routes, State, text as plain, with_pause,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::wire::{Fields, Malformed, Value as Wire, text};
use super::{Batch, Few, unread};
use crate::auth::AsShipper;
use crate::{Api, Cloud, Shared};

/// Labels and structured metadata that name a level; the first that is there counts.
const LEVELS: [&str; 5] = ["level", "detected_level", "severity", "severity_text", "lvl"];
const NS_PER_SEC: u64 = 1_000_000_000;

pub(super) fn routes<C: Cloud, R: Routes<Arc<Api<C>>>>(into: R) -> R {
    into.add(
        Route::post("/loki/api/v1/push", "pushLoki", super::TAG)
            .says("Loki's push API: 204, or an error as text")
            .with(describes),
        push::<C>,
    )
}

fn describes(operation: &mut Operation) {
    operation.takes_body_as(
        "application/x-protobuf",
        json!({"description": "`PushRequest`, in a block of snappy."}),
    );
    operation.takes_body_as("application/json", json!({"type": "object", "required": ["streams"]}));
    operation.answers_nothing(204, "stored");
    let schemas = || vec![("text/plain", json!({"type": "string"}))];
    operation.error_shape = ErrorShape { name: "Loki", schemas };
}

async fn push<C: Cloud>(
    State(api): Shared<C>,
    by: Result<AsShipper, ApiError>,
    payload: Result<PushBody, ApiError>,
) -> Answer {
    let answered = async {
        let (by, PushBody(payload)) = (by?, payload?);
        let snappy;
        let batch = match payload.media_type.as_str() {
            "application/json" => of_json(&payload.bytes)?,
            _ => {
                snappy = unpacked(&payload.bytes)?;
                of_protobuf(&snappy)?
            }
        };
        let refused = api.carry(&by.app, by.head.now_ms, "loki", &batch, Identity::Content).await?;
        match refused.first() {
            None => Ok(StatusCode::NO_CONTENT.into_response()),
            Some(first) => {
                let message = format!(
                    "{} of {} entries were not stored, the first: {}",
                    refused.len(),
                    batch.entries.len(),
                    first.why
                );
                Err(ApiError::bad_request("body", message))
            }
        }
    };
    Ok(answered.await.unwrap_or_else(|error: ApiError| refusal(&error)))
}

/// The body of a push. As in Loki, protobuf is in snappy whether or not `Content-Encoding` says so, as that of
/// Vector does: the name is ignored, and nothing is decoded for it.
struct PushBody(BodyBytes);

impl<S: Sync> FromRequest<S> for PushBody {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, ApiError> {
        let coding = request.headers().get(CONTENT_ENCODING);
        if coding.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"snappy")) {
            request.headers_mut().remove(CONTENT_ENCODING);
        }
        BodyBytes::from_request(request, state).await.map(Self)
    }
}

impl Describe for PushBody {
    fn describe(operation: &mut Operation) {
        BodyBytes::describe(operation);
    }
}

/// An error as Loki answers it: a line of text.
fn refusal(error: &ApiError) -> Response {
    let response = plain(error.status, "text/plain; charset=utf-8", format!("{}\n", error.message));
    with_pause(response, error.retry_after_secs)
}

fn malformed(what: &str) -> ApiError {
    ApiError::bad_request("body", format!("the body is no push request: {what}"))
}

fn unpacked(body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let broken = |error: snap::Error| malformed(&format!("it is not valid snappy: {error}"));
    let length = snap::raw::decompress_len(body).map_err(broken)?;
    if length > MAX_DECODED_BYTES {
        let message = format!("a decoded body must be at most {MAX_DECODED_BYTES} bytes");
        return Err(ApiError::too_large(message));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(broken)
}

/// Labels or structured metadata.
type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn carried<'a>(
    time_ns: Option<u64>,
    line: Cow<'a, str>,
    labels: &Labels<'_>,
    metadata: &Labels<'_>,
) -> Carried<'a> {
    let mut context = Context::default();
    let named: HashSet<&str> = metadata.iter().map(|(name, _)| &**name).collect();
    for (name, value) in labels.iter().filter(|(name, _)| !named.contains(&**name)).chain(metadata) {
        context.push(name, value);
    }
    let level = LEVELS.iter().find_map(|name| metadata.iter().chain(labels).find(|(own, _)| own == name));
    let level = level.map(|(_, value)| Cow::Owned(value.to_string()));
    Carried { text: line, context: context.into_text().into(), time_ns, level }
}

// The numbers of fields are those of pkg/push/push.proto.

fn of_protobuf(body: &[u8]) -> Result<Batch<'_>, ApiError> {
    let broken = |_: Malformed| malformed("it is not valid protobuf");
    let mut batch = Batch::default();
    for field in Fields(body) {
        let (1, Wire::Bytes(stream)) = field.map_err(broken)? else { continue };
        let mut labels = Labels::new();
        for field in Fields(stream) {
            if let (1, Wire::Bytes(bytes)) = field.map_err(broken)? {
                let text = text(bytes);
                labels = labels_of(&text).ok_or_else(|| malformed(&format!("the labels {text} are none")))?;
            }
        }
        for field in Fields(stream) {
            if let (2, Wire::Bytes(bytes)) = field.map_err(broken)? {
                batch.push(entry_of(bytes, &labels).map_err(broken)?)?;
            }
        }
    }
    Ok(batch)
}

fn entry_of<'a>(message: &'a [u8], labels: &Labels<'_>) -> Result<Carried<'a>, Malformed> {
    let (mut time_ns, mut line, mut metadata) = (None, Cow::Borrowed(""), Labels::new());
    for field in Fields(message) {
        match field? {
            (1, Wire::Bytes(timestamp)) => {
                let (mut secs, mut nanos) = (0, 0);
                for part in Fields(timestamp) {
                    match part? {
                        (1, Wire::Varint(value)) => secs = value,
                        (2, Wire::Varint(value)) => nanos = value,
                        _ => {}
                    }
                }
                time_ns = secs.checked_mul(NS_PER_SEC).and_then(|ns| ns.checked_add(nanos));
            }
            (2, Wire::Bytes(bytes)) => line = text(bytes),
            (3, Wire::Bytes(pair)) => {
                let (mut name, mut value) = (Cow::Borrowed(""), Cow::Borrowed(""));
                for part in Fields(pair) {
                    match part? {
                        (1, Wire::Bytes(bytes)) => name = text(bytes),
                        (2, Wire::Bytes(bytes)) => value = text(bytes),
                        _ => {}
                    }
                }
                metadata.push((name, value));
            }
            _ => {}
        }
    }
    Ok(carried(time_ns, line, labels, &metadata))
}

/// Reads `{name="value", …}`, whose values are quoted as in Go.
fn labels_of(text: &str) -> Option<Labels<'static>> {
    let mut rest = text.trim().strip_prefix('{')?.trim_start();
    let mut labels = Labels::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return after.trim().is_empty().then(|| last_of_each(labels));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start())?;
        labels.push((name.trim().to_owned().into(), value.into()));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None => after.starts_with('}').then_some(after)?,
        };
    }
}

/// Labels without those that are named again later. Every entry of a stream looks at each label.
fn last_of_each(mut labels: Labels<'_>) -> Labels<'_> {
    let mut seen = HashSet::new();
    labels.reverse();
    labels.retain(|(name, _)| seen.insert(name.clone()));
    labels.reverse();
    labels
}

/// A quoted text, and what is after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let (mut value, mut chars) = (Vec::new(), inner.char_indices());
    let code = |chars: &mut std::str::CharIndices<'_>, digits: usize, radix: u32| {
        let (text, mut rest) = (chars.as_str(), chars.clone());
        let code = u32::from_str_radix(text.get(..digits)?, radix).ok()?;
        rest.nth(digits - 1)?;
        *chars = rest;
        Some(code)
    };
    let push = |value: &mut Vec<u8>, c: char| value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    loop {
        let (at, c) = chars.next()?;
        match c {
            '"' => return Some((String::from_utf8_lossy(&value).into_owned(), &inner[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push(b'\n'),
                't' => value.push(b'\t'),
                'r' => value.push(b'\r'),
                'a' => value.push(7),
                'b' => value.push(8),
                'v' => value.push(11),
                'f' => value.push(12),
                'x' => value.push(u8::try_from(code(&mut chars, 2, 16)?).ok()?),
                'u' => push(&mut value, char::from_u32(code(&mut chars, 4, 16)?)?),
                'U' => push(&mut value, char::from_u32(code(&mut chars, 8, 16)?)?),
                same @ ('"' | '\\' | '\'') => push(&mut value, same),
                _ => return None,
            },
            c => push(&mut value, c),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Push {
    streams: Few<Stream>,
}

#[derive(Debug, Deserialize)]
struct Stream {
    #[serde(default)]
    stream: Map<String, Value>,
    #[serde(default)]
    values: Few<Line>,
}

/// `[time, line]` or `[time, line, metadata]`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Plain(String, String),
    WithMetadata(String, String, Map<String, Value>),
}

fn of_json(body: &[u8]) -> Result<Batch<'static>, ApiError> {
    let body = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
    let body = half_surrogates_replaced(body);
    let push: Push = serde_json::from_str(&body).map_err(|error| unread(&error, malformed))?;
    let mut batch = Batch::default();
    for Stream { stream, values } in push.streams {
        let labels = pairs_of(&stream);
        for line in values {
            let (time, line, metadata) = match line {
                Line::Plain(time, line) => (time, line, Map::new()),
                Line::WithMetadata(time, line, metadata) => (time, line, metadata),
            };
            let time_ns =
                time.parse().map_err(|_| malformed("a time is no number of nanoseconds in a string"))?;
            batch.push(carried(Some(time_ns), line.into(), &labels, &pairs_of(&metadata)))?;
        }
    }
    Ok(batch)
}

/// Names and values; what is no text is JSON.
fn pairs_of(members: &Map<String, Value>) -> Labels<'_> {
    members.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), text_of(value))).collect()
}

fn text_of(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{put_bytes, put_number};
    use super::*;

    /// What a batch says, an entry a line.
    fn said(batch: Result<Batch<'_>, ApiError>) -> Vec<String> {
        let said = |entry: &Carried<'_>| {
            let time = entry.time_ns.map_or_else(String::new, |ns| ns.to_string());
            format!("{time} {} {} {}", entry.level.as_deref().unwrap_or("-"), entry.text, entry.context)
        };
        match batch {
            Ok(batch) => batch.entries.iter().map(said).collect(),
            Err(error) => vec![format!("{} {}", error.status.as_u16(), error.message)],
        }
    }

    #[test]
    fn of_labels_with_one_name_the_last_counts() {
        let labels = labels_of(r#"{a="1", b="2", a="3"}"#).unwrap();
        assert_eq!(labels, [("b".into(), "2".into()), ("a".into(), "3".into())]);
    }

    #[test]
    fn json_and_protobuf_say_the_same() {
        let json = r#"{"streams": [{"stream": {"job": "x", "level": "warn", "n": 1}, "values": [
            ["1743532441581000001", "one"], ["1743532441581000002", "two\ud83d", {"level": "error", "trace": "t"}]]}]}"#;
        let entry = |nanos: u64, line: &str, metadata: &[(&str, &str)]| {
            let (mut timestamp, mut message) = (Vec::new(), Vec::new());
            put_number(&mut timestamp, 1, 1_743_532_441);
            put_number(&mut timestamp, 2, nanos);
            put_bytes(&mut message, 1, &timestamp);
            put_bytes(&mut message, 2, line.as_bytes());
            for (name, value) in metadata {
                let mut pair = Vec::new();
                put_bytes(&mut pair, 1, name.as_bytes());
                put_bytes(&mut pair, 2, value.as_bytes());
                put_bytes(&mut message, 3, &pair);
            }
            message
        };
        let (mut stream, mut request) = (Vec::new(), Vec::new());
        put_bytes(&mut stream, 1, br#"{job="x", level="warn", n="1"}"#);
        put_bytes(&mut stream, 2, &entry(581_000_001, "one", &[]));
        put_bytes(&mut stream, 2, &entry(581_000_002, "two\u{fffd}", &[("level", "error"), ("trace", "t")]));
        put_bytes(&mut request, 1, &stream);
        let packed = snap::raw::Encoder::new().compress_vec(&request).unwrap();
        let expected = [
            r#"1743532441581000001 warn one {"job":"x","level":"warn","n":"1"}"#,
            "1743532441581000002 error two\u{fffd} {\"job\":\"x\",\"n\":\"1\",\"level\":\"error\",\"trace\":\"t\"}",
        ];
        assert_eq!(said(of_json(json.as_bytes())), expected);
        assert_eq!(said(of_protobuf(&unpacked(&packed).unwrap())), expected);
    }

    #[test]
    fn labels_are_quoted_as_in_go() {
        for (text, labels) in [
            ("{}", Some(vec![])),
            (r#"{a="b"}"#, Some(vec![("a", "b")])),
            (r#" { a = "b" , c="" , } "#, Some(vec![("a", "b"), ("c", "")])),
            (r#"{a="\"\\\n\x41ü\u00e4\U0001F600,}"}"#, Some(vec![("a", "\"\\\nAüä😀,}")])),
            ("", None),
            ("{", None),
            (r#"{a="b}"#, None),
            (r#"{a="b"} x"#, None),
            (r#"{a="b" c="d"}"#, None),
            (r#"{a="\u00"}"#, None),
            (r#"{a="\uü"}"#, None),
            (r#"{a=b}"#, None),
        ] {
            let read = labels_of(text);
            let read = read.as_ref().map(|all| all.iter().map(|(name, value)| (&**name, &**value)).collect());
            assert_eq!(read, labels, "{text}");
        }
    }

    #[test]
    fn bad_requests_are_named() {
        for (body, part) in [
            ("{}", "streams"),
            (r#"{"streams":[{"values":[["soon","x"]]}]}"#, "nanoseconds"),
            (r#"{"streams":[{"values":[["1"]]}]}"#, "did not match"),
            ("\u{1f}", "expected value"),
        ] {
            let said = said(of_json(body.as_bytes())).remove(0);
            assert!(said.starts_with("400 the body is no push request: ") && said.contains(part), "{said}");
        }
        // The length that a block says is not believed before it is checked.
        assert_eq!(unpacked(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]).unwrap_err().status, 413);
        assert_eq!(unpacked(b"\x05hello").unwrap_err().status, 400);
        assert_eq!(
            said(of_protobuf(&[0x0a, 9])),
            ["400 the body is no push request: it is not valid protobuf"]
        );
    }
}
