//! Limits the number of requests in flight. The window grows by one per round of successful requests and is
//! halved when the table throttles. A throttled table then has few waiting requests instead of many
//! immediate retries.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Maximum number of requests in flight. With a few milliseconds per request, it determines the throughput
/// more than the codec does.
const MOST: f64 = 16.0;
const FEWEST: f64 = 1.0;

#[derive(Debug)]
pub(crate) struct Pace(Mutex<State>);

#[derive(Debug)]
struct State {
    window: f64,
    slowed_at: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(State { window: MOST, slowed_at: None }))
    }
}

impl Pace {
    /// Returns the number of requests that may be in flight.
    pub(crate) fn window(&self) -> usize {
        // Between 1 and 16.
        self.with(|state| state.window as usize)
    }

    /// Records a request that was fully processed.
    pub(crate) fn faster(&self) {
        self.with(|state| state.window = (state.window + 1.0 / state.window).min(MOST));
    }

    /// Records that a request sent at `sent` was throttled. Ignored if it was sent before the window was
    /// last reduced.
    pub(crate) fn slower(&self, sent: Instant) {
        self.with(|state| {
            if state.slowed_at.is_none_or(|slowed_at| sent >= slowed_at) {
                state.window = (state.window / 2.0).max(FEWEST);
                state.slowed_at = Some(Instant::now());
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_window_halves_once_for_what_was_sent_together_and_grows_back_by_one_a_round() {
        let pace = Pace::default();
        let sent = Instant::now();
        tokio::time::advance(Duration::from_millis(5)).await;
        for _ in 0..16 {
            pace.slower(sent);
        }
        let mut windows = vec![pace.window()];
        for _ in 0..6 {
            tokio::time::advance(Duration::from_millis(5)).await;
            pace.slower(Instant::now());
            windows.push(pace.window());
        }
        assert_eq!(windows, [8, 4, 2, 1, 1, 1, 1]);
        for expect in [2, 3, 4] {
            (0..pace.window()).for_each(|_| pace.faster());
            assert!((expect - 1..=expect).contains(&pace.window()));
        }
        (0..1000).for_each(|_| pace.faster());
        assert_eq!(pace.window(), 16);
    }
}
