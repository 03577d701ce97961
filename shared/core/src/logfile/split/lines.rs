//! Splits text into lines: one entry each, or a worker entry with its continuation lines.

use super::{Kind, Splitter, State, Step};
use crate::model::worker_line;
use crate::model::worker_line::MAX_HEADER_BYTES;

/// Position in a worker entry.
#[derive(Debug, Default)]
pub(super) struct WorkerLine {
    start: u64,
    /// The line is known to belong to the entry: it is not a header, or it is the entry's own.
    belongs: bool,
    /// The end of the last non-blank line.
    content_end: u64,
    blank: bool,
}

impl Splitter {
    pub(super) fn json_line(&mut self) -> Step {
        if self.begin == self.at && self.oversize.is_none() {
            self.skip(|b| b.is_ascii_whitespace());
            if self.rest().is_empty() {
                return Step::Wait;
            }
        }
        let Some((end, next)) = self.line_end() else { return self.wait_inside_entry() };
        let kept = if self.is_oversize(end) { end } else { self.trimmed_end(end) };
        Step::Entry { kind: Kind::Json, end: kept, next, whole: next > end }
    }

    pub(super) fn text_line(&mut self) -> Step {
        if self.begin == self.at && self.oversize.is_none() {
            if self.rest().is_empty() {
                return Step::Wait;
            }
            match self.header_at(self.at) {
                None => return Step::Wait,
                Some(false) => {}
                Some(true) => {
                    self.begin_worker_entry();
                    return Step::Again;
                }
            }
        }
        let Some((end, next)) = self.line_end() else { return self.wait_inside_entry() };
        if self.is_oversize(end) {
            return Step::Entry { kind: Kind::Line, end, next, whole: next > end };
        }
        let line = &self.buffer[self.index(self.begin)..self.index(end)];
        if line.iter().all(u8::is_ascii_whitespace) {
            self.begin = next;
            self.at = next;
            return Step::Again;
        }
        let kept = end - u64::from(line.ends_with(b"\r"));
        Step::Entry { kind: Kind::Line, end: kept, next, whole: next > end }
    }

    fn begin_worker_entry(&mut self) {
        self.line = WorkerLine { start: self.at, belongs: true, content_end: self.at, blank: true };
        self.state = State::WorkerEntry;
    }

    pub(super) fn worker_line(&mut self) -> Step {
        if !self.line.belongs {
            if self.line.start == self.len() && self.ended.is_none() {
                return Step::Wait;
            }
            match self.header_at(self.line.start) {
                None => return Step::Wait,
                Some(false) => self.line.belongs = true,
                Some(true) => {
                    let (end, next) = (self.line.content_end, self.line.start);
                    self.line = WorkerLine { start: next, belongs: true, content_end: next, blank: true };
                    return Step::Entry { kind: Kind::Worker, end, next, whole: true };
                }
            }
        }
        let rest = self.rest();
        let newline = memchr::memchr(b'\n', rest);
        let text = &rest[..newline.unwrap_or(rest.len())];
        let blank = text.iter().all(u8::is_ascii_whitespace);
        let line_end = self.at + text.len() as u64;
        self.line.blank &= blank;
        self.at = line_end;
        self.reach();
        if newline.is_none() && self.ended.is_none() {
            return Step::Wait;
        }
        if !self.line.blank {
            let cr = self.oversize.is_none() && self.buffer[..self.index(line_end)].ends_with(b"\r");
            self.line.content_end = line_end - u64::from(cr);
        }
        if newline.is_none() {
            self.state = State::TextLines;
            return Step::Entry {
                kind: Kind::Worker,
                end: self.line.content_end,
                next: line_end,
                whole: false,
            };
        }
        self.at = line_end + 1;
        if self.oversize.is_some() {
            self.begin = self.at;
        }
        self.line =
            WorkerLine { start: self.at, belongs: false, content_end: self.line.content_end, blank: true };
        Step::Again
    }

    /// Returns the end of the current line and the start of the next; at the end of the stream, both are
    /// its end.
    fn line_end(&mut self) -> Option<(u64, u64)> {
        match memchr::memchr(b'\n', self.rest()) {
            Some(count) => {
                let end = self.at + count as u64;
                Some((end, end + 1))
            }
            None => {
                self.at = self.len();
                self.ended.map(|_| (self.at, self.at))
            }
        }
    }

    /// Whether a worker line starts at `offset`; `None` if there are too few bytes to decide.
    fn header_at(&self, offset: u64) -> Option<bool> {
        let bytes = &self.buffer[self.index(offset)..];
        let bytes = &bytes[..bytes.len().min(MAX_HEADER_BYTES)];
        // Few lines start with a digit, so most need no further check.
        match bytes.first() {
            Some(b) if !b.is_ascii_digit() => return Some(false),
            _ => {}
        }
        let whole =
            bytes.len() == MAX_HEADER_BYTES || self.ended.is_some() || memchr::memchr(b'\n', bytes).is_some();
        whole.then(|| worker_line::parse_header(bytes).is_some())
    }
}
