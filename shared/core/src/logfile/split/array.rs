//! The elements of arrays, whether they stand by themselves or in an envelope. An array may be cut off, and other
//! pieces may follow: a line that cannot belong to it ends it.

use serde::de::IgnoredAny;

use super::{Brackets, Container, Splitter, State, Step};
use crate::logfile::head::{NoObject, object_at};
use crate::logfile::quarantine::QuarantineReason;

/// The longest number or literal that is looked for in a value over several lines (bytes).
const MAX_SCALAR_BYTES: usize = 64;

/// Where the scan of a value ends that need not be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    /// At its own end.
    Closed,
    /// At a line that cannot belong to it.
    AtLine,
    /// At the end of the stream.
    EndOfStream,
}

impl Splitter {
    /// Enters an array at its `[`.
    pub(super) fn enter_array(&mut self) {
        self.containers.push(Container::array());
        self.at += 1;
        self.begin = self.at;
        self.state = State::Between { needs_value: true, after_comma: false };
    }

    pub(super) fn between(&mut self, needs_value: bool, after_comma: bool) -> Step {
        let rest = self.rest();
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.line_begun |= rest[..blank].contains(&b'\n');
        self.at += blank as u64;
        self.begin = self.at;
        match self.buffer.byte(self.at) {
            None => {
                self.unterminated = self.ended.is_some();
                Step::Wait
            }
            Some(b',') => {
                self.line_begun = false;
                self.state = State::Between { needs_value: true, after_comma: true };
                if needs_value {
                    return self.bad(self.at, self.at, self.at + 1, QuarantineReason::BrokenJson);
                }
                self.at += 1;
                self.begin = self.at;
                Step::Again
            }
            Some(b']') => {
                let close = self.at;
                self.at += 1;
                self.begin = self.at;
                self.leave_array();
                if needs_value && after_comma {
                    return self.bad(close, close, close + 1, QuarantineReason::BrokenJson);
                }
                Step::Again
            }
            Some(_) if self.line_begun && !needs_value => self.leave_cut_off(),
            Some(b'{') => self.element_object(),
            Some(b'[' | b'"') => self.begin_element(),
            Some(_) if self.line_begun => match self.may_continue() {
                None => Step::Wait,
                Some(true) => self.begin_element(),
                Some(false) => self.leave_cut_off(),
            },
            Some(_) => self.begin_element(),
        }
    }

    fn leave_array(&mut self) {
        self.line_begun = false;
        self.state = if self.containers.last().is_some_and(Container::is_envelope) {
            self.brackets = Brackets::object(true);
            State::Tail
        } else {
            self.containers.pop();
            self.after_container(State::Top)
        };
    }

    /// Leaves an array that has no end, at a piece that is none of its elements.
    pub(super) fn leave_cut_off(&mut self) -> Step {
        self.line_begun = false;
        self.containers.clear();
        self.state = State::Top;
        Step::Again
    }

    /// The state after the end of a container: in the one around it, or `outside`.
    pub(super) fn after_container(&self, outside: State) -> State {
        if self.containers.is_empty() {
            outside
        } else {
            State::Between { needs_value: false, after_comma: false }
        }
    }

    fn begin_element(&mut self) -> Step {
        self.line_begun = false;
        self.at = self.begin;
        self.brackets = Brackets::element();
        self.state = State::Element;
        Step::Again
    }

    /// An element that is an object, read in one go where it is good.
    fn element_object(&mut self) -> Step {
        let start = self.at;
        let held = self.len() - start;
        if self.ended.is_none() && self.len() < self.retry_at && held <= self.max_record_bytes {
            return Step::Wait;
        }
        match self.read_object(start) {
            Ok((said, length)) => {
                let end = start + length as u64;
                let after = &self.window(start).as_bytes()[length..];
                let blank = after.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                match after.get(blank) {
                    Some(b',' | b']') => {}
                    None if self.ended.is_none() && held < self.max_record_bytes => {
                        return self.wait_for_more(start);
                    }
                    None => {}
                    // The array is cut off after it.
                    Some(_) if after[..blank].contains(&b'\n') => {}
                    Some(_) => {
                        self.failed_bytes += length as u64;
                        return self.begin_element();
                    }
                }
                self.json_good = true;
                self.line_begun = false;
                self.state = State::Between { needs_value: false, after_comma: false };
                self.take_object(start, end, said)
            }
            Err(NoObject::Incomplete) if held > self.max_record_bytes => {
                if self.enter_envelope(start, None) {
                    Step::Again
                } else {
                    self.begin_element()
                }
            }
            Err(NoObject::Incomplete) if self.ended.is_none() => self.wait_for_more(start),
            Err(_) => self.begin_element(),
        }
    }

    pub(super) fn element(&mut self) -> Step {
        let Some(scanned) = self.scan_on() else { return self.wait_inside_value() };
        // The line break is none of the element's.
        let end = self.at - u64::from(scanned == Scanned::AtLine);
        let start = self.begin;
        if self.is_oversize(end) {
            self.state = State::Between { needs_value: false, after_comma: false };
            return self.bad(start, end, end.max(start), QuarantineReason::TooLarge);
        }
        let mut kept = self.trimmed_end(start, end);
        let mut next = end;
        if let Ok((said, length)) = object_at(self.buffer.between(start, kept))
            && start + length as u64 == kept
        {
            // Complete, wherever the stream broke off.
            self.json_good = true;
            self.state = State::Between { needs_value: false, after_comma: false };
            return self.take_object(start, kept, said);
        }
        match scanned {
            // The array goes on after its line.
            Scanned::AtLine if self.buffer.between(start, kept).ends_with(',') => {
                next = kept - 1;
                kept = self.trimmed_end(start, next);
                self.line_begun = false;
            }
            Scanned::Closed if self.buffer.byte(end) == Some(b']') => match self.is_stray_bracket(end) {
                None => return Step::Wait,
                Some(true) => next += 1,
                Some(false) => {}
            },
            Scanned::Closed | Scanned::AtLine | Scanned::EndOfStream => {}
        }
        self.state = State::Between { needs_value: false, after_comma: false };
        let cut_off = scanned == Scanned::EndOfStream && self.is_cut_off();
        let reason = if cut_off { QuarantineReason::CutOff } else { self.reason(start, kept) };
        self.bad(start, kept, next, reason)
    }

    pub(super) fn wait_inside_value(&mut self) -> Step {
        self.reach(self.at - u64::from(self.line_begun));
        Step::Wait
    }

    /// Scans on in a value that need not be good. `None`: more bytes are needed.
    pub(super) fn scan_on(&mut self) -> Option<Scanned> {
        loop {
            if self.line_begun {
                if !self.may_continue()? {
                    return Some(Scanned::AtLine);
                }
                self.line_begun = false;
            }
            let rest = self.buffer.from(self.at).as_bytes();
            let newline = memchr::memchr(b'\n', rest);
            let line = &rest[..newline.map_or(rest.len(), |at| at + 1)];
            let (scanned, closed) = self.brackets.scan(line);
            self.at += scanned as u64;
            if closed {
                return Some(Scanned::Closed);
            }
            if newline.is_none() {
                return self.ended.map(|_| Scanned::EndOfStream);
            }
            self.line_begun = true;
            if !self.brackets.is_open() {
                return Some(Scanned::AtLine);
            }
        }
    }

    /// Whether the line at `at` may belong to a value that has begun before: it is indented, or begins with a
    /// string, a comma or a closing bracket, or is a number or a literal. `None`: that is not known yet.
    fn may_continue(&self) -> Option<bool> {
        let rest = self.rest();
        match rest.first() {
            None => return self.ended.map(|_| true),
            Some(b'{' | b'[') => return Some(false),
            Some(b'"' | b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n') => return Some(true),
            Some(_) => {}
        }
        let looked_at = &rest[..rest.len().min(MAX_SCALAR_BYTES)];
        let newline = memchr::memchr(b'\n', looked_at);
        if newline.is_none() && looked_at.len() < MAX_SCALAR_BYTES && self.ended.is_none() {
            return None;
        }
        let line = &looked_at[..newline.unwrap_or(looked_at.len())];
        let ends = |byte: &u8| b",]} \t\r".contains(byte);
        let length = line.iter().rposition(|byte| !ends(byte)).map_or(0, |last| last + 1);
        Some(serde_json::from_slice::<IgnoredAny>(&line[..length]).is_ok())
    }

    /// Whether after the `]` that ends a bad element its array goes on. `None`: that is not known yet.
    fn is_stray_bracket(&self, at: u64) -> Option<bool> {
        let rest = self.window(at + 1);
        let mut after = rest.bytes().filter(|byte| !byte.is_ascii_whitespace());
        match (after.next(), after.next()) {
            (Some(b','), Some(b'{')) => Some(true),
            (None, _) | (Some(b','), None)
                if self.ended.is_none() && self.len() - at <= self.max_record_bytes =>
            {
                None
            }
            _ => Some(false),
        }
    }
}
