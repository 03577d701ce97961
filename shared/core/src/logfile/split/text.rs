//! Lines of text: one record each, or an entry with the lines that continue it.

use super::columns::Columns;
use super::{Found, Splitter, State, Step, What};
use crate::logfile::head::{object_at, whole_object};
use crate::logfile::quarantine::QuarantineReason;
use crate::model::level::Level;
use crate::model::record::EntryKind;
use crate::model::stamp::Stamp;
use crate::model::text::colours::colour_len;
use crate::model::text::{Ask, MAX_HEADER_BYTES, SaidLevel, recognise};

/// How lines begin that continue the entry above, beside those that are indented.
const CONTINUATIONS: [&str; 11] = [
    "at ",
    "Caused by",
    "Traceback",
    "Suppressed:",
    "--- End of ",
    // Python, between the traces of a chain.
    "The above exception was the direct cause",
    "During handling of the above exception",
    // PHP.
    "[stacktrace]",
    "Stack trace:",
    // tslog.
    "error stack:",
    // anyhow.
    "Stack backtrace:",
];

/// Bytes that decide whether a line begins like one of these.
const CONTINUATION_BYTES: usize = 48;

/// How far the headers of a log may be indented (bytes).
const MAX_HEADER_INDENT: usize = 2;

/// An entry of several lines, and where its reading stands.
#[derive(Debug, Default)]
pub(super) struct TextEntry {
    framing: &'static str,
    /// The browser worker's: everything continues it that is neither a header nor a JSON object.
    worker: bool,
    time: Option<Stamp>,
    level: SaidLevel,
    /// The end of the last line that belongs to it.
    content_end: u64,
    /// The line at hand is known to belong to it.
    belongs: bool,
    /// Of the line at hand.
    blank: bool,
    /// After `Traceback`: the line that ends it stands at the margin.
    in_trace: bool,
    /// After `goroutine 7 [running]:`, whose frames stand at the margin.
    in_goroutine: bool,
}

impl Splitter {
    fn ask(&self) -> Ask {
        Ask::new(self.near_ms, false)
    }

    pub(super) fn line(&mut self) -> Step {
        let Some((end, next)) = self.line_end() else { return self.wait_inside_entry() };
        let start = self.begin;
        self.state = State::Top;
        if self.is_oversize(end) {
            return self.bad(start, end, next, QuarantineReason::TooLarge);
        }
        let line = self.buffer.between(start, end);
        if line.bytes().all(|byte| byte.is_ascii_whitespace()) {
            (self.begin, self.at) = (next, next);
            return Step::Again;
        }
        let kept = end - u64::from(line.ends_with('\r'));
        let line = self.buffer.between(start, kept);
        if next == end && self.is_cut_off() {
            return self.bad_text(start, kept, next, QuarantineReason::CutOff);
        }
        if let Some(reason) = self.no_text(start, kept) {
            return self.bad_text(start, kept, next, reason);
        }
        let columns = Columns::named_by(line, &self.redactor);
        if columns.is_some() || Columns::is_directive(line) {
            self.columns = columns.or(self.columns.take());
            self.skipped.header_lines += 1;
            (self.begin, self.at) = (next, next);
            return Step::Again;
        }
        if let Some((framing, what)) = self.compose_columns(start, kept) {
            return Step::Found(Found { start, end: kept, next, framing, what });
        }
        let line = self.buffer.between(start, kept);
        let Some((recogniser, read)) = recognise(line, &self.ask()) else {
            return self.plain_line(start, kept, next);
        };
        if recogniser.name == "cri"
            && let Some(said) = whole_object(line[read.message_start..].trim(), self.near_ms)
        {
            // A JSON message is the record; the runtime's time and stream are its context.
            let (header, message) = line.split_at(read.message_start);
            let mut words = header.split(' ');
            let (time, stream) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            self.composed = format!("{{\"time\":\"{time}\",\"stream\":\"{stream}\"}}\n{}", message.trim());
            let what =
                What::Composed { kind: EntryKind::Json, time: said.time.or(read.time), level: said.level };
            return Step::Found(Found { start, end: kept, next, framing: "cri", what });
        }
        self.entry = TextEntry {
            framing: recogniser.name,
            worker: recogniser.name == "worker",
            time: read.time,
            level: read.level,
            content_end: kept,
            in_trace: recogniser.name == "traceback",
            ..TextEntry::default()
        };
        self.state = State::Entry;
        self.at = next;
        Step::Again
    }

    /// A line that no recogniser reads.
    fn plain_line(&mut self, start: u64, end: u64, next: u64) -> Step {
        let line = self.buffer.between(start, end);
        // Among objects, a line that is another JSON value was meant to be one.
        if self.json_good && serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok() {
            let kept = self.trimmed_end(start, end);
            return self.bad(start, kept, next, QuarantineReason::NotAnObject);
        }
        let what = What::Text { kind: EntryKind::PlainText, time: None, level: SaidLevel::Nothing };
        Step::Found(Found { start, end, next, framing: "text", what })
    }

    fn bad_text(&self, start: u64, end: u64, next: u64, reason: QuarantineReason) -> Step {
        Step::Found(Found { start, end, next, framing: "text", what: What::Bad(reason) })
    }

    /// Why bytes are no text.
    fn no_text(&self, start: u64, end: u64) -> Option<QuarantineReason> {
        if self.buffer.is_bad(start, end) {
            return Some(QuarantineReason::InvalidUtf8);
        }
        let has_nul = memchr::memchr(0, self.buffer.between(start, end).as_bytes()).is_some();
        has_nul.then_some(QuarantineReason::Nul)
    }

    /// In an entry, from the beginning of the line at hand or further.
    pub(super) fn entry(&mut self) -> Step {
        if let Some(next) = self.blank_to_the_limit() {
            return self.end_of_entry(next, true);
        }
        if !self.entry.belongs {
            match self.continues() {
                None => return Step::Wait,
                Some(true) => (self.entry.belongs, self.entry.blank) = (true, true),
                Some(false) => return self.end_of_entry(self.at, true),
            }
        }
        let rest = self.rest();
        let newline = memchr::memchr(b'\n', rest);
        let text = &rest[..newline.unwrap_or(rest.len())];
        let blank = text.iter().all(u8::is_ascii_whitespace);
        let line_end = self.at + text.len() as u64;
        let held = self.oversize.is_none() && line_end > self.begin;
        let carriage_return = held && self.buffer.byte(line_end - 1) == Some(b'\r');
        self.entry.blank &= blank;
        if newline.is_none() && self.ended.is_none() {
            self.at = line_end;
            let end = if self.entry.blank { self.entry.content_end } else { line_end };
            self.reach(end);
            return Step::Wait;
        }
        if !self.entry.blank {
            self.entry.content_end = line_end - u64::from(carriage_return);
        }
        self.at = line_end + u64::from(newline.is_some());
        self.entry.belongs = false;
        self.reach(self.entry.content_end);
        if newline.is_none() {
            return self.end_of_entry(line_end, false);
        }
        Step::Again
    }

    /// Where the limit is, if the line at hand reaches it and all since the last line that belongs to the entry is
    /// blank: what comes later cannot belong to it.
    fn blank_to_the_limit(&self) -> Option<u64> {
        let limit = self.begin + self.max_record_bytes + 1;
        let may_end = !self.entry.belongs || self.entry.blank;
        if self.len() < limit || self.oversize.is_some() || self.entry.content_end >= limit || !may_end {
            return None;
        }
        let rest = &self.rest()[..limit.saturating_sub(self.at) as usize];
        let end = rest.iter().position(|byte| *byte == b'\n' || !byte.is_ascii_whitespace());
        end.is_none_or(|end| end + 1 == rest.len() && rest[end] == b'\n').then_some(limit)
    }

    /// The entry is over; `whole`: by what follows it, or by a line that was complete.
    fn end_of_entry(&mut self, next: u64, whole: bool) -> Step {
        self.state = State::Top;
        let (start, end) = (self.begin, self.entry.content_end);
        let TextEntry { framing, worker, time, level, .. } = self.entry;
        let what = if self.oversize.is_some() {
            What::Bad(QuarantineReason::TooLarge)
        } else if !whole && self.is_cut_off() {
            What::Bad(QuarantineReason::CutOff)
        } else if let Some(reason) = self.no_text(start, end) {
            What::Bad(reason)
        } else {
            let kind = if worker { EntryKind::WorkerText } else { EntryKind::LogText };
            What::Text { kind, time, level }
        };
        // Of an entry that is too long nothing is held any more, so it ends where it was left.
        let (start, end) = if self.oversize.is_some() { (next, next) } else { (start, end) };
        Step::Found(Found { start, end, next, framing, what })
    }

    /// Whether the line at hand continues the entry; `None` when too few bytes are there to tell.
    fn continues(&mut self) -> Option<bool> {
        let rest = self.buffer.from(self.at);
        let newline = memchr::memchr(b'\n', rest.as_bytes());
        let known = newline.is_some() || self.ended.is_some();
        if rest.is_empty() {
            return known.then_some(false);
        }
        let line = &rest[..newline.unwrap_or(rest.len())];
        // What is skipped before a piece begins one.
        if line.starts_with(['\u{feff}', '\0']) {
            return Some(false);
        }
        let bytes = line.as_bytes();
        let enough = known || bytes.len() >= MAX_HEADER_BYTES;
        let blank = bytes.iter().all(u8::is_ascii_whitespace);
        if blank {
            // Blank lines belong to it only where others follow them.
            return (known || bytes.len() as u64 > self.max_record_bytes).then_some(true);
        }
        let json = line.trim_ascii_start().starts_with('{');
        let fits = bytes.len() as u64 <= self.max_record_bytes;
        let indented = matches!(bytes[0], b' ' | b'\t');
        if self.entry.worker {
            // The worker indents what would read as a header or an object: a message forges no record.
            if indented {
                return Some(true);
            }
            if json && !known && fits {
                return None;
            }
            if !json && !enough {
                return None;
            }
            let object = line.trim();
            let is_object = json && fits && object_at(object).is_ok_and(|(_, length)| length == object.len());
            let header = &line[..line.floor_char_boundary(MAX_HEADER_BYTES)];
            let is_header = || recognise(header, &self.ask()).is_some_and(|(_, read)| read.time.is_some());
            return Some(!is_object && !is_header());
        }
        if indented {
            let indent = bytes.iter().take_while(|byte| **byte == b' ').count();
            if !json && indent > MAX_HEADER_INDENT {
                return Some(true);
            }
            if !json {
                // Some logs indent their headers.
                if !enough {
                    return None;
                }
                let header = &line[..line.floor_char_boundary(MAX_HEADER_BYTES)];
                let read = recognise(header, &self.ask());
                return Some(
                    read.is_none_or(|(recogniser, _)| !same_log(self.entry.framing, recogniser.name)),
                );
            }
            // An indented object of its own begins a piece.
            if !known && fits {
                return None;
            }
            let object = line.trim();
            return Some(!fits || !object_at(object).is_ok_and(|(_, length)| length == object.len()));
        }
        if bytes[0] == 0x1b && !enough {
            return None;
        }
        let line = without_colours(&line[..line.floor_char_boundary(MAX_HEADER_BYTES)]);
        let bytes = line.as_bytes();
        if matches!(bytes.first(), Some(b'}' | b']' | b')' | b'"')) && bytes.iter().all(closes) {
            return enough.then_some(true);
        }
        let (word, end) = first_word(line);
        let in_word = end.is_none() && word.len() <= MAX_EXCEPTION_BYTES;
        if !enough && (in_word || bytes.len() < CONTINUATION_BYTES) {
            return None;
        }
        if line.starts_with("Traceback") {
            self.entry.in_trace = true;
            return Some(true);
        }
        let more =
            line.strip_prefix("... ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let frame = line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let failed = self.entry.level == SaidLevel::Known(Level::Error);
        let in_stack = failed || self.entry.in_goroutine;
        let tagged = self.entry.framing == "ruby" && line.starts_with('[');
        if !enough && (in_stack || tagged) {
            return None;
        }
        if starts_goroutine(line) {
            self.entry.in_goroutine = true;
            return Some(true);
        }
        // Rails puts its tags before each line of a message.
        if tagged && recognise(line, &self.ask()).is_none() {
            return Some(true);
        }
        if in_stack && (is_go_frame(line) || line.starts_with("created by ")) {
            return Some(true);
        }
        if more || frame || CONTINUATIONS.iter().any(|begin| line.starts_with(begin)) {
            return Some(true);
        }
        if is_exception(line, failed) {
            self.entry.in_trace = false;
            return Some(true);
        }
        if !self.entry.in_trace {
            return Some(false);
        }
        // What was raised stands at the margin and ends the trace.
        if !enough {
            return None;
        }
        let raised = !json && recognise(line, &self.ask()).is_none();
        self.entry.in_trace = false;
        Some(raised)
    }
}

/// Whether a log whose entries one recogniser reads may have entries that another reads: consola marks some
/// levels by a sign and others by an indented name.
fn same_log(framing: &str, other: &str) -> bool {
    framing == other || (framing == "symbol" && other == "level-first")
}

/// `goroutine 7 [running]:`
fn starts_goroutine(line: &str) -> bool {
    let rest = line.strip_prefix("goroutine ");
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains('['))
}

/// `main.order`, `net/http.(*conn).serve.func1()`, `main.order(0xc000012345, 0x1)`: a function in a stack of Go.
fn is_go_frame(line: &str) -> bool {
    if !line.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return false;
    }
    let line = line.trim_end_matches('\r');
    let arguments = ["()", "(0x", "({", "(...)"].iter().filter_map(|begin| line.find(begin)).min();
    let (name, arguments) = line.split_at(arguments.unwrap_or(line.len()));
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"_./()*[]-$".contains(&byte);
    (name == "panic" || (name.contains('.') && !name.ends_with('.')))
        && name.bytes().all(part)
        && (arguments.is_empty() || arguments.ends_with(')'))
}

/// How many bytes the name of an exception may have.
const MAX_EXCEPTION_BYTES: usize = 256;

/// The first word of a line as far as it may be the name of an exception, and what follows it.
fn first_word(line: &str) -> (&str, Option<u8>) {
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$');
    let length = line.bytes().take_while(|byte| name(byte)).count();
    (&line[..length], line.as_bytes().get(length).copied())
}

/// What a line is made of that ends a printed object.
fn closes(byte: &u8) -> bool {
    b"}])\",; \t\r".contains(byte)
}

/// A line without the colours before its first word.
fn without_colours(mut line: &str) -> &str {
    while let Some(length) = colour_len(line.as_bytes()) {
        line = &line[length..];
    }
    line
}

/// `java.lang.IllegalStateException: closed`, which stands at the margin between an entry and its frames.
/// After an entry that failed a name without a package is one too: `TypeError: x is not a function`.
fn is_exception(line: &str, failed: bool) -> bool {
    let (word, end) = first_word(line);
    let alone = failed && word.starts_with(|c: char| c.is_ascii_uppercase());
    let named = (word.contains('.') || alone) && word.len() <= MAX_EXCEPTION_BYTES;
    let ends = matches!(end, None | Some(b':' | b'\r'));
    named && ends && ["Exception", "Error", "Throwable"].iter().any(|end| word.ends_with(end))
}
