//! `sweep`: finds overdue work on a schedule and restarts it.
//!
//! A run has independent parts: due rows of the ledger ([`due`], decided by [`policy`]), upload sessions
//! ([`uploads`]), removals and redrives ([`jobs`]), and objects without a ledger row ([`missed`]). They run
//! concurrently until the invocation's time is nearly over ([`Sweep::run`]). The next run starts with what was
//! left.

mod config;
pub mod due;
pub mod jobs;
pub mod missed;
pub mod policy;
pub mod uploads;

use std::time::Duration;

pub use config::Config;
pub use due::DueRows;
pub use jobs::Jobs;
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::ports::clock::Clock;
pub use missed::Missed;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
pub use uploads::Uploads;

/// How long before the invocation's deadline no part starts new work: a call takes up to three attempts of
/// ten seconds each.
const STOP_BEFORE_DEADLINE: Duration = Duration::from_secs(40);
/// How long before the deadline unfinished parts are cancelled.
const END_BEFORE_DEADLINE: Duration = Duration::from_secs(5);

/// A part of a run.
pub trait Part: Sync {
    type Done: Serialize + Send;

    /// Works until nothing is due. No work is started after `until`.
    ///
    /// # Errors
    /// If the part failed; what it left stays due.
    fn run(&self, until: Instant) -> impl Future<Output = Result<Self::Done, Fault>> + Send;
}

/// The function and its parts.
#[derive(Debug)]
pub struct Sweep<F, U, J, M, C> {
    pub files: F,
    pub uploads: U,
    pub jobs: J,
    pub missed: M,
    pub clock: C,
}

/// The result of each part, or its fault.
#[derive(Debug)]
pub struct Report<F, U, J, M> {
    pub files: Result<F, Fault>,
    pub uploads: Result<U, Fault>,
    pub jobs: Result<J, Fault>,
    pub missed: Result<M, Fault>,
}

impl<F: Part, U: Part, J: Part, M: Part, C: Clock> Sweep<F, U, J, M, C> {
    /// Runs all parts concurrently, in an invocation that Lambda ends at `context_deadline_ms` (since the
    /// epoch). A part that fails or hangs does not stop the others.
    pub async fn run(&self, context_deadline_ms: i64) -> Report<F::Done, U::Done, J::Done, M::Done> {
        let left_ms = context_deadline_ms.saturating_sub(self.clock.now_ms()).max(0);
        let (now, left) = (Instant::now(), Duration::from_millis(left_ms.unsigned_abs()));
        let until = now + left.saturating_sub(STOP_BEFORE_DEADLINE);
        let end = now + left.saturating_sub(END_BEFORE_DEADLINE);
        let (files, uploads, jobs, missed) = tokio::join!(
            run_part("files", &self.files, until, end),
            run_part("uploads", &self.uploads, until, end),
            run_part("jobs", &self.jobs, until, end),
            run_part("missed", &self.missed, until, end),
        );
        Report { files, uploads, jobs, missed }
    }
}

async fn run_part<P: Part>(
    name: &'static str,
    part: &P,
    until: Instant,
    end: Instant,
) -> Result<P::Done, Fault> {
    let overrun = || Fault::new(FaultClass::Timeout, name, "the part exceeded its time");
    let done = timeout_at(end, part.run(until)).await.unwrap_or_else(|_| Err(overrun()));
    if let Err(fault) = &done {
        tracing::error!(sweep.part = name, error.chain = %chain(fault), "a part of the run failed");
    }
    done
}

impl<F: Serialize, U: Serialize, J: Serialize, M: Serialize> Report<F, U, J, M> {
    /// Returns the response of the invocation.
    ///
    /// # Errors
    /// The fault of the first failed part, so that Lambda counts the run as failed and retries it once.
    pub fn answer(self) -> Result<Value, Fault> {
        Ok(json!({
            "files": self.files?,
            "uploads": self.uploads?,
            "jobs": self.jobs?,
            "missed": self.missed?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part that takes this long, or fails at once, or never ends.
    enum Fake {
        Takes(Duration),
        Fails,
        Hangs,
    }

    impl Part for Fake {
        type Done = u64;

        async fn run(&self, _: Instant) -> Result<u64, Fault> {
            match self {
                Self::Takes(time) => {
                    tokio::time::sleep(*time).await;
                    Ok(time.as_secs())
                }
                Self::Fails => Err(Fault::new(FaultClass::Denied, "fake", "no")),
                Self::Hangs => std::future::pending().await,
            }
        }
    }

    struct Zero;

    impl Clock for Zero {
        fn now_ms(&self) -> i64 {
            0
        }
    }

    fn sweep(parts: [Fake; 4]) -> Sweep<Fake, Fake, Fake, Fake, Zero> {
        let [files, uploads, jobs, missed] = parts;
        Sweep { files, uploads, jobs, missed, clock: Zero }
    }

    fn takes(secs: u64) -> Fake {
        Fake::Takes(Duration::from_secs(secs))
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_fails_or_hangs_stops_no_other() {
        let report = sweep([Fake::Fails, Fake::Hangs, takes(200), takes(1)]).run(270_000).await;
        assert_eq!(report.jobs.as_ref().ok(), Some(&200));
        assert_eq!(report.missed.as_ref().ok(), Some(&1));
        assert_eq!(report.uploads.as_ref().err().map(|fault| fault.class), Some(FaultClass::Timeout));
        assert_eq!(report.answer().map_err(|fault| fault.class), Err(FaultClass::Denied));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_parts_have_done_is_the_answer() {
        let report = sweep([takes(1), takes(2), takes(3), takes(4)]).run(270_000).await;
        let answer = json!({"files": 1, "uploads": 2, "jobs": 3, "missed": 4});
        assert_eq!(report.answer().unwrap(), answer);
    }
}
