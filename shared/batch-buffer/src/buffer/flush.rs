//! Flushes a stream: in turn, batch by batch. Every event is accounted for, whatever happens to a batch.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;

use super::FlushError;
use super::hooks::{Clock, DeadLetters};
use super::store::Store;
use crate::config::Config;
use crate::deliver::{DeadLetter, Reason, deliver};
use crate::event::Event;
use crate::plan::plan;
use crate::send::Sender;

pub(super) struct Inner<S> {
    sender: S,
    pub(super) config: Config,
    pub(super) clock: Clock,
    dead_letters: DeadLetters,
    store: Mutex<Store>,
    /// Running tasks; `stop` waits until there are none. They are spawned, so a caller that drops the
    /// future of a `flush` does not lose events.
    running: watch::Sender<usize>,
    pub(super) timer: Mutex<Option<AbortHandle>>,
    pub(super) room: Notify,
    sends: Semaphore,
}

impl<S> std::fmt::Debug for Inner<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuffer").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Everything,
    /// Leaves a batch that can still grow.
    FullBatches,
}

impl<S> Inner<S> {
    pub(super) fn new(sender: S, config: Config, clock: Clock, dead_letters: DeadLetters) -> Self {
        Self {
            sends: Semaphore::new(config.max_concurrent_sends),
            sender,
            config,
            clock,
            dead_letters,
            store: Mutex::default(),
            running: watch::Sender::new(0),
            timer: Mutex::default(),
            room: Notify::new(),
        }
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        // No code panics while holding the lock; if it did, the counters would still be usable.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Sender> Inner<S> {
    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
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

    pub(super) async fn all_done(&self) {
        // An error would mean that the sender was dropped, but `self` owns it.
        let _ = self.running.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Without a runtime, the events stay for the timer or the caller.
    pub(super) fn flush_in_background(self: &Arc<Self>, group: Arc<str>, stream: Arc<str>, scope: Scope) {
        if tokio::runtime::Handle::try_current().is_err() {
            self.store().unschedule(&group, &stream);
            return;
        }
        let inner = self.clone();
        self.spawn(async move {
            if let Err(error) = inner.flush(&group, &stream, scope).await {
                tracing::warn!(group = error.group, stream = error.stream, events = error.events, cause = %error.cause, "flush failed");
            }
        });
    }

    pub(super) fn flush_all_in_background(self: &Arc<Self>) {
        let streams = self.store().waiting_streams();
        for (group, stream) in streams {
            let is_new = self.store().schedule(&group, &stream);
            if is_new {
                self.flush_in_background(group, stream, Scope::Everything);
            }
        }
    }

    /// Waits for the stream's turn, takes its events and sends them batch by batch. A permit is held for
    /// one batch at a time, and permits are granted in order of request: a stream with a million events
    /// waits for a thousand streams with one event each.
    pub(super) async fn flush(
        &self,
        group: &Arc<str>,
        stream: &Arc<str>,
        scope: Scope,
    ) -> Result<usize, FlushError> {
        let turn = self.store().turn(group, stream);
        let mut token = turn.lock().await;

        let (taken, taken_bytes) = self.store().take(group, stream);
        let planned = plan(taken, (self.clock)(), &self.config.limits());
        let planned_bytes: usize = planned.batches.iter().flatten().map(Event::size_bytes).sum();
        self.store().in_flight(taken_bytes, planned_bytes);
        let dead =
            planned.refused.into_iter().map(|event| DeadLetter { event, reason: Reason::EmptyMessage });
        self.bury(group, stream, dead.collect());

        let mut batches = planned.batches;
        if scope == Scope::FullBatches && batches.len() > 1 {
            let rest = batches.pop().unwrap_or_default();
            self.store().put_back(group, stream, rest, false);
        }
        let policy = self.config.retry_policy();
        let mut sent = 0;
        let mut failure = None;
        let mut left = batches.into_iter();
        while let Some(batch) = left.next() {
            let bytes: usize = batch.iter().map(Event::size_bytes).sum();
            let permit = self.sends.acquire().await;
            let delivery =
                deliver(&self.sender, group, stream, batch, &mut token, &policy, self.clock.as_ref()).await;
            drop(permit);
            sent += delivery.sent;
            let unsent_bytes: usize = delivery.unsent.iter().map(Event::size_bytes).sum();
            {
                let mut store = self.store();
                store.metrics.events_sent += delivery.sent as u64;
                store.in_flight(bytes, unsent_bytes);
            }
            self.bury(group, stream, delivery.dead);
            self.room.notify_waiters();
            if let Some(cause) = delivery.error {
                let mut unsent = delivery.unsent;
                unsent.extend(left.by_ref().flatten());
                let (group_name, stream_name) = (group.to_string(), stream.to_string());
                failure =
                    Some(FlushError { group: group_name, stream: stream_name, events: unsent.len(), cause });
                self.store().put_back(group, stream, unsent, true);
            }
        }
        {
            let mut store = self.store();
            match failure {
                Some(_) => store.metrics.flushes_failed += 1,
                None => store.metrics.flushes_completed += 1,
            }
            store.finish(group, stream, &turn, token.is_some());
        }
        self.room.notify_waiters();
        failure.map_or(Ok(sent), Err)
    }

    fn bury(&self, group: &str, stream: &str, dead: Vec<DeadLetter>) {
        if !dead.is_empty() {
            self.store().metrics.events_dead_lettered += dead.len() as u64;
            (self.dead_letters)(group, stream, dead);
        }
    }
}

impl<S> Drop for Inner<S> {
    fn drop(&mut self) {
        let metrics = self.store().metrics;
        if metrics.events_buffered > 0 || metrics.bytes_in_flight > 0 {
            let (events, bytes_in_flight) = (metrics.events_buffered, metrics.bytes_in_flight);
            tracing::error!(
                events,
                bytes_in_flight,
                "a batch buffer was dropped without stop: its events are lost"
            );
        }
    }
}
