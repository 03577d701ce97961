//! What requests have left to be done: removals and redrives, side by side.

use logferry_domain::fault::Fault;
use logferry_logbook::prune::{self, Removals};
use logferry_logbook::redrive::{self, Redrives};
use logferry_ports::{AppAdmin, BlockTable, Clock, Files, Records, Stats};
use tokio::time::Instant;

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
    /// Goes on with removals and with redrives until all are through or `until`.
    ///
    /// # Errors
    /// The jobs could not be read, or a long write not be finished. Neither kind waits for the other.
    pub async fn run(&self, clock: &impl Clock, until: Instant) -> Result<Worked, Fault> {
        let now_ms = clock.now_ms();
        let (removals, redrives) = futures::future::join(
            prune::go_on(&self.apps, &self.book, now_ms, until),
            redrive::go_on(&self.apps, &self.files, &self.bucket, now_ms, until),
        )
        .await;
        Ok(Worked { removals: removals?, redrives: redrives? })
    }
}
