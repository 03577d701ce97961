//! The daily quota of an app: checked before a file is claimed, charged after it has ended.
//!
//! The content of a file is known only after it was read. Files that are read at the same time may
//! therefore exceed the quota together, by their content, which their own limits bound. A file is charged
//! once, by the run that ended it. If that run dies between the end and the charge, the file is not
//! charged.

use logferry_core::ledger::claim::Lease;
use logferry_core::logfile::outcome::{Outcome, Reason, ReasonCode};
use logferry_core::model::app::App;
use logferry_core::model::fault::{Fault, chain};
use logferry_core::model::quota::{Quota, Used};
use logferry_core::model::time::Day;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::usage::{Usage, UsageDay};

use crate::Ingest;

impl<O, B, L: Usage, A, C: Clock> Ingest<O, B, L, A, C> {
    /// Returns why a file of this stored size must not be read today, the day on which it is ingested. A
    /// refused file can be redriven on another day.
    pub(crate) async fn over_quota(&self, app: &App, size_bytes: u64) -> Result<Option<Reason>, Fault> {
        if self.settings.quota.is_none() {
            return Ok(None);
        }
        let day = Day::of_ms(self.clock.now_ms());
        let of = UsageDay { app_id: app.app_id.clone(), registered_ms: app.registered_ms, day };
        // A lower bound for its content: about its size in the bucket.
        let more = Used { bytes: size_bytes, records: size_bytes.min(1), files: 1 };
        let used = self.ledger.used(&of).await?;
        let exceeded = self.settings.quota.exceeded(day, used, more);
        Ok(exceeded.map(|exceeded| Reason {
            code: ReasonCode::QuotaExceeded,
            message: format!("{exceeded}; redrive the file on another day, or raise the quota"),
        }))
    }

    /// Charges a file that was read to its end to the day on which it was claimed. A failed charge is not
    /// retried: it may have been applied and only its response lost.
    pub(crate) async fn charge(&self, lease: &Lease, outcome: &Outcome) {
        let Some(app_id) = lease.app_id.clone() else { return };
        let of = UsageDay { app_id, registered_ms: lease.registered_ms, day: Day::of_ms(lease.claimed_ms) };
        let counts = &outcome.counts;
        let bytes = counts.bytes + outcome.tally.grown_bytes;
        let more = Used { bytes, records: counts.ok + counts.quarantined, files: 1 };
        if let Err(fault) = self.ledger.charge(&of, more, &Quota::NONE).await {
            tracing::warn!(error.chain = %chain(&fault), "file not charged to its app's quota");
        }
    }
}
