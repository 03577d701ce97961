//! Decompressed bytes into pieces, whatever the chunks they come in.
//!
//! Three kinds of piece follow each other in any order: a JSON object (at the top, in an array or in an
//! envelope), an entry of a text log (a line that a recogniser reads, with the lines that continue it), and
//! a plain line. What begins where a piece may begin decides; what turns out otherwise ends at its line's
//! end, and reading resumes at the next line:
//!
//! ```text
//! Top ── { ──▶ an object ──▶ Top          Broken ──▶ Top, Line
//!  │           its array ──▶ Between      (an object that does not parse ends at its line's end)
//!  ├──── [ ──▶ Between ──▶ Element ──▶ Between ──▶ Tail ──▶ Top
//!  │           (a line that belongs to no element ends the array)
//!  └── other ─▶ Line ──▶ Entry ──▶ Top    (Entry: while lines continue it)
//! ```
//!
//! An entry over the limit is never held: it comes out as [`Body::Bad`] with its beginning.

mod array;
mod brackets;
mod buffer;
mod columns;
mod envelope;
#[cfg(test)]
mod tests;
mod text;
mod value;

use std::borrow::Cow;

use brackets::Brackets;
use buffer::Buffer;
use columns::Columns;
use envelope::Container;
use text::TextEntry;

use crate::logfile::head::Said;
use crate::logfile::quarantine::QuarantineReason;
use crate::model::level::Level;
use crate::model::record::{EntryKind, Marks};
use crate::model::redact::{MAX_SAMPLE_BYTES, Redactor};
use crate::model::stamp::Stamp;
use crate::model::text::SaidLevel;
use crate::model::time::in_range;

/// Default maximum size of a record (bytes).
pub const DEFAULT_MAX_RECORD_BYTES: usize = 1024 * 1024;

/// An entry as it stands in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Position among all entries, from 0.
    pub ordinal: u64,
    /// Byte range in the decompressed stream, end excluded.
    pub start: u64,
    pub end: u64,
    /// What it was taken for, such as `ndjson` or a recogniser's name.
    pub framing: &'static str,
    pub body: Body<'a>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    Record(Record<'a>),
    /// Cannot be a record; with its beginning.
    Bad(QuarantineReason, Cow<'a, str>),
}

/// An entry that may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub kind: EntryKind,
    /// `None`: it says none that can be used.
    pub timestamp_ms: Option<i64>,
    pub level: Level,
    pub marks: Marks,
    pub raw: &'a str,
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
    /// Before a piece; what is between pieces is skipped.
    Top,
    /// In an object that does not parse, before its line's end.
    Broken,
    /// In a line of text.
    Line,
    /// In an entry of several lines.
    Entry,
    /// In an object that is too long.
    Oversize,
    /// Between the elements of an array; `needs_value` after `[` and `,`.
    Between { needs_value: bool, after_comma: bool },
    /// In an element whose end the brackets tell.
    Element,
    /// After an envelope's array, before the envelope's end.
    Tail,
}

/// Splits pushed bytes into entries. Positions are offsets in the stream.
#[derive(Debug)]
pub struct Splitter {
    buffer: Buffer,
    /// Where the entry at hand begins. What is before is done with.
    begin: u64,
    /// Everything before this offset was scanned.
    at: u64,
    state: State,
    ended: Option<StreamEnd>,
    ordinal: u64,
    max_record_bytes: u64,
    /// The time of the file (ms), for times without a year.
    near_ms: i64,
    /// An object that was incomplete is read again when the stream has come so far.
    retry_at: u64,
    /// Bytes that were parsed as objects and were none, or not alone on their lines.
    failed_bytes: u64,
    /// In an array: a line has begun since its last element; in an element: one begins at `at`.
    line_begun: bool,
    /// There has been a good object.
    json_good: bool,
    oversize: Option<Oversize>,
    brackets: Brackets,
    containers: Vec<Container>,
    entry: TextEntry,
    columns: Option<Columns>,
    /// For what is secret by its column.
    redactor: Redactor,
    skipped: Skipped,
    unterminated: bool,
    /// An entry with the context of its envelope.
    composed: String,
    sample: String,
}

/// An entry that is too long: where it begins, and its beginning.
#[derive(Debug)]
struct Oversize {
    start: u64,
    sample: String,
}

/// What belongs to no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skipped {
    /// NULs before lines, as in files that were truncated while they were open (bytes).
    pub nul_bytes: u64,
    /// Lines that name the columns of those after them.
    pub header_lines: u64,
    /// CloudWatch's messages that carry no log.
    pub control_messages: u64,
}

/// The result of a step of the scan.
enum Step {
    Found(Found),
    /// Another state: look again.
    Again,
    /// More bytes are needed.
    Wait,
}

/// An entry from `start` to `end`; the scan resumes at `next`.
struct Found {
    start: u64,
    end: u64,
    next: u64,
    framing: &'static str,
    what: What,
}

enum What {
    Object(Said),
    Text {
        kind: EntryKind,
        time: Option<Stamp>,
        level: SaidLevel,
    },
    /// The entry is in `composed`.
    Composed {
        kind: EntryKind,
        time: Option<Stamp>,
        level: SaidLevel,
    },
    Bad(QuarantineReason),
}

impl Splitter {
    /// `near_ms`: the time of the file, for times that say no year.
    #[must_use]
    pub fn new(max_record_bytes: usize, near_ms: i64) -> Self {
        Self {
            buffer: Buffer::default(),
            begin: 0,
            at: 0,
            state: State::Top,
            ended: None,
            ordinal: 0,
            max_record_bytes: max_record_bytes as u64,
            near_ms,
            retry_at: 0,
            failed_bytes: 0,
            line_begun: false,
            json_good: false,
            oversize: None,
            brackets: Brackets::default(),
            containers: Vec::new(),
            entry: TextEntry::default(),
            columns: None,
            redactor: Redactor::default(),
            skipped: Skipped::default(),
            unterminated: false,
            composed: String::new(),
            sample: String::new(),
        }
    }

    /// What these rules find in columns is redacted. Everything else is returned as it is.
    pub fn redact_columns(&mut self, redactor: &Redactor) {
        self.redactor = redactor.clone();
    }

    /// The bytes are those of a UTF-16 stream, with this many before the first character.
    pub fn is_from_utf16(&mut self, mark_bytes: u64) {
        self.buffer.is_from_utf16(mark_bytes);
    }

    /// Whether the stream ended inside an array.
    #[must_use]
    pub fn unterminated(&self) -> bool {
        self.unterminated
    }

    #[must_use]
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Adds bytes. Take all entries out with [`Splitter::next_piece`] before the next call, or they pile up.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.forget(self.begin);
        self.buffer.push(chunk);
    }

    /// Ends the stream. [`Splitter::next_piece`] then also returns the current entry.
    pub fn finish(&mut self, end: StreamEnd) {
        self.buffer.finish();
        self.ended = Some(end);
    }

    /// Returns the next entry; `None` if more bytes are needed, or at the end.
    pub fn next_piece(&mut self) -> Option<Piece<'_>> {
        loop {
            let step = match self.state {
                State::Top => self.top(),
                State::Broken => self.broken(),
                State::Line => self.line(),
                State::Entry => self.entry(),
                State::Oversize => self.oversize_object(),
                State::Between { needs_value, after_comma } => self.between(needs_value, after_comma),
                State::Element => self.element(),
                State::Tail => self.tail(),
            };
            match step {
                Step::Again => {}
                Step::Wait => return None,
                Step::Found(found) => return Some(self.piece(found)),
            }
        }
    }

    fn piece(&mut self, found: Found) -> Piece<'_> {
        let Found { mut start, end, next, framing, mut what } = found;
        let ordinal = self.ordinal;
        self.ordinal += 1;
        let held = start;
        if let Some(oversize) = self.oversize.take() {
            (start, self.sample) = (oversize.start, oversize.sample);
            what = What::Bad(QuarantineReason::TooLarge);
        } else {
            start = self.buffer.original(start);
            if !matches!(what, What::Composed { .. } | What::Bad(_)) && end - held > self.max_record_bytes {
                what = What::Bad(QuarantineReason::TooLarge);
            }
            if let What::Bad(_) = what {
                self.sample = self.sample_of(held, end);
            }
        }
        let end_original = self.buffer.original(end);
        (self.begin, self.at) = (next, next);
        let (framing, body) = match what {
            What::Bad(reason) => (framing, Body::Bad(reason, Cow::Borrowed(&*self.sample))),
            What::Object(said) => {
                let raw = self.buffer.between(held, end);
                (framing, Body::Record(Record::new(EntryKind::Json, said.time, said.level, Marks::NONE, raw)))
            }
            What::Text { kind, time, level } => {
                let raw = self.buffer.between(held, end);
                (framing, Body::Record(Record::new(kind, time, level, Marks::NONE, raw)))
            }
            What::Composed { kind, time, level } => {
                (framing, Body::Record(Record::new(kind, time, level, Marks::WRAPPED, &self.composed)))
            }
        };
        Piece { ordinal, start, end: end_original, framing, body }
    }

    /// The beginning of an entry that is not stored.
    fn sample_of(&self, start: u64, end: u64) -> String {
        let end = end.min(start + MAX_SAMPLE_BYTES.min(self.max_record_bytes as usize) as u64);
        let held = self.buffer.from(start);
        let text = &held[..held.floor_char_boundary((end - start) as usize)];
        if !self.buffer.is_bad(start, end) {
            return text.to_owned();
        }
        let mut sample = String::with_capacity(text.len() * 2);
        for (at, c) in text.char_indices() {
            let at = start + at as u64;
            sample.push(if self.buffer.is_bad(at, at + 1) { char::REPLACEMENT_CHARACTER } else { c });
        }
        sample.truncate(sample.floor_char_boundary(MAX_SAMPLE_BYTES));
        sample
    }

    fn len(&self) -> u64 {
        self.buffer.end()
    }

    fn rest(&self) -> &[u8] {
        self.buffer.from(self.at).as_bytes()
    }

    fn is_cut_off(&self) -> bool {
        self.ended == Some(StreamEnd::CutOff)
    }

    /// The entry at hand reaches to `end` at least: forgets its bytes if that is too much.
    fn reach(&mut self, end: u64) {
        if self.is_oversize(end) && self.oversize.is_none() {
            let sample = self.sample_of(self.begin, self.at);
            let start = self.buffer.original(self.begin);
            self.oversize = Some(Oversize { start, sample });
        }
        if self.oversize.is_some() {
            self.begin = self.at;
        }
    }

    fn wait_inside_entry(&mut self) -> Step {
        self.reach(self.at);
        Step::Wait
    }

    /// Whether the entry at hand is too long if it ends at `end`, where a CR may be part of the line break.
    fn is_oversize(&self, end: u64) -> bool {
        self.oversize.is_some() || {
            let beyond = (end - self.begin).saturating_sub(self.max_record_bytes);
            beyond > 1 || (beyond == 1 && self.buffer.byte(end - 1) != Some(b'\r'))
        }
    }

    fn trimmed_end(&self, start: u64, end: u64) -> u64 {
        start + self.buffer.between(start, end).trim_ascii_end().len() as u64
    }

    /// Where the line at hand ends and the next begins, looked for from `at` on; at the end of the stream that
    /// is its end.
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

    fn bad(&self, start: u64, end: u64, next: u64, reason: QuarantineReason) -> Step {
        let framing = self.framing();
        Step::Found(Found { start, end, next, framing, what: What::Bad(reason) })
    }

    /// What an object is part of.
    fn framing(&self) -> &'static str {
        self.containers.last().map_or("ndjson", Container::name)
    }
}

impl<'a> Record<'a> {
    fn new(kind: EntryKind, time: Option<Stamp>, level: SaidLevel, marks: Marks, raw: &'a str) -> Self {
        let time = time.filter(|stamp| in_range(stamp.ms));
        let marks = marks
            .with(Marks::LEVEL_UNKNOWN, level == SaidLevel::Unknown)
            .with(Marks::TIME_ASSUMED, time.is_some_and(|stamp| stamp.assumed));
        let level = match level {
            SaidLevel::Known(level) => level,
            SaidLevel::Nothing | SaidLevel::Unknown => Level::Info,
        };
        Self { kind, timestamp_ms: time.map(|stamp| stamp.ms), level, marks, raw }
    }
}
