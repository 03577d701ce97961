//! UTF-16 into UTF-8, as it comes.

/// Bytes of a stream that are looked at to find UTF-16 without a byte order mark.
const LOOKED_AT_BYTES: usize = 512;

/// Turns UTF-16 into UTF-8. Halves of surrogate pairs become U+FFFD, which is as long, so that offsets
/// can be computed back.
#[derive(Debug, Clone)]
pub(super) struct Utf16 {
    big_endian: bool,
    /// Bytes before the first character.
    pub(super) mark_bytes: u64,
    /// What is not a whole character yet.
    rest: Vec<u8>,
}

impl Utf16 {
    /// Recognises UTF-16 by its byte order mark, or by a NUL in every second byte.
    pub(super) fn sniff(bytes: &[u8]) -> Option<Self> {
        let of = |big_endian, mark_bytes| Self { big_endian, mark_bytes, rest: Vec::new() };
        match bytes {
            [0xff, 0xfe, rest @ ..] if rest.len() > 1 && is_text(rest, false) => return Some(of(false, 2)),
            [0xfe, 0xff, rest @ ..] if rest.len() > 1 && is_text(rest, true) => return Some(of(true, 2)),
            _ => {}
        }
        let look = &bytes[..bytes.len().min(LOOKED_AT_BYTES) & !1];
        let nuls = |odd: usize| look.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
        let (even, odd, half) = (nuls(0), nuls(1), look.len() / 2);
        // Most characters of a log are ASCII, in whatever language it is.
        let mostly = |nuls: usize, others: usize| half >= 8 && nuls * 10 >= half * 7 && others == 0;
        if mostly(odd, even) {
            Some(of(false, 0))
        } else if mostly(even, odd) {
            Some(of(true, 0))
        } else {
            None
        }
    }

    /// Appends the characters of `bytes` to `out`. `last`: there are no more.
    pub(super) fn decode(&mut self, bytes: &[u8], last: bool, out: &mut Vec<u8>) {
        self.rest.extend_from_slice(bytes);
        let unit = |pair: &[u8]| {
            if self.big_endian {
                u16::from_be_bytes([pair[0], pair[1]])
            } else {
                u16::from_le_bytes([pair[0], pair[1]])
            }
        };
        let mut whole = self.rest.len() & !1;
        // The second half of a pair may be in the next bytes.
        if !last && whole >= 2 && (0xd800..0xdc00).contains(&unit(&self.rest[whole - 2..whole])) {
            whole -= 2;
        }
        let units = self.rest[..whole].chunks_exact(2).map(unit);
        let mut buffer = [0; 4];
        for c in char::decode_utf16(units) {
            let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        }
        self.rest.drain(..whole);
        if last && !self.rest.is_empty() {
            self.rest.clear();
            // Half a character is damage, and is seen as such.
            out.push(0xff);
        }
    }
}

/// Whether bytes after a byte order mark are characters and not noise that begins like one.
fn is_text(bytes: &[u8], big_endian: bool) -> bool {
    let look = &bytes[..bytes.len().min(LOOKED_AT_BYTES) & !1];
    let units = look.chunks_exact(2).map(|pair| {
        if big_endian {
            u16::from_be_bytes([pair[0], pair[1]])
        } else {
            u16::from_le_bytes([pair[0], pair[1]])
        }
    });
    let plain = units.clone().any(|unit| (0x09..0x7f).contains(&unit));
    let odd = units.filter(|unit| *unit < 9 || (0xd800..0xe000).contains(unit) || *unit >= 0xfff0).count();
    plain && odd * 20 <= look.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(text: &str, big_endian: bool) -> Vec<u8> {
        text.encode_utf16()
            .flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() })
            .collect()
    }

    #[test]
    fn utf16_is_recognised_by_its_mark_and_by_its_nuls() {
        let text = "2025-04-01 18:34:01 spid5s Grüße";
        for big_endian in [false, true] {
            let bytes = encoded(text, big_endian);
            let marked = encoded(&format!("\u{feff}{text}"), big_endian);
            assert_eq!(Utf16::sniff(&bytes).map(|it| (it.big_endian, it.mark_bytes)), Some((big_endian, 0)));
            assert_eq!(Utf16::sniff(&marked).map(|it| (it.big_endian, it.mark_bytes)), Some((big_endian, 2)));
        }
        for other in [text.as_bytes(), b"", b"\xff\xfe", b"\xff\xfe\n\xfd", &[0; 100]] {
            assert!(Utf16::sniff(other).is_none(), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn text_comes_out_as_it_went_in_whatever_the_chunks(text in "\\PC{0,60}", big_endian: bool, chunk in 1usize..9) {
            let mut decoder = Utf16 { big_endian, mark_bytes: 0, rest: Vec::new() };
            let mut out = Vec::new();
            let bytes = encoded(&text, big_endian);
            for part in bytes.chunks(chunk) {
                decoder.decode(part, false, &mut out);
            }
            decoder.decode(&[], true, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
