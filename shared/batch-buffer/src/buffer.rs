//! Many streams behind one `add`: full streams flush by themselves, a timer flushes the rest,
//! flushes of one stream are serial while adds go on, and memory has a bound.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use crate::config::{Config, ConfigError};
use crate::deliver::{DeadLetter, Reason, deliver};
use crate::event::Event;
use crate::plan::plan;
use crate::send::{SendError, Sender};
use crate::structured::Structured;

/// The buffer. Clones share it.
#[derive(Debug)]
pub struct BatchBuffer<S: Sender> {
    inner: Arc<Inner<S>>,
}

impl<S: Sender> Clone for BatchBuffer<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// Why an event was not taken; it comes back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// `max_buffered_bytes` are waiting or in flight.
    #[error("the buffer is full")]
    Full(Event),
    /// PutLogEvents wants at least one byte.
    #[error("the message is empty")]
    EmptyMessage(Event),
    /// `stop` has been called.
    #[error("the buffer is stopped")]
    Stopped(Event),
}

/// A flush that ended early. Its events are back in the buffer, in order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{events} events of {group} {stream} could not be sent")]
pub struct FlushError {
    pub group: String,
    pub stream: String,
    pub events: usize,
    #[source]
    pub cause: SendError,
}

/// Events that a stopped buffer could not send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    pub group: String,
    pub stream: String,
    pub events: Vec<Event>,
}

/// How a buffer ended. Empty when everything was sent or dead-lettered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "what could not be sent is in here and nowhere else"]
pub struct Stopped {
    pub unsent: Vec<Unsent>,
}

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

type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;
type DeadLetters = Arc<dyn Fn(&str, &str, Vec<DeadLetter>) + Send + Sync>;

/// Settings before the buffer exists.
pub struct Builder<S> {
    sender: S,
    config: Config,
    clock: Clock,
    dead_letters: DeadLetters,
}

impl<S> std::fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<S: Sender> Builder<S> {
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Milliseconds since 1970; the system's clock by default.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Gets group, stream and the events that will never be sent. It runs inside the flush, so
    /// it should hand them on (a channel, a file) and return. By default they are counted and a
    /// `tracing` error says how many and why.
    #[must_use]
    pub fn dead_letters(
        mut self,
        receive: impl Fn(&str, &str, Vec<DeadLetter>) + Send + Sync + 'static,
    ) -> Self {
        self.dead_letters = Arc::new(receive);
        self
    }

    /// # Errors
    /// A setting outside its range.
    pub fn build(self) -> Result<BatchBuffer<S>, ConfigError> {
        self.config.check()?;
        let sends = Semaphore::new(self.config.max_concurrent_sends);
        let inner = Inner {
            sender: self.sender,
            config: self.config,
            clock: self.clock,
            dead_letters: self.dead_letters,
            state: Mutex::default(),
            running: watch::Sender::new(0),
            timer: Mutex::default(),
            room: Notify::new(),
            sends,
        };
        Ok(BatchBuffer { inner: Arc::new(inner) })
    }
}

struct Inner<S> {
    sender: S,
    config: Config,
    clock: Clock,
    dead_letters: DeadLetters,
    state: Mutex<State>,
    /// Tasks under way; `stop` waits for none. They are spawned, so that a caller who drops the
    /// future of a `flush` drops no events with it.
    running: watch::Sender<usize>,
    timer: Mutex<Option<AbortHandle>>,
    room: Notify,
    sends: Semaphore,
}

impl<S> std::fmt::Debug for Inner<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuffer").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    groups: HashMap<Arc<str>, HashMap<Arc<str>, Stream>>,
    metrics: Metrics,
    stopped: bool,
}

#[derive(Default)]
struct Stream {
    waiting: Vec<Event>,
    waiting_bytes: usize,
    /// Held through a flush, so that flushes of a stream are serial. Its content is the sequence
    /// token, which only endpoints of old want.
    turn: Arc<Turn<Option<String>>>,
    /// A background flush is waiting for its turn: one is enough.
    is_scheduled: bool,
    /// The last flush failed: being full starts no other, the timer or the caller does.
    is_cooling: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Everything,
    /// Leaves a batch that could still grow.
    FullBatches,
}

impl<S: Sender> BatchBuffer<S> {
    /// A buffer with the default [`Config`].
    pub fn new(sender: S) -> Self {
        match Self::builder(sender).build() {
            Ok(buffer) => buffer,
            Err(error) => unreachable!("the default configuration is legal: {error}"),
        }
    }

    pub fn builder(sender: S) -> Builder<S> {
        Builder {
            sender,
            config: Config::default(),
            clock: Arc::new(system_clock),
            dead_letters: Arc::new(log_dead_letters),
        }
    }

    /// Takes one event; never waits. A stream that becomes full is flushed in the background.
    ///
    /// # Errors
    /// The event, when the buffer is full or stopped or the message is empty.
    pub fn add(&self, group: &str, stream: &str, event: Event) -> Result<(), AddError> {
        if event.message.is_empty() {
            return Err(AddError::EmptyMessage(event));
        }
        let inner = &self.inner;
        let mut state = inner.state();
        if state.stopped {
            return Err(AddError::Stopped(event));
        }
        let bytes = event.size_bytes();
        let held = state.metrics.bytes_buffered + state.metrics.bytes_in_flight;
        // One event beyond every bound is taken alone, or it could never be.
        if held > 0 && held + bytes > inner.config.max_buffered_bytes {
            state.metrics.adds_refused += 1;
            return Err(AddError::Full(event));
        }
        state.metrics.events_buffered += 1;
        state.metrics.bytes_buffered += bytes;
        let slot = state.stream(group, stream);
        slot.waiting.push(event);
        slot.waiting_bytes += bytes;
        let is_full =
            slot.waiting.len() >= inner.config.max_events || slot.waiting_bytes >= inner.config.max_bytes;
        if is_full && !slot.is_scheduled && !slot.is_cooling {
            slot.is_scheduled = true;
            drop(state);
            inner.flush_in_background(group.into(), stream.into(), Scope::FullBatches);
        }
        Ok(())
    }

    /// Takes one event, waiting for room where [`Self::add`] would answer `Full`. It waits as
    /// long as the service takes nothing.
    ///
    /// # Errors
    /// The event, when the buffer is stopped or the message is empty.
    pub async fn add_or_wait(&self, group: &str, stream: &str, event: Event) -> Result<(), AddError> {
        let mut event = event;
        loop {
            let room = self.inner.room.notified();
            match self.add(group, stream, event) {
                Err(AddError::Full(back)) => event = back,
                answer => return answer,
            }
            self.inner.flush_all_in_background();
            room.await;
        }
    }

    /// Takes one structured entry as a JSON line with the time of now.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_structured(&self, group: &str, stream: &str, entry: &Structured) -> Result<(), AddError> {
        self.add(group, stream, Event::new((self.inner.clock)(), entry.to_line()))
    }

    /// Sends what the stream holds, after any flush of it that is under way. Returns the number
    /// of events sent. Dropping the future does not stop the flush.
    ///
    /// # Errors
    /// What could not be sent for a passing reason is back in the buffer.
    pub async fn flush(&self, group: &str, stream: &str) -> Result<usize, FlushError> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let (inner, group, stream) = (self.inner.clone(), Arc::<str>::from(group), Arc::<str>::from(stream));
        self.inner.spawn(async move {
            // Nobody listens when the caller has gone: the flush goes on all the same.
            let _ = answer.send(inner.flush(&group, &stream, Scope::Everything).await);
        });
        answered.await.unwrap_or(Ok(0))
    }

    /// Flushes every stream, several at a time. Returns the number of events sent.
    ///
    /// # Errors
    /// One per stream whose events are back in the buffer; the other streams were flushed.
    pub async fn flush_all(&self) -> Result<usize, Vec<FlushError>> {
        let mut answers = Vec::new();
        for (group, stream) in self.inner.waiting_streams() {
            let (answer, answered) = tokio::sync::oneshot::channel();
            let inner = self.inner.clone();
            self.inner.spawn(async move {
                let _ = answer.send(inner.flush(&group, &stream, Scope::Everything).await);
            });
            answers.push(answered);
        }
        let (mut sent, mut errors) = (0, Vec::new());
        for answered in answers {
            match answered.await {
                Ok(Ok(count)) => sent += count,
                Ok(Err(error)) => errors.push(error),
                Err(_) => {}
            }
        }
        if errors.is_empty() { Ok(sent) } else { Err(errors) }
    }

    /// Starts the background timer; a second call changes nothing. Needs a tokio runtime.
    pub fn start(&self) {
        let mut timer = self.inner.timer.lock().unwrap_or_else(PoisonError::into_inner);
        if timer.is_some() || self.inner.state().stopped {
            return;
        }
        let period = self.inner.config.flush_interval;
        let inner: Weak<Inner<S>> = Arc::downgrade(&self.inner);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                // The timer alone keeps no buffer alive.
                match inner.upgrade() {
                    Some(inner) => inner.flush_all_in_background(),
                    None => return,
                }
            }
        });
        *timer = Some(task.abort_handle());
    }

    /// Refuses further adds, waits for flushes under way, then sends everything, also what
    /// arrived while they ran. What could not be sent comes back.
    pub async fn stop(&self) -> Stopped {
        self.inner.state().stopped = true;
        if let Some(timer) = self.inner.timer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            timer.abort();
        }
        self.inner.all_done().await;
        // Events that come back come back to `waiting`; the errors say nothing more.
        let _ = self.flush_all().await;
        self.inner.all_done().await;

        let mut state = self.inner.state();
        let mut unsent = Vec::new();
        for (group, streams) in std::mem::take(&mut state.groups) {
            for (stream, slot) in streams {
                if !slot.waiting.is_empty() {
                    unsent.push(Unsent {
                        group: group.to_string(),
                        stream: stream.to_string(),
                        events: slot.waiting,
                    });
                }
            }
        }
        state.metrics.events_buffered = 0;
        state.metrics.bytes_buffered = 0;
        drop(state);
        self.inner.room.notify_waiters();
        unsent.sort_by(|a, b| (&a.group, &a.stream).cmp(&(&b.group, &b.stream)));
        Stopped { unsent }
    }

    pub fn metrics(&self) -> Metrics {
        self.inner.state().metrics
    }
}

impl<S> Inner<S> {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; if it did, the counters would still be usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting_streams(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let state = self.state();
        let streams = state.groups.iter().flat_map(|(group, streams)| {
            let waiting = streams.iter().filter(|(_, slot)| !slot.waiting.is_empty());
            waiting.map(move |(stream, _)| (group.clone(), stream.clone()))
        });
        streams.collect()
    }
}

impl<S: Sender> Inner<S> {
    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        struct Running<S>(Arc<Inner<S>>);
        impl<S> Drop for Running<S> {
            fn drop(&mut self) {
                self.0.running.send_modify(|count| *count -= 1);
            }
        }
        self.running.send_modify(|count| *count += 1);
        let running = Running(self.clone());
        tokio::spawn(async move {
            task.await;
            drop(running);
        });
    }

    async fn all_done(&self) {
        // An error would mean that the sender is gone, and it is `self`.
        let _ = self.running.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Without a runtime the events stay for the timer or the caller.
    fn flush_in_background(self: &Arc<Self>, group: Arc<str>, stream: Arc<str>, scope: Scope) {
        if tokio::runtime::Handle::try_current().is_err() {
            self.state().stream(&group, &stream).is_scheduled = false;
            return;
        }
        let inner = self.clone();
        self.spawn(async move {
            if let Err(error) = inner.flush(&group, &stream, scope).await {
                tracing::warn!(group = error.group, stream = error.stream, events = error.events, cause = %error.cause, "flush failed");
            }
        });
    }

    fn flush_all_in_background(self: &Arc<Self>) {
        for (group, stream) in self.waiting_streams() {
            let was_scheduled =
                std::mem::replace(&mut self.state().stream(&group, &stream).is_scheduled, true);
            if !was_scheduled {
                self.flush_in_background(group, stream, Scope::Everything);
            }
        }
    }

    /// Takes what the stream holds when its turn comes and sends it batch by batch. A permit is
    /// held for one batch at a time, and permits are handed out in the order asked for: a
    /// stream with a million events waits behind a thousand streams with one each.
    async fn flush(&self, group: &Arc<str>, stream: &Arc<str>, scope: Scope) -> Result<usize, FlushError> {
        let turn = self.state().stream(group, stream).turn.clone();
        let mut token = turn.lock().await;

        let limits = self.config.limits();
        let (taken, taken_bytes) = self.take(group, stream);
        let planned = plan(taken, (self.clock)(), &limits);
        let planned_bytes: usize = planned.batches.iter().flatten().map(Event::size_bytes).sum();
        self.in_flight(|bytes| bytes.saturating_sub(taken_bytes) + planned_bytes);
        let dead = planned
            .refused
            .into_iter()
            .map(|event| DeadLetter { event, reason: Reason::EmptyMessage })
            .collect();
        self.bury(group, stream, dead);

        let mut batches = planned.batches;
        if scope == Scope::FullBatches && batches.len() > 1 {
            let rest = batches.pop().unwrap_or_default();
            self.put_back(group, stream, rest, false);
        }
        let policy = self.config.retry_policy();
        let mut sent = 0;
        let mut left = batches.into_iter();
        while let Some(batch) = left.next() {
            let bytes: usize = batch.iter().map(Event::size_bytes).sum();
            let permit = self.sends.acquire().await;
            let delivery =
                deliver(&self.sender, group, stream, batch, &mut token, &policy, self.clock.as_ref()).await;
            drop(permit);
            sent += delivery.sent;
            let unsent_bytes: usize = delivery.unsent.iter().map(Event::size_bytes).sum();
            self.state().metrics.events_sent += delivery.sent as u64;
            self.in_flight(|held| (held + unsent_bytes).saturating_sub(bytes));
            self.bury(group, stream, delivery.dead);
            self.room.notify_waiters();
            if let Some(cause) = delivery.error {
                let mut unsent = delivery.unsent;
                unsent.extend(left.flatten());
                let events = unsent.len();
                self.put_back(group, stream, unsent, true);
                self.finish(group, stream, &turn, token.is_some(), |metrics| metrics.flushes_failed += 1);
                return Err(FlushError {
                    group: group.to_string(),
                    stream: stream.to_string(),
                    events,
                    cause,
                });
            }
        }
        self.finish(group, stream, &turn, token.is_some(), |metrics| metrics.flushes_completed += 1);
        Ok(sent)
    }

    fn take(&self, group: &str, stream: &str) -> (Vec<Event>, usize) {
        let mut state = self.state();
        let slot = state.stream(group, stream);
        slot.is_scheduled = false;
        slot.is_cooling = false;
        let bytes = std::mem::take(&mut slot.waiting_bytes);
        let events = std::mem::take(&mut slot.waiting);
        state.metrics.events_buffered -= events.len();
        state.metrics.bytes_buffered -= bytes;
        state.metrics.bytes_in_flight += bytes;
        state.metrics.flushes_pending += 1;
        (events, bytes)
    }

    fn in_flight(&self, change: impl Fn(usize) -> usize) {
        let metrics = &mut self.state().metrics;
        metrics.bytes_in_flight = change(metrics.bytes_in_flight);
    }

    /// Before what arrived since.
    fn put_back(&self, group: &str, stream: &str, mut events: Vec<Event>, is_failure: bool) {
        let mut state = self.state();
        let bytes: usize = events.iter().map(Event::size_bytes).sum();
        state.metrics.bytes_in_flight = state.metrics.bytes_in_flight.saturating_sub(bytes);
        state.metrics.bytes_buffered += bytes;
        state.metrics.events_buffered += events.len();
        let slot = state.stream(group, stream);
        slot.is_cooling |= is_failure;
        slot.waiting_bytes += bytes;
        events.append(&mut slot.waiting);
        slot.waiting = events;
    }

    fn bury(&self, group: &str, stream: &str, dead: Vec<DeadLetter>) {
        if !dead.is_empty() {
            self.state().metrics.events_dead_lettered += dead.len() as u64;
            (self.dead_letters)(group, stream, dead);
        }
    }

    /// Counts the flush, and forgets a stream that holds nothing, not even a token, and that
    /// nobody waits for.
    fn finish(
        &self,
        group: &str,
        stream: &str,
        turn: &Arc<Turn<Option<String>>>,
        has_token: bool,
        count: impl Fn(&mut Metrics),
    ) {
        let mut state = self.state();
        state.metrics.flushes_pending -= 1;
        count(&mut state.metrics);
        if let Some(streams) = state.groups.get_mut(group) {
            // Two: the map's and this flush's own. Others are cloned under the lock held here.
            let is_idle =
                |slot: &Stream| slot.waiting.is_empty() && !has_token && Arc::strong_count(turn) == 2;
            if streams.get(stream).is_some_and(is_idle) {
                streams.remove(stream);
            }
            if streams.is_empty() {
                state.groups.remove(group);
            }
        }
        drop(state);
        self.room.notify_waiters();
    }
}

impl State {
    fn stream(&mut self, group: &str, stream: &str) -> &mut Stream {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.into(), HashMap::new());
        }
        let Some(streams) = self.groups.get_mut(group) else { unreachable!("inserted above") };
        if !streams.contains_key(stream) {
            streams.insert(stream.into(), Stream::default());
        }
        let Some(slot) = streams.get_mut(stream) else { unreachable!("inserted above") };
        slot
    }
}

impl<S> Drop for Inner<S> {
    fn drop(&mut self) {
        let events = self.state().metrics.events_buffered;
        if events > 0 {
            tracing::error!(events, "a batch buffer was dropped without stop: its events are lost");
        }
    }
}

fn system_clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

fn log_dead_letters(group: &str, stream: &str, dead: Vec<DeadLetter>) {
    for letter in &dead {
        tracing::error!(group, stream, reason = letter.reason.code(), cause = %letter.reason, "event dead-lettered");
    }
}
