//! Repeating what failed in passing: jittered, doubling pauses, for as long as the run has time.

use std::time::Duration;

use logferry_core::model::fault::Fault;
use tokio::time::{Instant, sleep};

const FIRST_PAUSE: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// From here on the longest pause is reached.
const MAX_DOUBLINGS: u32 = 8;

/// The pauses between the attempts at one thing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff {
    in_vain: u32,
}

impl Backoff {
    /// The last attempt achieved a part: the next pause is as the first one.
    pub(crate) fn got_somewhere(&mut self) {
        self.in_vain = 0;
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `fault`, when it would begin after `stop_at`.
    pub(crate) async fn pause(&mut self, stop_at: Instant, fault: Fault) -> Result<(), Fault> {
        self.in_vain = (self.in_vain + 1).min(MAX_DOUBLINGS);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.in_vain).min(LONGEST_PAUSE);
        let pause = pause.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        if Instant::now() + pause > stop_at {
            return Err(fault);
        }
        sleep(pause).await;
        Ok(())
    }
}

/// Calls until it succeeds, fails for good, or the time is over.
///
/// # Errors
/// The last fault: one that a repeat may mend only when the time is over.
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
