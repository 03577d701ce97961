//! Write units that the table of blocks takes: so many a second in all, and for each partition key.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>

use std::collections::BTreeMap;

use logferry_core::model::block::Block;
use tokio::time::Instant;

/// What a block's item holds beside its data, about (bytes).
const ITEM_OVERHEAD_BYTES: usize = 250;

/// Units that writing a block takes, one for each KiB begun.
pub(super) fn write_units(block: &Block) -> u64 {
    (block.data.len() + ITEM_OVERHEAD_BYTES).div_ceil(1024) as u64
}

/// A bucket that fills as time goes by, up to what a second brings.
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

    /// A write is taken while anything is left, however large it is.
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

    /// Whether a write is taken now.
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
