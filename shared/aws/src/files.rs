//! Lists of the ledger, by app and by key.

use aws_sdk_dynamodb::Client;
use logferry_core::ledger::files::{FilePage, FilePosition, Files, Owner, QuarantinePage};
use logferry_core::ledger::row::{FileRow, FileStatus};
use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::{ObjectRef, ObjectVersion};
use logferry_core::model::time::{Day, MS_PER_DAY};

use crate::faults::fault;
use crate::item::{Get, Item, key, n, s};
use crate::ledger::quarantine::{quarantine_sk, quarantined_from};
use crate::ledger::{FAILED_SHARDS, KEEP_DAYS, due_shard, failed_on, failed_prefix, file_key, row_from_item};
use crate::table::{Table, applied};

/// Files in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoFiles {
    table: Table,
}

impl DynamoFiles {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table) }
    }
}

/// Maximum pages (of at most 1 MB) of an app's files that a call reads if it filters them.
const MAX_PAGES: u32 = 4;
/// Days of FAILED files that are read in parallel, and per call.
const DAYS_AT_ONCE: i32 = 4;
const MAX_DAYS: i32 = 32;
/// Maximum rows of one key that a call returns, and that it reads: each is a request.
const MAX_OF_KEY: u32 = 100;
const MAX_READ_OF_KEY: u32 = 300;

/// Maximum length of a partition key and of a sort key (bytes).
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const MAX_PK_BYTES: usize = 2_048;
const MAX_SK_BYTES: usize = 1_024;

fn bad_position() -> Fault {
    Fault::new(FaultClass::Permanent, "Query", "bad position")
}

/// A position is a list of texts.
fn position<const N: usize>(parts: [&str; N]) -> FilePosition {
    FilePosition(serde_json::Value::from(parts.to_vec()).to_string())
}

/// Parses what [`position`] wrote: texts that can be keys.
fn parts<const N: usize>(position: &FilePosition) -> Result<[String; N], Fault> {
    let parts: Vec<String> = serde_json::from_str(&position.0).map_err(|_| bad_position())?;
    let legal = |text: &String| !text.is_empty() && text.len() <= MAX_PK_BYTES;
    if !parts.iter().all(legal) {
        return Err(bad_position());
    }
    parts.try_into().map_err(|_| bad_position())
}

/// The position after an item of an index: `listed_at`, `pk` and `sk`.
fn position_of(item: &Item) -> Result<FilePosition, Fault> {
    Ok(position([item.text("listed_at")?, item.text("pk")?, item.text("sk")?]))
}

fn start_key(app_id: &AppId, position: &FilePosition) -> Result<Item, Fault> {
    let [listed_at, pk, sk] = parts(position)?;
    if listed_at.len() > MAX_SK_BYTES || sk.len() > MAX_SK_BYTES {
        return Err(bad_position());
    }
    let mut item = key(pk, sk);
    item.insert("listed_at".to_owned(), s(listed_at));
    item.insert("app_id".to_owned(), s(app_id.as_str()));
    Ok(item)
}

/// FAILED files of a day, the last place first.
#[derive(Debug, Default)]
struct FailedDay {
    rows: Vec<(String, FileRow)>,
    /// Rows before this place were not all read.
    read_to: Option<String>,
}

impl DynamoFiles {
    /// Returns FAILED files of a day, at most `limit` of each shard, only those before `below`.
    async fn failed_on(
        &self,
        day: Day,
        app_id: Option<&AppId>,
        below: Option<&str>,
        limit: u32,
    ) -> Result<FailedDay, Fault> {
        let prefix = app_id.map(|app_id| failed_prefix(Some(app_id))).unwrap_or_default();
        // '~' sorts after every app and every time.
        let end = format!("{prefix}~");
        let below = below.unwrap_or(&end).min(end.as_str()).to_owned();
        // A key must not be empty.
        let from = if prefix.is_empty() { " ".to_owned() } else { prefix };
        if below <= from {
            return Ok(FailedDay::default());
        }
        let shards = (0..FAILED_SHARDS).map(|shard| {
            self.table
                .client
                .query()
                .table_name(&self.table.name)
                .index_name("by_failed")
                .scan_index_forward(false)
                // One more than requested: the first may be `below` itself, which the range includes.
                .limit(i32::try_from(limit).unwrap_or(i32::MAX).saturating_add(1))
                .key_condition_expression("failed_on = :on AND failed_at BETWEEN :from AND :below")
                .expression_attribute_values(":on", s(failed_on(day, shard)))
                .expression_attribute_values(":from", s(&from))
                .expression_attribute_values(":below", s(&below))
                .send()
        });
        let answers = futures::future::try_join_all(shards).await.map_err(|error| fault("Query", error))?;
        let mut found = FailedDay::default();
        for answer in answers {
            for item in answer.items.unwrap_or_default() {
                let place = item.text("failed_at")?.to_owned();
                // The range includes its end.
                if place < below {
                    found.rows.push((place, row_from_item(&item)?));
                }
            }
            if let Some(last) = answer.last_evaluated_key {
                found.read_to = found.read_to.max(Some(last.text("failed_at")?.to_owned()));
            }
        }
        let read_to = found.read_to.clone();
        found.rows.retain(|(place, _)| read_to.as_ref().is_none_or(|read_to| place >= read_to));
        found.rows.sort_by(|(a, _), (b, _)| b.cmp(a));
        Ok(found)
    }
}

impl Files for DynamoFiles {
    async fn of_app(
        &self,
        app_id: &AppId,
        since_ms: i64,
        status: Option<FileStatus>,
        limit: u32,
        after: Option<&FilePosition>,
    ) -> Result<FilePage, Fault> {
        let mut start = after.map(|position| start_key(app_id, position)).transpose()?;
        let limit = limit as usize;
        let mut page = FilePage::default();
        for _ in 0..MAX_PAGES {
            let mut query = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
                .index_name("by_app")
                .scan_index_forward(false)
                .key_condition_expression("app_id = :app AND listed_at >= :since")
                .expression_attribute_values(":app", s(app_id.as_str()))
                .expression_attribute_values(":since", s(format!("{since_ms:013}")))
                .set_exclusive_start_key(start.take());
            query = match status {
                // One more row shows whether there are more.
                None => query.limit(i32::try_from(limit - page.rows.len() + 1).unwrap_or(i32::MAX)),
                Some(status) => query
                    .filter_expression("#status = :status")
                    .expression_attribute_names("#status", "status")
                    .expression_attribute_values(":status", s(status.as_str())),
            };
            let answer = query.send().await.map_err(|error| fault("Query", error))?;
            for item in answer.items.unwrap_or_default() {
                if page.rows.len() == limit {
                    return Ok(page);
                }
                page.rows.push(row_from_item(&item)?);
                page.next = (page.rows.len() == limit).then(|| position_of(&item)).transpose()?;
            }
            match answer.last_evaluated_key {
                Some(last) if page.rows.len() < limit => {
                    page.next = Some(position_of(&last)?);
                    start = Some(last);
                }
                Some(_) => return Ok(page),
                None => {
                    page.next = None;
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    async fn failed(
        &self,
        app_id: Option<&AppId>,
        since_ms: i64,
        now_ms: i64,
        limit: u32,
        after: Option<&FilePosition>,
    ) -> Result<FilePage, Fault> {
        // The clocks of the writers may be slightly fast. Rows older than this have expired.
        let newest = Day(Day::of_ms(now_ms).0 + 1);
        let oldest = Day::of_ms(since_ms.max(now_ms - (KEEP_DAYS + 2) * MS_PER_DAY));
        let (mut day, mut below) = match after.map(parts::<2>).transpose()? {
            None => (newest, None),
            Some([day, below]) => (day.parse().map_err(|_| bad_position())?, Some(below)),
        };
        if day > newest {
            return Err(bad_position());
        }
        let mut page = FilePage::default();
        let last = oldest.max(Day(day.0 - MAX_DAYS + 1));
        while day >= last {
            let days: Vec<Day> = (0..DAYS_AT_ONCE).map(|back| Day(day.0 - back)).collect();
            let queries = days.iter().filter(|&&on| on >= last).map(|&on| {
                let below = below.as_deref().filter(|_| on == day);
                self.failed_on(on, app_id, below, limit)
            });
            for (on, found) in days.iter().zip(futures::future::try_join_all(queries).await?) {
                for (place, row) in found.rows {
                    if row.created_ms < since_ms {
                        continue;
                    }
                    page.rows.push(row);
                    if page.rows.len() == limit as usize {
                        page.next = Some(position([&on.to_string(), &place]));
                        return Ok(page);
                    }
                }
                if let Some(read_to) = found.read_to {
                    page.next = Some(position([&on.to_string(), &read_to]));
                    return Ok(page);
                }
            }
            (day, below) = (Day(day.0 - DAYS_AT_ONCE), None);
        }
        let next = last.previous();
        page.next = (next >= oldest).then(|| position([&next.to_string(), "~"]));
        Ok(page)
    }

    // A file may have thousands of dependent rows: they are skipped, file by file.
    async fn of_key(
        &self,
        bucket: &str,
        object_key: &str,
        owner: Option<Owner<'_>>,
        limit: u32,
        after: Option<&FilePosition>,
    ) -> Result<FilePage, Fault> {
        let pk = format!("{bucket}/{object_key}");
        let mut after_sk = match after.map(parts::<1>).transpose()? {
            Some([sk]) if sk.len() < MAX_SK_BYTES => sk,
            Some(_) => return Err(bad_position()),
            None => " ".to_owned(),
        };
        let limit = limit.min(MAX_OF_KEY) as usize;
        let mut page = FilePage::default();
        // The position after the last row of the page.
        let mut after_row = None;
        for _ in 0..MAX_READ_OF_KEY {
            let answer = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
                .consistent_read(true)
                .limit(1)
                .key_condition_expression("pk = :pk AND sk > :after")
                .expression_attribute_values(":pk", s(&pk))
                .expression_attribute_values(":after", s(&after_sk))
                .send()
                .await
                .map_err(|error| fault("Query", error))?;
            let Some(item) = answer.items.unwrap_or_default().into_iter().next() else { return Ok(page) };
            let sk = item.text("sk")?;
            // Dependent rows have the file's own key and a '#' as prefix, whether or not the file's row
            // still exists.
            let children = ["#q#", "#day#"];
            let file_sk = children.into_iter().find_map(|mark| Some(sk.split_once(mark)?.0)).unwrap_or(sk);
            after_sk = format!("{file_sk}#~");
            // Rows without status belong to a file whose row has expired. A used grant is represented by
            // its object's row.
            if !item.contains_key("status") || item.contains_key("used_by") {
                continue;
            }
            let row = row_from_item(&item)?;
            if owner.is_some_and(|owner| !owner.owns(&row)) {
                continue;
            }
            // One more row shows that there are more.
            if page.rows.len() == limit {
                page.next = after_row;
                return Ok(page);
            }
            page.rows.push(row);
            after_row = Some(position([after_sk.as_str()]));
        }
        // An owner gets no position that names a file of others.
        page.next = if owner.is_some() { after_row } else { Some(position([after_sk.as_str()])) };
        Ok(page)
    }

    async fn of_version(&self, bucket: &str, key: &str, version: &str) -> Result<Vec<FileRow>, Fault> {
        let versions = [ObjectVersion::Id(version.to_owned()), ObjectVersion::ETag(version.to_owned())];
        let mut rows = Vec::new();
        for version in versions {
            let object = ObjectRef { bucket: bucket.to_owned(), key: key.to_owned(), version };
            if let Some(item) = self.table.get(file_key(&object)).await? {
                // Dependent rows of a file whose row has expired may still exist.
                rows.extend(item.contains_key("status").then(|| row_from_item(&item)).transpose()?);
            }
        }
        Ok(rows)
    }

    async fn quarantined(
        &self,
        object: &ObjectRef,
        limit: u32,
        after: Option<u64>,
    ) -> Result<QuarantinePage, Fault> {
        let own = file_key(object);
        let (pk, file_sk) = (own.text("pk")?, own.text("sk")?);
        let answer = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", s(pk))
            .expression_attribute_values(":prefix", s(format!("{file_sk}#q#")))
            .set_exclusive_start_key(after.map(|ordinal| key(pk, quarantine_sk(file_sk, ordinal))))
            .send()
            .await
            .map_err(|error| fault("Query", error))?;
        let rows =
            answer.items.unwrap_or_default().iter().map(quarantined_from).collect::<Result<Vec<_>, _>>()?;
        let next = answer.last_evaluated_key.and_then(|_| rows.last()).map(|last| last.ordinal);
        Ok(QuarantinePage { rows, next })
    }

    async fn redrive(&self, row: &FileRow, now_ms: i64) -> Result<bool, Fault> {
        let Some(object) = &row.object else { return Ok(false) };
        let sent = self
 .table
 .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(file_key(object)))
            .condition_expression("fence = :fence AND #status = :was")
            .update_expression(
                "SET #status = :pending, fence = :next, attempt = :zero, checkpoint_blocks = :zero, \
                 checkpoint_quarantined = :zero, due_at = :now, due_shard = :shard, updated_ms = :now \
                 REMOVE checkpoint_beyond, reason_code, reason_message, processed_ms, expires_at, lease_until, \
                 failed_on, failed_at",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":fence", n(row.fence))
            .expression_attribute_values(":next", n(row.fence + 1))
            .expression_attribute_values(":was", s(row.status.as_str()))
            .expression_attribute_values(":pending", s(FileStatus::Pending.as_str()))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":now", n(now_ms))
            .expression_attribute_values(":shard", s(due_shard(&object.key)))
            .send()
            .await;
        applied(sent.map_err(|error| fault("UpdateItem", error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_of_its_app_whatever_it_says() {
        let mut item = key("b/k", "v#1");
        item.insert("listed_at".to_owned(), s("0000000000001#k"));
        let position = position_of(&item).unwrap();
        let start = start_key(&"app".parse().unwrap(), &position).unwrap();
        assert_eq!(
            (start.text_opt("app_id"), start.text_opt("sk"), start.text_opt("listed_at")),
            (Some("app"), Some("v#1"), Some("0000000000001#k"))
        );
        assert!(start_key(&"app".parse().unwrap(), &FilePosition("[]".to_owned())).is_err());
    }
}
