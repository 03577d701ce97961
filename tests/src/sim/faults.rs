//! Which calls go wrong, and how.

use std::collections::BTreeMap;

use logferry_domain::fault::FaultClass;

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It fails and nothing has happened.
    Before(FaultClass),
    /// It is carried out, and its answer is lost.
    ReplyLost(FaultClass),
}

/// The plan, by the number of the call.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) calls: u64,
    pub(super) plan: BTreeMap<u64, How>,
}

impl Faults {
    pub(super) fn next(&mut self) -> Option<How> {
        let number = self.calls;
        self.calls += 1;
        self.plan.remove(&number)
    }
}
