//! JSON string escaping, with the same result as serde_json, directly into a byte buffer.

/// Per byte: 0 means unchanged, `u` means `\u00XX`, anything else means `\` and that character.
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

/// Returns the length of `byte` inside a JSON string.
pub(crate) fn escaped_len(byte: u8) -> usize {
    match ESCAPE[usize::from(byte)] {
        0 => 1,
        b'u' => 6,
        _ => 2,
    }
}

/// Bytes checked at once, one bit of the mask each.
const BLOCK_BYTES: usize = 64;

/// Bytes copied at once between two escapes, even if only some of them count.
const RUN_BYTES: usize = 16;

/// Returns which bytes may need an escape: below 0x20, `"` or `\\`. Bit 0 is the first byte. Processes
/// eight bytes at a time in a word, without `unsafe` or processor features. No such byte is missed. A byte
/// after one may be reported wrongly (a borrow), so each reported byte is checked again.
#[inline]
fn escape_mask(block: &[u8; BLOCK_BYTES]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let (chunks, _) = block.as_chunks::<8>();
    let mut mask = 0;
    for chunk in chunks.iter().rev() {
        let word = u64::from_le_bytes(*chunk);
        let below = word.wrapping_sub(ONES * 0x20);
        let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
        let high = (below | quote | backslash) & !word & HIGH;
        mask = mask << 8 | (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    }
    mask
}

/// Input bytes for which the buffer is grown at a time.
const STEP_BYTES: usize = 4_096;

/// Maximum output bytes per input byte.
const MAX_ESCAPED_BYTES: usize = 6;

/// Writes to a buffer that is longer than its content, so that a short run is copied with a fixed length.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
}

impl<'a> Writer<'a> {
    /// Appends to `out`; `bytes` is the expected length.
    pub(crate) fn new(out: &'a mut Vec<u8>, bytes: usize) -> Self {
        let at = out.len();
        let length = at + bytes + STEP_BYTES * MAX_ESCAPED_BYTES;
        if out.capacity() == 0 {
            // Fresh memory is already zeroed.
            *out = vec![0; length];
        } else {
            out.resize(length, 0);
        }
        Self { out, at }
    }

    fn make_room(&mut self, bytes: usize) {
        if self.out.len() - self.at < bytes {
            let length = (self.out.len() * 2).max(self.at + bytes);
            self.out.resize(length, 0);
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Appends `text` escaped, without quotes.
    pub(crate) fn push_escaped(&mut self, text: &str) {
        for step in text.as_bytes().chunks(STEP_BYTES) {
            self.make_room(STEP_BYTES * MAX_ESCAPED_BYTES + RUN_BYTES);
            self.at = escape_step(step, self.out, self.at);
        }
    }

    pub(crate) fn finish(self) {
        self.out.truncate(self.at);
    }
}

/// Escapes `step` to `to`, where there is room. Returns the end.
#[inline]
fn escape_step(step: &[u8], out: &mut [u8], mut to: usize) -> usize {
    let mut rest = step;
    // A run's copy may read this far beyond its block.
    while rest.len() >= BLOCK_BYTES + RUN_BYTES
        && let Some(block) = rest.first_chunk::<BLOCK_BYTES>()
    {
        let mut mask = escape_mask(block);
        let mut from = 0;
        while mask != 0 {
            let at = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            match block[at % BLOCK_BYTES] {
                // The byte itself is the first of the next run.
                b'"' | b'\\' => {
                    to = copy_run(rest, from, at - from, out, to);
                    out[to] = b'\\';
                    to += 1;
                    from = at;
                }
                byte @ ..0x20 => {
                    to = copy_run(rest, from, at - from, out, to);
                    to = escape_byte(byte, out, to);
                    from = at + 1;
                }
                _ => {}
            }
        }
        to = copy_run(rest, from, BLOCK_BYTES - from, out, to);
        rest = &rest[BLOCK_BYTES..];
    }
    for byte in rest {
        to = escape_byte(*byte, out, to);
    }
    to
}

/// Most runs are shorter than one copy.
#[inline]
fn copy_run(from: &[u8], at: usize, length: usize, out: &mut [u8], to: usize) -> usize {
    match (from[at..].first_chunk::<RUN_BYTES>(), out[to..].first_chunk_mut::<RUN_BYTES>()) {
        (Some(run), Some(room)) if length <= RUN_BYTES => *room = *run,
        _ => out[to..to + length].copy_from_slice(&from[at..at + length]),
    }
    to + length
}

#[inline]
fn escape_byte(byte: u8, out: &mut [u8], to: usize) -> usize {
    match ESCAPE[usize::from(byte)] {
        0 => {
            out[to] = byte;
            to + 1
        }
        b'u' => {
            let [high, low] = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out[to..to + 6].copy_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            to + 6
        }
        short => {
            out[to..to + 2].copy_from_slice(&[b'\\', short]);
            to + 2
        }
    }
}

/// Appends `text` escaped, without quotes.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let mut writer = Writer::new(out, text.len());
    writer.push_escaped(text);
    writer.finish();
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
        fn any_text_is_escaped_as_serde_json_does(text in "[\\x00-\\x7f\u{e9}\u{20ac}\u{1f600}]{0,80}", times in prop::sample::select(vec![1, 1, 1, 200])) {
            let text = text.repeat(times);
            prop_assert_eq!(Some(escaped(&text)), serde_json::to_string(&text).ok());
            let length: usize = text.bytes().map(escaped_len).sum();
            prop_assert_eq!(length + 2, escaped(&text).len());
        }
    }
}
