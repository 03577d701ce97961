//! Write units that the table of blocks accepts: per second in total, and per partition key.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>

use std::collections::BTreeMap;

use logferry_core::model::block::Block;
use tokio::time::Instant;

/// Approximate bytes of a block's item besides its data.
const ITEM_OVERHEAD_BYTES: usize = 250;

/// Returns the write units of a block, one per started KiB.
pub(super) fn write_units(block: &Block) -> u64 {
    (block.data.len() + ITEM_OVERHEAD_BYTES).div_ceil(1024) as u64
}

/// A bucket that refills with time, up to the amount of one second.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    left: f64,
    filled_at: Instant,
}

impl Bucket {
    fn new(per_second: f64) -> Self {
        Self { per_second, left: per_second, filled_at: Instant::now() }
    }

    /// A write is accepted while anything is left, however large it is.
    fn has_any(&mut self) -> bool {
        let now = Instant::now();
        let gained = (now - self.filled_at).as_secs_f64() * self.per_second;
        self.left = (self.left + gained).min(self.per_second);
        self.filled_at = now;
        self.left > 0.0
    }
}

#[derive(Debug)]
pub(super) struct Throughput {
    per_key: f64,
    keys: BTreeMap<String, Bucket>,
    table: Bucket,
}

impl Throughput {
    pub(super) fn new(per_key: f64, table: f64) -> Self {
        Self { per_key, keys: BTreeMap::new(), table: Bucket::new(table) }
    }

    /// Whether a write is accepted now.
    pub(super) fn takes(&mut self, partition: &str, units: u64) -> bool {
        let per_key = self.per_key;
        let key = self.keys.entry(partition.to_owned()).or_insert_with(|| Bucket::new(per_key));
        let taken = key.has_any() && self.table.has_any();
        if taken {
            key.left -= units as f64;
            self.table.left -= units as f64;
        }
        taken
    }
}
