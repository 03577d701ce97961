//! A strict fake of PutLogEvents, in memory. It enforces all documented rules, including request rates, and
//! can fail on demand, lose responses and refuse poison events. And the contract that it shares with real
//! endpoints: [`contract::check`].

pub mod contract;
mod rates;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::Event;
use crate::limits::{
    MAX_AGE_MS, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_SPAN_MS, MAX_FUTURE_MS, MAX_NAME_CHARS,
    MIN_MESSAGE_BYTES,
};
use crate::send::{Accepted, ErrorClass, Rejected, Request, SendError, Sender};
use rates::{Operation, Rates};

/// How the next call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is stored; the error is returned.
    Fail(ErrorClass),
    /// The events are stored; the response is lost.
    LoseAnswer,
    /// No response, ever; nothing is stored.
    Hang,
    /// The sender panics; nothing is stored.
    Panic,
}

/// A received call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Put { group: String, stream: String, events: usize, bytes: usize },
    Create { group: String, stream: String },
    SetRetention { group: String, days: u32 },
}

type Poison = Box<dyn Fn(&Event) -> bool + Send>;

#[derive(Default)]
struct World {
    now_ms: i64,
    retention_ms: Option<i64>,
    /// Retentions of groups that have one (days).
    retentions: BTreeMap<String, u32>,
    /// `None` if all groups and streams exist.
    created: Option<Created>,
    stored: BTreeMap<(String, String), Vec<Event>>,
    /// Where the events of each accepted request start in their stream.
    accepted: Vec<((String, String), usize)>,
    tokens: Option<BTreeMap<(String, String), u64>>,
    calls: Vec<Call>,
    faults: VecDeque<Option<Fault>>,
    /// The fault of every request to these groups.
    broken: BTreeMap<String, Fault>,
    /// The fault of every request to set a retention.
    retentions_broken: Option<Fault>,
    poison: Option<Poison>,
    rates: Rates,
    under_way: usize,
    most_under_way: usize,
}

#[derive(Default)]
struct Created {
    groups: BTreeSet<String>,
    streams: BTreeSet<(String, String)>,
}

/// The strict fake. Clones share its state.
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
    /// Every group and stream exists; the clock is fixed at `now_ms`.
    pub fn at(now_ms: i64) -> Self {
        let logs = Self::default();
        logs.world().now_ms = now_ms;
        logs
    }

    /// Groups and streams must be created first.
    #[must_use]
    pub fn empty(self) -> Self {
        self.world().created = Some(Created::default());
        self
    }

    /// Like old endpoints: every request must have the token of the one before.
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

    /// A request with such an event is refused as invalid.
    #[must_use]
    pub fn with_poison(self, poison: impl Fn(&Event) -> bool + Send + 'static) -> Self {
        self.world().poison = Some(Box::new(poison));
        self
    }

    /// Sets the faults of the next calls; `None` for a successful call.
    pub fn next(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.world().faults.extend(faults);
    }

    /// Clears faults that have not occurred yet.
    pub fn next_well(&self) {
        self.world().faults.clear();
    }

    /// From now on, every request with events for this group fails; `None` ends that.
    pub fn break_group(&self, group: &str, fault: Option<Fault>) {
        let broken = &mut self.world().broken;
        match fault {
            Some(fault) => broken.insert(group.to_owned(), fault),
            None => broken.remove(group),
        };
    }

    /// From now on, every request to set a retention fails; `None` ends that.
    pub fn break_retentions(&self, fault: Option<Fault>) {
        self.world().retentions_broken = fault;
    }

    /// Number of throttled requests.
    pub fn throttled(&self) -> usize {
        self.world().rates.throttled
    }

    /// Maximum number of concurrent requests with events.
    pub fn most_under_way(&self) -> usize {
        self.world().most_under_way
    }

    /// The retention of a group in days.
    pub fn retention(&self, group: &str) -> Option<u32> {
        self.world().retentions.get(group).copied()
    }

    /// PutRetentionPolicy.
    ///
    /// # Errors
    /// As the service: throttled, or no such group.
    pub async fn set_retention(&self, group: &str, days: u32) -> Result<(), SendError> {
        let fault = {
            let mut world = self.world();
            world.calls.push(Call::SetRetention { group: group.to_owned(), days });
            world.retentions_broken
        };
        match fault {
            Some(Fault::Fail(class)) => return Err(SendError::new(class, "as configured")),
            Some(Fault::Panic) => panic!("as configured"),
            Some(Fault::Hang) => std::future::pending::<()>().await,
            Some(Fault::LoseAnswer) | None => {}
        }
        let mut world = self.world();
        world.rates.take(Operation::PutRetentionPolicy)?;
        if world.created.as_ref().is_some_and(|created| !created.groups.contains(group)) {
            return Err(SendError::new(
                ErrorClass::ResourceNotFound,
                "The specified log group does not exist.",
            ));
        }
        world.retentions.insert(group.to_owned(), days);
        match fault {
            Some(_) => Err(SendError::new(ErrorClass::Connection, "connection reset")),
            None => Ok(()),
        }
    }

    pub fn set_now_ms(&self, now_ms: i64) {
        self.world().now_ms = now_ms;
    }

    pub fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// Number of requests with events.
    pub fn puts(&self) -> usize {
        self.world().calls.iter().filter(|call| matches!(call, Call::Put { .. })).count()
    }

    /// The events of a stream, in order of arrival.
    pub fn stored(&self, group: &str, stream: &str) -> Vec<Event> {
        self.world().stored.get(&(group.to_owned(), stream.to_owned())).cloned().unwrap_or_default()
    }

    /// All events, with group and stream.
    pub fn all_stored(&self) -> Vec<(String, String, Vec<Event>)> {
        let world = self.world();
        world
            .stored
            .iter()
            .map(|((group, stream), events)| (group.clone(), stream.clone(), events.clone()))
            .collect()
    }

    /// The events of each accepted request, in order of the requests.
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
            let always = world.broken.get(&*request.group).copied();
            let fault = world.faults.pop_front().flatten().or(always);
            world.under_way += 1;
            world.most_under_way = world.most_under_way.max(world.under_way);
            match fault {
                Some(Fault::Fail(class)) => (None, Err(SendError::new(class, "as configured"))),
                Some(Fault::Hang | Fault::Panic) => (fault, Ok(Accepted::default())),
                Some(Fault::LoseAnswer) => (
                    None,
                    world.put(&request).and(Err(SendError::new(ErrorClass::Connection, "connection reset"))),
                ),
                None => (None, world.put(&request)),
            }
        };
        let _under_way = UnderWay(self);
        match fault {
            Some(Fault::Panic) => panic!("as configured"),
            Some(_) => std::future::pending::<()>().await,
            None => {}
        }
        // A real call is never instant: other tasks run meanwhile.
        tokio::task::yield_now().await;
        answer
    }

    async fn create(&self, group: &str, stream: &str) -> Result<(), SendError> {
        tokio::task::yield_now().await;
        let mut world = self.world();
        let key = (group.to_owned(), stream.to_owned());
        world.calls.push(Call::Create { group: key.0.clone(), stream: key.1.clone() });
        if let Some(Fault::Fail(class)) = world.faults.pop_front().flatten() {
            return Err(SendError::new(class, "as configured"));
        }
        check_names(group, stream)?;
        world.rates.take(Operation::CreateLogStream)?;
        let World { created, rates, .. } = &mut *world;
        if let Some(created) = created {
            if !created.groups.contains(group) {
                rates.take(Operation::CreateLogGroup)?;
                created.groups.insert(key.0.clone());
                rates.take(Operation::CreateLogStream)?;
            }
            created.streams.insert(key);
        }
        Ok(())
    }
}

/// A running request, counted until it ends.
struct UnderWay<'a>(&'a StrictLogs);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.world().under_way -= 1;
    }
}

fn invalid(message: impl Into<String>) -> SendError {
    SendError::new(ErrorClass::InvalidParameter, message)
}

/// Checks names by the rules of CreateLogGroup and CreateLogStream.
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
        self.rates.take(Operation::PutLogEvents)?;
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
        if self.created.as_ref().is_some_and(|created| !created.streams.contains(&key)) {
            return Err(SendError::new(
                ErrorClass::ResourceNotFound,
                "The specified log stream does not exist.",
            ));
        }

        // Rejected events are left out; the 24 hours count among the valid ones.
        let before = |age_ms: i64| events.partition_point(|event| event.timestamp_ms < self.now_ms - age_ms);
        let too_old = before(MAX_AGE_MS);
        let own_ms = self.retentions.get(&key.0).map(|days| i64::from(*days) * 24 * 3_600_000);
        let expired = own_ms.or(self.retention_ms).map_or(0, before);
        let too_new = events.partition_point(|event| event.timestamp_ms <= self.now_ms + MAX_FUTURE_MS);
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
