//! Retries of transient failures, with jittered, doubling pauses, until the run's time is over.

use std::time::Duration;

use logferry_core::model::fault::Fault;
use tokio::time::{Instant, sleep};

const FIRST_PAUSE: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Number of doublings after which the pause no longer grows.
const MAX_DOUBLINGS: u32 = 8;

/// Pauses between attempts of one operation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Resets the pause after partial success.
    pub(crate) fn got_somewhere(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `fault` if the next attempt would start after `stop_at`.
    pub(crate) async fn pause(&mut self, stop_at: Instant, fault: Fault) -> Result<(), Fault> {
        self.failures = (self.failures + 1).min(MAX_DOUBLINGS);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures).min(LONGEST_PAUSE);
        let pause = pause.mul_f64(0.5 + 0.5 * rand::random::<f64>());
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
