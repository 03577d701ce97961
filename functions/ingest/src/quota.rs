//! The daily quota of an app: checked before a file is claimed, charged after it has ended.
//!
//! The content of a file is known only after it was read. Files that are read at the same time may
//! therefore exceed the quota together, by their content, which their own limits bound. A file is charged
//! once, by the run that ended it. If that run dies between the end and the charge, the file is not
//! charged.

use logferry_core::logfile::outcome::{Reason, ReasonCode};
use logferry_core::model::app::App as RegisteredApp;
use logferry_core::model::fault::{Fault, chain};
use logferry_core::model::quota::{Quota, Used};
use logferry_core::model::time::Day;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::usage::{Usage, UsageDay};

use crate::{App, Ingested};

impl<O, B, L: Usage, A, C: Clock> App<O, B, L, A, C> {
    /// The app's usage of today, the day on which the file is ingested. A refused file can be redriven on
    /// another day.
    pub(crate) fn usage_today(&self, app: &RegisteredApp) -> UsageDay {
        let day = Day::of_ms(self.clock.now_ms());
        UsageDay { app_id: app.app_id.clone(), epoch_ms: app.created_ms, day }
    }

    /// Returns why a file of this stored size must not be read today.
    pub(crate) async fn over_quota(&self, of: &UsageDay, size_bytes: u64) -> Result<Option<Reason>, Fault> {
        if self.settings.quota.is_none() {
            return Ok(None);
        }
        // A lower bound for its content: about its size in the bucket.
        let more = Used { bytes: size_bytes, records: size_bytes.min(1), files: 1 };
        let used = self.ledger.used(of).await?;
        let exceeded = self.settings.quota.exceeded(of.day, used, more);
        Ok(exceeded.map(|exceeded| Reason {
            code: ReasonCode::QuotaExceeded,
            message: format!("{exceeded}; redrive the file on another day, or raise the quota"),
        }))
    }

    /// Charges a file that was read to its end. A failed charge is not retried: it may have been applied
    /// and only its response lost.
    pub(crate) async fn charge(&self, of: &UsageDay, ended: &Ingested) {
        let (Ingested::Completed { counts } | Ingested::Failed { counts, .. }) = ended else { return };
        let more = Used { bytes: counts.bytes, records: counts.ok + counts.quarantined, files: 1 };
        if let Err(fault) = self.ledger.charge(of, more, &Quota::NONE).await {
            tracing::warn!(error.chain = %chain(&fault), "file not charged to its app's quota");
        }
    }
}
