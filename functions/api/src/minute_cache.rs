//! Answers to requests without a credential, kept for a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How long an answer is kept by this instance (ms).
const KEPT_MS: i64 = 60_000;

/// At most `MOST` answers by their question; `None`: there is no such thing. A repeated request reads the
/// tables once per minute and instance.
#[derive(Debug)]
pub struct MinuteCache<T, const MOST: usize>(Mutex<HashMap<String, (i64, Option<T>)>>);

impl<T, const MOST: usize> Default for MinuteCache<T, MOST> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone, const MOST: usize> MinuteCache<T, MOST> {
    pub(crate) fn get(&self, question: &str, now_ms: i64) -> Option<Option<T>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(question).filter(|(until_ms, _)| now_ms < *until_ms).map(|(_, answer)| answer.clone())
    }

    pub(crate) fn keep(&self, question: String, answer: Option<T>, now_ms: i64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.retain(|_, (until_ms, _)| now_ms < *until_ms);
        }
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(question, (now_ms.saturating_add(KEPT_MS), answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_answers_is_kept_for_a_minute_each() {
        let cache = MinuteCache::<(), 1_000>::default();
        for n in 0..3_000 {
            cache.keep(n.to_string(), None, n);
            assert!(cache.0.lock().unwrap().len() <= 1_000);
        }
        assert_eq!(cache.get("2999", 2_999 + KEPT_MS - 1), Some(None));
        assert_eq!(cache.get("2999", 2_999 + KEPT_MS), None);
        assert_eq!(cache.get("other", 0), None);
    }
}
