//! A place in a line, and the words after it.

use super::colours::colour_len;

/// A line that is read from the left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { line, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    /// Moves on by bytes that end at a character.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Skips `text` if it is next.
    pub(super) fn eat(&mut self, text: &str) -> Option<()> {
        self.rest().starts_with(text).then(|| self.at += text.len())
    }

    /// Skips spaces, tabs and the colours of terminals.
    pub(super) fn blank(&mut self) -> &mut Self {
        loop {
            let rest = self.rest().as_bytes();
            match rest.first() {
                Some(b' ' | b'\t') => self.at += 1,
                _ => match colour_len(rest) {
                    Some(length) => self.at += length,
                    None => return self,
                },
            }
        }
    }

    /// The next word, up to a space; what follows it is skipped. `None` at the end.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest.bytes().position(|byte| byte == b' ' || byte == b'\t').unwrap_or(rest.len());
        let word = rest.get(..end).filter(|word| !word.is_empty())?;
        self.at += end;
        self.at += usize::from(self.rest().starts_with([' ', '\t']));
        Some(word)
    }

    /// What stands between `open` and `close`, if `open` is next; one space after it is skipped.
    pub(super) fn between(&mut self, open: &str, close: &str) -> Option<&'a str> {
        let inside = self.rest().strip_prefix(open)?;
        let end = inside.find(close)?;
        self.at += open.len() + end + close.len();
        self.at += usize::from(self.rest().starts_with(' '));
        Some(&inside[..end])
    }

    /// A text in quotes, in which `\"` is none, or a word.
    pub(super) fn quoted_or_word(&mut self) -> Option<&'a str> {
        if !self.rest().starts_with('"') {
            return self.word();
        }
        let inside = &self.rest()[1..];
        let mut from = 0;
        loop {
            let end = from + inside.get(from..)?.find(['"', '\\'])?;
            if inside.as_bytes()[end] == b'"' {
                self.at += end + 2;
                self.at += usize::from(self.rest().starts_with(' '));
                return Some(&inside[..end]);
            }
            from = end + 2;
            if !inside.is_char_boundary(from) {
                return None;
            }
        }
    }
}

/// `None` for the `-` that stands for nothing.
pub(super) fn present(text: &str) -> Option<&str> {
    (!matches!(text, "-" | "")).then_some(text)
}
