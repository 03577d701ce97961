//! Which calls go wrong, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use logferry_core::model::fault::FaultClass;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It fails and nothing has happened.
    Before(FaultClass),
    /// It is carried out, and its answer is lost.
    ReplyLost(FaultClass),
    /// It never answers, and nothing has happened.
    Hang,
    /// It is carried out and never answers: the caller dies with its deadline.
    HangAfter,
    /// It is carried out so late that others may have taken over.
    Stall(Duration),
}

/// Faults and latencies by lot.
#[derive(Debug)]
struct Lot {
    rng: SmallRng,
    /// Of a thousand calls, so many go wrong.
    per_mille: u32,
    /// Some are carried out when their caller has long been given up.
    late: bool,
}

/// The plan, by the number of the call, and what is left to chance.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) calls: u64,
    pub(super) plan: BTreeMap<u64, How>,
    /// How many calls went wrong.
    pub(super) hit: u64,
    /// Operations of which every call fails.
    pub(super) broken: BTreeMap<&'static str, FaultClass>,
    lot: Option<Lot>,
    /// How long each call takes.
    pub(super) slow: Option<Duration>,
}

impl Faults {
    pub(super) fn by_lot(&mut self, seed: u64, per_mille: u32, late: bool) {
        self.lot = Some(Lot { rng: SmallRng::seed_from_u64(seed), per_mille, late });
    }

    /// Nothing goes wrong any more.
    pub(super) fn stop(&mut self) {
        self.plan.clear();
        if let Some(lot) = &mut self.lot {
            lot.per_mille = 0;
        }
    }

    /// How long the next call takes, so that those who run at once take turns in any order.
    pub(super) fn latency(&mut self) -> Option<Duration> {
        let by_lot = self.lot.as_mut().map(|lot| Duration::from_millis(lot.rng.random_range(0..400)));
        by_lot.or(self.slow)
    }

    pub(super) fn next(&mut self) -> Option<How> {
        let number = self.calls;
        self.calls += 1;
        let by_lot = || {
            let lot = self.lot.as_mut()?;
            (lot.rng.random_range(0..1000) < lot.per_mille).then(|| match lot.rng.random_range(0..10) {
                0 | 1 => How::Before(FaultClass::Transient),
                2 | 3 => How::Before(FaultClass::RateLimited),
                4..=6 => How::ReplyLost(FaultClass::Timeout),
                7 => How::Hang,
                9 if lot.late => How::Stall(Duration::from_secs(lot.rng.random_range(1..2000))),
                _ => How::HangAfter,
            })
        };
        let how = self.plan.remove(&number).or_else(by_lot);
        self.hit += u64::from(how.is_some());
        how
    }
}
