//! Decompressed bytes into entries, whatever the chunks they come in.
//!
//! A byte order mark and blank lines are skipped; lines end in LF or CRLF. In text, a line that
//! begins like a browser worker's starts an entry that goes on to the next such line; before the
//! first of them each line is an entry of its own. An entry over the limit is never held: it comes
//! out as [`Body::TooLarge`]. After an array may follow another one, or JSON lines.
//! In an array, an element with a line break inside a string is broken and ends there, so that the
//! elements after it are found again.

use crate::framing::{self, Framing, LOOK_AHEAD_BYTES};
use crate::ledger::MAX_SAMPLE_BYTES;
use crate::worker_line::{self, MAX_HEADER_BYTES};

/// The longest record (bytes) unless configured otherwise.
pub const DEFAULT_MAX_RECORD_BYTES: usize = 1024 * 1024;

/// Brackets of an element that are told apart; deeper ones are only counted.
const MAX_OPEN_BRACKETS: usize = 256;

/// An entry as it stands in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Position among all entries, from 0.
    pub ordinal: u64,
    /// Byte range in the decompressed stream, end excluded.
    pub start: u64,
    pub end: u64,
    /// The stream broke off inside this entry.
    pub cut_off: bool,
    /// What the file turned out to be.
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
    /// A worker's line with those that continue it.
    Worker(&'a [u8]),
    /// Only its beginning.
    TooLarge(&'a [u8]),
}

/// How the stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// All of it was read.
    Whole,
    /// It broke off.
    CutOff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// Before the first byte that is not white space.
    Undecided,
    JsonLines,
    /// Text before a worker's line.
    TextLines,
    /// Inside a worker's entry.
    WorkerEntry,
    /// Between the elements of an array; `needs_value` after `[` and `,`.
    Between {
        needs_value: bool,
        after_comma: bool,
    },
    Element,
    AfterArray,
}

/// Splits what is pushed. Positions are offsets in the stream.
#[derive(Debug)]
pub struct Splitter {
    buffer: Vec<u8>,
    /// Of `buffer[0]`.
    base: u64,
    /// Where the entry at hand begins. What is before is done with.
    begin: u64,
    /// Up to here has been looked at.
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

/// An entry that is being passed over.
#[derive(Debug)]
struct Oversize {
    start: u64,
    sample: Vec<u8>,
}

/// Where a worker's entry stands.
#[derive(Debug, Default)]
struct WorkerLine {
    start: u64,
    /// The line is known not to be a header, or to be the entry's own.
    belongs: bool,
    /// The end of the last line that is not blank.
    content_end: u64,
    blank: bool,
}

/// Where an array's element stands.
#[derive(Debug, Default)]
struct Element {
    in_string: bool,
    escaped: bool,
    open: Vec<u8>,
    deeper: u64,
}

/// What a step of the scan found.
enum Step {
    /// An entry from `begin` to this end; the scan goes on at `next`. `whole`: its own end was seen,
    /// not only that of the stream.
    Entry { kind: Kind, end: u64, next: u64, whole: bool },
    /// Another state: look again.
    Again,
    /// Nothing more in what has been pushed.
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

    /// Adds bytes. Take all entries out with [`Splitter::next_piece`] before the next call, or they pile up.
    pub fn push(&mut self, chunk: &[u8]) {
        let done = self.index(self.begin);
        self.buffer.drain(..done);
        self.base = self.begin;
        self.buffer.extend_from_slice(chunk);
    }

    /// There are no more bytes. What [`Splitter::next_piece`] then returns includes the entry at hand.
    pub fn finish(&mut self, end: StreamEnd) {
        self.ended = Some(end);
    }

    /// The next entry; `None` when more bytes are needed, or at the end.
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

    /// How much of an entry that is too large is kept.
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

    /// The entry at hand reaches to `at` at least: forget its bytes if that is too much.
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

    /// Moves over bytes that belong to no entry.
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
        // Text keeps the white space before its first line, so `begin` stays at that line's start.
        let rest = &self.buffer[self.index(self.at)..];
        let Some(first) = rest.iter().position(|b| !b.is_ascii_whitespace()) else {
            let line = memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1);
            self.begin = self.at + line as u64;
            self.at = self.begin;
            // A line of white space without end: nothing of it is worth keeping.
            if self.ended.is_some() || self.len() - self.begin > self.max_record_bytes {
                self.at = self.len();
                self.begin = self.at;
            }
            return Step::Wait;
        };
        if rest.len() - first < LOOK_AHEAD_BYTES && self.ended.is_none() {
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

    fn json_line(&mut self) -> Step {
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

    fn text_line(&mut self) -> Step {
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

    fn worker_line(&mut self) -> Step {
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

    fn between(&mut self, needs_value: bool, after_comma: bool) -> Step {
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

    fn element(&mut self) -> Step {
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

    fn after_array(&mut self) -> Step {
        self.skip(|b| b.is_ascii_whitespace());
        match self.rest().first() {
            None => return Step::Wait,
            Some(b'[') => {
                self.at += 1;
                self.begin = self.at;
                self.state = State::Between { needs_value: true, after_comma: false };
            }
            // The array had not ended: a stray bracket only looked so.
            Some(b',') => self.state = State::Between { needs_value: false, after_comma: false },
            Some(_) => self.state = State::JsonLines,
        }
        Step::Again
    }

    /// Where the line at hand ends and the next begins; at the end of the stream that is its end.
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

    /// Whether a worker's line begins at `offset`; `None` when too few bytes are there to tell.
    fn header_at(&self, offset: u64) -> Option<bool> {
        let bytes = &self.buffer[self.index(offset)..];
        let bytes = &bytes[..bytes.len().min(MAX_HEADER_BYTES)];
        // Few lines begin with a digit: most need no look at all.
        match bytes.first() {
            Some(b) if !b.is_ascii_digit() => return Some(false),
            _ => {}
        }
        let whole =
            bytes.len() == MAX_HEADER_BYTES || self.ended.is_some() || memchr::memchr(b'\n', bytes).is_some();
        whole.then(|| worker_line::parse_header(bytes).is_some())
    }

    fn is_oversize(&self, end: u64) -> bool {
        self.oversize.is_some() || end - self.begin > self.max_record_bytes
    }

    fn trimmed_end(&self, end: u64) -> u64 {
        let bytes = &self.buffer[self.index(self.begin)..self.index(end)];
        self.begin + bytes.trim_ascii_end().len() as u64
    }
}

impl Element {
    /// Looks for the end of the element: a `,` or `]` outside of everything, or a line break in a
    /// string. Says how many bytes belong to it, and whether it ended there.
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
                // Closes what the element did not open: the array.
                b']' => return (at, true),
                b',' if self.open.is_empty() => return (at, true),
                _ => {}
            }
            at += 1;
        }
        (bytes.len(), false)
    }

    /// Closes the innermost of these brackets, and those inside it that were left open.
    fn close(&mut self, bracket: u8) {
        if let Some(at) = self.open.iter().rposition(|&open| open == bracket) {
            self.open.truncate(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Entries in a form made to be read: `kind start..end text`.
    fn split_in(bytes: &[u8], chunk: usize, max: usize, end: StreamEnd) -> (Vec<String>, bool) {
        let mut splitter = Splitter::new(max);
        let mut out = Vec::new();
        let mut drain = |splitter: &mut Splitter| {
            while let Some(piece) = splitter.next_piece() {
                assert_eq!(piece.ordinal, out.len() as u64);
                let (kind, body) = match piece.body {
                    Body::Json(body) => ("json", body),
                    Body::Line(body) => ("line", body),
                    Body::Worker(body) => ("worker", body),
                    Body::TooLarge(body) => ("large", body),
                };
                let cut = if piece.cut_off { " cut" } else { "" };
                let text = String::from_utf8_lossy(body);
                out.push(format!("{kind}{cut} {}..{} {text}", piece.start, piece.end));
            }
        };
        for part in bytes.chunks(chunk) {
            splitter.push(part);
            drain(&mut splitter);
        }
        splitter.finish(end);
        drain(&mut splitter);
        (out, splitter.unterminated())
    }

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        for chunk in [1, 2, 3, 7, 64, 10_000] {
            let (pieces, unterminated) = split_in(text.as_bytes(), chunk, 100, StreamEnd::Whole);
            assert_eq!(pieces, expect, "in chunks of {chunk}");
            assert!(!unterminated);
        }
    }

    #[test]
    fn json_lines_end_in_lf_or_crlf_and_blank_ones_do_not_count() {
        check(
            "\u{feff}{\"a\":1}\r\n\r\n  \n {\"a\":2} \nbroken\n{\"a\":3}",
            &["json 3..10 {\"a\":1}", "json 18..25 {\"a\":2}", "json 27..33 broken", "json 34..41 {\"a\":3}"],
        );
    }

    #[test]
    fn an_array_gives_its_elements_wherever_brackets_and_commas_stand_inside() {
        check(
            "[ {\"a\":\"],{\\\"\"} ,\n[1,{}],2 ,\"x,]\"]\n",
            &["json 2..15 {\"a\":\"],{\\\"\"}", "json 18..24 [1,{}]", "json 25..26 2", "json 28..33 \"x,]\""],
        );
        check("[]", &[]);
        check(" [ ] \n", &[]);
        check("[null]", &["json 1..5 null"]);
    }

    #[test]
    fn a_broken_element_does_not_take_the_next_ones_along() {
        check(
            "[{\"a\":1},{\"a\":[2},{\"a\":}\n,{\"a\":\"x\n,{\"a\":3}]",
            &[
                "json 1..8 {\"a\":1}",
                "json 9..17 {\"a\":[2}",
                "json 18..24 {\"a\":}",
                "json 26..33 {\"a\":\"x",
                "json 35..42 {\"a\":3}",
            ],
        );
        check("[1,,2,]", &["json 1..2 1", "json 3..3 ", "json 4..5 2", "json 6..6 "]);
        check("[{\"a\":1],{\"b\":2}]", &["json 1..7 {\"a\":1", "json 9..16 {\"b\":2}"]);
    }

    #[test]
    fn arrays_and_json_lines_may_follow_an_array() {
        check(
            "[1,2]\n[3]\n{\"a\":4}\n",
            &["json 1..2 1", "json 3..4 2", "json 7..8 3", "json 10..17 {\"a\":4}"],
        );
    }

    #[test]
    fn an_array_without_its_end_is_told() {
        for (text, count) in [("[", 0), ("[1,", 1), ("[{\"a\":1}", 1), ("[{\"a\":1},{\"b", 2)] {
            let (pieces, unterminated) = split_in(text.as_bytes(), 3, 100, StreamEnd::Whole);
            assert!(unterminated, "{text}");
            assert_eq!(pieces.len(), count, "{text}");
        }
    }

    #[test]
    fn lines_that_do_not_begin_like_a_worker_s_continue_the_message_above() {
        check(
            "2024-01-01T00:00:00.000Z [INFO] a\r\n  b\n\n{\"c\":1}\n\n2024-01-01T00:00:01.000Z [WARN] d\n\n",
            &[
                "worker 0..47 2024-01-01T00:00:00.000Z [INFO] a\r\n  b\n\n{\"c\":1}",
                "worker 49..82 2024-01-01T00:00:01.000Z [WARN] d",
            ],
        );
    }

    #[test]
    fn before_the_first_worker_line_each_line_is_an_entry() {
        check(
            "\n  started\r\n[INFO] x\n{\"a\":1}\n2024-01-01T00:00:00Z [INFO]\nmore",
            &[
                "line 1..10 \u{20} started",
                "line 12..20 [INFO] x",
                "line 21..28 {\"a\":1}",
                "worker 29..61 2024-01-01T00:00:00Z [INFO]\nmore",
            ],
        );
    }

    #[test]
    fn what_is_too_large_is_passed_over_and_sampled() {
        let long = "x".repeat(5000);
        let (pieces, _) =
            split_in(format!("{{\"a\":1}}\n{long}\n{{\"a\":2}}\n").as_bytes(), 100, 1100, StreamEnd::Whole);
        assert_eq!(pieces[0], "json 0..7 {\"a\":1}");
        assert_eq!(pieces[1], format!("large 8..5008 {}", "x".repeat(MAX_SAMPLE_BYTES)));
        assert_eq!(pieces[2], "json 5009..5016 {\"a\":2}");
        let (pieces, unterminated) =
            split_in(format!("[\"{long}\",{{}}]").as_bytes(), 100, 1100, StreamEnd::Whole);
        assert!(pieces[0].starts_with("large 1..5003 \"xxx"));
        assert_eq!((pieces[1].as_str(), unterminated), ("json 5004..5006 {}", false));
        let header = "2024-01-01T00:00:00.000Z [INFO] ";
        let text = format!("{header}a\n{long}\n\nyy\n{header}b\n");
        let (pieces, _) = split_in(text.as_bytes(), 100, 1100, StreamEnd::Whole);
        assert!(pieces[0].starts_with("large 0..5038 2024"), "{}", &pieces[0][..40]);
        assert_eq!(pieces[1], format!("worker 5039..5072 {header}b"));
    }

    #[test]
    fn memory_stays_at_the_limit_however_long_an_entry_is() {
        let mut splitter = Splitter::new(1000);
        for _ in 0..1000 {
            splitter.push(&[b'x'; 500]);
            assert!(splitter.next_piece().is_none());
            assert!(splitter.buffer.len() <= 2000);
        }
        splitter.finish(StreamEnd::Whole);
        assert_eq!(splitter.next_piece().map(|piece| (piece.start, piece.end)), Some((0, 500_000)));
        assert!(splitter.next_piece().is_none());
    }

    #[test]
    fn the_entry_in_which_a_stream_breaks_off_is_marked() {
        for (text, last) in [
            ("{\"a\":1}\n{\"a\"", "json cut 8..12 {\"a\""),
            ("one\ntw", "line cut 4..6 tw"),
            ("one\ntwo\n", "line 4..7 two"),
            ("[{\"a\":1},{\"a", "json cut 9..12 {\"a"),
        ] {
            let (pieces, _) = split_in(text.as_bytes(), 3, 100, StreamEnd::CutOff);
            assert_eq!(pieces.last().map(String::as_str), Some(last));
        }
    }

    fn stuff() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec![
            "[",
            "]",
            "{",
            "}",
            ",",
            "\"",
            "\\",
            "\n",
            "\r\n",
            " ",
            "null",
            "1",
            "{\"a\":1}",
            "\n\n",
            "\u{feff}",
            "2024-01-01T00:00:00.000Z [INFO] hi",
            "\n2024-01-01T00:00:00.000Z [INFO] a longer message that goes on",
            "text",
            "ü",
            "a text of more than fifty bytes, which is over the limit used here",
        ]);
        (prop::sample::select(vec!["", "[", "{\"a\":1}\n", "text\n"]), prop::collection::vec(token, 0..40))
            .prop_map(|(first, tokens)| format!("{first}{}", tokens.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn chunks_make_no_difference_and_entries_stand_where_they_say(text in stuff(), chunk in 1usize..80, cut in any::<bool>()) {
            let end = if cut { StreamEnd::CutOff } else { StreamEnd::Whole };
            let whole = split_in(text.as_bytes(), 1 << 20, 50, end);
            prop_assert_eq!(&split_in(text.as_bytes(), chunk, 50, end), &whole);
            let mut last = 0usize;
            for piece in &whole.0 {
                let range = piece.split(' ').find(|word| word.contains("..")).unwrap();
                let (start, end) = range.split_once("..").unwrap();
                let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
                prop_assert!(last <= start && start <= end && end <= text.len());
                last = end;
            }
        }
    }
}
