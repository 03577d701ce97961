//! Due rows, starts of `ingest`, and expiry of ledger rows.

use std::collections::VecDeque;

use logferry_core::ledger::backlog::{Backlog, DuePage, DuePosition, Queue, Starter};
use logferry_core::ledger::row::{FileRow, FileStatus};
use logferry_core::logfile::outcome::Reason;
use logferry_core::model::fault::Fault;
use logferry_core::model::object::ObjectRef;
use logferry_core::model::time::MS_PER_DAY;
use logferry_core::ports::clock::Clock;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::file_key;
use super::{SimClock, SimCloud, State};

const SHARDS: u8 = 4;
/// Rows per page: few, so that there are several pages.
const PAGE: usize = 7;
/// Maximum lag of the index of due rows (ms), if the clock runs.
const INDEX_LAG_MS: i64 = 2_000;
/// How long an ended row, or a grant since it was issued, is kept (ms).
const ROW_LIVES_MS: i64 = 90 * MS_PER_DAY;

fn shard_of(key: &str) -> u8 {
    key.bytes().fold(0u8, u8::wrapping_add) % SHARDS
}

/// Versions of a row with the time from which the index shows them (ms), the newest last.
#[derive(Debug, Clone, Default)]
pub(super) struct Indexed(VecDeque<(i64, FileRow)>);

impl Indexed {
    fn update(&mut self, row: &FileRow, now_ms: i64) {
        let state = |row: &FileRow| (row.fence, row.status, row.due_at_ms);
        if self.0.back().is_none_or(|(_, last)| state(last) != state(row)) {
            self.0.push_back((now_ms, row.clone()));
        }
        while self.0.get(1).is_some_and(|(since_ms, _)| *since_ms <= now_ms - INDEX_LAG_MS) {
            self.0.pop_front();
        }
    }

    fn at(&self, time_ms: i64) -> Option<&FileRow> {
        self.0.iter().rev().find(|(since_ms, _)| *since_ms <= time_ms).map(|(_, row)| row)
    }
}

impl State {
    pub(super) fn rows(&self) -> impl Iterator<Item = &FileRow> {
        let unused =
            self.grants.values().filter(|granted| granted.grant.used.is_none()).map(|granted| &granted.row);
        self.files.values().map(|file| &file.row).chain(unused)
    }

    /// Updates the index after a call.
    pub(super) fn index(&mut self, clock: &SimClock) {
        let now_ms = clock.now_ms();
        for file in self.files.values_mut() {
            file.indexed.update(&file.row, now_ms);
        }
        for granted in self.grants.values_mut() {
            granted.indexed.update(&granted.row, now_ms);
        }
    }

    /// Returns the rows of a queue as the index showed them at `time_ms`.
    fn indexed(&self, queue: Queue, time_ms: i64) -> Vec<&FileRow> {
        match queue {
            Queue::Files => self.files.values().filter_map(|file| file.indexed.at(time_ms)).collect(),
            Queue::Grants => self.grants.values().filter_map(|granted| granted.indexed.at(time_ms)).collect(),
        }
    }

    /// Returns the row, if it is unchanged since it was read.
    fn unchanged(&mut self, seen: &FileRow) -> Option<&mut FileRow> {
        let row = match &seen.object {
            Some(object) => &mut self.files.get_mut(&file_key(object))?.row,
            None => &mut self.grants.get_mut(&(seen.bucket.clone(), seen.key.clone()))?.row,
        };
        let same = (row.status, row.fence, row.due_at_ms) == (seen.status, seen.fence, seen.due_at_ms);
        same.then_some(row)
    }
}

fn position(row: &FileRow) -> DuePosition {
    let sk = row.object.as_ref().map_or("grant", |object| object.version.as_str());
    let pk = format!("{}/{}", row.bucket, row.key);
    DuePosition { due_at_ms: row.due_at_ms.unwrap_or_default(), pk, sk: sk.to_owned() }
}

impl Backlog for SimCloud {
    fn shards(&self) -> u8 {
        SHARDS
    }

    async fn due(
        &self,
        queue: Queue,
        shard: u8,
        now_ms: i64,
        after: Option<&DuePosition>,
    ) -> Result<DuePage, Fault> {
        self.call("Query", |state| {
            // The lag differs from one read to the next.
            let lag_ms = if self.clock.runs() { state.faults.calls.cast_signed() % 4 * 500 } else { 0 };
            let place = |row: &FileRow| {
                let at = position(row);
                (at.due_at_ms, at.pk, at.sk)
            };
            let start = after.map(|after| (after.due_at_ms, after.pk.clone(), after.sk.clone()));
            let mut rows: Vec<_> = state
                .indexed(queue, self.clock.now_ms() - lag_ms)
                .into_iter()
                .filter(|row| row.due_at_ms.is_some_and(|due| due <= now_ms) && shard_of(&row.key) == shard)
                .filter(|row| start.as_ref().is_none_or(|start| place(row) > *start))
                .collect();
            rows.sort_by_cached_key(|row| place(row));
            let more = rows.len() > PAGE;
            rows.truncate(PAGE);
            let next = rows.last().filter(|_| more).map(|row| position(row));
            Ok(DuePage { rows: rows.into_iter().cloned().collect(), next })
        })
        .await
    }

    async fn postpone(&self, row: &FileRow, due_at_ms: i64) -> Result<bool, Fault> {
        self.call("UpdateItem", |state| {
            let Some(row) = state.unchanged(row) else { return Ok(false) };
            row.due_at_ms = Some(due_at_ms);
            Ok(true)
        })
        .await
    }

    async fn give_up(&self, row: &FileRow, reason: &Reason, now_ms: i64) -> Result<bool, Fault> {
        self.call("UpdateItem", |state| {
            let Some(row) = state.unchanged(row) else { return Ok(false) };
            row.status = FileStatus::Failed;
            row.reason = Some(reason.clone());
            row.due_at_ms = None;
            row.lease_until_ms = None;
            row.updated_ms = now_ms;
            row.processed_ms = Some(now_ms);
            Ok(true)
        })
        .await
    }

    async fn unknown(&self, objects: Vec<ObjectRef>) -> Result<Vec<ObjectRef>, Fault> {
        self.call("BatchGetItem", |state| {
            let is_unknown = |object: &ObjectRef| !state.files.contains_key(&file_key(object));
            Ok(objects.into_iter().filter(is_unknown).collect())
        })
        .await
    }
}

impl Starter for SimCloud {
    async fn start(&self, object: &ObjectRef) -> Result<(), Fault> {
        self.call("Invoke", |state| {
            state.started.push(object.clone());
            Ok(())
        })
        .await
    }
}

impl SimCloud {
    /// Returns the starts since the last call.
    #[must_use]
    pub fn take_started(&self) -> Vec<ObjectRef> {
        std::mem::take(&mut self.state().started)
    }

    /// Returns grants that wait or were ended; a used grant is represented by its file.
    #[must_use]
    pub fn unused_grants(&self) -> Vec<FileRow> {
        let state = self.state();
        state
            .grants
            .values()
            .filter(|granted| granted.grant.used.is_none())
            .map(|granted| granted.row.clone())
            .collect()
    }

    /// Removes a grant, as the time to live does.
    pub fn expire_grant(&self, bucket: &str, key: &str) {
        self.state().grants.remove(&(bucket.to_owned(), key.to_owned()));
    }

    /// Removes about half of the expired rows of the ledger, chosen at random: DynamoDB deletes expired
    /// items in any order, some days late. Returns the number.
    pub fn expire_rows(&self, seed: u64) -> usize {
        let mut rng = SmallRng::seed_from_u64(seed);
        let over_ms = self.clock.now_ms() - ROW_LIVES_MS;
        let mut stays = |since_ms: Option<i64>| since_ms.is_none_or(|ms| ms > over_ms) || rng.random();
        let mut state = self.state();
        let before = state.files.len() + state.grants.len();
        state.files.retain(|_, file| stays(file.row.processed_ms));
        state
            .grants
            .retain(|_, granted| stays(Some(granted.row.processed_ms.unwrap_or(granted.row.created_ms))));
        let State { files, watched, .. } = &mut *state;
        watched.retain(|key, _| files.contains_key(key));
        before - files.len() - state.grants.len()
    }
}
