//! Pacing: a rate limit shared by all parts, and pauses between attempts.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Error;
use crate::event::{Event, Watcher};

/// Attempts per call or part, the first pause and the longest.
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// Maximum wait that a service may ask for.
const LONGEST_WISH: Duration = Duration::from_secs(60);

/// Maximum size of a chunk, and chunks per second if the rate is limited (bytes).
const CHUNK_BYTES: u64 = 256 * 1024;
const CHUNKS_PER_SEC: u64 = 8;

/// A rate limit in bytes per second, or none.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_per_sec: Option<u64>,
    free_at: Mutex<Instant>,
}

impl Throttle {
    pub(crate) fn new(bytes_per_sec: Option<u64>) -> Self {
        Self { bytes_per_sec: bytes_per_sec.map(|rate| rate.max(1)), free_at: Mutex::new(Instant::now()) }
    }

    /// Returns the chunk size that keeps the limit within a fraction of a second (bytes).
    pub(crate) fn chunk_bytes(&self) -> usize {
        let bytes =
            self.bytes_per_sec.map_or(CHUNK_BYTES, |rate| (rate / CHUNKS_PER_SEC).clamp(1, CHUNK_BYTES));
        usize::try_from(bytes).unwrap_or(1)
    }

    /// Returns when these bytes may be sent.
    #[expect(clippy::cast_precision_loss, reason = "a pause need not be exact")]
    pub(crate) async fn pass(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_sec else { return };
        let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let start = {
            let mut free_at = self.free_at.lock().await;
            let start = (*free_at).max(Instant::now());
            *free_at = start + takes;
            start
        };
        sleep_until(start).await;
    }
}

/// Retries a call while it fails with transient errors.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, Error>>>(
    watcher: &Watcher,
    call: impl FnMut() -> F,
) -> Result<T, Error> {
    retried(watcher, false, call).await
}

/// As [`patiently`], for the first call of an upload: if nothing listens at the address, it is probably wrong.
pub(crate) async fn at_first<T, F: Future<Output = Result<T, Error>>>(
    watcher: &Watcher,
    call: impl FnMut() -> F,
) -> Result<T, Error> {
    retried(watcher, true, call).await
}

async fn retried<T, F: Future<Output = Result<T, Error>>>(
    watcher: &Watcher,
    is_first: bool,
    mut call: impl FnMut() -> F,
) -> Result<T, Error> {
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if is_first && attempt == 1 && error.is_connection_refused() {
            return Err(error);
        }
        let Some(wish) = error.passes().filter(|_| attempt < ATTEMPTS) else { return Err(error) };
        attempt += 1;
        let jitter = pause.mul_f64(rand::random::<f64>());
        let wait = wish.unwrap_or(pause / 2 + jitter / 2).min(LONGEST_WISH);
        watcher.tell(&Event::Retry { error: &error, wait });
        sleep(wait).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_throttle_lets_no_more_through_than_its_rate() {
        let throttle = Throttle::new(Some(1_000));
        let begin = Instant::now();
        for _ in 0..11 {
            throttle.pass(500).await;
        }
        assert_eq!(begin.elapsed(), Duration::from_secs(5));
    }

    #[test]
    fn what_is_sent_at_once_is_small_where_the_limit_is() {
        let chunk = |rate| Throttle::new(rate).chunk_bytes();
        assert_eq!(
            [None, Some(16 << 20), Some(8_000), Some(1), Some(0)].map(chunk),
            [262_144, 262_144, 1_000, 1, 1]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_what_is_refused_is_not() {
        let watcher = Watcher::default();
        let passing = || Error::Unavailable { status: 503, message: "busy".to_owned(), retry_after: None };
        let mut tries = 0;
        let end = patiently(&watcher, || {
            tries += 1;
            std::future::ready(if tries < 4 { Err(passing()) } else { Ok(()) })
        });
        assert!(end.await.is_ok());
        assert_eq!(tries, 4);

        for (error, expected) in [
            (passing as fn() -> Error, ATTEMPTS),
            (|| Error::Refused { status: 403, message: String::new() }, 1),
        ] {
            let mut tries = 0;
            let end = patiently(&watcher, || {
                tries += 1;
                std::future::ready(Err::<(), _>(error()))
            });
            assert!(end.await.is_err());
            assert_eq!(tries, expected);
        }
    }
}
