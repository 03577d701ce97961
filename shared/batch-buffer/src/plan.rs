//! Turns events into valid batches. Pure: the time is an argument, nothing is sent.

use crate::event::Event;
use crate::limits::{
    EVENT_OVERHEAD_BYTES, MAX_AGE_MS, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_SPAN_MS, MAX_FUTURE_MS,
    MIN_MESSAGE_BYTES,
};
use crate::split::{Label, label_by_content, pieces, with_original_timestamp};

/// The limits of a plan. The defaults are AWS's limits. Smaller values are valid, larger ones are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Events per batch.
    pub max_events: usize,
    /// Bytes per batch, including [`EVENT_OVERHEAD_BYTES`] per event.
    pub max_bytes: usize,
    /// Maximum age of an event in milliseconds: 14 days, or the group's retention if that is shorter.
    pub max_age_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_events: MAX_BATCH_EVENTS, max_bytes: MAX_BATCH_BYTES, max_age_ms: MAX_AGE_MS }
    }
}

impl Limits {
    /// Returns the maximum bytes of a message that is sent in one piece.
    pub fn max_message_bytes(&self) -> usize {
        self.max_bytes.saturating_sub(EVENT_OVERHEAD_BYTES)
    }

    fn would_be_rejected(&self, timestamp_ms: i64, now_ms: i64) -> bool {
        timestamp_ms < now_ms.saturating_sub(self.max_age_ms)
            || timestamp_ms > now_ms.saturating_add(MAX_FUTURE_MS)
    }
}

/// Batches in sending order, and events that no batch may contain.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub batches: Vec<Vec<Event>>,
    /// Events with an empty message, which PutLogEvents refuses.
    pub refused: Vec<Event>,
}

/// Plans the requests for one stream. Events are re-stamped if CloudWatch would reject their time, split if
/// they are too long, sorted by time (stable) and packed greedily, which gives the minimum number of
/// batches for this order.
pub fn plan(events: Vec<Event>, now_ms: i64, limits: &Limits) -> Plan {
    let mut plan = Plan::default();
    let mut prepared = Vec::with_capacity(events.len());
    for event in events {
        if let Err(event) = prepare(event, None, now_ms, limits, |piece| prepared.push(piece)) {
            plan.refused.push(event);
        }
    }
    prepared.sort_by_key(|event| event.timestamp_ms);
    let mut batcher = Batcher::new(limits.clone());
    for event in prepared {
        if !batcher.fits(&event) {
            plan.batches.push(batcher.take());
        }
        batcher.push(event);
    }
    if !batcher.is_empty() {
        plan.batches.push(batcher.take());
    }
    plan
}

/// Makes one event valid and passes it to `push`: unchanged, re-stamped to `now_ms` with its original time
/// inside, or as several pieces. Pieces have `label`, or a hash of the message without a label.
///
/// # Errors
/// The event itself if its message is empty.
pub fn prepare(
    event: Event,
    label: Option<&Label<'_>>,
    now_ms: i64,
    limits: &Limits,
    mut each: impl FnMut(Event),
) -> Result<(), Event> {
    let max = limits.max_message_bytes();
    if event.message.len() < MIN_MESSAGE_BYTES {
        return Err(event);
    }
    let stamp = limits.would_be_rejected(event.timestamp_ms, now_ms).then_some(event.timestamp_ms);
    let (own_ms, tag) = (event.timestamp_ms, event.tag);
    let stamped = |message: String| match stamp {
        Some(original_ms) => Event::new(now_ms, with_original_timestamp(&message, original_ms)).tagged(tag),
        None => Event::new(own_ms, message).tagged(tag),
    };
    if event.message.len() <= max {
        if stamp.is_none() {
            each(event);
            return Ok(());
        }
        let whole = stamped(event.message.clone());
        if whole.message.len() <= max {
            each(whole);
            return Ok(());
        }
    }
    let by_content;
    let label = match label {
        Some(label) => label,
        None => {
            by_content = label_by_content(&event.message);
            &by_content
        }
    };
    for piece in pieces(&event.message, label, max) {
        each(stamped(piece));
    }
    Ok(())
}

/// A batch that is being filled.
#[derive(Debug)]
pub struct Batcher {
    limits: Limits,
    events: Vec<Event>,
    bytes: usize,
    first_ms: i64,
    last_ms: i64,
}

impl Batcher {
    pub fn new(limits: Limits) -> Self {
        Self { limits, events: Vec::new(), bytes: 0, first_ms: i64::MAX, last_ms: i64::MIN }
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Bytes so far, overhead included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether the batch stays valid with `event`. An empty batch fits any prepared event.
    pub fn fits(&self, event: &Event) -> bool {
        let first_ms = self.first_ms.min(event.timestamp_ms);
        let last_ms = self.last_ms.max(event.timestamp_ms);
        self.events.is_empty()
            || (self.events.len() < self.limits.max_events
                && self.bytes + event.size_bytes() <= self.limits.max_bytes
                && last_ms.saturating_sub(first_ms) <= MAX_BATCH_SPAN_MS)
    }

    pub fn push(&mut self, event: Event) {
        self.first_ms = self.first_ms.min(event.timestamp_ms);
        self.last_ms = self.last_ms.max(event.timestamp_ms);
        self.bytes += event.size_bytes();
        self.events.push(event);
    }

    /// Returns the batch in time order, and starts an empty one.
    pub fn take(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.events);
        events.sort_by_key(|event| event.timestamp_ms);
        *self = Self::new(self.limits.clone());
        events
    }
}
