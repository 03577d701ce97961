//! What a query asks for, its page, and what both orders of reading share.

use crate::logbook::answer::{MAX_QUERY_BYTES, embedded_len, shortened};
use crate::logbook::blocks::{BlockTable, StoredBlock};
use crate::logbook::budget::{Budget, Spending};
use crate::logbook::filter::{Filter, Order};
use crate::logbook::newest::Candidate;
use crate::model::app::{App, AppId};
use crate::model::block::{BlockHeader, Payload};
use crate::model::fault::Fault;
use crate::model::record::StoredRecord;
use crate::model::record_view::LogRecord;
use crate::model::time::{EARLIEST_MS, LATEST_MS};
use crate::model::time_bound::TimeBound;

/// Maximum number of records in a response.
pub const MAX_LIMIT: usize = 1_000;
pub const DEFAULT_LIMIT: usize = 100;
/// Maximum number of records that an offset skips; a cursor goes further.
pub const MAX_OFFSET: usize = 10_000;

/// Bytes of a strongly consistent read unit.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
const UNIT_BYTES: usize = 4096;

/// Maximum bytes of the entries held for a result.
pub(crate) const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;

/// A query.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The app, or all of them.
    pub apps: &'a [App],
    /// All apps are queried: each record has its app's id.
    pub merged: bool,
    pub filter: &'a Filter,
    pub order: Order,
    pub limit: usize,
    pub offset: usize,
    pub cursor: Option<&'a str>,
    /// With `rawData`.
    pub raw: bool,
    pub now_ms: i64,
    pub budget: Budget,
}

/// A page of a result.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    /// One JSON object per record.
    pub records: Vec<String>,
    /// `None` on the last page.
    pub cursor: Option<String>,
    pub cost: Cost,
}

/// The cost of a query.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Query and GetItem requests.
    pub pages: u32,
    /// Blocks of which at least the header was read.
    pub blocks: u32,
    /// Blocks that were decompressed.
    pub opened: u32,
    /// Blocks that might have held matching records and could not be read.
    pub skipped: u32,
    /// Maximum number of blocks whose data was in memory at once.
    pub most_held: usize,
    /// Compressed data and headers.
    pub data_bytes: usize,
    pub decompressed_bytes: usize,
    /// Read units, as charged by DynamoDB; of a tail, as computed from the bytes that it reads.
    pub units: f64,
}

/// Why a query fails.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("the cursor belongs to another query")]
    BadCursor,
    /// The offset skips more than a query reads. A cursor can go further.
    #[error("the offset skips more records than a query can read; use a cursor")]
    OffsetTooFar,
    /// The oldest records of several apps are not merged.
    #[error("the oldest records can only be read of one app")]
    OneAppOldestFirst,
    #[error("an offset can only be used from the newest record on")]
    OffsetOldestFirst,
    /// The headers of an hour's blocks cannot be read in time.
    #[error("an hour has too many blocks to be read from the oldest record on")]
    HourTooLarge,
    #[error("the records could not be read")]
    Fault(#[from] Fault),
}

pub(crate) fn render(candidate: &Candidate, query: &Query<'_>) -> String {
    let app_id = query.merged.then(|| &query.apps[candidate.app].app_id);
    render_record(&candidate.stored(), app_id, query.raw)
}

pub(crate) fn render_record(stored: &StoredRecord<'_>, app_id: Option<&AppId>, raw: bool) -> String {
    let mut out = Vec::with_capacity(stored.entry.raw.len() * (1 + usize::from(raw)) + 160);
    LogRecord::read(stored).write_json(&mut out, app_id, raw);
    let text = String::from_utf8(out).unwrap_or_default();
    if embedded_len(&text) <= MAX_QUERY_BYTES {
        return text;
    }
    // A megabyte of control characters becomes six as JSON: more than any response holds.
    shortened(stored, app_id, MAX_QUERY_BYTES)
}

/// Reads the records of a block, with its extents. `None` if it cannot be read, which counts as skipped.
pub(crate) async fn open<T: BlockTable>(
    table: &T,
    stored: &StoredBlock,
    cost: &mut Cost,
    spending: &mut Spending,
) -> Result<Option<Payload>, Fault> {
    if !stored.whole {
        cost.pages += 1;
    }
    let Some(payload) = table.payload(stored).await? else {
        cost.skipped += 1;
        return Ok(None);
    };
    cost.opened += 1;
    cost.decompressed_bytes += payload.bytes();
    spending.decompressed_bytes(payload.bytes());
    Ok(Some(payload))
}

/// Returns the read units of a request that reads this much. A request that finds nothing takes one.
pub(crate) fn units(bytes: usize) -> f64 {
    bytes.div_ceil(UNIT_BYTES).max(1) as f64
}

/// The range of time of a query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    /// Records before this time do not count (ms).
    pub(crate) since_ms: i64,
    /// Only records before this time count (ms).
    pub(crate) until_ms: i64,
    /// When the first page was requested (ms).
    pub(crate) asked_ms: i64,
}

impl Range {
    pub(crate) fn of(filter: &Filter, asked_ms: i64) -> Self {
        let bound =
            |bound: Option<TimeBound>, else_ms: i64| bound.map_or(else_ms, |bound| bound.ms(asked_ms));
        Self {
            since_ms: bound(filter.since, EARLIEST_MS).max(EARLIEST_MS),
            until_ms: bound(filter.until, LATEST_MS).min(LATEST_MS),
            asked_ms,
        }
    }

    /// Older records of an app are hidden or expired (ms).
    pub(crate) fn since_ms_of(&self, app: &App) -> i64 {
        app.pruned_before_ms.map_or(self.since_ms, |pruned| pruned.max(self.since_ms))
    }

    /// Whether a block has no matches, by its header alone.
    pub(crate) fn excludes(&self, header: &BlockHeader, query: &Query<'_>, app: &App) -> bool {
        header.registered_ms != app.registered_ms
            || header.first_ms >= self.until_ms
            || header.last_ms < self.since_ms_of(app)
            || header.expires_at_secs.is_some_and(|at| at <= query.now_ms.div_euclid(1000))
            || !query.filter.entry.may_be_in_block(header)
    }
}
