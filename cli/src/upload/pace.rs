//! How fast: a limit that all parts share, and pauses between tries.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::service::CallError;

/// How often a call or part is tried, the first pause and the longest.
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// A limit in bytes per second, or none.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_per_sec: Option<u64>,
    free_at: Mutex<Instant>,
}

impl Throttle {
    pub(crate) fn new(bytes_per_sec: Option<u64>) -> Self {
        Self { bytes_per_sec, free_at: Mutex::new(Instant::now()) }
    }

    /// Returns when these bytes may go.
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

/// Repeats a call while it fails for passing reasons, and where `again` says so.
pub(crate) async fn patiently<T>(
    again: impl Fn(&CallError) -> bool,
    mut call: impl AsyncFnMut() -> Result<T, CallError>,
) -> Result<T, CallError> {
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let after = match &error {
            CallError::Passing(_, after) => *after,
            refused if again(refused) => None,
            _ => return Err(error),
        };
        if attempt == ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
        let jitter = pause.mul_f64(rand::random::<f64>());
        sleep(after.unwrap_or(pause / 2 + jitter / 2).min(Duration::from_secs(60))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Reads `10M`, `512k` or `1000000`: bytes, in powers of 1024.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.trim_end_matches(['B', 'b']) {
        text if text.ends_with(['k', 'K']) => (&text[..text.len() - 1], 1 << 10),
        text if text.ends_with(['m', 'M']) => (&text[..text.len() - 1], 1 << 20),
        text if text.ends_with(['g', 'G']) => (&text[..text.len() - 1], 1 << 30),
        text => (text, 1_u64),
    };
    let number = digits.parse::<u64>().ok().filter(|number| *number > 0);
    number
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "expected a number such as 500k or 10M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_and_without_units() {
        for (text, bytes) in [("1", 1), ("500k", 512_000), ("10M", 10 << 20), ("1GB", 1 << 30)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "0", "k", "ten", "-1", "99999999999G"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_lets_no_more_through_than_its_rate() {
        let throttle = Throttle::new(Some(1_000));
        let begin = Instant::now();
        for _ in 0..11 {
            throttle.pass(500).await;
        }
        assert_eq!(begin.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_what_is_refused_is_not() {
        let mut tries = 0;
        let passing = || Err::<(), _>(CallError::Passing("busy".to_owned(), None));
        let refused = || Err(CallError::Refused(reqwest::StatusCode::FORBIDDEN, "no".to_owned()));
        let end = patiently(
            |_| false,
            async || {
                tries += 1;
                if tries < 4 { passing() } else { Ok(()) }
            },
        );
        assert!(end.await.is_ok());
        assert_eq!(tries, 4);
        let end = patiently(
            |_| false,
            async || {
                tries += 1;
                if tries < 6 { passing() } else { refused() }
            },
        );
        assert!(end.await.is_err());
        assert_eq!(tries, 6);
        let is_403 = |error: &CallError| error.status().is_some_and(|status| status.as_u16() == 403);
        let end = patiently(is_403, async || {
            tries += 1;
            if tries < 9 { refused() } else { Ok(()) }
        });
        assert!(end.await.is_ok());
        assert_eq!(tries, 9);
    }
}
