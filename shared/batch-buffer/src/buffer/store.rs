//! What a buffer holds: events by stream, and the counts that bound it. Bookkeeping alone: no
//! clock, nothing is sent, nobody waits.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex as Turn;

use crate::event::Event;

/// Counters since the buffer was made, and what it holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Events waiting now, those in flight not included.
    pub events_buffered: usize,
    /// Bytes waiting now, 26 per event included.
    pub bytes_buffered: usize,
    /// Bytes taken by a flush that has not ended.
    pub bytes_in_flight: usize,
    /// Flushes under way now.
    pub flushes_pending: usize,
    /// Flushes that sent or dead-lettered all they took.
    pub flushes_completed: u64,
    /// Flushes that put events back.
    pub flushes_failed: u64,
    /// Events (pieces count each) that the service confirmed.
    pub events_sent: u64,
    /// Events handed to the dead letter function.
    pub events_dead_lettered: u64,
    /// Adds refused because the buffer was full.
    pub adds_refused: u64,
}

/// One at a time flushes a stream. What is behind the lock is the stream's sequence token, which
/// only endpoints of old want.
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
    /// A background flush is waiting for its turn: one is enough.
    is_scheduled: bool,
    /// The last flush failed: being full starts no other, the timer or the caller does.
    is_cooling: bool,
}

impl Store {
    /// What counts against the bound.
    pub(super) fn bytes_held(&self) -> usize {
        self.metrics.bytes_buffered + self.metrics.bytes_in_flight
    }

    /// Takes an event. True when the stream has become full and nobody is about to flush it yet.
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

    /// A background flush of the stream is asked for; false when one is waiting already.
    pub(super) fn schedule(&mut self, group: &str, stream: &str) -> bool {
        !std::mem::replace(&mut self.slot(group, stream).is_scheduled, true)
    }

    pub(super) fn unschedule(&mut self, group: &str, stream: &str) {
        self.slot(group, stream).is_scheduled = false;
    }

    pub(super) fn turn(&mut self, group: &str, stream: &str) -> StreamTurn {
        self.slot(group, stream).turn.clone()
    }

    /// Streams that hold something.
    pub(super) fn waiting_streams(&self) -> Vec<Name> {
        let streams = self.groups.iter().flat_map(|(group, streams)| {
            let waiting = streams.iter().filter(|(_, slot)| !slot.waiting.is_empty());
            waiting.map(move |(stream, _)| (group.clone(), stream.clone()))
        });
        streams.collect()
    }

    /// A flush begins: it takes what the stream holds, and the bytes of it.
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

    /// Of what a flush took, so much has left, and so much has come to it (by splitting).
    pub(super) fn in_flight(&mut self, left: usize, come: usize) {
        let held = self.metrics.bytes_in_flight;
        self.metrics.bytes_in_flight = (held + come).saturating_sub(left);
    }

    /// Events of a flush go back before what arrived since.
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

    /// A flush ends. A stream is forgotten that holds nothing, not even a token, and that nobody
    /// waits for.
    pub(super) fn finish(&mut self, group: &str, stream: &str, turn: &StreamTurn, has_token: bool) {
        self.metrics.flushes_pending -= 1;
        let Some(streams) = self.groups.get_mut(group) else { return };
        // Two: the map's and that flush's own. Others are cloned under the lock held here.
        let is_idle = |slot: &Slot| slot.waiting.is_empty() && !has_token && Arc::strong_count(turn) == 2;
        if streams.get(stream).is_some_and(is_idle) {
            streams.remove(stream);
        }
        if streams.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Everything that is still waiting; the store is empty then.
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
