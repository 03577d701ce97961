//! A presigned URL accepts one object. Later objects with the same URL are refused; identical bytes have no
//! effect.

use logferry_core::ledger::claim::Ledger;
use logferry_core::ledger::row::{Grant, UsedBy};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logfile::outcome::{Outcome, Reason, ReasonCode};
use logferry_core::model::app::App;
use logferry_core::model::fault::Fault;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::objects::ObjectStore;
use logferry_core::ports::usage::Usage;

use crate::conclude::Ending;
use crate::{Held, Ingest, retry};

impl<O: ObjectStore, B: BlockTable, L: Ledger + Usage, A: Apps, C: Clock> Ingest<O, B, L, A, C> {
    /// Returns the object that was uploaded earlier with the same URL, if any. The grant records the first
    /// object in the transaction that creates its row, so there is no race after a claim.
    pub(crate) async fn used_by_another(&self, grant: &Grant, held: &Held) -> Result<Option<UsedBy>, Fault> {
        let mine = |used: &UsedBy| used.version == held.lease.object.version;
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

    /// Ends an object whose URL was already used. Identical bytes (the client lost the response) have no
    /// effect; other bytes are refused.
    pub(crate) async fn refuse_second(
        &self,
        held: &Held,
        app: &App,
        first: &UsedBy,
        etag: Option<String>,
        size_bytes: u64,
    ) -> Result<Ending, Fault> {
        if first.etag.is_some() && (&first.etag, first.size_bytes) == (&etag, Some(size_bytes)) {
            self.let_expire(held).await?;
            tracing::info!(file.key = %held.lease.object.key, "same bytes uploaded again with the same URL");
            return Ok(Ending::Refused(Outcome::default()));
        }
        let message = "another object was already uploaded with this URL".to_owned();
        self.refuse(held, Some(app), Reason { code: ReasonCode::AlreadyUploaded, message }).await
    }
}
