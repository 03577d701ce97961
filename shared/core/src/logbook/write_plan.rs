//! Plans how the entries of a request become blocks and counts, in parts that fit a transaction.

use std::collections::{BTreeMap, BTreeSet};

use crate::logbook::counter_keys::counter_of;
use crate::logbook::records::{MemoChange, Write};
use crate::model::app::AppId;
use crate::model::block::{Block, BlockBuilder, BlockScratch, BlockSource, MAX_ITEM_DATA_BYTES};
use crate::model::day_counts::DayCounts;
use crate::model::expiry;
use crate::model::expiry::Expiring;
use crate::model::fault::{Fault, FaultClass};
use crate::model::ids::Seed;
use crate::model::record::{Entry, StoredRecord};
use crate::model::record_view::LogRecord;
use crate::model::time::{Day, hour_of_ms};

use crate::logbook::new_entry::{Invalid, MAX_ENTRIES, NewEntry};
use crate::logbook::{answer, new_entry};

/// Maximum number of distinct hours in a request: each becomes a block.
const MAX_HOURS: usize = 72;
/// Maximum items in a transaction, without the item of a memo.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const MAX_ITEMS: usize = 99;
/// Maximum number of hours and days together in a part of a carried batch.
const MAX_PART_INTERVALS: usize = 80;
/// Maximum bytes of entries in a part of a carried batch. Such a part always fits a transaction, however little
/// its blocks can be compressed.
const MAX_PART_BYTES: usize = 3 * 1024 * 1024;
/// Maximum bytes of data in a transaction; the limit is 4 MB, with keys and attributes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const MAX_DATA_BYTES: usize = 3_900_000;

/// Raw bytes at which a block is closed: about 64 KiB compressed.
const BLOCK_RAW_BYTES: usize = 384 * 1024;

/// Everything besides the entries that determines how a request's records are stored.
#[derive(Debug, Clone)]
pub(crate) struct Origin<'a> {
    pub app_id: &'a AppId,
    pub registered_ms: i64,
    pub seed: Seed,
    pub arrived_ms: i64,
    /// What the entries were taken for, as blocks say it.
    pub format: &'static str,
    /// For entries without a request id.
    pub request_id: Option<&'a str>,
    pub retention_days: u32,
}

/// Everything that a request stores and returns: a pure function of its origin and entries.
#[derive(Debug)]
pub(crate) struct Plan {
    pub answer: Vec<String>,
    blocks: Vec<Block>,
    days: BTreeMap<Day, Expiring>,
    /// Number of distinct hours of the entries.
    hours: usize,
}

impl Plan {
    pub(crate) fn new(origin: &Origin<'_>, checked: &[NewEntry]) -> Result<Self, Fault> {
        let seed = &origin.seed;
        let expires_on = expiry::expires_on(origin.arrived_ms, origin.retention_days);
        let source = BlockSource {
            app_id: origin.app_id,
            seed,
            format: origin.format,
            source: "api",
            registered_ms: origin.registered_ms,
            expires_at_secs: Some(expiry::expires_at_secs(expires_on)),
        };
        let mut hours: BTreeMap<i64, Vec<Entry<'_>>> = BTreeMap::new();
        let mut answer = Vec::with_capacity(checked.len());
        let mut stored_records = Vec::with_capacity(checked.len());
        let mut raws = Vec::with_capacity(checked.len());
        for (ordinal, new) in (0..).zip(checked) {
            raws.push(with_request_id(new, seed, ordinal, origin.request_id));
        }
        for ((ordinal, new), raw) in (0..).zip(checked).zip(&raws) {
            let entry = new.entry(ordinal, raw, origin.arrived_ms);
            let mut text = Vec::with_capacity(raw.len() + 128);
            let stored = StoredRecord { id: seed.record_id(ordinal), entry };
            LogRecord::read(&stored).write_json(&mut text, None, false);
            answer.push(String::from_utf8(text).unwrap_or_default());
            stored_records.push(stored.clone());
            hours.entry(hour_of_ms(stored.entry.timestamp_ms)).or_default().push(stored.entry);
        }
        let mut plan = Self {
            answer: answer::of_write(answer, stored_records.into_iter()),
            blocks: Vec::new(),
            days: BTreeMap::new(),
            hours: hours.len(),
        };
        let mut scratch = BlockScratch::default();
        for entries in hours.values() {
            for chunk in chunks(entries) {
                plan.add_blocks(chunk, &source, &mut scratch)?;
            }
        }
        Ok(plan)
    }

    fn add_blocks(
        &mut self,
        entries: &[Entry<'_>],
        source: &BlockSource<'_>,
        scratch: &mut BlockScratch,
    ) -> Result<(), Fault> {
        let mut builder = BlockBuilder::default();
        entries.iter().for_each(|entry| builder.push(entry));
        let blocks = builder.build_with(scratch, source).map_err(|error| {
            Fault::new(FaultClass::Permanent, "packing a block", "not packed").with_source(error)
        })?;
        let mut rest = entries;
        for block in blocks {
            let (own, after) = rest.split_at((block.header.count as usize).min(rest.len()));
            rest = after;
            let bytes = own.iter().map(|entry| i64::try_from(entry.raw.len()).unwrap_or(0)).sum();
            let counts = DayCounts { levels: block.header.levels, bytes };
            let day = self.days.entry(block.header.day()).or_default();
            day.add(block.header.expires_on(), counts);
            self.blocks.push(block);
        }
        Ok(())
    }

    /// Checks that one transaction holds the plan. Entries within 72 hours always fit: 72 blocks, 4
    /// counters, and less than one further item for each 192 KiB of a request.
    ///
    /// # Errors
    /// [`Invalid`] if the entries lie too far apart, or are too large together.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let data = |block: &Block| block.data.len();
        let items: usize =
            self.blocks.iter().map(|block| data(block).div_ceil(MAX_ITEM_DATA_BYTES).max(1)).sum();
        let (hours, days) = (self.hours, self.days.len());
        if hours > MAX_HOURS || hours + days > MAX_ITEMS {
            let message = format!(
                "entries of one request must lie within {MAX_HOURS} hours, these lie in {hours} hours of \
                 {days} days: split it"
            );
            return Err(Invalid::new("logs", message));
        }
        if items + days > MAX_ITEMS || self.blocks.iter().map(data).sum::<usize>() > MAX_DATA_BYTES {
            return Err(Invalid::new("logs", "entries of one request are too large together: split it"));
        }
        Ok(())
    }

    pub(crate) fn into_write(self, origin: &Origin<'_>, memo: Option<MemoChange>) -> (Write, Vec<String>) {
        let write = Write {
            app_id: origin.app_id.clone(),
            registered_ms: origin.registered_ms,
            blocks: self.blocks,
            days: self.days,
            counter: counter_of(&origin.seed),
            memo,
        };
        (write, self.answer)
    }
}

/// Splits entries into parts that fit a transaction each, those of an hour together: a pure function of the
/// entries, so that a later retry splits them alike.
pub(crate) fn parts(mut entries: Vec<NewEntry>) -> Vec<Vec<NewEntry>> {
    if fitting(entries.iter()) == entries.len() {
        return vec![entries];
    }
    // Stable: entries of an hour keep their order.
    entries.sort_by_key(hour);
    let mut parts: Vec<Vec<NewEntry>> = Vec::new();
    let mut left = entries.into_iter();
    while left.len() > 0 {
        let count = fitting(left.as_slice().iter());
        parts.push(left.by_ref().take(count).collect());
    }
    parts
}

/// The hour of an entry. Entries without a time have one that no other has: that of their arrival, which
/// changes from attempt to attempt.
fn hour(entry: &NewEntry) -> Option<i64> {
    entry.timestamp_ms.map(hour_of_ms)
}

/// The number of entries from the first on that fit a transaction together; at least 1 if there are any.
pub(crate) fn fitting<'a>(entries: impl Iterator<Item = &'a NewEntry>) -> usize {
    let (mut hours, mut days, mut bytes) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut count = 0;
    for entry in entries {
        let hour = hour(entry);
        hours.insert(hour);
        days.insert(hour.map(|hour| hour.div_euclid(24)));
        bytes += entry.raw.len();
        let scattered = hours.len() > MAX_HOURS || hours.len() + days.len() > MAX_PART_INTERVALS;
        if count > 0 && (scattered || bytes > MAX_PART_BYTES || count >= MAX_ENTRIES) {
            break;
        }
        count += 1;
    }
    count
}

fn with_request_id(new: &NewEntry, seed: &Seed, ordinal: u64, request_id: Option<&str>) -> String {
    let mut raw = new.raw.clone();
    if let Some(request_id) = request_id {
        let entry = new.entry(ordinal, &new.raw, 0);
        if LogRecord::read(&StoredRecord { id: seed.record_id(ordinal), entry }).request_id.is_none() {
            new_entry::push_request_id(&mut raw, request_id);
        }
    }
    raw
}

/// Splits entries of one hour into pieces for one block each.
fn chunks<'e, 'a>(entries: &'e [Entry<'a>]) -> impl Iterator<Item = &'e [Entry<'a>]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let count = rest.iter().position(|entry| {
            bytes += entry.raw.len();
            bytes > BLOCK_RAW_BYTES
        });
        let (chunk, after) = rest.split_at(count.map_or(rest.len(), |count| count.max(1)));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::level::Level;
    use crate::model::record::{EntryKind, Marks};
    use crate::model::time::MS_PER_HOUR;

    fn entry(hour: i64, bytes: usize) -> NewEntry {
        let raw = "x".repeat(bytes);
        let timestamp_ms = Some(1_700_000_000_000 + hour * MS_PER_HOUR);
        NewEntry { level: Level::Info, timestamp_ms, marks: Marks::NONE, kind: EntryKind::PlainText, raw }
    }

    #[test]
    fn a_batch_is_split_into_parts_that_each_fit_a_transaction() {
        let sizes = |entries: Vec<NewEntry>| -> Vec<usize> { parts(entries).iter().map(Vec::len).collect() };
        assert_eq!(sizes(vec![]), [0]);
        assert_eq!(sizes((0..72).map(|hour| entry(hour, 1)).collect()), [72]);
        assert_eq!(sizes((0..100).rev().map(|hour| entry(hour, 1)).collect()), [72, 28]);
        assert_eq!(sizes((0..90).map(|day| entry(day * 24, 1)).collect()), [40, 40, 10]);
        assert_eq!(sizes((0..10_001).map(|_| entry(0, 1)).collect()), [10_000, 1]);
        assert_eq!(sizes((0..8).map(|_| entry(0, 1 << 20)).collect()), [3, 3, 2]);
        let scattered = (1..100).rev().map(|hour| entry(hour, 1)).chain([entry(0, 2), entry(0, 3)]);
        let split = parts(scattered.collect());
        let bytes: Vec<_> = split[0].iter().map(|entry| entry.raw.len()).take(3).collect();
        assert_eq!(bytes, [2, 3, 1], "entries of an hour keep their order");
    }
}
