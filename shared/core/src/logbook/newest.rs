//! The newest records seen so far, limited by number and bytes.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::model::ids::RecordId;
use crate::model::level::Level;
use crate::model::record::{Entry, EntryKind, Marks, StoredRecord};

use crate::logbook::cursor::Position;

/// A record that may be in the result.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub position: Position,
    pub id: RecordId,
    /// Index of the app among the queried apps.
    pub app: usize,
    pub level: Level,
    pub kind: EntryKind,
    pub timestamp_fallback: bool,
    pub marks: Marks,
    pub raw: String,
}

impl Candidate {
    /// Without its entry unless `keeps_entry`.
    pub(crate) fn of(record: &StoredRecord<'_>, position: Position, app: usize, keeps_entry: bool) -> Self {
        let entry = &record.entry;
        Self {
            position,
            id: record.id,
            app,
            level: entry.level,
            kind: entry.kind,
            timestamp_fallback: entry.timestamp_fallback,
            marks: entry.marks,
            raw: if keeps_entry { entry.raw.to_owned() } else { String::new() },
        }
    }

    pub(crate) fn stored(&self) -> StoredRecord<'_> {
        StoredRecord {
            id: self.id,
            entry: Entry {
                ordinal: self.position.ordinal,
                timestamp_ms: self.position.timestamp_ms,
                level: self.level,
                kind: self.kind,
                timestamp_fallback: self.timestamp_fallback,
                marks: self.marks,
                raw: &self.raw,
            },
        }
    }
}

pub(crate) struct ByPosition(pub(crate) Candidate);

impl PartialEq for ByPosition {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByPosition {}

impl PartialOrd for ByPosition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByPosition {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.position, self.0.app).cmp(&(other.0.position, other.0.app))
    }
}

/// The newest of the offered records.
pub(crate) struct Newest {
    wanted: usize,
    max_bytes: usize,
    bytes: usize,
    heap: BinaryHeap<Reverse<ByPosition>>,
    /// Set if records were dropped to save memory: the result is incomplete at and below this position.
    floor: Option<Position>,
}

impl Newest {
    pub(crate) fn new(wanted: usize, max_bytes: usize) -> Self {
        Self { wanted, max_bytes, bytes: 0, heap: BinaryHeap::new(), floor: None }
    }

    /// Whether it has as many records as wanted, or cannot hold more.
    fn is_full(&self) -> bool {
        self.heap.len() >= self.wanted || self.floor.is_some()
    }

    /// Whether a record of this time could still get in.
    pub(crate) fn may_take_time(&self, timestamp_ms: i64) -> bool {
        !self.is_full() || self.least().is_some_and(|least| timestamp_ms >= least.timestamp_ms)
    }

    /// Whether records below this position could still get in.
    pub(crate) fn may_take_below(&self, bound: &Position) -> bool {
        !self.is_full() || self.least().is_some_and(|least| *bound > least)
    }

    pub(crate) fn may_take(&self, position: &Position) -> bool {
        if self.floor.is_some_and(|floor| *position <= floor) {
            return false;
        }
        self.heap.len() < self.wanted || self.least().is_some_and(|least| *position > least)
    }

    fn least(&self) -> Option<Position> {
        self.heap.peek().map(|Reverse(worst)| worst.0.position)
    }

    /// Adds a record for which [`Newest::may_take`] returned `true`.
    pub(crate) fn take(&mut self, candidate: Candidate) {
        self.bytes += candidate.raw.len();
        self.heap.push(Reverse(ByPosition(candidate)));
        while self.heap.len() > self.wanted {
            self.drop_least();
        }
        while self.bytes > self.max_bytes && self.heap.len() > 1 {
            self.floor = self.drop_least().max(self.floor);
        }
    }

    fn drop_least(&mut self) -> Option<Position> {
        let Reverse(ByPosition(worst)) = self.heap.pop()?;
        self.bytes -= worst.raw.len();
        Some(worst.position)
    }

    /// Returns the records, newest first, and whether some were dropped to save memory.
    pub(crate) fn finish(self) -> (Vec<Candidate>, bool) {
        // The elements are reversed, so their ascending order starts with the newest.
        let sorted = self.heap.into_sorted_vec();
        (sorted.into_iter().map(|Reverse(ByPosition(candidate))| candidate).collect(), self.floor.is_some())
    }
}
