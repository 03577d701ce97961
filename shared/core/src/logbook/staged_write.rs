//! Long writes: those that need more than one transaction. Such a write is stored whole and noted in its
//! app's row, in one transaction; from then on it counts. Its parts follow, each together with the number
//! of the next part. Any reader, prune or sweep that finds the note completes the write first. A partially
//! applied write is therefore never visible, even if its writer crashed.

use crate::logbook::records::{LongWrite, Records, Step, Written};
use crate::model::app::App;
use crate::model::block::{BlockBuilder, Payload};
use crate::model::fault::{Fault, FaultClass};
use crate::model::ids::WriteId;
use crate::ports::apps::Apps;

use crate::logbook::new_entry::NewEntry;
use crate::logbook::write_plan::{Origin, Part, Plan};

/// How long an unfinished write is kept (s).
const KEEP_SECS: i64 = 7 * 86_400;

/// Maximum time of a writer: the timeout of the writing functions in the template (ms).
const WRITER_MS: i64 = 60_000;

/// Returns the write to be stored whole.
pub(crate) fn kept(origin: &Origin<'_>, checked: &[NewEntry]) -> Result<LongWrite, Fault> {
    let mut builder = BlockBuilder::default();
    for (ordinal, new) in (0..).zip(checked) {
        builder.push(&new.entry(ordinal, &new.raw, origin.arrived_ms));
    }
    let entries = builder.pack(&origin.seed).map_err(|error| {
        Fault::new(FaultClass::Permanent, "packing a long write", "not packed").with_source(error)
    })?;
    Ok(LongWrite {
        app_id: origin.app_id.clone(),
        epoch_ms: origin.epoch_ms,
        seed: origin.seed,
        arrived_ms: origin.arrived_ms,
        request_id: origin.request_id.map(str::to_owned),
        retention_days: origin.retention_days,
        entries,
        next_part: 0,
        expires_at_secs: origin.arrived_ms.div_euclid(1000) + KEEP_SECS,
    })
}

/// Stores the parts from `next_part` on. Concurrent callers are allowed: each part is stored once.
pub(crate) async fn finish(
    records: &impl Records,
    origin: &Origin<'_>,
    parts: Vec<Part>,
    next_part: u32,
) -> Result<(), Fault> {
    let write_id = origin.seed.write_id();
    let last = parts.len().saturating_sub(1);
    for (index, part) in parts.into_iter().enumerate().skip(next_part as usize) {
        let step = Step { write_id, part: u32::try_from(index).unwrap_or(u32::MAX), last: index == last };
        match records.write(&part.into_write(origin, None, Some(step))).await? {
            // A part that is not the next one was stored by another writer.
            Written::Stored | Written::NotNext => {}
            Written::MemoDiffers | Written::BlockExists => {
                return Err(Fault::new(FaultClass::Permanent, "a long write", "a part was refused"));
            }
        }
    }
    records.end(origin.app_id, origin.epoch_ms, write_id).await
}

/// Finishes the long writes noted in an app's row, so that the next read finds no partial write.
///
/// # Errors
/// A call failed; retry the call.
pub async fn settle(records: &impl Records, app: &App) -> Result<(), Fault> {
    for &write_id in &app.open_writes {
        settle_one(records, app, write_id, i64::MAX).await?;
    }
    Ok(())
}

/// Finishes the long writes of all apps whose writers cannot be running any more.
///
/// # Errors
/// The last failed call. A failure of one app does not stop the others.
pub async fn settle_all(apps: &impl Apps, records: &impl Records, now_ms: i64) -> Result<(), Fault> {
    let mut settled = Ok(());
    for app in apps.list().await? {
        for &write_id in &app.open_writes {
            settled = settle_one(records, &app, write_id, now_ms - WRITER_MS).await.and(settled);
        }
    }
    settled
}

async fn settle_one(
    records: &impl Records,
    app: &App,
    write_id: WriteId,
    arrived_before_ms: i64,
) -> Result<(), Fault> {
    let Some(kept) = records.begun(&app.app_id, write_id).await? else {
        return records.end(&app.app_id, app.created_ms, write_id).await;
    };
    if kept.arrived_ms > arrived_before_ms {
        return Ok(());
    }
    let origin = Origin {
        app_id: &kept.app_id,
        epoch_ms: kept.epoch_ms,
        seed: kept.seed,
        arrived_ms: kept.arrived_ms,
        request_id: kept.request_id.as_deref(),
        retention_days: kept.retention_days,
    };
    let parts = Plan::new(&origin, &entries(&kept)?)?.parts;
    finish(records, &origin, parts, kept.next_part).await
}

fn entries(kept: &LongWrite) -> Result<Vec<NewEntry>, Fault> {
    let payload = Payload::decode(&kept.entries).map_err(|error| {
        Fault::new(FaultClass::Permanent, "reading a long write", "it is damaged").with_source(error)
    })?;
    let entry = |entry: crate::model::record::Entry<'_>| NewEntry {
        level: entry.level,
        timestamp_ms: (!entry.timestamp_fallback).then_some(entry.timestamp_ms),
        raw: entry.raw.to_owned(),
    };
    Ok(payload.entries().map(entry).collect())
}
