//! Settings of a buffer that is being built.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::BatchBuffer;
use super::flush::Inner;
use super::hooks::{Clock, DeadLetters, log_dead_letters, system_clock};
use crate::config::{Config, ConfigError};
use crate::deliver::DeadLetter;
use crate::send::Sender;

/// Settings of a buffer that is being built.
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
    pub(super) fn new(sender: S) -> Self {
        Self {
            sender,
            config: Config::default(),
            clock: Arc::new(system_clock),
            dead_letters: Arc::new(log_dead_letters),
        }
    }

    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the clock (milliseconds since 1970). The default, also used if this clock panics, is the system
    /// clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.clock =
            Arc::new(move || catch_unwind(AssertUnwindSafe(&clock)).unwrap_or_else(|_| system_clock()));
        self
    }

    /// Sets the receiver of dead letters: group, stream and the events that can never be sent. It runs
    /// inside the flush, so it should pass them on (to a channel, a file) and return. By default, dead
    /// letters are counted, and a `tracing` error reports their number and reason. If the receiver panics,
    /// its events are lost and the flush continues.
    #[must_use]
    pub fn dead_letters(
        mut self,
        receive: impl Fn(&str, &str, Vec<DeadLetter>) + Send + Sync + 'static,
    ) -> Self {
        self.dead_letters = Arc::new(move |group, stream, dead| {
            let events = dead.len();
            if catch_unwind(AssertUnwindSafe(|| receive(group, stream, dead))).is_err() {
                tracing::error!(group, stream, events, "the dead letter receiver panicked");
            }
        });
        self
    }

    /// Builds the buffer.
    ///
    /// # Errors
    /// A setting outside its range.
    pub fn build(self) -> Result<BatchBuffer<S>, ConfigError> {
        self.config.check()?;
        Ok(BatchBuffer {
            inner: Arc::new(Inner::new(self.sender, self.config, self.clock, self.dead_letters)),
        })
    }
}
