//! What of the stream is held: always text. A byte that is not UTF-8 is held as a control character that is
//! neither JSON nor a line's, and its place is remembered.

use std::collections::VecDeque;

/// Stands for a byte that is not UTF-8.
const STAND_IN: char = '\u{1a}';

/// The bytes of the stream from `base` on. Positions are offsets in the stream.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    text: String,
    base: u64,
    /// Where bytes stand that are not UTF-8, ascending.
    bad: VecDeque<u64>,
    /// The beginning of a character whose other bytes have not come yet.
    tail: Vec<u8>,
    origin: Option<Origin>,
}

/// Of a stream that was transcoded from UTF-16: the offset in the stream before, at a place in this one.
#[derive(Debug, Clone, Copy)]
struct Origin {
    at: u64,
    original: u64,
}

impl Buffer {
    /// The stream was UTF-16, with this many bytes before the first character.
    pub(super) fn is_from_utf16(&mut self, mark_bytes: u64) {
        self.origin = Some(Origin { at: 0, original: mark_bytes });
    }

    /// Forgets what is before `done`.
    pub(super) fn forget(&mut self, done: u64) {
        self.original(done);
        self.text.drain(..self.index(done));
        self.base = done;
        let gone = self.bad.partition_point(|&at| at < done);
        self.bad.drain(..gone);
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.tail.is_empty() {
            return self.push_characters(bytes);
        }
        let mut all = std::mem::take(&mut self.tail);
        all.extend_from_slice(bytes);
        self.push_characters(&all);
    }

    fn push_characters(&mut self, bytes: &[u8]) {
        let (bytes, tail) = bytes.split_at(bytes.len() - unfinished(bytes));
        self.tail = tail.to_vec();
        match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => self.text.push_str(text),
            Err(_) => self.push_bytes(bytes),
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.utf8_chunks() {
            self.text.push_str(chunk.valid());
            for _ in chunk.invalid() {
                self.bad.push_back(self.end());
                self.text.push(STAND_IN);
            }
        }
    }

    /// There are no more bytes.
    pub(super) fn finish(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        self.push_bytes(&tail);
    }

    pub(super) fn end(&self) -> u64 {
        self.base + self.text.len() as u64
    }

    fn index(&self, at: u64) -> usize {
        (at - self.base) as usize
    }

    pub(super) fn from(&self, at: u64) -> &str {
        &self.text[self.index(at)..]
    }

    pub(super) fn between(&self, from: u64, to: u64) -> &str {
        &self.text[self.index(from)..self.index(to)]
    }

    pub(super) fn byte(&self, at: u64) -> Option<u8> {
        self.text.as_bytes().get(self.index(at)).copied()
    }

    /// Whether a byte that is not UTF-8 stands there.
    pub(super) fn is_bad(&self, from: u64, to: u64) -> bool {
        !self.bad.is_empty() && {
            let first = self.bad.partition_point(|&at| at < from);
            self.bad.get(first).is_some_and(|&at| at < to)
        }
    }

    /// The offset in the stream before it was transcoded. To be asked in ascending order.
    pub(super) fn original(&mut self, at: u64) -> u64 {
        let Some(origin) = self.origin else { return at };
        if at <= origin.at {
            return origin.original;
        }
        let units = self.between(origin.at.max(self.base), at).encode_utf16().count() as u64;
        let original = origin.original + units * 2;
        self.origin = Some(Origin { at, original });
        original
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.text.len()
    }
}

/// How many bytes at the end begin a character that is not complete.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let needed = match bytes[bytes.len() - back] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if needed > back { back } else { 0 };
    }
    0
}
