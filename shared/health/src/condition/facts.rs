//! The facts that conditions are evaluated on.

use std::cell::OnceCell;

use serde_json::Value;

use super::steps::{OutOfSteps, Steps};

/// The result of a probe, which conditions are evaluated on.
#[derive(Debug, Default)]
pub struct Facts {
    /// 0 if there was no response.
    pub status: u16,
    pub response_time_ms: u64,
    pub connected: bool,
    /// Time until the certificate expires; 0 without TLS.
    pub certificate_expires_in_ms: i64,
    pub body: String,
    json: OnceCell<Option<Value>>,
    /// Shared by all conditions that are evaluated on these facts.
    pub steps: Steps,
}

impl Facts {
    pub fn new(
        status: u16,
        response_time_ms: u64,
        connected: bool,
        certificate_expires_in_ms: i64,
        body: String,
    ) -> Facts {
        Facts {
            status,
            response_time_ms,
            connected,
            certificate_expires_in_ms,
            body,
            json: OnceCell::new(),
            steps: Steps::default(),
        }
    }

    /// Returns the value at a path of the body; `None` if it is missing or null.
    pub(crate) fn at(&self, path: &[Step]) -> Result<Option<&Value>, OutOfSteps> {
        if self.json.get().is_none() {
            self.steps.take(self.body.len())?;
        }
        let root = self.json.get_or_init(|| serde_json::from_str(&self.body).ok()).as_ref();
        fn step<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
            match step {
                Step::Key(key) => value.as_object()?.get(key),
                Step::Index(index) => value.as_array()?.get(*index),
            }
        }
        Ok(root.and_then(|root| path.iter().try_fold(root, step)).filter(|value| !value.is_null()))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}
