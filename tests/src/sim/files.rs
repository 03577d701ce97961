//! Lists of files.

use logferry_domain::app::AppId;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::ledger::{FileRow, FileStatus};
use logferry_domain::object::ObjectRef;
use logferry_ports::Files;
use logferry_ports::files::{FilePage, FilePosition, QuarantinePage};

use super::ledger::file_key;
use super::{SimCloud, legal_key};

fn place(row: &FileRow) -> String {
    format!("{:013}#{}", row.created_ms, row.key)
}

impl Files for SimCloud {
    async fn of_app(
        &self,
        app_id: &AppId,
        since_ms: i64,
        status: Option<FileStatus>,
        limit: u32,
        after: Option<&FilePosition>,
    ) -> Result<FilePage, Fault> {
        if after.is_some_and(|after| !after.0.contains('#')) {
            return Err(Fault::new(FaultClass::Permanent, "Query", "bad position"));
        }
        self.call("Query", |state| {
            let mut rows: Vec<FileRow> = state.files.values().map(|file| file.row.clone()).collect();
            rows.retain(|row| {
                row.app_id.as_ref() == Some(app_id)
                    && row.created_ms >= since_ms
                    && status.is_none_or(|status| row.status == status)
                    && after.is_none_or(|after| place(row) < after.0)
            });
            rows.sort_by_key(|row| std::cmp::Reverse(place(row)));
            let more = rows.len() > limit as usize;
            rows.truncate(limit as usize);
            let next = rows.last().filter(|_| more).map(|row| FilePosition(place(row)));
            Ok(FilePage { rows, next })
        })
        .await
    }

    async fn of_key(&self, bucket: &str, key: &str) -> Result<Vec<FileRow>, Fault> {
        self.call("Query", |state| {
            legal_key(&format!("{bucket}/{key}"))?;
            let rows = state.files.values().map(|file| file.row.clone());
            Ok(rows.filter(|row| row.bucket == bucket && row.key == key).collect())
        })
        .await
    }

    async fn quarantined(
        &self,
        object: &ObjectRef,
        limit: u32,
        after: Option<u64>,
    ) -> Result<QuarantinePage, Fault> {
        self.call("Query", |state| {
            let file = state.files.get(&file_key(object));
            let all = file.into_iter().flat_map(|file| file.quarantined.values());
            let mut left = all.filter(|row| after.is_none_or(|after| row.ordinal > after)).cloned();
            let rows: Vec<_> = left.by_ref().take(limit as usize).collect();
            let next = left.next().and_then(|_| rows.last()).map(|last| last.ordinal);
            Ok(QuarantinePage { rows, next })
        })
        .await
    }

    async fn redrive(&self, row: &FileRow, now_ms: i64) -> Result<bool, Fault> {
        self.call("UpdateItem", |state| {
            let Some(object) = &row.object else { return Ok(false) };
            let Some(file) = state.files.get_mut(&file_key(object)) else { return Ok(false) };
            if file.row.fence != row.fence || file.row.status != row.status {
                return Ok(false);
            }
            state.watched.remove(&file_key(object));
            file.row.status = FileStatus::Pending;
            file.row.fence += 1;
            file.row.attempt = 0;
            file.row.checkpoint = Default::default();
            file.row.due_at_ms = Some(now_ms);
            file.row.lease_until_ms = None;
            file.row.reason = None;
            file.row.processed_ms = None;
            file.row.updated_ms = now_ms;
            Ok(true)
        })
        .await
    }
}
