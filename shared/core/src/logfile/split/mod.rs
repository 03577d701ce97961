//! Splits decompressed bytes into entries, independent of chunk boundaries.
//!
//! A byte order mark and blank lines are skipped. Lines end with LF or CRLF. In text, a line that starts
//! like a browser worker's line starts an entry that extends to the next such line; before the first of
//! them, each line is an entry. An entry over the limit is never buffered: it is returned as
//! [`Body::TooLarge`]. An array may be followed by another array, or by JSON lines. In an array, an element
//! with a line break inside a string is invalid and ends there, so that the following elements are found.

mod array;
mod lines;
#[cfg(test)]
mod tests;

use array::Element;
use lines::WorkerLine;

use crate::logfile::framing;
use crate::logfile::framing::{Framing, INSPECTED_BYTES};
use crate::model::redact::MAX_SAMPLE_BYTES;

/// Default maximum size of a record (bytes).
pub const DEFAULT_MAX_RECORD_BYTES: usize = 1024 * 1024;

/// An entry in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Position among all entries, from 0.
    pub ordinal: u64,
    /// Byte range in the decompressed stream, end excluded.
    pub start: u64,
    pub end: u64,
    /// The stream ended inside this entry.
    pub cut_off: bool,
    /// The detected framing of the file.
    pub framing: Framing,
    pub body: Body<'a>,
}

/// The bytes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// A line of JSON, or an element of an array.
    Json(&'a [u8]),
    /// A line of text, which may be a JSON object.
    Line(&'a [u8]),
    /// A worker line with its continuation lines.
    Worker(&'a [u8]),
    /// Only its beginning.
    TooLarge(&'a [u8]),
}

/// How the stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// It was read completely.
    Whole,
    /// It was cut off.
    CutOff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// Before the first byte that is not white space.
    Undecided,
    JsonLines,
    /// Text before the first worker line.
    TextLines,
    /// Inside a worker entry.
    WorkerEntry,
    /// Between the elements of an array; `needs_value` after `[` and `,`.
    Between {
        needs_value: bool,
        after_comma: bool,
    },
    Element,
    AfterArray,
}

/// Splits pushed bytes into entries. Positions are offsets in the stream.
#[derive(Debug)]
pub struct Splitter {
    buffer: Vec<u8>,
    /// Offset of `buffer[0]`.
    base: u64,
    /// Start of the current entry. Everything before it is done.
    begin: u64,
    /// Everything before this offset was scanned.
    at: u64,
    state: State,
    ended: Option<StreamEnd>,
    ordinal: u64,
    max_record_bytes: u64,
    oversize: Option<Oversize>,
    sample: Vec<u8>,
    line: WorkerLine,
    element: Element,
    framing: Option<Framing>,
    unterminated: bool,
}

/// An entry that is skipped because it is too large.
#[derive(Debug)]
struct Oversize {
    start: u64,
    sample: Vec<u8>,
}

/// The result of a step of the scan.
enum Step {
    /// An entry from `begin` to `end`; the scan continues at `next`. `whole` if the entry ended by itself,
    /// not only because the stream ended.
    Entry { kind: Kind, end: u64, next: u64, whole: bool },
    /// The state changed: scan again.
    Again,
    /// More bytes are needed.
    Wait,
}

#[derive(Clone, Copy)]
enum Kind {
    Json,
    Line,
    Worker,
}

impl Splitter {
    #[must_use]
    pub fn new(max_record_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            base: 0,
            begin: 0,
            at: 0,
            state: State::Start,
            ended: None,
            ordinal: 0,
            max_record_bytes: max_record_bytes as u64,
            oversize: None,
            sample: Vec::new(),
            line: WorkerLine::default(),
            element: Element::default(),
            framing: None,
            unterminated: false,
        }
    }

    /// Whether the stream ended inside an array.
    #[must_use]
    pub fn unterminated(&self) -> bool {
        self.unterminated
    }

    /// Adds bytes. Take out all entries with [`Splitter::next_piece`] before the next call, otherwise the
    /// buffer grows.
    pub fn push(&mut self, chunk: &[u8]) {
        let done = self.index(self.begin);
        self.buffer.drain(..done);
        self.base = self.begin;
        self.buffer.extend_from_slice(chunk);
    }

    /// Ends the stream. [`Splitter::next_piece`] then also returns the current entry.
    pub fn finish(&mut self, end: StreamEnd) {
        self.ended = Some(end);
    }

    /// Returns the next entry; `None` if more bytes are needed, or at the end.
    pub fn next_piece(&mut self) -> Option<Piece<'_>> {
        loop {
            let step = match self.state {
                State::Start => self.start(),
                State::Undecided => self.undecided(),
                State::JsonLines => self.json_line(),
                State::TextLines => self.text_line(),
                State::WorkerEntry => self.worker_line(),
                State::Between { needs_value, after_comma } => self.between(needs_value, after_comma),
                State::Element => self.element(),
                State::AfterArray => self.after_array(),
            };
            match step {
                Step::Again => {}
                Step::Wait => return None,
                Step::Entry { kind, end, next, whole } => return Some(self.piece(kind, end, next, whole)),
            }
        }
    }

    fn piece(&mut self, kind: Kind, end: u64, next: u64, whole: bool) -> Piece<'_> {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        let framing = self.framing.unwrap_or(Framing::Text);
        let cut_off = self.ended == Some(StreamEnd::CutOff) && !whole;
        let begin = std::mem::replace(&mut self.begin, next);
        self.at = next;
        if let Some(oversize) = self.oversize.take() {
            self.sample = oversize.sample;
            return Piece {
                ordinal,
                start: oversize.start,
                end,
                cut_off,
                framing,
                body: Body::TooLarge(&self.sample),
            };
        }
        let bytes = &self.buffer[self.index(begin)..self.index(end)];
        let body = if bytes.len() as u64 > self.max_record_bytes {
            Body::TooLarge(&bytes[..self.sample_bytes()])
        } else {
            match kind {
                Kind::Json => Body::Json(bytes),
                Kind::Line => Body::Line(bytes),
                Kind::Worker => Body::Worker(bytes),
            }
        };
        Piece { ordinal, start: begin, end, cut_off, framing, body }
    }

    /// Bytes that are kept of an entry that is too large.
    fn sample_bytes(&self) -> usize {
        MAX_SAMPLE_BYTES.min(self.max_record_bytes as usize)
    }

    fn index(&self, offset: u64) -> usize {
        (offset - self.base) as usize
    }

    fn len(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.index(self.at)..]
    }

    /// Discards the bytes of the current entry if it has grown too large.
    fn reach(&mut self) {
        if self.oversize.is_none() && self.at - self.begin > self.max_record_bytes {
            let from = self.index(self.begin);
            let sample = self.buffer[from..from + self.sample_bytes()].to_vec();
            self.oversize = Some(Oversize { start: self.begin, sample });
        }
        if self.oversize.is_some() {
            self.begin = self.at;
        }
    }

    fn wait_inside_entry(&mut self) -> Step {
        self.reach();
        Step::Wait
    }

    /// Skips bytes that belong to no entry.
    fn skip(&mut self, belongs_to_none: impl Fn(u8) -> bool) {
        let rest = self.rest();
        let count = rest.iter().position(|&b| !belongs_to_none(b)).unwrap_or(rest.len());
        self.at += count as u64;
        self.begin = self.at;
    }

    fn start(&mut self) -> Step {
        const BOM: &[u8] = b"\xef\xbb\xbf";
        let rest = self.rest();
        if rest.len() < BOM.len() && BOM.starts_with(rest) && self.ended.is_none() {
            return Step::Wait;
        }
        if rest.starts_with(BOM) {
            self.at += BOM.len() as u64;
            self.begin = self.at;
        }
        self.state = State::Undecided;
        Step::Again
    }

    fn undecided(&mut self) -> Step {
        // Text keeps the white space before its first line, so `begin` stays at the start of that line.
        let rest = &self.buffer[self.index(self.at)..];
        let Some(first) = rest.iter().position(|b| !b.is_ascii_whitespace()) else {
            let line = memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1);
            self.begin = self.at + line as u64;
            self.at = self.begin;
            // An endless line of white space: nothing of it is kept.
            if self.ended.is_some() || self.len() - self.begin > self.max_record_bytes {
                self.at = self.len();
                self.begin = self.at;
            }
            return Step::Wait;
        };
        if rest.len() - first < INSPECTED_BYTES && self.ended.is_none() {
            return Step::Wait;
        }
        let framing = framing::decide(&rest[first..]);
        self.framing = Some(framing);
        match framing {
            Framing::JsonLines => {
                self.at += first as u64;
                self.begin = self.at;
                self.state = State::JsonLines;
            }
            Framing::JsonArray => {
                self.at += first as u64 + 1;
                self.begin = self.at;
                self.state = State::Between { needs_value: true, after_comma: false };
            }
            Framing::Text => {
                let line = memchr::memrchr(b'\n', &rest[..first]).map_or(0, |at| at + 1);
                self.at += line as u64;
                self.begin = self.at;
                self.state = State::TextLines;
            }
        }
        Step::Again
    }

    fn is_oversize(&self, end: u64) -> bool {
        self.oversize.is_some() || end - self.begin > self.max_record_bytes
    }

    fn trimmed_end(&self, end: u64) -> u64 {
        let bytes = &self.buffer[self.index(self.begin)..self.index(end)];
        self.begin + bytes.trim_ascii_end().len() as u64
    }
}
