//! Items that DynamoDB deletes after their expiry: some, in any order, now and then.

use logferry_aws::ledger::KEEP_FILES_MS;
use logferry_core::model::time::Day;
use logferry_core::ports::clock::Clock;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::SimCloud;

/// How much longer than the blocks a file's row of a day is kept (days).
const KEEP_DAYS_BEYOND: i32 = 7;

impl SimCloud {
    /// Deletes some expired items, chosen at random. Returns the number of items.
    pub fn expire(&self, seed: u64) -> usize {
        let now_ms = self.clock.now_ms();
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut goes = |expired: bool| expired && rng.random_ratio(2, 3);
        let gone = |day: Option<Day>| day.is_some_and(|day| day.start_ms() <= now_ms);
        let mut state = self.state();
        let before = state.blocks.len() + state.stats.len() + state.files.len();
        let mut days_before = 0;
        state.blocks.retain(|_, block| {
            let expires_ms = block.header.expires_at_secs.map(|secs| secs * 1000);
            !goes(expires_ms.is_some_and(|at| at <= now_ms))
        });
        state.stats.retain(|_, counter| !goes(gone(counter.expires_on)));
        for file in state.files.values_mut() {
            let all = file.days.len();
            file.days.retain(|_, day| !goes(gone(day.expires_on.map(|on| Day(on.0 + KEEP_DAYS_BEYOND)))));
            days_before += all - file.days.len();
        }
        // Dependent rows outlive their file's row here only by being kept together.
        state.files.retain(|_, file| {
            let ended_ms = file.row.processed_ms.filter(|_| file.row.status.is_terminal());
            !goes(file.days.is_empty() && ended_ms.is_some_and(|ended| ended + KEEP_FILES_MS <= now_ms))
        });
        let left: std::collections::BTreeSet<_> = state.files.keys().cloned().collect();
        state.watched.retain(|key, _| left.contains(key));
        before + days_before - state.blocks.len() - state.stats.len() - state.files.len()
    }
}

impl SimCloud {
    /// Returns the number of counters, and of files' rows of days.
    #[must_use]
    pub fn expiring_left(&self) -> (usize, usize) {
        let state = self.state();
        (state.stats.len(), state.files.values().map(|file| file.days.len()).sum())
    }
}
