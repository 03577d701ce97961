//! Ids that a table does not have. Key ids are random and generated before they are stored, so an unknown
//! id stays unknown, and sending it again costs no read.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Ids per generation. The last two generations are kept: about 400 KB at most. New ids displace only each
/// other.
const GENERATION: usize = 2_048;

/// The latest few thousand unknown ids.
#[derive(Debug, Default)]
pub(crate) struct Misses(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<String>,
    old: HashSet<String>,
}

impl Misses {
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.with(|ids| ids.young.contains(id) || ids.old.contains(id))
    }

    pub(crate) fn note(&self, id: &str) {
        self.with(|ids| {
            if ids.young.len() >= GENERATION {
                ids.old = std::mem::take(&mut ids.young);
            }
            ids.young.insert(id.to_owned());
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
        let misses = Misses::default();
        for id in 0..10 * GENERATION {
            misses.note(&id.to_string());
            assert!(misses.knows(&id.to_string()));
        }
        let kept = (0..10 * GENERATION).filter(|id| misses.knows(&id.to_string())).count();
        assert!((GENERATION..=2 * GENERATION).contains(&kept), "{kept}");
        let last = (10 * GENERATION - 1).to_string();
        misses.forget(&last);
        assert!(!misses.knows(&last));
    }
}
