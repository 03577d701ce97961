//! JSON string escaping: the same choices as serde_json, straight into a byte buffer.

/// For each byte: 0 as it is, `u` as `\u00XX`, anything else as `\` and that character.
const ESCAPE: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes that `byte` takes inside a JSON string.
pub(crate) fn escaped_len(byte: u8) -> usize {
    match ESCAPE[usize::from(byte)] {
        0 => 1,
        b'u' => 6,
        _ => 2,
    }
}

/// True when one of eight bytes needs an escape: below 0x20, `"` or `\`.
#[inline]
fn any_needs_escape(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let below = word.wrapping_sub(ONES * 0x20);
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    (below | quote.wrapping_sub(ONES) | backslash.wrapping_sub(ONES)) & !word & HIGH != 0
}

/// Appends `text` escaped, without the quotes around it.
#[inline]
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        if let Some(Ok(chunk)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from)
            && !any_needs_escape(u64::from_le_bytes(chunk))
        {
            at += 8;
            continue;
        }
        let end = (at + 8).min(bytes.len());
        while at < end {
            let escape = ESCAPE[usize::from(bytes[at])];
            if escape != 0 {
                out.extend_from_slice(&bytes[start..at]);
                if escape == b'u' {
                    let byte = usize::from(bytes[at]);
                    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[byte >> 4], HEX[byte & 15]]);
                } else {
                    out.extend_from_slice(&[b'\\', escape]);
                }
                start = at + 1;
            }
            at += 1;
        }
    }
    out.extend_from_slice(&bytes[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &str) -> String {
        let mut out = vec![b'"'];
        push_escaped(&mut out, text);
        out.push(b'"');
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn every_character_below_two_hundred_is_escaped_as_serde_json_does() {
        for offset in 0..16 {
            for code in 0..200u8 {
                let text = format!("{}{}tail of it", "x".repeat(offset), char::from(code));
                assert_eq!(Some(escaped(&text)), serde_json::to_string(&text).ok());
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_escaped_as_serde_json_does(text in "[\\x00-\\x7f\u{e9}\u{20ac}\u{1f600}]{0,80}") {
            prop_assert_eq!(Some(escaped(&text)), serde_json::to_string(&text).ok());
            let length: usize = text.bytes().map(escaped_len).sum();
            prop_assert_eq!(length + 2, escaped(&text).len());
        }
    }
}
