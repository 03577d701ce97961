//! Ids that a table did not have a moment ago: sending one again costs no read. An unknown id does not stay
//! unknown. The id of a key that is created with an `Idempotency-Key` is derived, and used again after the
//! key was revoked; another instance may create it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an id counts as unknown: a key that another instance creates is accepted after this time.
const LIFETIME: Duration = Duration::from_secs(5);

/// Ids per generation. The last two generations are kept: about 400 KB at most. New ids displace only each
/// other.
const GENERATION: usize = 2_048;

/// The latest few thousand unknown ids.
#[derive(Debug, Default)]
pub(crate) struct Misses(Mutex<Generations>);

/// Ids, each with the time from which it was unknown.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<String, Instant>,
    old: HashMap<String, Instant>,
}

impl Misses {
    pub(crate) fn knows(&self, id: &str, now: Instant) -> bool {
        let noted = self.with(|ids| ids.young.get(id).or_else(|| ids.old.get(id)).copied());
        noted.is_some_and(|at| now.duration_since(at) < LIFETIME)
    }

    /// Stores an id that was unknown at `at`.
    pub(crate) fn note(&self, id: &str, at: Instant) {
        self.with(|ids| {
            if ids.young.len() >= GENERATION {
                ids.old = std::mem::take(&mut ids.young);
            }
            ids.young.insert(id.to_owned(), at);
        });
    }

    /// Removes an id that was stored.
    pub(crate) fn forget(&self, id: &str) {
        self.with(|ids| {
            ids.young.remove(id);
            ids.old.remove(id);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Generations) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_ids_are_remembered_and_never_more_than_two_generations_of_them() {
        let (misses, now) = (Misses::default(), Instant::now());
        for id in 0..10 * GENERATION {
            misses.note(&id.to_string(), now);
            assert!(misses.knows(&id.to_string(), now));
        }
        let kept = (0..10 * GENERATION).filter(|id| misses.knows(&id.to_string(), now)).count();
        assert!((GENERATION..=2 * GENERATION).contains(&kept), "{kept}");
        let last = (10 * GENERATION - 1).to_string();
        misses.forget(&last);
        assert!(!misses.knows(&last, now));
    }

    #[test]
    fn an_id_is_unknown_for_a_few_seconds_after_each_read_that_missed_it() {
        let (misses, start) = (Misses::default(), Instant::now());
        misses.note("a", start);
        let last = start + LIFETIME - Duration::from_millis(1);
        assert!(misses.knows("a", last));
        assert!(!misses.knows("a", start + LIFETIME));
        misses.note("a", last);
        assert!(misses.knows("a", start + LIFETIME));
        assert!(!misses.knows("a", last + LIFETIME));
    }
}
