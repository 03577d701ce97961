//! What requests have left to be done: removals and redrives, each with its share of a run.

use std::time::Duration;

use logferry_domain::fault::Fault;
use logferry_logbook::prune::{self, Removals};
use logferry_logbook::redrive::{self, Redrives};
use logferry_ports::{AppAdmin, BlockTable, Clock, Files, Records, Stats};
use tokio::time::Instant;

/// The shares of a run, of the 270 s in the template.
const REMOVALS_TIME: Duration = Duration::from_secs(120);
const REDRIVES_TIME: Duration = Duration::from_secs(45);

/// The jobs, with what they talk to.
#[derive(Debug)]
pub struct Jobs<A, B, F> {
    pub apps: A,
    pub book: B,
    pub files: F,
    pub bucket: String,
}

/// What became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Worked {
    pub removals: Removals,
    pub redrives: Redrives,
}

impl<A: AppAdmin, B: BlockTable + Stats + Records, F: Files> Jobs<A, B, F> {
    /// Goes on with removals, then with redrives, until all are through or their time is over.
    ///
    /// # Errors
    /// The jobs could not be read, or a long write not be finished. Either kind has had its share.
    pub async fn run(&self, clock: &impl Clock) -> Result<Worked, Fault> {
        let (now_ms, until) = (clock.now_ms(), Instant::now() + REMOVALS_TIME);
        let removals = prune::go_on(&self.apps, &self.book, now_ms, until).await;
        let (now_ms, until) = (clock.now_ms(), Instant::now() + REDRIVES_TIME);
        let redrives = redrive::go_on(&self.apps, &self.files, &self.bucket, now_ms, until).await;
        Ok(Worked { removals: removals?, redrives: redrives? })
    }
}
