//! Repeating what failed in passing: jittered, doubling pauses, a bounded number of attempts, and
//! none that begins when the time is over.

use std::time::Duration;

use logferry_domain::fault::Fault;
use tokio::time::{Instant, sleep};

const FIRST_PAUSE: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const MAX_ATTEMPTS: u32 = 10;

/// The pauses between the attempts at one thing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `fault`, when there is to be none.
    pub(crate) async fn pause(&mut self, stop_at: Instant, fault: Fault) -> Result<(), Fault> {
        self.attempts += 1;
        let pause = FIRST_PAUSE.saturating_mul(1 << self.attempts.min(16)).min(LONGEST_PAUSE);
        let pause = pause.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        if self.attempts >= MAX_ATTEMPTS || Instant::now() + pause > stop_at {
            return Err(fault);
        }
        sleep(pause).await;
        Ok(())
    }
}

/// Calls until it succeeds or fails for good.
///
/// # Errors
/// The last fault.
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
