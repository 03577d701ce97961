//! Counts of an invocation.

use std::iter::Sum;

use logferry_service::metrics::{
    EVENTS_DEAD_LETTERED, EVENTS_IN, EVENTS_LEFT, EVENTS_NARROWED, EVENTS_SENT, EVENTS_SENT_BEFORE, Emission,
};

/// Counts records, not events: a record sent in pieces counts once. Always `records_in = sent + narrowed +
/// dead_lettered + sent_before + left`. After a successful invocation the last two are zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub records_in: u64,
    pub sent: u64,
    /// Skipped because of their app's setting.
    pub narrowed: u64,
    pub dead_lettered: u64,
    /// Sent by an earlier run that ended early.
    pub sent_before: u64,
    /// Left to the stream for a later run.
    pub left: u64,
}

impl Tally {
    #[must_use]
    pub fn emission(&self, namespace: &str) -> Emission {
        Emission::new(namespace)
            .value(EVENTS_IN, self.records_in)
            .value(EVENTS_SENT, self.sent)
            .value(EVENTS_NARROWED, self.narrowed)
            .value(EVENTS_DEAD_LETTERED, self.dead_lettered)
            .value(EVENTS_SENT_BEFORE, self.sent_before)
            .value(EVENTS_LEFT, self.left)
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |a, b| Self {
            records_in: a.records_in + b.records_in,
            sent: a.sent + b.sent,
            narrowed: a.narrowed + b.narrowed,
            dead_lettered: a.dead_lettered + b.dead_lettered,
            sent_before: a.sent_before + b.sent_before,
            left: a.left + b.left,
        })
    }
}
