//! Jobs that requests left unfinished: removals and redrives, run concurrently.

use logferry_core::ledger::files::Files;
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logbook::counters::Stats;
use logferry_core::logbook::prune::Removals;
use logferry_core::logbook::records::Records;
use logferry_core::logbook::redrive::Redrives;
use logferry_core::logbook::{prune, redrive};
use logferry_core::model::fault::Fault;
use logferry_core::ports::app_admin::AppAdmin;
use logferry_core::ports::clock::Clock;
use tokio::time::Instant;

use crate::Part;

/// The jobs, with their ports.
#[derive(Debug)]
pub struct Jobs<A, B, F, C> {
    pub apps: A,
    pub book: B,
    pub files: F,
    pub bucket: String,
    pub clock: C,
}

/// Counts of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Worked {
    pub removals: Removals,
    pub redrives: Redrives,
}

impl<A: AppAdmin, B: BlockTable + Stats + Records, F: Files, C: Clock> Part for Jobs<A, B, F, C> {
    type Done = Worked;

    /// Resumes removals and redrives until all are finished, or until `until`. Neither kind waits for
    /// the other.
    ///
    /// # Errors
    /// If the jobs could not be read.
    async fn run(&self, until: Instant) -> Result<Worked, Fault> {
        let now_ms = self.clock.now_ms();
        let (removals, redrives) = futures::future::join(
            prune::go_on(&self.apps, &self.book, now_ms, until),
            redrive::go_on(&self.apps, &self.files, &self.bucket, now_ms, until),
        )
        .await;
        Ok(Worked { removals: removals?, redrives: redrives? })
    }
}
