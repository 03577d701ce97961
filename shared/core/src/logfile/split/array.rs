//! The elements of arrays, whether they stand by themselves or in an envelope.

use super::{Brackets, Container, Splitter, State, Step};
use crate::logfile::head::{NoObject, object_at};
use crate::logfile::quarantine::QuarantineReason;

impl Splitter {
    /// Enters an array at its `[`.
    pub(super) fn enter_array(&mut self) {
        self.containers.push(Container::array());
        self.at += 1;
        self.begin = self.at;
        self.state = State::Between { needs_value: true, after_comma: false };
    }

    pub(super) fn between(&mut self, needs_value: bool, after_comma: bool) -> Step {
        self.skip(|b| b.is_ascii_whitespace());
        match self.buffer.byte(self.at) {
            None => {
                self.unterminated = self.ended.is_some();
                Step::Wait
            }
            Some(b',') => {
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
            Some(b'{') => self.element_object(),
            Some(_) => self.begin_element(),
        }
    }

    fn leave_array(&mut self) {
        self.state = if self.containers.last().is_some_and(Container::is_envelope) {
            self.brackets = Brackets::object(true);
            State::Tail
        } else {
            self.containers.pop();
            self.after_container(State::AfterArray)
        };
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
        match object_at(self.window(start)) {
            Ok((said, length)) => {
                let end = start + length as u64;
                let mut after = self.window(start).bytes().skip(length);
                let next = after.find(|byte| !byte.is_ascii_whitespace());
                match next {
                    Some(b',' | b']') => {}
                    None if self.ended.is_none() && held < self.max_record_bytes => {
                        return self.wait_for_more(start);
                    }
                    None => {}
                    Some(_) => return self.begin_element(),
                }
                self.json_good = true;
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
        let (scanned, ended) = self.brackets.scan(self.buffer.from(self.at).as_bytes());
        self.at += scanned as u64;
        if !ended && self.ended.is_none() {
            return self.wait_inside_entry();
        }
        self.state = State::Between { needs_value: false, after_comma: false };
        let (start, end) = (self.begin, self.at);
        if self.is_oversize(end) {
            return self.bad(start, end, end, QuarantineReason::TooLarge);
        }
        let kept = self.trimmed_end(start, end);
        if let Ok((said, length)) = object_at(self.buffer.between(start, kept))
            && start + length as u64 == kept
        {
            // Complete, wherever the stream broke off.
            self.json_good = true;
            return self.take_object(start, kept, said);
        }
        let cut_off = !ended && self.is_cut_off();
        let reason = if cut_off { QuarantineReason::CutOff } else { self.reason(start, kept) };
        self.bad(start, kept, end, reason)
    }

    pub(super) fn after_array(&mut self) -> Step {
        self.skip(|b| b.is_ascii_whitespace());
        match self.buffer.byte(self.at) {
            None => return Step::Wait,
            // The array had not ended: a stray bracket only looked so.
            Some(b',') => {
                self.containers.push(Container::array());
                self.state = State::Between { needs_value: false, after_comma: false };
            }
            Some(_) => self.state = State::Top,
        }
        Step::Again
    }
}
