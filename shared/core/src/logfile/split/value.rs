//! What may begin a piece, and JSON objects that do.

use serde::de::IgnoredAny;

use super::{Brackets, Found, Oversize, Splitter, State, Step, What};
use crate::logfile::head::{NoObject, Said, object_at, too_deep, with_time};
use crate::logfile::quarantine::QuarantineReason;

/// UTF-8's byte order mark.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Separates the values of a JSON text sequence. <https://www.rfc-editor.org/rfc/rfc7464>
const RECORD_SEPARATOR: u8 = 0x1e;

/// How many bytes may be parsed without success before objects are read on their own lines only: those of this many
/// records of the longest kind, and this many times the bytes before.
const FAILED_RECORDS: u64 = 8;
const FAILED_FACTOR: u64 = 4;

/// How far an array is followed on its line, to see whether it is part of a text (bytes).
const MAX_ARRAY_IN_TEXT_BYTES: usize = 1024;

/// What may stand between values beside line breaks.
pub(super) fn separates(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b',' | RECORD_SEPARATOR)
}

impl Splitter {
    /// Skips to what is a piece. `begin` stays at the beginning of its line: text keeps its indentation.
    pub(super) fn top(&mut self) -> Step {
        let mut at = self.at;
        loop {
            match self.buffer.byte(at) {
                Some(b'\n') => {
                    at += 1;
                    self.begin = at;
                }
                Some(byte) if separates(byte) => {
                    at += 1;
                    // Separators without end: nothing of them is worth keeping.
                    if at - self.begin > self.max_record_bytes {
                        self.begin = at;
                    }
                }
                Some(0) => {
                    at += 1;
                    self.begin = at;
                    self.skipped.nul_bytes += 1;
                }
                Some(b'\xef') => {
                    let rest = self.buffer.from(at).as_bytes();
                    if !rest.starts_with(MARK) {
                        break;
                    }
                    at += MARK.len() as u64;
                    self.begin = at;
                }
                Some(_) => break,
                None => {
                    self.at = at;
                    if self.ended.is_some() {
                        self.begin = at;
                    }
                    return Step::Wait;
                }
            }
        }
        self.at = at;
        match self.buffer.byte(at) {
            Some(b'{') => self.object(),
            Some(b'[') => self.bracket(),
            _ => {
                self.state = State::Line;
                Step::Again
            }
        }
    }

    /// At a `{`, where a piece may begin.
    fn object(&mut self) -> Step {
        let start = self.at;
        let held = self.len() - start;
        if self.ended.is_none() && self.len() < self.retry_at && held <= self.max_record_bytes {
            return Step::Wait;
        }
        match self.read_object(start) {
            Ok((said, length)) => {
                let end = start + length as u64;
                match self.value_follows(end) {
                    None => return self.wait_for_more(start),
                    Some(false) => {
                        self.failed_bytes += length as u64;
                        return self.is_broken();
                    }
                    Some(true) => {}
                }
                self.json_good = true;
                self.take_object(start, end, said)
            }
            Err(NoObject::Incomplete) if held > self.max_record_bytes => {
                if self.enter_envelope(start, None) {
                    self.json_good = true;
                    return Step::Again;
                }
                self.brackets = Brackets::object(false);
                self.begin = start;
                self.state = State::Oversize;
                Step::Again
            }
            Err(NoObject::Incomplete) if self.ended.is_none() => self.wait_for_more(start),
            Err(NoObject::Incomplete) if self.is_cut_off() => {
                let end = self.len();
                self.bad(start, end, end, QuarantineReason::CutOff)
            }
            Err(_) => self.is_broken(),
        }
    }

    /// Reads the object at `start`; only on its line after much was parsed without success, so that the work grows
    /// with the bytes alone.
    pub(super) fn read_object(&mut self, start: u64) -> Result<(Said, usize), NoObject> {
        let window = self.window(start);
        if self.failed_bytes > FAILED_RECORDS * self.max_record_bytes + FAILED_FACTOR * start {
            return match memchr::memchr(b'\n', window.as_bytes()) {
                Some(end) => object_at(&window[..end]).map_err(|_| NoObject::Broken(0)),
                None => object_at(window),
            };
        }
        let read = object_at(window);
        self.failed_bytes += match read {
            Err(NoObject::Broken(length)) => length as u64,
            Err(NoObject::Incomplete)
                if self.ended.is_some() || self.len() - start > self.max_record_bytes =>
            {
                window.len() as u64
            }
            Ok(_) | Err(NoObject::Incomplete) => 0,
        };
        read
    }

    /// An object that parses: a record, an envelope, or one that wraps a record.
    pub(super) fn take_object(&mut self, start: u64, end: u64, said: Said) -> Step {
        if too_deep(self.buffer.between(start, end).as_bytes()) {
            return self.bad(start, end, end, QuarantineReason::TooDeep);
        }
        if said.may_wrap && !said.speaks && self.enter_envelope(start, Some(end)) {
            return Step::Again;
        }
        let said = with_time(said, self.buffer.between(start, end), self.near_ms);
        let wraps = said.docker || said.log || self.containers.last().is_some_and(super::Container::wraps);
        if wraps && let Some((framing, what)) = self.compose(start, end, &said) {
            return Step::Found(Found { start, end, next: end, framing, what });
        }
        let framing = self.framing();
        Step::Found(Found { start, end, next: end, framing, what: What::Object(said) })
    }

    /// What of an object is looked at: no more than a record may have, however much there is.
    pub(super) fn window(&self, start: u64) -> &str {
        let held = self.buffer.from(start);
        &held[..held.floor_char_boundary(self.max_record_bytes as usize)]
    }

    /// As [`Splitter::follows`], of an object: another object or an array of them may follow.
    pub(super) fn value_follows(&self, end: u64) -> Option<bool> {
        let follows = self.follows(end, |byte| matches!(byte, b'{' | b'[' | 0))?;
        let rest = self.window(end).trim_start_matches(|c: char| c.is_ascii() && separates(c as u8));
        match rest.strip_prefix('[').map(str::trim_ascii_start) {
            Some("") if self.ended.is_none() && self.len() - end < self.max_record_bytes => None,
            // `{}["a"]` is no JSON.
            Some(inside) => Some(inside.starts_with(['{', ']'])),
            None => Some(follows),
        }
    }

    /// Whether a value that ends at `end` is followed by a line break, the end, or what `may` follow.
    /// `None`: that is not known yet.
    pub(super) fn follows(&self, end: u64, may: impl Fn(u8) -> bool) -> Option<bool> {
        let rest = self.window(end).as_bytes();
        match rest.iter().find(|byte| !separates(**byte)) {
            Some(b'\n') => Some(true),
            Some(b'\xef') => Some(true),
            Some(&byte) => Some(may(byte)),
            None if self.ended.is_some() || self.len() - end >= self.max_record_bytes => Some(true),
            None => None,
        }
    }

    /// Waits until the object is worth reading again: until twice as much is there.
    pub(super) fn wait_for_more(&mut self, start: u64) -> Step {
        let held = self.len() - start;
        self.retry_at = start + (held * 2).min(self.max_record_bytes + 1);
        Step::Wait
    }

    fn is_broken(&mut self) -> Step {
        self.state = State::Broken;
        // Text keeps what stands before it on its line; an entry that is too long is measured from here.
        Step::Again
    }

    /// An object that does not parse: text, unless there has been good JSON.
    pub(super) fn broken(&mut self) -> Step {
        let start = if self.oversize.is_some() { self.begin } else { self.first_bracket() };
        let Some((end, next)) = self.line_end() else { return self.wait_inside_entry() };
        self.state = State::Top;
        if self.is_oversize(end) {
            return self.bad(self.begin, end, next, QuarantineReason::TooLarge);
        }
        if !self.json_good && !self.buffer.is_bad(start, end) {
            self.at = self.begin;
            self.state = State::Line;
            return Step::Again;
        }
        let (length, closed) = Brackets::object(false).scan(self.buffer.between(start, end).as_bytes());
        let close = start + length as u64;
        // Another object after it is not affected.
        if self.json_good && closed && self.follows(close, |byte| byte == b'{') == Some(true) && close < end {
            return self.bad(start, close, close, self.reason(start, close));
        }
        let reason =
            if self.is_cut_off() && next == end { QuarantineReason::CutOff } else { self.reason(start, end) };
        self.bad(start, self.trimmed_end(start, end), next, reason)
    }

    /// Where on the line at hand the object begins.
    fn first_bracket(&self) -> u64 {
        let rest = self.buffer.from(self.begin).as_bytes();
        self.begin + rest.iter().position(|&byte| byte == b'{').unwrap_or(0) as u64
    }

    /// Why what stands there is no record.
    pub(super) fn reason(&self, start: u64, end: u64) -> QuarantineReason {
        let text = self.buffer.between(start, end);
        if self.buffer.is_bad(start, end) {
            QuarantineReason::InvalidUtf8
        } else if too_deep(text.as_bytes()) {
            QuarantineReason::TooDeep
        } else if serde_json::from_str::<IgnoredAny>(text).is_ok() && !text.trim().starts_with('{') {
            QuarantineReason::NotAnObject
        } else {
            QuarantineReason::BrokenJson
        }
    }

    /// An object that is longer than a record may be: found to its end, not held.
    pub(super) fn oversize_object(&mut self) -> Step {
        if self.oversize.is_none() && self.at == self.begin {
            let sample = self.sample_of(self.begin, self.len());
            let start = self.buffer.original(self.begin);
            self.oversize = Some(Oversize { start, sample });
        }
        let (scanned, ended) = self.brackets.scan(self.buffer.from(self.at).as_bytes());
        self.at += scanned as u64;
        self.begin = self.at;
        if !ended && self.ended.is_none() {
            return Step::Wait;
        }
        self.state = State::Top;
        self.bad(self.at, self.at, self.at, QuarantineReason::TooLarge)
    }

    /// At a `[`, where a piece may begin: an array of objects, or text.
    fn bracket(&mut self) -> Step {
        let rest = &self.window(self.at).as_bytes()[1..];
        let mut bytes = rest.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
        let objects = match (bytes.next(), bytes.next()) {
            (Some(b'{'), Some(b'"' | b'}')) => true,
            (Some(b'{'), None) | (None, _) if self.ended.is_none() => {
                if self.len() - self.at < self.max_record_bytes {
                    return Step::Wait;
                }
                false
            }
            (None, _) => true,
            (Some(b']'), _) => {
                let close = rest.iter().position(|&byte| byte == b']').unwrap_or(0);
                match self.follows(self.at + 2 + close as u64, |byte| matches!(byte, b'[' | b'{')) {
                    None => return Step::Wait,
                    Some(empty) => empty,
                }
            }
            _ => false,
        };
        let in_text = if objects { self.is_in_text() } else { Some(true) };
        match in_text {
            None => return Step::Wait,
            Some(true) => {
                self.state = State::Line;
                return Step::Again;
            }
            Some(false) => {}
        }
        self.enter_array();
        Step::Again
    }

    /// Whether the array at hand ends on its line, and something that is no piece follows it there. `None`: that
    /// is not known yet.
    fn is_in_text(&self) -> Option<bool> {
        let rest = self.rest();
        let looked_at = &rest[..rest.len().min(MAX_ARRAY_IN_TEXT_BYTES)];
        let newline = memchr::memchr(b'\n', looked_at);
        let line = &looked_at[..newline.unwrap_or(looked_at.len())];
        let (length, closed) = Brackets::object(false).scan(line);
        if closed {
            let follows = self.value_follows(self.at + length as u64)?;
            // A stray bracket does not make an array text.
            return Some(!follows && serde_json::from_slice::<IgnoredAny>(&line[..length]).is_ok());
        }
        let known = newline.is_some() || line.len() == MAX_ARRAY_IN_TEXT_BYTES || self.ended.is_some();
        known.then_some(false)
    }
}
