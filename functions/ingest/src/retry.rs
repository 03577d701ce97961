//! Retries of transient failures, with jittered, doubling pauses, until the run's time is over.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use logferry_core::model::fault::Fault;
use tokio::time::{Instant, sleep};

/// Jitter makes a pause up to twice its length.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Pauses between attempts of one operation.
#[derive(Debug)]
pub(crate) struct Backoff(ExponentialBackoff);

impl Default for Backoff {
    fn default() -> Self {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(LONGEST_PAUSE / 2)
            .without_max_times()
            .with_jitter();
        Self(pauses.build())
    }
}

impl Backoff {
    /// Resets the pause after partial success.
    pub(crate) fn got_somewhere(&mut self) {
        *self = Self::default();
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `fault` if the next attempt would start after `stop_at`.
    pub(crate) async fn pause(&mut self, stop_at: Instant, fault: Fault) -> Result<(), Fault> {
        let pause = self.0.next().unwrap_or(LONGEST_PAUSE);
        if Instant::now() + pause > stop_at {
            return Err(fault);
        }
        sleep(pause).await;
        Ok(())
    }
}

/// Retries a call until it succeeds, fails permanently, or the time is over.
///
/// # Errors
/// The last fault. It is a retryable one only if the time is over.
pub(crate) async fn until<T, C, F>(stop_at: Instant, call: C) -> Result<T, Fault>
where
    C: Fn() -> F,
    F: Future<Output = Result<T, Fault>>,
{
    let mut backoff = Backoff::default();
    loop {
        match call().await {
            Err(fault) if fault.retryable() => backoff.pause(stop_at, fault).await?,
            result => return result,
        }
    }
}
