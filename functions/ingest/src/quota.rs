//! An app's quota of the day: asked before a file is claimed, charged after it has ended.
//!
//! What a file holds is known only after it was read, so files that are read at the same time may
//! together exceed the quota: by what they hold, which their own limits bound. A file is charged
//! once, by the run that ended it; one whose run dies between the end and the charge is not charged.

use logferry_core::logfile::outcome::{Reason, ReasonCode};
use logferry_core::model::app::App as RegisteredApp;
use logferry_core::model::fault::{Fault, chain};
use logferry_core::model::quota::{Quota, Used};
use logferry_core::model::time::Day;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::usage::{Usage, UsageDay};

use crate::{App, Ingested};

impl<O, B, L: Usage, A, C: Clock> App<O, B, L, A, C> {
    /// Usage of the app today: the day on which a file is ingested, so that one that was refused can
    /// be redriven on another day.
    pub(crate) fn usage_today(&self, app: &RegisteredApp) -> UsageDay {
        let day = Day::of_ms(self.clock.now_ms());
        UsageDay { app_id: app.app_id.clone(), epoch_ms: app.created_ms, day }
    }

    /// Why a file of this stored size is not to be read today.
    pub(crate) async fn over_quota(&self, of: &UsageDay, size_bytes: u64) -> Result<Option<Reason>, Fault> {
        if self.settings.quota.is_none() {
            return Ok(None);
        }
        // It holds at least about as much as it takes in the bucket.
        let more = Used { bytes: size_bytes, records: size_bytes.min(1), files: 1 };
        let used = self.ledger.used(of).await?;
        let exceeded = self.settings.quota.exceeded(of.day, used, more);
        Ok(exceeded.map(|exceeded| Reason {
            code: ReasonCode::QuotaExceeded,
            message: format!("{exceeded}; redrive the file on another day, or raise the quota"),
        }))
    }

    /// Charges a file that was read to its end. A charge that fails is not repeated: its answer may
    /// be what was lost.
    pub(crate) async fn charge(&self, of: &UsageDay, ended: &Ingested) {
        let (Ingested::Completed { counts } | Ingested::Failed { counts, .. }) = ended else { return };
        let more = Used { bytes: counts.bytes, records: counts.ok + counts.quarantined, files: 1 };
        if let Err(fault) = self.ledger.charge(of, more, &Quota::NONE).await {
            tracing::warn!(error.chain = %chain(&fault), "a file is not charged to its app's quota");
        }
    }
}
