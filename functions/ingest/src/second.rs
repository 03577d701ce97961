//! A URL is good for one object. What comes with it after that one has no effect, or is refused.

use std::collections::BTreeMap;

use logferry_core::ledger::claim::Ledger;
use logferry_core::ledger::row::{Grant, Used};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logfile::outcome::{FileCounts, Outcome, Reason, ReasonCode};
use logferry_core::model::app::App as RegisteredApp;
use logferry_core::model::fault::Fault;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::objects::ObjectStore;
use logferry_core::ports::usage::Usage;

use crate::{App, Held, Ingested, retry};

impl<O: ObjectStore, B: BlockTable, L: Ledger + Usage, A: Apps, C: Clock> App<O, B, L, A, C> {
    /// The object that came with the grant's URL before this one, if there is any. The grant remembers
    /// the first in the transaction that made its row; so, after a claim, there is nothing left to race.
    pub(crate) async fn used_by_another(&self, grant: &Grant, held: &Held) -> Result<Option<Used>, Fault> {
        let mine = |used: &Used| used.version == held.lease.object.version;
        let used = match &grant.used {
            Some(used) => Some(used.clone()),
            None => {
                let (bucket, key) = (&grant.bucket, &grant.key);
                let again =
                    retry::until(held.schedule.stop_at, || self.ledger.find_grant(bucket, key)).await?;
                again.and_then(|grant| grant.used)
            }
        };
        Ok(used.filter(|used| !mine(used)))
    }

    /// The end of an object that came with a URL that had been used: the same bytes once more (a client whose
    /// answer was lost) have no effect, and others are refused.
    pub(crate) async fn end_second(
        &self,
        held: Held,
        app: &RegisteredApp,
        first: &Used,
        etag: Option<String>,
        size_bytes: u64,
    ) -> Result<Ingested, Fault> {
        if first.etag.is_some() && (&first.etag, first.size_bytes) == (&etag, Some(size_bytes)) {
            if let Err(fault) = self.let_expire(&held).await {
                return self.give_back(&held, held.lease.checkpoint, Err(fault)).await;
            }
            tracing::info!(file.key = %held.lease.object.key, "the same bytes came with this URL before");
            let outcome = Outcome { reason: None, counts: FileCounts::default(), days: BTreeMap::new() };
            return self.finish(&held, outcome, held.lease.checkpoint).await;
        }
        let message = "an object of other content came with the same URL before".to_owned();
        self.refuse(held, Some(app), Reason { code: ReasonCode::AlreadyUploaded, message }).await
    }
}
