//! Erasures in the `apps` table: unfinished ones under `erasures`, completed ones under
//! `erasure#{app_id}#{epoch}`.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put as PutAction};
use logferry_core::model::fault::Fault;
use logferry_core::model::time::Day;
use logferry_core::ports::erasures::{ErasePosition, Erasure, ErasureKey, Erasures};

use crate::apps::DynamoApps;
use crate::faults::fault;
use crate::item::{Get, Item, Put, key, malformed, n, s};
use crate::table::applied;
use crate::transact::{self, End, transact};

const UNFINISHED_PK: &str = "erasures";

fn unfinished_key(of: &ErasureKey) -> Item {
    key(UNFINISHED_PK, format!("{}#{:013}#{}", of.app_id, of.registered_ms, of.job_id))
}

fn completed_key(of: &ErasureKey) -> Item {
    key(format!("erasure#{}#{:013}", of.app_id, of.registered_ms), &of.job_id)
}

fn to_item(job: &Erasure) -> Item {
    let mut item = match job.completed_ms {
        None => unfinished_key(&job.key),
        Some(_) => completed_key(&job.key),
    };
    let filter = job.filter.iter().map(|(name, value)| (name.clone(), s(value)));
    item.put("filter", AttributeValue::M(filter.collect()));
    item.put("app_id", s(job.key.app_id.as_str()));
    item.put("epoch_ms", n(job.key.registered_ms));
    item.put("job_id", s(&job.key.job_id));
    item.put("since_ms", n(job.since_ms));
    item.put("until_ms", n(job.until_ms));
    item.put("requested_ms", n(job.requested_ms));
    item.put("due_ms", n(job.due_ms));
    if let Some(at) = &job.position {
        item.put("at_day", n(at.day.0));
        item.put("at_shard", n(at.shard));
        item.put_some("at_after", at.after.as_ref().map(s));
    }
    item.put("left_blocks", n(job.left));
    item.put("last_pass", AttributeValue::Bool(job.last_pass));
    item.put("records", n(job.records));
    item.put("blocks", n(job.blocks));
    item.put("objects", n(job.objects));
    if !job.not_reached.is_empty() {
        item.put("not_reached", AttributeValue::Ss(job.not_reached.iter().cloned().collect()));
    }
    item.put("unreadable", n(job.unreadable));
    item.put_some("completed_ms", job.completed_ms.map(n));
    item
}

fn from_item(item: &Item) -> Result<Erasure, Fault> {
    let filter = item.get("filter").and_then(|filter| filter.as_m().ok());
    let filter = filter.ok_or_else(|| malformed("filter"))?.iter();
    let text = |(name, value): (&String, &AttributeValue)| Some((name.clone(), value.as_s().ok()?.clone()));
    let position = match item.number_opt("at_day") {
        Some(day) => Some(ErasePosition {
            day: Day(day),
            shard: item.number("at_shard")?,
            after: item.text_opt("at_after").map(str::to_owned),
        }),
        None => None,
    };
    Ok(Erasure {
        key: ErasureKey {
            app_id: item.text("app_id")?.parse().map_err(|_| malformed("app_id"))?,
            registered_ms: item.number("epoch_ms")?,
            job_id: item.text("job_id")?.to_owned(),
        },
        filter: filter.map(text).collect::<Option<_>>().ok_or_else(|| malformed("filter"))?,
        since_ms: item.number("since_ms")?,
        until_ms: item.number("until_ms")?,
        requested_ms: item.number("requested_ms")?,
        due_ms: item.number("due_ms")?,
        position,
        left: item.number("left_blocks")?,
        last_pass: item.get("last_pass").and_then(|flag| flag.as_bool().ok()).copied().unwrap_or(false),
        records: item.number("records")?,
        blocks: item.number("blocks")?,
        objects: item.number("objects")?,
        not_reached: item
            .get("not_reached")
            .and_then(|names| names.as_ss().ok())
            .map(|names| names.iter().cloned().collect())
            .unwrap_or_default(),
        unreadable: item.number("unreadable")?,
        completed_ms: item.number_opt("completed_ms"),
    })
}

impl Erasures for DynamoApps {
    async fn begin_erasure(&self, job: &Erasure) -> Result<bool, Fault> {
        let put = self.table.client.put_item().table_name(&self.table.name).set_item(Some(to_item(job)));
        let sent = put.condition_expression("attribute_not_exists(pk)").send().await;
        applied(sent.map_err(|error| fault("PutItem", error)))
    }

    async fn erasure(&self, of: &ErasureKey) -> Result<Option<Erasure>, Fault> {
        let item = match self.table.get(unfinished_key(of)).await? {
            Some(item) => Some(item),
            None => self.table.get(completed_key(of)).await?,
        };
        item.as_ref().map(from_item).transpose()
    }

    async fn erasures(&self) -> Result<Vec<Erasure>, Fault> {
        self.table.partition(UNFINISHED_PK).await?.iter().map(from_item).collect()
    }

    async fn save_erasure(&self, job: &Erasure, was_due_ms: i64) -> Result<bool, Fault> {
        let item = to_item(job);
        if job.completed_ms.is_none() {
            let put = self.table.client.put_item().table_name(&self.table.name).set_item(Some(item));
            let put = put.condition_expression("due_ms = :due");
            let sent = put.expression_attribute_values(":due", n(was_due_ms)).send().await;
            return applied(sent.map_err(|error| fault("PutItem", error)));
        }
        let delete = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(unfinished_key(&job.key)))
            .condition_expression("due_ms = :due")
            .expression_attribute_values(":due", n(was_due_ms));
        let put = PutAction::builder().table_name(&self.table.name).set_item(Some(item));
        let actions = [transact::delete(delete)?, transact::put(put)?];
        Ok(transact(&self.table.client, &actions).await? == End::Done)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_job_reads_back_from_its_item() {
        let job = Erasure {
            key: ErasureKey { app_id: "shop".parse().unwrap(), registered_ms: 5, job_id: "0a".to_owned() },
            filter: BTreeMap::from([("field.user".to_owned(), "7".to_owned())]),
            since_ms: 1,
            until_ms: 2,
            requested_ms: 3,
            due_ms: 4,
            position: Some(ErasePosition { day: Day(9), shard: 2, after: Some("x".to_owned()) }),
            left: 1,
            last_pass: true,
            records: 10,
            blocks: 20,
            objects: 30,
            not_reached: ["bucket/key".to_owned()].into(),
            unreadable: 40,
            completed_ms: None,
        };
        assert_eq!(from_item(&to_item(&job)).unwrap(), job);
        let completed = Erasure { completed_ms: Some(50), position: None, ..job };
        assert_eq!(from_item(&to_item(&completed)).unwrap(), completed);
    }
}
