//! Erasures.

use logferry_core::model::fault::Fault;
use logferry_core::ports::erasures::{Erasure, ErasureKey, Erasures};

use super::SimCloud;

impl SimCloud {
    /// Returns the erasure with this key, without a call that could fail.
    #[must_use]
    pub fn erasure_now(&self, key: &ErasureKey) -> Option<Erasure> {
        self.state().erasures.get(key).cloned()
    }
}

impl Erasures for SimCloud {
    async fn begin_erasure(&self, job: &Erasure) -> Result<bool, Fault> {
        self.call("PutItem", |state| {
            let unfinished = state.erasures.get(&job.key).is_some_and(|known| known.completed_ms.is_none());
            if !unfinished {
                state.erasures.insert(job.key.clone(), job.clone());
            }
            Ok(!unfinished)
        })
        .await
    }

    async fn erasure(&self, key: &ErasureKey) -> Result<Option<Erasure>, Fault> {
        self.call("GetItem", |state| Ok(state.erasures.get(key).cloned())).await
    }

    async fn erasures(&self) -> Result<Vec<Erasure>, Fault> {
        self.call("Query", |state| {
            let unfinished = state.erasures.values().filter(|job| job.completed_ms.is_none());
            Ok(unfinished.cloned().collect())
        })
        .await
    }

    async fn save_erasure(&self, job: &Erasure, was_due_ms: i64) -> Result<bool, Fault> {
        self.call("PutItem", |state| match state.erasures.get_mut(&job.key) {
            Some(known) if known.completed_ms.is_none() && known.due_ms == was_due_ms => {
                *known = job.clone();
                Ok(true)
            }
            _ => Ok(false),
        })
        .await
    }
}
