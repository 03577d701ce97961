//! What is due, and starts of ingest.

use logferry_domain::fault::Fault;
use logferry_domain::ledger::{FileRow, FileStatus, Reason};
use logferry_domain::object::ObjectRef;
use logferry_ports::{Backlog, Starter};

use super::ledger::file_key;
use super::{SimCloud, State};

const SHARDS: u8 = 4;

fn shard_of(key: &str) -> u8 {
    key.bytes().fold(0u8, u8::wrapping_add) % SHARDS
}

impl State {
    pub(super) fn rows(&self) -> impl Iterator<Item = &FileRow> {
        let unused =
            self.grants.values().filter(|granted| granted.grant.used.is_none()).map(|granted| &granted.row);
        self.files.values().map(|file| &file.row).chain(unused)
    }

    /// The row, if it is still as it was seen.
    fn unchanged(&mut self, seen: &FileRow) -> Option<&mut FileRow> {
        let row = match &seen.object {
            Some(object) => &mut self.files.get_mut(&file_key(object))?.row,
            None => &mut self.grants.get_mut(&(seen.bucket.clone(), seen.key.clone()))?.row,
        };
        let same = (row.status, row.fence, row.due_at_ms) == (seen.status, seen.fence, seen.due_at_ms);
        same.then_some(row)
    }
}

impl Backlog for SimCloud {
    fn shards(&self) -> u8 {
        SHARDS
    }

    async fn due(&self, shard: u8, now_ms: i64, limit: u32) -> Result<Vec<FileRow>, Fault> {
        self.call("Query", |state| {
            let is_due = |row: &&FileRow| row.due_at_ms.is_some_and(|due| due <= now_ms);
            let mut rows: Vec<_> =
                state.rows().filter(is_due).filter(|row| shard_of(&row.key) == shard).cloned().collect();
            rows.sort_by_key(|row| row.due_at_ms);
            rows.truncate(limit as usize);
            Ok(rows)
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
    /// The starts since this was last asked.
    #[must_use]
    pub fn take_started(&self) -> Vec<ObjectRef> {
        std::mem::take(&mut self.state().started)
    }

    /// When the next row is due.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        self.state().rows().filter_map(|row| row.due_at_ms).min()
    }
}
