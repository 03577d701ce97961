//! Splits an array into its elements by brackets, strings and commas only.

use super::{Kind, Splitter, State, Step};

/// Number of brackets of an element that are distinguished. Deeper ones are only counted.
const MAX_OPEN_BRACKETS: usize = 256;

/// Position in an array element.
#[derive(Debug, Default)]
pub(super) struct Element {
    in_string: bool,
    escaped: bool,
    open: Vec<u8>,
    deeper: u64,
}

impl Splitter {
    pub(super) fn between(&mut self, needs_value: bool, after_comma: bool) -> Step {
        self.skip(|b| b.is_ascii_whitespace());
        match self.rest().first() {
            None => {
                self.unterminated = self.ended.is_some();
                Step::Wait
            }
            Some(b',') => {
                self.state = State::Between { needs_value: true, after_comma: true };
                if needs_value {
                    return Step::Entry { kind: Kind::Json, end: self.at, next: self.at + 1, whole: true };
                }
                self.at += 1;
                self.begin = self.at;
                Step::Again
            }
            Some(b']') => {
                self.state = State::AfterArray;
                if needs_value && after_comma {
                    return Step::Entry { kind: Kind::Json, end: self.at, next: self.at + 1, whole: true };
                }
                self.at += 1;
                self.begin = self.at;
                Step::Again
            }
            Some(_) => {
                self.element.in_string = false;
                self.element.escaped = false;
                self.element.open.clear();
                self.element.deeper = 0;
                self.state = State::Element;
                Step::Again
            }
        }
    }

    pub(super) fn element(&mut self) -> Step {
        let from = self.index(self.at);
        let (scanned, ended) = self.element.scan(&self.buffer[from..]);
        self.at += scanned as u64;
        if !ended && self.ended.is_none() {
            return self.wait_inside_entry();
        }
        self.state = State::Between { needs_value: false, after_comma: false };
        let kept = if self.is_oversize(self.at) { self.at } else { self.trimmed_end(self.at) };
        Step::Entry { kind: Kind::Json, end: kept, next: self.at, whole: ended }
    }

    pub(super) fn after_array(&mut self) -> Step {
        self.skip(|b| b.is_ascii_whitespace());
        match self.rest().first() {
            None => return Step::Wait,
            Some(b'[') => {
                self.at += 1;
                self.begin = self.at;
                self.state = State::Between { needs_value: true, after_comma: false };
            }
            // The array had not ended: a stray bracket looked like its end.
            Some(b',') => self.state = State::Between { needs_value: false, after_comma: false },
            Some(_) => self.state = State::JsonLines,
        }
        Step::Again
    }
}

impl Element {
    /// Searches the end of the element: a `,` or `]` outside of strings and brackets, or a line break in a
    /// string. Returns how many bytes belong to it, and whether it ended.
    fn scan(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < bytes.len() {
            if self.escaped {
                self.escaped = false;
                if bytes[at] == b'\n' {
                    return (at, true);
                }
                at += 1;
                continue;
            }
            if self.in_string {
                let Some(found) = memchr::memchr3(b'"', b'\\', b'\n', &bytes[at..]) else {
                    return (bytes.len(), false);
                };
                at += found;
                match bytes[at] {
                    b'"' => self.in_string = false,
                    b'\\' => self.escaped = true,
                    _ => return (at, true),
                }
                at += 1;
                continue;
            }
            match bytes[at] {
                b'"' => self.in_string = true,
                b'{' | b'[' if self.open.len() < MAX_OPEN_BRACKETS => self.open.push(bytes[at]),
                b'{' | b'[' => self.deeper += 1,
                b'}' | b']' if self.deeper > 0 => self.deeper -= 1,
                b'}' => self.close(b'{'),
                b']' if self.open.contains(&b'[') => self.close(b'['),
                // Closes a bracket that the element did not open: the array.
                b']' => return (at, true),
                b',' if self.open.is_empty() => return (at, true),
                _ => {}
            }
            at += 1;
        }
        (bytes.len(), false)
    }

    /// Closes the innermost bracket of this kind, and the unclosed ones inside it.
    fn close(&mut self, bracket: u8) {
        if let Some(at) = self.open.iter().rposition(|&open| open == bracket) {
            self.open.truncate(at);
        }
    }
}
