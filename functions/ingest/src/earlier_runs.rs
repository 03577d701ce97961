//! Blocks that earlier runs stored of an object. They are counted if no further run may read the object,
//! and removed if they were packed differently.

use std::collections::BTreeSet;

use logferry_core::ledger::row::StoredSoFar;
use logferry_core::logbook::blocks::{BlockPosition, BlockRange, BlockTable, StoredBlock, StoredHeader};
use logferry_core::logfile::outcome::{Outcome, Reason};
use logferry_core::model::app::App;
use logferry_core::model::block::Partition;
use logferry_core::model::fault::Fault;
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::ids::SHARDS;
use logferry_core::model::object::ObjectRef;
use logferry_core::model::time::{Day, MS_PER_HOUR};

/// Blocks per page.
const PAGE: u32 = 16;

/// Returns the outcome of a file that ends with what is already stored of it.
///
/// # Errors
/// A read failed.
pub(crate) async fn outcome(
    table: &impl BlockTable,
    app: &App,
    object: &ObjectRef,
    stored: &StoredSoFar,
    reason: Reason,
) -> Result<Outcome, Fault> {
    let mut outcome = Outcome { reason: Some(reason), ..Outcome::default() };
    outcome.counts.quarantined = stored.quarantined;
    let mut pages = Pages::new(table, app, object, &stored.hours);
    while let Some(blocks) = pages.next().await? {
        for stored in blocks.iter().filter(|stored| stored.block.header.registered_ms == app.registered_ms) {
            let counts = table.counts(stored, app.pruned_before_ms, None).await?;
            outcome.counts.ok += u64::try_from(counts.levels.total()).unwrap_or(0);
            let header = &stored.block.header;
            outcome.days.entry(header.day()).or_default().add(header.expires_on(), counts);
        }
    }
    Ok(outcome)
}

/// Removes blocks with a different packing fingerprint.
///
/// # Errors
/// A call failed; some blocks may already be removed. Retry.
pub(crate) async fn remove_other(
    table: &impl BlockTable,
    app: &App,
    object: &ObjectRef,
    stored: &StoredSoFar,
    packing: &PackFingerprint,
) -> Result<(), Fault> {
    let mut pages = Pages::new(table, app, object, &stored.hours);
    while let Some(blocks) = pages.next().await? {
        let other = |stored: &&StoredBlock| {
            stored.block.header.file.as_ref().is_some_and(|file| file.packing != *packing)
        };
        let header = |stored: &StoredBlock| StoredHeader {
            header: stored.block.header.clone(),
            extents: stored.extents,
            pruned_to_ms: None,
        };
        let others: Vec<_> = blocks.iter().filter(other).map(header).collect();
        table.remove(&others).await?;
    }
    Ok(())
}

/// Pages of the blocks of an object, hour by hour.
struct Pages<'a, B> {
    table: &'a B,
    object: &'a ObjectRef,
    ranges: Vec<BlockRange>,
    after: Option<BlockPosition>,
}

impl<'a, B: BlockTable> Pages<'a, B> {
    fn new(table: &'a B, app: &'a App, object: &'a ObjectRef, hours: &BTreeSet<i64>) -> Self {
        let mut ranges = Vec::new();
        for hour in hours {
            let from_ms = hour * MS_PER_HOUR;
            for shard in 0..SHARDS {
                let partition = Partition { app_id: app.app_id.clone(), day: Day::of_ms(from_ms), shard };
                let last_ms_to = from_ms + MS_PER_HOUR - 1;
                ranges.push(BlockRange { partition, last_ms_from: from_ms, last_ms_to });
            }
        }
        Self { table, object, ranges, after: None }
    }

    /// Returns the next page; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<StoredBlock>>, Fault> {
        while let Some(range) = self.ranges.last() {
            let page = self.table.newest(range, PAGE, self.after.as_ref()).await?;
            self.after = page.next;
            if self.after.is_none() {
                self.ranges.pop();
            }
            let own = |stored: &StoredBlock| {
                stored.block.header.file.as_ref().is_some_and(|file| file.object == *self.object)
            };
            let blocks: Vec<StoredBlock> = page.blocks.into_iter().filter(own).collect();
            if !blocks.is_empty() {
                return Ok(Some(blocks));
            }
        }
        Ok(None)
    }
}
