//! Detects the framing of a file from its first bytes after white space (at most `INSPECTED_BYTES`):
//!
//! - `{`: JSON, one object per line. Also `null`, `true` or `false` alone on the first line.
//! - `[` and the start of a JSON value: an array. `[INFO] x`, `[2024-…`, `[12:00] x`: text.
//! - anything else: text.

/// How many leading bytes are inspected to detect the framing. Nothing is parsed before that.
pub(crate) const INSPECTED_BYTES: usize = 256;

/// How a file is split into entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// NDJSON.
    JsonLines,
    JsonArray,
    /// Lines of a browser worker or any other text.
    Text,
}

impl Framing {
    /// Name of the format in blocks.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonLines => "ndjson",
            Self::JsonArray => "json-array",
            Self::Text => "text",
        }
    }
}

/// Detects the framing from the first bytes, without leading white space.
pub(crate) fn decide(bytes: &[u8]) -> Framing {
    let bytes = &bytes[..bytes.len().min(INSPECTED_BYTES)];
    match bytes {
        [b'{', ..] => Framing::JsonLines,
        [b'[', rest @ ..] if begins_array(rest) => Framing::JsonArray,
        _ => {
            let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
            match line.trim_ascii() {
                b"null" | b"true" | b"false" => Framing::JsonLines,
                _ => Framing::Text,
            }
        }
    }
}

/// Whether the bytes after a `[` continue like a JSON array.
fn begins_array(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii_start();
    match bytes {
        [] | [b'{' | b'"', ..] => true,
        [b'[', rest @ ..] => begins_array(rest),
        [b']', rest @ ..] => only_closes(rest),
        _ => {
            let end = |b: &u8| b.is_ascii_whitespace() || matches!(b, b',' | b']');
            let length = bytes.iter().position(end).unwrap_or(bytes.len());
            let (token, rest) = bytes.split_at(length);
            if serde_json::from_slice::<serde::de::IgnoredAny>(token).is_err() {
                return false;
            }
            match rest.trim_ascii_start() {
                [] | [b',', ..] => true,
                [b']', rest @ ..] => only_closes(rest),
                _ => false,
            }
        }
    }
}

fn only_closes(bytes: &[u8]) -> bool {
    bytes.iter().take_while(|&&b| b != b'\n').all(|&b| b.is_ascii_whitespace() || matches!(b, b']' | b','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        for (text, framing) in [
            ("{\"a\":1}", Framing::JsonLines),
            ("{ garbage", Framing::JsonLines),
            ("null", Framing::JsonLines),
            ("true\r\n{}", Framing::JsonLines),
            ("nullable", Framing::Text),
            ("[", Framing::JsonArray),
            ("[]", Framing::JsonArray),
            ("[]\n", Framing::JsonArray),
            ("[1,2]", Framing::JsonArray),
            ("[ 1 ]", Framing::JsonArray),
            ("[\n  {\"a\":1}", Framing::JsonArray),
            ("[null, 1]", Framing::JsonArray),
            ("[[1]]", Framing::JsonArray),
            ("[\"x\"]", Framing::JsonArray),
            ("[INFO] x", Framing::Text),
            ("[info] x", Framing::Text),
            ("[2024-01-01T00:00:00Z] x", Framing::Text),
            ("[12:00:01] x", Framing::Text),
            ("[1234] x", Framing::Text),
            ("[] x", Framing::Text),
            ("[trace] x", Framing::Text),
            ("2024-01-01T00:00:00.000Z [INFO] x", Framing::Text),
            ("42", Framing::Text),
            ("\u{fffd}", Framing::Text),
            ("", Framing::Text),
        ] {
            assert_eq!(decide(text.as_bytes()), framing, "{text:?}");
        }
    }
}
