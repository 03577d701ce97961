//! The content of a buffer: events by stream, and the counts that bound it. Only bookkeeping: no clock, no
//! sending, no waiting.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex as Turn;

use crate::event::Event;

/// Counters since the buffer was created, and its current content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Waiting events, without those in flight.
    pub events_buffered: usize,
    /// Waiting bytes, including 26 per event.
    pub bytes_buffered: usize,
    /// Bytes taken by running flushes.
    pub bytes_in_flight: usize,
    /// Running flushes.
    pub flushes_pending: usize,
    /// Flushes that sent or dead-lettered all events they took.
    pub flushes_completed: u64,
    /// Flushes that returned events to the buffer.
    pub flushes_failed: u64,
    /// Events confirmed by the service; each piece counts.
    pub events_sent: u64,
    /// Events passed to the dead letter receiver.
    pub events_dead_lettered: u64,
    /// Adds that were refused because the buffer was full.
    pub adds_refused: u64,
}

/// Serializes the flushes of a stream. Holds the stream's sequence token, which only old endpoints require.
pub(super) type StreamTurn = Arc<Turn<Option<String>>>;

/// A stream's name: group and stream.
pub(super) type Name = (Arc<str>, Arc<str>);

/// Events that a stopped buffer could not send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    pub group: String,
    pub stream: String,
    pub events: Vec<Event>,
}

#[derive(Default)]
pub(super) struct Store {
    groups: HashMap<Arc<str>, HashMap<Arc<str>, Slot>>,
    pub(super) metrics: Metrics,
    pub(super) stopped: bool,
}

/// One stream.
#[derive(Default)]
struct Slot {
    waiting: Vec<Event>,
    waiting_bytes: usize,
    turn: StreamTurn,
    /// A background flush is waiting for its turn; no second one is needed.
    is_scheduled: bool,
    /// The last flush failed: a full stream starts no other flush, only the timer or the caller does.
    is_cooling: bool,
}

impl Store {
    /// Returns the bytes that count towards the bound.
    pub(super) fn bytes_held(&self) -> usize {
        self.metrics.bytes_buffered + self.metrics.bytes_in_flight
    }

    /// Adds an event. Returns `true` if the stream has become full and no flush of it is scheduled.
    pub(super) fn add(&mut self, group: &str, stream: &str, event: Event, max: (usize, usize)) -> bool {
        let (max_events, max_bytes) = max;
        let bytes = event.size_bytes();
        self.metrics.events_buffered += 1;
        self.metrics.bytes_buffered += bytes;
        let slot = self.slot(group, stream);
        slot.waiting.push(event);
        slot.waiting_bytes += bytes;
        let is_full = slot.waiting.len() >= max_events || slot.waiting_bytes >= max_bytes;
        is_full && !slot.is_cooling && !std::mem::replace(&mut slot.is_scheduled, true)
    }

    /// Schedules a background flush of the stream; `false` if one is already waiting.
    pub(super) fn schedule(&mut self, group: &str, stream: &str) -> bool {
        !std::mem::replace(&mut self.slot(group, stream).is_scheduled, true)
    }

    pub(super) fn unschedule(&mut self, group: &str, stream: &str) {
        self.slot(group, stream).is_scheduled = false;
    }

    pub(super) fn turn(&mut self, group: &str, stream: &str) -> StreamTurn {
        self.slot(group, stream).turn.clone()
    }

    /// Returns the streams that are not empty.
    pub(super) fn waiting_streams(&self) -> Vec<Name> {
        let streams = self.groups.iter().flat_map(|(group, streams)| {
            let waiting = streams.iter().filter(|(_, slot)| !slot.waiting.is_empty());
            waiting.map(move |(stream, _)| (group.clone(), stream.clone()))
        });
        streams.collect()
    }

    /// Starts a flush: returns the stream's events and their bytes.
    pub(super) fn take(&mut self, group: &str, stream: &str) -> (Vec<Event>, usize) {
        let slot = self.slot(group, stream);
        slot.is_scheduled = false;
        slot.is_cooling = false;
        let bytes = std::mem::take(&mut slot.waiting_bytes);
        let events = std::mem::take(&mut slot.waiting);
        self.metrics.events_buffered -= events.len();
        self.metrics.bytes_buffered -= bytes;
        self.metrics.bytes_in_flight += bytes;
        self.metrics.flushes_pending += 1;
        (events, bytes)
    }

    /// Updates the bytes in flight: `left` bytes are done, `come` bytes were added by splitting.
    pub(super) fn in_flight(&mut self, left: usize, come: usize) {
        let held = self.metrics.bytes_in_flight;
        self.metrics.bytes_in_flight = (held + come).saturating_sub(left);
    }

    /// Puts events of a flush back, before those that were added since.
    pub(super) fn put_back(&mut self, group: &str, stream: &str, mut events: Vec<Event>, is_failure: bool) {
        let bytes: usize = events.iter().map(Event::size_bytes).sum();
        self.in_flight(bytes, 0);
        self.metrics.bytes_buffered += bytes;
        self.metrics.events_buffered += events.len();
        let slot = self.slot(group, stream);
        slot.is_cooling |= is_failure;
        slot.waiting_bytes += bytes;
        events.append(&mut slot.waiting);
        slot.waiting = events;
    }

    /// Ends a flush. Removes a stream that is empty, has no token, and has no waiting flush.
    pub(super) fn finish(&mut self, group: &str, stream: &str, turn: &StreamTurn, has_token: bool) {
        self.metrics.flushes_pending -= 1;
        let Some(streams) = self.groups.get_mut(group) else { return };
        // Two references: the map's and that of this flush. Others are cloned under the lock held here.
        let is_idle = |slot: &Slot| slot.waiting.is_empty() && !has_token && Arc::strong_count(turn) == 2;
        if streams.get(stream).is_some_and(is_idle) {
            streams.remove(stream);
        }
        if streams.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Returns everything that is still waiting, and empties the store.
    pub(super) fn drain(&mut self) -> Vec<Unsent> {
        let mut unsent = Vec::new();
        for (group, streams) in std::mem::take(&mut self.groups) {
            for (stream, slot) in streams.into_iter().filter(|(_, slot)| !slot.waiting.is_empty()) {
                let (group, stream) = (group.to_string(), stream.to_string());
                unsent.push(Unsent { group, stream, events: slot.waiting });
            }
        }
        self.metrics.events_buffered = 0;
        self.metrics.bytes_buffered = 0;
        unsent.sort_by(|a, b| (&a.group, &a.stream).cmp(&(&b.group, &b.stream)));
        unsent
    }

    fn slot(&mut self, group: &str, stream: &str) -> &mut Slot {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.into(), HashMap::new());
        }
        let Some(streams) = self.groups.get_mut(group) else { unreachable!("inserted above") };
        if !streams.contains_key(stream) {
            streams.insert(stream.into(), Slot::default());
        }
        let Some(slot) = streams.get_mut(stream) else { unreachable!("inserted above") };
        slot
    }
}
