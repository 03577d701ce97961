//! Rows per day under a file: the hours of its blocks, and the counts.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use logferry_core::ledger::row::StoredSoFar;
use logferry_core::model::counted::{Counted, DayChange};
use logferry_core::model::expiry;
use logferry_core::model::expiry::Expiring;
use logferry_core::model::fault::Fault;
use logferry_core::model::object::ObjectRef;
use logferry_core::model::time::{Day, MS_PER_HOUR};

use super::DynamoLedger;
use super::keys::file_pk;
use crate::batch::delete_all;
use crate::faults::fault;
use crate::item::{Get, Item, count_attributes, expiring_from, key, malformed, n};
use crate::transact;

fn prefix(object: &ObjectRef) -> String {
    format!("{}#day#", object.version.to_stored())
}

/// Returns the key of a file's row of a day.
pub(crate) fn day_key(object: &ObjectRef, day: Day) -> Item {
    key(file_pk(&object.bucket, &object.key), format!("{}{day}", prefix(object)))
}

/// Parses the counts of a day's row; `None` if nothing was counted yet.
pub(crate) fn counted_from(item: &Item) -> Result<Option<Counted>, Fault> {
    let Some(revision) = item.number_opt("revision") else { return Ok(None) };
    Ok(Some(Counted {
        revision,
        registered_ms: item.number("epoch")?,
        from_ms: item.number_opt("from_ms"),
        counts: expiring_from(item),
    }))
}

/// Replaces the counts, if they are as they were read.
pub(super) fn replace(
    table: &str,
    object: &ObjectRef,
    change: &DayChange,
) -> Result<TransactWriteItem, Fault> {
    let now = &change.now;
    let mut update = Update::builder()
        .table_name(table)
        .set_key(Some(day_key(object, change.day)))
        .expression_attribute_values(":next", n(now.revision))
        .expression_attribute_values(":epoch", n(now.registered_ms));
    let mut set = "SET revision = :next, epoch = :epoch".to_owned();
    let mut remove = Vec::new();
    for (expires_on, counts) in now.counts.iter() {
        for (name, of) in count_attributes(expires_on) {
            set.push_str(&format!(", #{name} = :{name}"));
            update = update
                .expression_attribute_names(format!("#{name}"), &name)
                .expression_attribute_values(format!(":{name}"), n(of(&counts)));
        }
    }
    let now_on: BTreeSet<Day> = now.counts.iter().map(|(expires_on, _)| expires_on).collect();
    for (expires_on, _) in change.was.iter().filter(|(expires_on, _)| !now_on.contains(expires_on)) {
        for (name, _) in count_attributes(expires_on) {
            remove.push(format!("#{name}"));
            update = update.expression_attribute_names(format!("#{name}"), name);
        }
    }
    match now.from_ms {
        None => remove.push("from_ms".to_owned()),
        Some(from_ms) => {
            set.push_str(", from_ms = :from");
            update = update.expression_attribute_values(":from", n(from_ms));
        }
    }
    if let Some(last) = now.counts.last() {
        set.push_str(", expires_at = :expires");
        update = update.expression_attribute_values(":expires", kept_until(last));
    }
    if !remove.is_empty() {
        set.push_str(&format!(" REMOVE {}", remove.join(", ")));
    }
    let update = update.update_expression(set);
    transact::update(match change.seen {
        None => update.condition_expression("attribute_not_exists(revision)"),
        Some(seen) => {
            update.condition_expression("revision = :seen").expression_attribute_values(":seen", n(seen))
        }
    })
}

/// Subtracts counts, if they have this revision. `taken` is negative.
pub(crate) fn take(
    table: &str,
    object: &ObjectRef,
    day: Day,
    revision: u64,
    taken: &Expiring,
) -> Result<TransactWriteItem, Fault> {
    let mut update = Update::builder()
        .table_name(table)
        .set_key(Some(day_key(object, day)))
        .condition_expression("revision = :seen")
        .expression_attribute_values(":seen", n(revision))
        .expression_attribute_values(":next", n(revision + 1));
    let mut adds = Vec::new();
    for (expires_on, counts) in taken.iter() {
        for (name, of) in count_attributes(expires_on) {
            adds.push(format!("#{name} :{name}"));
            update = update
                .expression_attribute_names(format!("#{name}"), &name)
                .expression_attribute_values(format!(":{name}"), n(of(&counts)));
        }
    }
    let add = if adds.is_empty() { String::new() } else { format!(" ADD {}", adds.join(", ")) };
    transact::update(update.update_expression(format!("SET revision = :next{add}")))
}

/// How long the row of a day is kept after the blocks that it counts have expired (s), so that a removal of
/// a block finds its counts.
const KEEP_BEYOND_SECS: i64 = 7 * 86_400;

/// When the row of a day may be deleted whose last block expires on this day.
fn kept_until(expires_on: Day) -> AttributeValue {
    n(expiry::expires_at_secs(expires_on) + KEEP_BEYOND_SECS)
}

fn hours_of(item: &Item) -> impl Iterator<Item = i64> + '_ {
    let hours = item.get("hours").and_then(|hours| hours.as_ns().ok());
    hours.into_iter().flatten().filter_map(|hour| hour.parse().ok())
}

impl DynamoLedger {
    async fn day_rows(&self, object: &ObjectRef) -> Result<Vec<Item>, Fault> {
        self.files.below(&file_pk(&object.bucket, &object.key), &prefix(object)).await
    }

    pub(super) async fn counted_days(&self, object: &ObjectRef) -> Result<BTreeMap<Day, Counted>, Fault> {
        let mut days = BTreeMap::new();
        for item in self.day_rows(object).await? {
            if let Some(counted) = counted_from(&item)? {
                let day = item.text("sk")?.strip_prefix(&prefix(object)).and_then(|day| day.parse().ok());
                days.insert(day.ok_or_else(|| malformed("sk"))?, counted);
            }
        }
        Ok(days)
    }

    pub(super) async fn stored_so_far_of(&self, object: &ObjectRef) -> Result<StoredSoFar, Fault> {
        let (pk, sk) = (file_pk(&object.bucket, &object.key), object.version.to_stored());
        let days = self.day_rows(object).await?;
        let bad = self.files.below(&pk, &format!("{sk}#q#")).await?;
        // A row may represent many records.
        let quarantined = bad.iter().map(|row| row.number_opt("count").unwrap_or(1)).sum();
        Ok(StoredSoFar { hours: days.iter().flat_map(hours_of).collect(), quarantined })
    }

    pub(super) async fn note(
        &self,
        object: &ObjectRef,
        hours: &BTreeSet<i64>,
        expires_on: Day,
    ) -> Result<(), Fault> {
        let mut days: BTreeMap<Day, Vec<String>> = BTreeMap::new();
        for hour in hours {
            days.entry(Day::of_ms(hour * MS_PER_HOUR)).or_default().push(hour.to_string());
        }
        let notes = days.into_iter().map(|(day, hours)| {
            self.files
                .client
                .update_item()
                .table_name(&self.files.name)
                .set_key(Some(day_key(object, day)))
                .update_expression("SET expires_at = :expires ADD hours :hours")
                .expression_attribute_values(":expires", kept_until(expires_on))
                .expression_attribute_values(":hours", AttributeValue::Ns(hours))
                .send()
        });
        futures::future::try_join_all(notes).await.map_err(|error| fault("UpdateItem", error))?;
        Ok(())
    }

    pub(super) async fn forget_bad(&self, object: &ObjectRef) -> Result<(), Fault> {
        let prefix = format!("{}#q#", object.version.to_stored());
        let items = self.files.below(&file_pk(&object.bucket, &object.key), &prefix).await?;
        let keys = items.iter().map(|item| Ok(key(item.text("pk")?, item.text("sk")?)));
        delete_all(&self.files.client, &self.files.name, keys).await
    }
}
