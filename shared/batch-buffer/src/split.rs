//! Rewrites messages that cannot be sent unchanged: numbered pieces if too long, the original time inside
//! if their own time would be rejected.

use std::borrow::Cow;

use serde::Deserialize;

use crate::escape::{escaped_len, push_escaped};

/// The member that identifies the message of a piece, for example `"logId":"01…"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label<'a> {
    pub key: &'a str,
    pub value: Cow<'a, str>,
}

/// Bytes kept free in every piece, so that it can always be re-stamped.
pub const RESTAMP_ROOM_BYTES: usize = 64;

/// Splits `message` into JSON lines `{"<label>":"…","piece":1,"pieces":3,"text":"…"}` of at most
/// `max_bytes` each, between characters. The texts joined in order are the message.
///
/// The pieces depend only on the message, the label and `max_bytes`, never on the time.
pub fn pieces(message: &str, label: &Label<'_>, max_bytes: usize) -> Vec<String> {
    let head_bytes = label.key.len() + label.value.bytes().map(escaped_len).sum::<usize>();
    let frame_bytes = r#"{"":"","piece":,"pieces":,"text":""}"#.len() + 2 * 10;
    // A character takes at most six bytes, so each piece makes progress with any limit.
    let room = max_bytes.saturating_sub(head_bytes + frame_bytes + RESTAMP_ROOM_BYTES).max(6);

    let mut texts = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, character) in message.char_indices() {
        let end = at + character.len_utf8();
        let bytes: usize = message.as_bytes()[at..end].iter().map(|byte| escaped_len(*byte)).sum();
        if used + bytes > room {
            texts.push(&message[start..at]);
            (start, used) = (at, 0);
        }
        used += bytes;
    }
    texts.push(&message[start..]);

    let of = texts.len();
    let piece = |(index, text): (usize, &str)| {
        let mut out = Vec::with_capacity(text.len() + text.len() / 8 + head_bytes + frame_bytes);
        out.extend_from_slice(b"{\"");
        push_escaped(&mut out, label.key);
        out.extend_from_slice(b"\":\"");
        push_escaped(&mut out, &label.value);
        out.extend_from_slice(format!("\",\"piece\":{},\"pieces\":{of},\"text\":\"", index + 1).as_bytes());
        push_escaped(&mut out, text);
        out.extend_from_slice(b"\"}");
        String::from_utf8(out).unwrap_or_default()
    };
    texts.into_iter().enumerate().map(piece).collect()
}

/// Returns the label of a message without id: a hash of its text (FNV-1a, 64 bits).
pub fn label_by_content(message: &str) -> Label<'static> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in message.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    Label { key: "pieceOf", value: Cow::Owned(format!("{hash:016x}")) }
}

#[derive(Deserialize)]
struct Piece<'a> {
    piece: usize,
    pieces: usize,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RejoinError {
    #[error("not a piece: {0}")]
    NotAPiece(String),
    #[error("piece {piece} of {pieces} is missing")]
    Missing { piece: usize, pieces: usize },
    #[error("pieces of messages of different length")]
    Mixed,
}

/// Restores the message from its [`pieces`], in any order; a piece may occur twice.
pub fn rejoin<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Result<String, RejoinError> {
    let mut texts: Vec<Option<Cow<'a, str>>> = Vec::new();
    for line in pieces {
        let piece: Piece<'a> =
            serde_json::from_str(line).map_err(|error| RejoinError::NotAPiece(error.to_string()))?;
        if texts.is_empty() {
            // Bounded: a piece cannot make us reserve memory for an arbitrary number of others.
            texts.resize(piece.pieces.min(1 << 20), None);
        }
        if texts.len() != piece.pieces {
            return Err(RejoinError::Mixed);
        }
        match piece.piece.checked_sub(1).and_then(|index| texts.get_mut(index)) {
            Some(slot) => *slot = Some(piece.text),
            None => return Err(RejoinError::Mixed),
        }
    }
    let of = texts.len();
    let mut message = String::new();
    for (index, text) in texts.into_iter().enumerate() {
        message.push_str(&text.ok_or(RejoinError::Missing { piece: index + 1, pieces: of })?);
    }
    Ok(message)
}

/// Adds `"originalTimestamp":<ms>` to `message`: as the last member of a JSON object; any other text is
/// wrapped as
/// `{"originalTimestamp":<ms>,"message":"…"}`.
pub fn with_original_timestamp(message: &str, original_ms: i64) -> String {
    let text = message.trim_end();
    if has_original_timestamp(text) {
        return message.to_owned();
    }
    let is_object =
        text.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if let Some(members) = text.strip_suffix('}').filter(|_| is_object) {
        let comma = if members.trim_end().ends_with('{') { "" } else { "," };
        return format!("{members}{comma}\"originalTimestamp\":{original_ms}}}");
    }
    let mut out = format!("{{\"originalTimestamp\":{original_ms},\"message\":\"").into_bytes();
    push_escaped(&mut out, message);
    out.extend_from_slice(b"\"}");
    String::from_utf8(out).unwrap_or_default()
}

/// Whether [`with_original_timestamp`] made this text: the first of two re-stampings counts.
fn has_original_timestamp(text: &str) -> bool {
    const MEMBER: &str = "\"originalTimestamp\":";
    let is_number =
        |text: &str| text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    let as_last = text
        .strip_suffix('}')
        .and_then(|text| text.rsplit_once(MEMBER))
        .is_some_and(|(_, tail)| is_number(tail));
    let as_first = text.strip_prefix('{').and_then(|text| text.strip_prefix(MEMBER)).is_some();
    as_last || as_first
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_piece_says_which_of_how_many_and_of_what() {
        let label = Label { key: "logId", value: "ab".into() };
        let cut = pieces(&"x".repeat(100), &label, 200);
        assert_eq!(cut.len(), 2);
        assert_eq!(
            cut[1],
            format!("{{\"logId\":\"ab\",\"piece\":2,\"pieces\":2,\"text\":\"{}\"}}", "x".repeat(27))
        );
    }

    #[test]
    fn pieces_in_any_order_and_twice_rejoin_and_a_missing_one_is_named() {
        let text = "a€😀\"\\\n".repeat(50);
        let cut = pieces(&text, &label_by_content(&text), 250);
        let mut shuffled: Vec<&str> = cut.iter().rev().map(String::as_str).collect();
        shuffled.push(&cut[0]);
        assert_eq!(rejoin(shuffled).unwrap(), text);
        assert_eq!(
            rejoin(cut.iter().skip(1).map(String::as_str)),
            Err(RejoinError::Missing { piece: 1, pieces: cut.len() })
        );
        assert!(matches!(rejoin(["{}"]), Err(RejoinError::NotAPiece(_))));
    }

    #[test]
    fn the_original_time_goes_into_an_object_and_around_any_other_text() {
        let cases = [
            (r#"{"a":1}"#, r#"{"a":1,"originalTimestamp":7}"#),
            ("{ }\n", r#"{ "originalTimestamp":7}"#),
            ("plain", r#"{"originalTimestamp":7,"message":"plain"}"#),
            ("{not json}", r#"{"originalTimestamp":7,"message":"{not json}"}"#),
            (r#"[{"a":1}]"#, r#"{"originalTimestamp":7,"message":"[{\"a\":1}]"}"#),
        ];
        for (message, expect) in cases {
            assert_eq!(with_original_timestamp(message, 7), expect);
            assert_eq!(with_original_timestamp(expect, 8), expect, "the first time is the original one");
        }
    }

    proptest! {
        #[test]
        fn pieces_fit_are_json_and_rejoin(text in "[a\"\\x01é€😀]{1,400}", max_bytes in 200usize..600) {
            let label = label_by_content(&text);
            let cut = pieces(&text, &label, max_bytes);
            for piece in &cut {
                prop_assert!(piece.len() + RESTAMP_ROOM_BYTES <= max_bytes);
                let stamped = with_original_timestamp(piece, i64::MIN);
                prop_assert!(stamped.len() <= max_bytes, "{} > {max_bytes}", stamped.len());
                prop_assert!(serde_json::from_str::<serde_json::Value>(&stamped).is_ok());
            }
            prop_assert_eq!(rejoin(cut.iter().map(String::as_str)).unwrap(), text);
        }
    }
}
