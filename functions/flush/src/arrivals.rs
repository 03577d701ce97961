//! Arrivals: appends the blocks of a batch to the logs of their apps, which tails follow. It runs beside sending, so an
//! outage of CloudWatch Logs does not stop a tail.
//!
//! An app's blocks of a batch become one row: usually a read and a write. A batch that is delivered again, whole or
//! in parts, finds its blocks in the log and appends nothing.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use logferry_core::logbook::arrivals::append;
use logferry_core::model::fault::chain;
use logferry_core::ports::arrivals::{ArrivalLog, ArrivalLogId, BlockArrival};
use logferry_core::ports::clock::Clock;

use crate::Beside;
use crate::stream::StreamEvent;

/// Logs that are written concurrently.
const LOGS_AT_ONCE: usize = 16;

/// Records which blocks arrived.
#[derive(Debug)]
pub struct ArrivalRecorder<L>(pub L);

/// The blocks of a batch in one log.
#[derive(Default)]
struct Batch<'e> {
    records: Vec<&'e str>,
    arrivals: Vec<BlockArrival>,
    /// When the first of them was inserted (ms).
    since_ms: Option<i64>,
}

impl<L: ArrivalLog> ArrivalRecorder<L> {
    /// Records a batch while something else is done with it, which returns the records to be delivered again.
    pub async fn record_beside<'e>(
        &self,
        event: &'e StreamEvent,
        clock: &impl Clock,
        other: impl Future<Output = Vec<&'e str>>,
    ) -> Beside<'e> {
        let (mut beside, left) = futures::future::join(self.record(event, clock), other).await;
        beside.left.extend(left);
        beside
    }

    /// Records a batch. A fault that no retry can fix must not hold up the stream: its blocks are missing in tails.
    pub async fn record<'e>(&self, event: &'e StreamEvent, clock: &impl Clock) -> Beside<'e> {
        let batches = by_log(event, clock.now_ms());
        let each = batches.iter().map(|(log, batch)| async move {
            let since_ms = batch.since_ms.unwrap_or_default();
            let appended = append(&self.0, log, &batch.arrivals, since_ms, clock.now_ms()).await;
            appended.err().map(|fault| (log, batch, fault))
        });
        let each: Vec<_> = each.collect();
        let mut each = futures::stream::iter(each).buffer_unordered(LOGS_AT_ONCE);
        let mut beside = Beside::default();
        while let Some(failed) = each.next().await {
            let Some((log, batch, fault)) = failed else { continue };
            let app_id = log.app_id.as_str();
            tracing::warn!(app_id, error.message = chain(&fault), "failed to append to the log of arrivals");
            beside.arrivals_failed += 1;
            if fault.retryable() {
                beside.left.extend(&batch.records);
            }
        }
        beside
    }
}

fn by_log(event: &StreamEvent, now_ms: i64) -> BTreeMap<ArrivalLogId, Batch<'_>> {
    let mut logs: BTreeMap<ArrivalLogId, Batch<'_>> = BTreeMap::new();
    for record in &event.records {
        let Some(header) = record.header() else { continue };
        let id = ArrivalLogId { app_id: header.app_id.clone(), registered_ms: header.registered_ms };
        let batch = logs.entry(id).or_default();
        let inserted_ms = record.dynamodb.arrived_ms().unwrap_or(now_ms);
        batch.since_ms = Some(batch.since_ms.map_or(inserted_ms, |since| since.min(inserted_ms)));
        batch.arrivals.push(BlockArrival::of(header, record.sequence()));
        batch.records.push(record.sequence());
    }
    logs
}
