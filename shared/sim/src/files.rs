//! Lists of files.

use logferry_aws::ledger::{FailedPlace, listed_at};
use logferry_core::ledger::files::{FilePage, FilePosition, Files, Owner, QuarantinePage};
use logferry_core::ledger::row::{FileRow, FileStatus};
use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::time::Day;

use super::file_key;
use super::{SimCloud, legal_key};

/// Maximum rows per call if it filters them.
const MOST_READ: usize = 5;

fn bad_position() -> Fault {
    Fault::new(FaultClass::Permanent, "Query", "bad position")
}

/// A position is a list of texts.
fn position(list: &str, place: &str) -> FilePosition {
    FilePosition(serde_json::json!([list, place]).to_string())
}

fn place_in(list: &str, position: Option<&FilePosition>) -> Result<Option<String>, Fault> {
    let Some(position) = position else { return Ok(None) };
    match serde_json::from_str::<[String; 2]>(&position.0) {
        Ok([of, place]) if of == list => Ok(Some(place)),
        _ => Err(bad_position()),
    }
}

/// Returns a page of a list: the last place first, with a bounded number of rows read.
fn page(
    list: &str,
    mut rows: Vec<(String, FileRow)>,
    wanted: impl Fn(&FileRow) -> bool,
    limit: u32,
    after: Option<&FilePosition>,
) -> Result<FilePage, Fault> {
    let after = place_in(list, after)?;
    rows.retain(|(place, _)| after.as_ref().is_none_or(|after| place < after));
    rows.sort_by(|(a, _), (b, _)| b.cmp(a));
    let (mut page, mut read) = (FilePage::default(), 0);
    for (index, (place, row)) in rows.iter().enumerate() {
        read += usize::from(!wanted(row));
        page.rows.extend(wanted(row).then(|| row.clone()));
        if page.rows.len() == limit as usize || read == MOST_READ {
            page.next = (index + 1 < rows.len()).then(|| position(list, place));
            break;
        }
    }
    Ok(page)
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
        self.call("Query", |state| {
            let own = |row: &FileRow| row.app_id.as_ref() == Some(app_id) && row.created_ms >= since_ms;
            let rows = state.rows().filter(|row| own(row)).map(|row| (listed_at(row), row.clone()));
            let wanted = |row: &FileRow| status.is_none_or(|status| row.status == status);
            page("app", rows.collect(), wanted, limit, after)
        })
        .await
    }

    async fn failed(
        &self,
        app_id: Option<&AppId>,
        since_ms: i64,
        _: i64,
        limit: u32,
        after: Option<&FilePosition>,
    ) -> Result<FilePage, Fault> {
        self.call("Query", |state| {
            let failed = state.rows().filter(|row| row.status == FileStatus::Failed);
            let own = failed.filter(|row| app_id.is_none_or(|app_id| row.app_id.as_ref() == Some(app_id)));
            let place = |row: &FileRow| {
                let place = FailedPlace::new(row, row.updated_ms);
                format!("{}#{}", Day::of_ms(row.updated_ms), place.failed_at)
            };
            let rows = own.map(|row| (place(row), row.clone()));
            page("failed", rows.collect(), |row| row.created_ms >= since_ms, limit, after)
        })
        .await
    }

    async fn of_key(
        &self,
        bucket: &str,
        key: &str,
        owner: Option<Owner<'_>>,
        limit: u32,
        after: Option<&FilePosition>,
    ) -> Result<FilePage, Fault> {
        self.call("Query", |state| {
            legal_key(&format!("{bucket}/{key}"))?;
            let of_key = state.rows().filter(|row| row.bucket == bucket && row.key == key);
            let own = of_key.filter(|row| owner.is_none_or(|owner| owner.owns(row)));
            let rows = own.map(|row| (listed_at(row), row.clone()));
            page("key", rows.collect(), |_| true, limit, after)
        })
        .await
    }

    async fn of_version(&self, bucket: &str, key: &str, version: &str) -> Result<Vec<FileRow>, Fault> {
        self.call("GetItem", |state| {
            legal_key(&format!("{bucket}/{key}"))?;
            let file = (bucket.to_owned(), key.to_owned(), version.to_owned());
            Ok(state.files.get(&file).map(|file| file.row.clone()).into_iter().collect())
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
