//! Jobs that requests left unfinished: removals, erasures and redrives, run concurrently.

use logferry_core::ledger::files::Files;
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logbook::counters::Stats;
use logferry_core::logbook::erase::{Eraser, Erasing};
use logferry_core::logbook::prune::Removals;
use logferry_core::logbook::records::Records;
use logferry_core::logbook::redrive::Redrives;
use logferry_core::logbook::{prune, redrive};
use logferry_core::model::fault::Fault;
use logferry_core::ports::app_admin::AppAdmin;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::erasures::Erasures;
use logferry_core::ports::objects::ObjectEraser;
use tokio::time::Instant;

use crate::Part;

/// The jobs, with their ports.
#[derive(Debug)]
pub struct Jobs<A, B, F, O, C> {
    pub apps: A,
    pub book: B,
    pub files: F,
    pub objects: O,
    pub bucket: String,
    pub clock: C,
}

/// Counts of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Worked {
    pub removals: Removals,
    pub redrives: Redrives,
    pub erasures: Erasing,
}

impl<A, B, F, O, C> Part for Jobs<A, B, F, O, C>
where
    A: AppAdmin + Erasures,
    B: BlockTable + Stats + Records,
    F: Files,
    O: ObjectEraser,
    C: Clock,
{
    type Done = Worked;

    /// Resumes removals, redrives and erasures until none is due, or until `until`. No kind waits for
    /// another.
    ///
    /// # Errors
    /// If the jobs could not be read.
    async fn run(&self, until: Instant) -> Result<Worked, Fault> {
        let now_ms = self.clock.now_ms();
        let eraser = Eraser {
            apps: &self.apps,
            book: &self.book,
            files: &self.files,
            objects: &self.objects,
            bucket: &self.bucket,
            now_ms,
        };
        let (removals, redrives, erasures) = futures::future::join3(
            prune::go_on(&self.apps, &self.book, now_ms, until),
            redrive::go_on(&self.apps, &self.files, &self.bucket, now_ms, until),
            eraser.go_on(until),
        )
        .await;
        Ok(Worked { removals: removals?, redrives: redrives?, erasures: erasures? })
    }
}
