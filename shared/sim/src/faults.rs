//! Which calls fail, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use logferry_core::model::fault::FaultClass;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It fails without any effect.
    Before(FaultClass),
    /// It is processed, and its response is lost.
    ReplyLost(FaultClass),
    /// It never returns and has no effect.
    Hang,
    /// It is processed and never returns: the caller dies at its deadline.
    HangAfter,
    /// It is processed so late that others may have taken over.
    Stall(Duration),
}

/// Random faults and latencies.
#[derive(Debug)]
struct Lot {
    rng: SmallRng,
    /// Failing calls per thousand.
    per_mille: u32,
    /// Some calls are processed long after their caller has given up.
    late: bool,
}

/// Planned faults by number of the call, and random ones.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) calls: u64,
    pub(super) plan: BTreeMap<u64, How>,
    /// Number of calls that failed.
    pub(super) hit: u64,
    /// Operations whose every call fails.
    pub(super) broken: BTreeMap<&'static str, FaultClass>,
    lot: Option<Lot>,
    /// Duration of each call.
    pub(super) slow: Option<Duration>,
}

impl Faults {
    pub(super) fn at_random(&mut self, seed: u64, per_mille: u32, late: bool) {
        self.lot = Some(Lot { rng: SmallRng::seed_from_u64(seed), per_mille, late });
    }

    /// Stops all faults.
    pub(super) fn stop(&mut self) {
        self.plan.clear();
        if let Some(lot) = &mut self.lot {
            lot.per_mille = 0;
        }
    }

    /// Returns the duration of the next call, random so that concurrent calls run in any order.
    pub(super) fn latency(&mut self) -> Option<Duration> {
        let at_random = self.lot.as_mut().map(|lot| Duration::from_millis(lot.rng.random_range(0..400)));
        at_random.or(self.slow)
    }

    pub(super) fn next(&mut self) -> Option<How> {
        let number = self.calls;
        self.calls += 1;
        let at_random = || {
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
        let how = self.plan.remove(&number).or_else(at_random);
        self.hit += u64::from(how.is_some());
        how
    }
}
