//! The open hours, in the two orders in which they are closed: by weight, and by the position of their last
//! entry. Both orders are kept in coarse steps (grains), so that most entries do not change them.

use std::collections::{BTreeMap, BTreeSet};

use super::{IDLE_BYTES, MAX_OPEN_BYTES, MAX_OPEN_HOURS, ROW_BYTES};
use crate::model::block::BlockBuilder;
use crate::model::record::Entry;

/// Granularity of weights and stream positions (bytes). An entry counts at least [`ROW_BYTES`], so fewer
/// hours than may be open are touched within one grain, and the last touched hour is never the first to
/// close.
pub(super) const GRAIN_BYTES: u64 = 64 * 1024;
const _: () = assert!(GRAIN_BYTES as usize / ROW_BYTES < MAX_OPEN_HOURS);

#[derive(Debug, Default)]
pub(super) struct OpenHours {
    hours: BTreeMap<i64, Open>,
    /// By grain of the weight. Of equal weights, the latest hour counts as the fullest; any fixed rule
    /// would do.
    by_weight: BTreeSet<(u64, i64)>,
    /// By grain of the stream position of the last entry.
    by_touch: BTreeSet<(u64, i64)>,
    /// Sum of all open hours.
    bytes: usize,
    /// Bytes pushed so far.
    pushed: u64,
    /// The builder of a closed block, to be reused.
    spare: Option<BlockBuilder>,
}

#[derive(Debug)]
struct Open {
    builder: BlockBuilder,
    /// In grains.
    touched: u64,
}

impl Open {
    fn weight(&self) -> usize {
        self.builder.raw_bytes() + self.builder.len() * ROW_BYTES
    }

    fn weight_grain(&self) -> u64 {
        self.weight() as u64 / GRAIN_BYTES
    }
}

impl OpenHours {
    /// Adds an entry to its hour. Returns the hour's weight.
    pub(super) fn push(&mut self, hour: i64, entry: &Entry<'_>) -> usize {
        step();
        let weight = entry.raw.len() + ROW_BYTES;
        self.pushed += weight as u64;
        self.bytes += weight;
        let now = self.pushed / GRAIN_BYTES;
        let (spare, by_weight, by_touch) = (&mut self.spare, &mut self.by_weight, &mut self.by_touch);
        let open = self.hours.entry(hour).or_insert_with(|| {
            by_weight.insert((0, hour));
            by_touch.insert((now, hour));
            Open { builder: spare.take().unwrap_or_default(), touched: now }
        });
        let was = open.weight_grain();
        open.builder.push(entry);
        let is = open.weight_grain();
        if is != was {
            step();
            by_weight.remove(&(was, hour));
            by_weight.insert((is, hour));
        }
        if open.touched != now {
            step();
            by_touch.remove(&(open.touched, hour));
            by_touch.insert((now, hour));
            open.touched = now;
        }
        open.weight()
    }

    /// Returns an hour that has to be closed, if any.
    pub(super) fn one_too_many(&self) -> Option<i64> {
        step();
        if self.bytes > MAX_OPEN_BYTES {
            return self.by_weight.last().map(|&(_, hour)| hour);
        }
        let &(touched, hour) = self.by_touch.first()?;
        let idle = (self.pushed / GRAIN_BYTES).saturating_sub(touched) > IDLE_BYTES / GRAIN_BYTES;
        (idle || self.hours.len() > MAX_OPEN_HOURS).then_some(hour)
    }

    pub(super) fn earliest(&self) -> Option<i64> {
        self.hours.first_key_value().map(|(&hour, _)| hour)
    }

    /// Closes an hour. Returns its entries and their weight.
    pub(super) fn take(&mut self, hour: i64) -> Option<(BlockBuilder, usize)> {
        step();
        seen_open(self.hours.len());
        let open = self.hours.remove(&hour)?;
        self.by_weight.remove(&(open.weight_grain(), hour));
        self.by_touch.remove(&(open.touched, hour));
        let weight = open.weight();
        self.bytes -= weight;
        Some((open.builder, weight))
    }

    pub(super) fn keep_for_reuse(&mut self, empty: BlockBuilder) {
        self.spare = Some(empty);
    }
}

#[cfg(not(test))]
fn step() {}
#[cfg(not(test))]
fn seen_open(_: usize) {}

#[cfg(test)]
pub(super) use counted::{seen_open, step, steps, take_most_open};

/// Steps that tests count instead of time.
#[cfg(test)]
mod counted {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
        static MOST_OPEN: Cell<usize> = const { Cell::new(0) };
    }

    pub(crate) fn step() {
        STEPS.set(STEPS.get() + 1);
    }

    pub(crate) fn steps() -> u64 {
        STEPS.get()
    }

    pub(crate) fn seen_open(hours: usize) {
        MOST_OPEN.set(MOST_OPEN.get().max(hours));
    }

    pub(crate) fn take_most_open() -> usize {
        MOST_OPEN.replace(0)
    }
}
