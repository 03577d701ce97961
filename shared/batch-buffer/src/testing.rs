//! A strict stand-in for PutLogEvents, in memory: it enforces every rule the service documents,
//! fails on command, loses answers and knows poison. And the contract that it and any real
//! endpoint are held to: [`contract::check`].

pub mod contract;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::Event;
use crate::limits::{
    MAX_AGE_MS, MAX_AHEAD_MS, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_SPAN_MS, MAX_NAME_CHARS,
    MIN_MESSAGE_BYTES,
};
use crate::send::{Accepted, ErrorClass, Rejected, Request, SendError, Sender};

/// What the next call does instead of succeeding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is stored, the error is answered.
    Fail(ErrorClass),
    /// The events are stored, the answer is lost.
    LoseAnswer,
    /// No answer at all, ever; nothing is stored.
    Hang,
    /// The sender panics; nothing is stored.
    Panic,
}

/// One call as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Put { group: String, stream: String, events: usize, bytes: usize },
    Create { group: String, stream: String },
}

type Poison = Box<dyn Fn(&Event) -> bool + Send>;

#[derive(Default)]
struct World {
    now_ms: i64,
    retention_ms: Option<i64>,
    /// `None`: groups and streams exist by themselves.
    created: Option<BTreeMap<(String, String), ()>>,
    stored: BTreeMap<(String, String), Vec<Event>>,
    /// Where each accepted request's events begin in their stream.
    accepted: Vec<((String, String), usize)>,
    tokens: Option<BTreeMap<(String, String), u64>>,
    calls: Vec<Call>,
    faults: VecDeque<Option<Fault>>,
    poison: Option<Poison>,
}

/// The stand-in. Clones share it.
#[derive(Clone, Default)]
pub struct StrictLogs {
    world: Arc<Mutex<World>>,
}

impl std::fmt::Debug for StrictLogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StrictLogs").field("calls", &self.world().calls.len()).finish_non_exhaustive()
    }
}

impl StrictLogs {
    /// Every group and stream exists; the clock stands at `now_ms`.
    pub fn at(now_ms: i64) -> Self {
        let logs = Self::default();
        logs.world().now_ms = now_ms;
        logs
    }

    /// Groups and streams must be created first.
    #[must_use]
    pub fn empty(self) -> Self {
        self.world().created = Some(BTreeMap::new());
        self
    }

    /// As endpoints of old: every request must carry the token of the one before.
    #[must_use]
    pub fn wanting_tokens(self) -> Self {
        self.world().tokens = Some(BTreeMap::new());
        self
    }

    #[must_use]
    pub fn with_retention_ms(self, retention_ms: i64) -> Self {
        self.world().retention_ms = Some(retention_ms);
        self
    }

    /// A request with such an event in it is refused as invalid.
    #[must_use]
    pub fn with_poison(self, poison: impl Fn(&Event) -> bool + Send + 'static) -> Self {
        self.world().poison = Some(Box::new(poison));
        self
    }

    /// The faults of the next calls, `None` for a call that goes well.
    pub fn next(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.world().faults.extend(faults);
    }

    /// Faults that have not come to pass do not.
    pub fn next_well(&self) {
        self.world().faults.clear();
    }

    pub fn set_now_ms(&self, now_ms: i64) {
        self.world().now_ms = now_ms;
    }

    pub fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// Requests with events, creations not counted.
    pub fn puts(&self) -> usize {
        self.world().calls.iter().filter(|call| matches!(call, Call::Put { .. })).count()
    }

    /// What a stream holds, in the order it came.
    pub fn stored(&self, group: &str, stream: &str) -> Vec<Event> {
        self.world().stored.get(&(group.to_owned(), stream.to_owned())).cloned().unwrap_or_default()
    }

    /// Everything: group, stream, events.
    pub fn all_stored(&self) -> Vec<(String, String, Vec<Event>)> {
        let world = self.world();
        world
            .stored
            .iter()
            .map(|((group, stream), events)| (group.clone(), stream.clone(), events.clone()))
            .collect()
    }

    /// What each accepted request stored, in the order of the requests.
    pub fn accepted(&self) -> Vec<Vec<Event>> {
        let world = self.world();
        let mut ends: BTreeMap<_, _> = world.stored.iter().map(|(key, events)| (key, events.len())).collect();
        let mut requests = Vec::new();
        for (key, begin) in world.accepted.iter().rev() {
            let end = ends.insert(key, *begin).unwrap_or_default();
            let events = world.stored.get(key).and_then(|events| events.get(*begin..end));
            requests.push(events.unwrap_or_default().to_vec());
        }
        requests.reverse();
        requests
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender for StrictLogs {
    async fn send(&self, request: Request) -> Result<Accepted, SendError> {
        let (fault, answer) = {
            let mut world = self.world();
            let bytes = request.events.iter().map(Event::size_bytes).sum();
            let call = Call::Put {
                group: request.group.to_string(),
                stream: request.stream.to_string(),
                events: request.events.len(),
                bytes,
            };
            world.calls.push(call);
            let fault = world.faults.pop_front().flatten();
            match fault {
                Some(Fault::Fail(class)) => (None, Err(SendError::new(class, "as told"))),
                Some(Fault::Hang | Fault::Panic) => (fault, Ok(Accepted::default())),
                Some(Fault::LoseAnswer) => (
                    None,
                    world.put(&request).and(Err(SendError::new(ErrorClass::Connection, "connection reset"))),
                ),
                None => (None, world.put(&request)),
            }
        };
        match fault {
            Some(Fault::Panic) => panic!("as told"),
            Some(_) => std::future::pending::<()>().await,
            None => {}
        }
        // One real call is never instant: others run meanwhile.
        tokio::task::yield_now().await;
        answer
    }

    async fn create(&self, group: &str, stream: &str) -> Result<(), SendError> {
        let mut world = self.world();
        let key = (group.to_owned(), stream.to_owned());
        world.calls.push(Call::Create { group: key.0.clone(), stream: key.1.clone() });
        if let Some(Fault::Fail(class)) = world.faults.pop_front().flatten() {
            return Err(SendError::new(class, "as told"));
        }
        check_names(group, stream)?;
        if let Some(created) = &mut world.created {
            created.insert(key, ());
        }
        Ok(())
    }
}

fn invalid(message: impl Into<String>) -> SendError {
    SendError::new(ErrorClass::InvalidParameter, message)
}

/// Names as CreateLogGroup and CreateLogStream allow them.
fn check_names(group: &str, stream: &str) -> Result<(), SendError> {
    let in_group = |c: char| c.is_ascii_alphanumeric() || "._-/#".contains(c);
    if !(1..=MAX_NAME_CHARS).contains(&group.chars().count()) || !group.chars().all(in_group) {
        return Err(invalid("Value at 'logGroupName' failed to satisfy constraint"));
    }
    if !(1..=MAX_NAME_CHARS).contains(&stream.chars().count()) || stream.contains([':', '*']) {
        return Err(invalid("Value at 'logStreamName' failed to satisfy constraint"));
    }
    Ok(())
}

impl World {
    fn put(&mut self, request: &Request) -> Result<Accepted, SendError> {
        check_names(&request.group, &request.stream)?;
        let events = request.events.as_slice();
        if events.is_empty() || events.len() > MAX_BATCH_EVENTS {
            return Err(invalid(format!(
                "Value at 'logEvents' failed to satisfy constraint: {} members",
                events.len()
            )));
        }
        if events.iter().any(|event| event.message.len() < MIN_MESSAGE_BYTES) {
            return Err(invalid("Value at 'logEvents.member.message' failed to satisfy constraint"));
        }
        if events.iter().any(|event| event.timestamp_ms < 0) {
            return Err(invalid("Value at 'logEvents.member.timestamp' failed to satisfy constraint"));
        }
        let bytes: usize = events.iter().map(Event::size_bytes).sum();
        if bytes > MAX_BATCH_BYTES {
            return Err(invalid(format!(
                "Upload too large: {bytes} bytes exceeds limit of {MAX_BATCH_BYTES}"
            )));
        }
        if !events.is_sorted_by_key(|event| event.timestamp_ms) {
            return Err(invalid(
                "Log events in a single PutLogEvents request must be in chronological order.",
            ));
        }
        if self.poison.as_ref().is_some_and(|poison| events.iter().any(poison)) {
            return Err(invalid("poison"));
        }
        let key = (request.group.to_string(), request.stream.to_string());
        if self.created.as_ref().is_some_and(|created| !created.contains_key(&key)) {
            return Err(SendError::new(
                ErrorClass::ResourceNotFound,
                "The specified log stream does not exist.",
            ));
        }

        // Rejected events are left out; the 24 hours count among the valid ones.
        let before = |age_ms: i64| events.partition_point(|event| event.timestamp_ms < self.now_ms - age_ms);
        let too_old = before(MAX_AGE_MS);
        let expired = self.retention_ms.map_or(0, before);
        let too_new = events.partition_point(|event| event.timestamp_ms <= self.now_ms + MAX_AHEAD_MS);
        let valid = events.get(too_old.max(expired)..too_new).unwrap_or_default();
        if let (Some(first), Some(last)) = (valid.first(), valid.last())
            && last.timestamp_ms - first.timestamp_ms > MAX_BATCH_SPAN_MS
        {
            return Err(invalid(
                "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
            ));
        }
        let mut next_sequence_token = Some("ignored".to_owned());
        if let Some(tokens) = &mut self.tokens {
            let count = tokens.entry(key.clone()).or_default();
            let expected = (*count > 0).then(|| count.to_string());
            if request.sequence_token != expected {
                let error =
                    SendError::new(ErrorClass::InvalidSequenceToken, "The given sequenceToken is invalid.");
                return Err(error.expecting(expected));
            }
            *count += 1;
            next_sequence_token = Some(count.to_string());
        }
        let stored = self.stored.entry(key.clone()).or_default();
        self.accepted.push((key, stored.len()));
        stored.extend_from_slice(valid);
        let rejected = Rejected {
            too_new_from: (too_new < events.len()).then_some(too_new),
            too_old_until: (too_old > 0).then_some(too_old),
            expired_until: (expired > 0).then_some(expired),
        };
        Ok(Accepted { next_sequence_token, rejected: (rejected != Rejected::default()).then_some(rejected) })
    }
}
