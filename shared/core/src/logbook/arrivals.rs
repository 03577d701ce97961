//! Appends blocks to the log of arrivals, each insertion once, whatever batches of the stream name it.

use std::collections::HashSet;

use crate::model::fault::{Fault, FaultClass};
use crate::ports::arrivals::{
    ArrivalLog, ArrivalLogId, ArrivalRow, BlockArrival, MAX_ROW_ARRIVALS, STORED_MS,
};

/// Attempts at appending while other writers append to the same log. One of them succeeds in each round.
const ATTEMPTS: u32 = 32;

/// How much the clock of DynamoDB, which times a change, may be later than the one that timed a row (ms).
const CLOCK_SKEW_MS: i64 = 60_000;

/// Age of the newest row from which a new generation begins (ms): a later row may have been deleted at twice this age.
const GENERATION_MS: i64 = STORED_MS / 2;

/// Rows of the first read: usually, few were appended since the oldest block of a batch was inserted.
const FIRST_READ: u32 = 8;

/// Rows of a further read.
const READ: u32 = 100;

/// Maximum number of rows that are searched for earlier arrivals of the same blocks. More are appended between two
/// deliveries of a batch only if thousands of other batches of the app were delivered in between.
const MAX_SEARCHED: usize = 5_000;

/// What a writer knows of a log.
struct Known {
    newest: Option<ArrivalRow>,
    insertions: HashSet<[u8; 24]>,
}

fn identity(arrival: &BlockArrival) -> [u8; 24] {
    let mut identity = [0; 24];
    identity[..16].copy_from_slice(&arrival.block_id.0);
    identity[16..].copy_from_slice(&arrival.insertion);
    identity
}

impl Known {
    /// Reads back from the newest row until no earlier one can have a block that was inserted since `since_ms`.
    async fn read<L: ArrivalLog>(log: &L, id: &ArrivalLogId, since_ms: i64) -> Result<Self, Fault> {
        let mut known = Self { newest: None, insertions: HashSet::new() };
        let (mut below, mut limit, mut searched) = (None, FIRST_READ, 0);
        loop {
            let rows = log.newest(id, below, limit).await?;
            let last = rows.last().map(|row| (row.number, row.at_ms));
            let more = rows.len() == limit as usize;
            searched += rows.len();
            for row in rows {
                known.insertions.extend(row.arrivals.iter().map(identity));
                if known.newest.is_none() {
                    known.newest = Some(row);
                }
            }
            match last {
                Some((number, at_ms))
                    if more && at_ms >= since_ms - CLOCK_SKEW_MS && searched < MAX_SEARCHED =>
                {
                    below = Some(number);
                }
                _ => return Ok(known),
            }
            limit = READ;
        }
    }

    /// Reads what was appended since.
    async fn read_on<L: ArrivalLog>(&mut self, log: &L, id: &ArrivalLogId) -> Result<(), Fault> {
        loop {
            let rows = log.from(id, self.next_number(), READ).await?;
            let more = rows.len() == READ as usize;
            for row in rows {
                self.take(row);
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn take(&mut self, row: ArrivalRow) {
        self.insertions.extend(row.arrivals.iter().map(identity));
        self.newest = Some(row);
    }

    fn next_number(&self) -> u64 {
        self.newest.as_ref().map_or(1, |newest| newest.number + 1)
    }

    /// Returns the next row with those of the arrivals that are new; `None` if none is.
    fn next_row(&self, arrivals: &[BlockArrival], now_ms: i64) -> Option<ArrivalRow> {
        let new = |arrival: &&BlockArrival| !self.insertions.contains(&identity(arrival));
        let arrivals: Vec<_> = arrivals.iter().filter(new).take(MAX_ROW_ARRIVALS).copied().collect();
        let newest = self.newest.as_ref();
        let same = newest.filter(|newest| now_ms - newest.at_ms < GENERATION_MS);
        (!arrivals.is_empty()).then(|| ArrivalRow {
            number: self.next_number(),
            generation: same.map_or(now_ms, |newest| newest.generation),
            at_ms: newest.map_or(now_ms, |newest| newest.at_ms.max(now_ms)),
            arrivals,
        })
    }
}

/// Appends those arrivals that the log does not have. The oldest of the blocks was inserted at `since_ms`.
///
/// # Errors
/// A call failed. What was appended is found by the next attempt at the same arrivals.
pub async fn append<L: ArrivalLog>(
    log: &L,
    id: &ArrivalLogId,
    arrivals: &[BlockArrival],
    since_ms: i64,
    now_ms: i64,
) -> Result<(), Fault> {
    let mut known = Known::read(log, id, since_ms).await?;
    for _ in 0..ATTEMPTS {
        let Some(row) = known.next_row(arrivals, now_ms) else { return Ok(()) };
        match log.append(id, &row).await? {
            true => known.take(row),
            false => known.read_on(log, id).await?,
        }
    }
    Err(Fault::new(FaultClass::Transient, "appending arrivals", "other writers keep appending"))
}
