//! How long each log group keeps its events: said by who knows the apps, asked by who creates groups.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Days by log group. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Retentions(Arc<Mutex<HashMap<String, u32>>>);

impl Retentions {
    /// A group keeps its events for so many days; `None`: as long as all do that nothing is said of.
    pub fn set(&self, group: &str, days: Option<u32>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match days {
            Some(days) => known.insert(group.to_owned(), days),
            None => known.remove(group),
        };
    }

    #[must_use]
    pub fn get(&self, group: &str) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(group).copied()
    }
}
