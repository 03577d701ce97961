//! A buffer for many streams. Full streams are flushed automatically, a timer flushes the rest. Flushes of
//! one stream are serial while events are added, and memory is bounded.

mod builder;
mod flush;
mod hooks;
mod store;

use std::sync::{Arc, PoisonError, Weak};

use tokio::time::MissedTickBehavior;

pub use self::builder::Builder;
use self::flush::{Inner, Scope};
pub use self::store::{Metrics, Unsent};
use crate::event::Event;
use crate::send::{ErrorClass, SendError, Sender};
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

/// Why an event was not added. It is returned in the error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// `max_buffered_bytes` are waiting or in flight.
    #[error("the buffer is full")]
    Full(Event),
    /// PutLogEvents requires at least one byte.
    #[error("the message is empty")]
    EmptyMessage(Event),
    /// `stop` has been called.
    #[error("the buffer is stopped")]
    Stopped(Event),
}

/// A flush that ended early. Its events are back in the buffer, in order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{events} events of {group}/{stream} could not be sent")]
pub struct FlushError {
    pub group: String,
    pub stream: String,
    pub events: usize,
    #[source]
    pub cause: SendError,
}

/// How a buffer ended. Empty if everything was sent or dead-lettered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "unsent events are only in here"]
pub struct Stopped {
    pub unsent: Vec<Unsent>,
}

impl<S: Sender> BatchBuffer<S> {
    /// Creates a buffer with the default [`crate::Config`].
    pub fn new(sender: S) -> Self {
        match Self::builder(sender).build() {
            Ok(buffer) => buffer,
            Err(error) => unreachable!("the default configuration is legal: {error}"),
        }
    }

    pub fn builder(sender: S) -> Builder<S> {
        Builder::new(sender)
    }

    /// Adds one event; never waits. A stream that becomes full is flushed in the background.
    ///
    /// # Errors
    /// The event, if the buffer is full or stopped or the message is empty.
    pub fn add(&self, group: &str, stream: &str, event: Event) -> Result<(), AddError> {
        if event.message.is_empty() {
            return Err(AddError::EmptyMessage(event));
        }
        let inner = &self.inner;
        let mut store = inner.store();
        if store.stopped {
            return Err(AddError::Stopped(event));
        }
        let held = store.bytes_held();
        // An event larger than the bound is accepted if the buffer is empty; otherwise it could never be
        // added.
        if held > 0 && held + event.size_bytes() > inner.config.max_buffered_bytes {
            store.metrics.adds_refused += 1;
            return Err(AddError::Full(event));
        }
        let is_full = store.add(group, stream, event, (inner.config.max_events, inner.config.max_bytes));
        drop(store);
        if is_full {
            inner.flush_in_background(group.into(), stream.into(), Scope::FullBatches);
        }
        Ok(())
    }

    /// Adds one event, and waits for room if [`Self::add`] would return `Full`. It waits as long as the
    /// service accepts nothing.
    ///
    /// # Errors
    /// The event, if the buffer is stopped or the message is empty.
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

    /// Adds one structured entry as a JSON line with the current time.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_structured(&self, group: &str, stream: &str, entry: &Structured) -> Result<(), AddError> {
        self.add(group, stream, Event::new((self.inner.clock)(), entry.to_line()))
    }

    /// Sends the events of the stream, after any running flush of it. Returns the number of events sent.
    /// Dropping the future does not stop the flush.
    ///
    /// # Errors
    /// Events that could not be sent for a transient reason are back in the buffer.
    pub async fn flush(&self, group: &str, stream: &str) -> Result<usize, FlushError> {
        self.flush_in_task(group.into(), stream.into()).await
    }

    /// Flushes every stream, several at a time. Returns the number of events sent.
    ///
    /// # Errors
    /// One per stream whose events are back in the buffer. The other streams were flushed.
    pub async fn flush_all(&self) -> Result<usize, Vec<FlushError>> {
        let streams = self.inner.store().waiting_streams();
        // All flushes are started before the first one is awaited.
        let flushes: Vec<_> =
            streams.into_iter().map(|(group, stream)| self.flush_in_task(group, stream)).collect();
        let (mut sent, mut errors) = (0, Vec::new());
        for flush in flushes {
            match flush.await {
                Ok(count) => sent += count,
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(sent) } else { Err(errors) }
    }

    /// Starts a flush and returns a future of its end.
    fn flush_in_task(
        &self,
        group: Arc<str>,
        stream: Arc<str>,
    ) -> impl Future<Output = Result<usize, FlushError>> + use<S> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let inner = self.inner.clone();
        let (group_name, stream_name) = (group.to_string(), stream.to_string());
        self.inner.spawn(async move {
            // If the caller dropped the future, the flush continues and its result is discarded.
            let _ = answer.send(inner.flush(&group, &stream, Scope::Everything).await);
        });
        async move {
            // The task is only dropped if the runtime shuts down.
            answered.await.unwrap_or_else(|_| {
                let cause = SendError::new(ErrorClass::Other, "the runtime was shut down");
                Err(FlushError { group: group_name, stream: stream_name, events: 0, cause })
            })
        }
    }

    /// Starts the background timer; a second call changes nothing. Requires a tokio runtime.
    pub fn start(&self) {
        let mut timer = self.inner.timer.lock().unwrap_or_else(PoisonError::into_inner);
        if timer.is_some() || self.inner.store().stopped {
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
                // The timer holds only a weak reference to the buffer.
                match inner.upgrade() {
                    Some(inner) => inner.flush_all_in_background(),
                    None => return,
                }
            }
        });
        *timer = Some(task.abort_handle());
    }

    /// Refuses further adds, waits for running flushes, then sends everything, including events that
    /// arrived meanwhile. Events that could not be sent are returned.
    pub async fn stop(&self) -> Stopped {
        self.inner.store().stopped = true;
        if let Some(timer) = self.inner.timer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            timer.abort();
        }
        self.inner.all_done().await;
        // Unsent events are waiting again; the errors contain no more than that.
        let _ = self.flush_all().await;
        self.inner.all_done().await;
        let unsent = self.inner.store().drain();
        self.inner.room.notify_waiters();
        Stopped { unsent }
    }

    pub fn metrics(&self) -> Metrics {
        self.inner.store().metrics
    }
}
