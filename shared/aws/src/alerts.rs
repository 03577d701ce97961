//! Alerts in the `checks` table. All rows of a rule are under
//! `#alert#{app_id}#{epoch}#{name}#{created}`: its state under `state`, a window under `window#{start}`,
//! the mark of a counted block under `mark#{block id}`, an event under `event#{seq}`. Active alerts are also
//! under `#alerts`. No app's id is empty, so the partitions are never those of a check.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put as PutAction, Update};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::ids::BlockId;
use logferry_core::ports::alerts::{
    Active, AlertChange, AlertEvent, AlertKey, AlertState, AlertStatus, AlertTable, AlertWindow, BlockCount,
    CrossedWindow, Delivery, MAX_SAMPLES, Sample, earliest,
};

use crate::batch::get_consistent;
use crate::faults::fault;
use crate::item::{Get, Item, Put, key, malformed, n, s};
use crate::table::{Table, applied};
use crate::transact::{self, End, transact};

const ACTIVE_PK: &str = "#alerts";
const STATE_SK: &str = "state";
const MARK: &str = "mark#";
const EVENT: &str = "event#";

/// How long marks and windows are kept (s). The stream delivers a record again for a day at most, and a
/// window may begin a day later than the arrival of its first record.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html>
const COUNTS_KEPT_SECS: i64 = 3 * 86_400;
/// How long events are kept (s).
const EVENTS_KEPT_SECS: i64 = 30 * 86_400;
/// How long a state is kept after its last change (s): longer than events, whose numbers it continues.
const STATE_KEPT_SECS: i64 = 90 * 86_400;

/// Maximum items of a transaction.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const MAX_TRANSACTION_ITEMS: usize = 100;
/// Maximum attempts to count blocks that another invocation counts at the same time.
const ATTEMPTS: u32 = 8;

/// Alerts in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoAlerts {
    table: Table,
}

impl DynamoAlerts {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table) }
    }
}

fn partition(of: &AlertKey) -> String {
    format!("#alert#{}#{:013}#{}#{:013}", of.app_id, of.registered_ms, of.name, of.created_ms)
}

fn state_key(of: &AlertKey) -> Item {
    key(partition(of), STATE_SK)
}

fn window_key(of: &AlertKey, start_ms: i64) -> Item {
    key(partition(of), format!("window#{start_ms}"))
}

fn mark_key(of: &AlertKey, block_id: &BlockId) -> Item {
    key(partition(of), format!("{MARK}{block_id}"))
}

fn event_key(of: &AlertKey, seq: u32) -> Item {
    key(partition(of), format!("{EVENT}{seq:010}"))
}

fn active_key(of: &AlertKey) -> Item {
    key(ACTIVE_PK, partition(of))
}

fn secs(ms: i64) -> i64 {
    ms.div_euclid(1000)
}

fn window_from_item(item: &Item) -> Result<AlertWindow, Fault> {
    let start_ms = item.text("sk")?.strip_prefix("window#").and_then(|start| start.parse().ok());
    Ok(AlertWindow {
        start_ms: start_ms.ok_or_else(|| malformed("sk"))?,
        count: item.number_opt("records").unwrap_or(0),
        samples: samples_from_item(item)?,
        crossed: item.contains_key("crossed"),
    })
}

/// Reads the samples of a window. Invocations that count at once may each add some.
fn samples_from_item(item: &Item) -> Result<Vec<Sample>, Fault> {
    let texts = item.get("samples").and_then(|samples| samples.as_ss().ok()).map_or(&[][..], Vec::as_slice);
    let samples: Result<Vec<Sample>, _> = texts.iter().map(|text| serde_json::from_str(text)).collect();
    samples.map(earliest).map_err(|_| malformed("samples"))
}

fn status_of(item: &Item, name: &'static str) -> Result<AlertStatus, Fault> {
    AlertStatus::parse(item.text(name)?).ok_or_else(|| malformed(name))
}

fn state_to_item(of: &AlertKey, state: &AlertState) -> Item {
    let mut item = state_key(of);
    item.put("status", s(state.status.as_str()));
    item.put("seq", n(state.seq));
    item.put("since_ms", n(state.since_ms));
    item.put("over_ms", n(state.over_ms));
    item.put("version", n(state.version));
    item.put("expires_at", n(secs(state.since_ms.max(state.over_ms)) + STATE_KEPT_SECS));
    item
}

fn state_from_item(item: &Item) -> Result<AlertState, Fault> {
    Ok(AlertState {
        status: status_of(item, "status")?,
        seq: item.number("seq")?,
        since_ms: item.number("since_ms")?,
        over_ms: item.number("over_ms")?,
        version: item.number("version")?,
    })
}

fn put_delivery(item: &mut Item, delivery: &Delivery) {
    match delivery {
        Delivery::Due { due_ms, attempts } => {
            item.put("due_ms", n(due_ms));
            item.put("attempts", n(attempts));
        }
        Delivery::Sent { at_ms } => item.put("sent_ms", n(at_ms)),
        Delivery::Failed { error } => item.put("failed", s(error)),
    }
}

fn event_to_item(of: &AlertKey, event: &AlertEvent) -> Result<Item, Fault> {
    let mut item = event_key(of, event.seq);
    item.put("to", s(event.to.as_str()));
    item.put("at_ms", n(event.at_ms));
    if let Some(window) = event.window {
        item.put("window_start_ms", n(window.start_ms));
        item.put("window_end_ms", n(window.end_ms));
        item.put("records", n(window.count));
    }
    let samples = serde_json::to_string(&event.samples).map_err(|_| malformed("samples"))?;
    item.put("samples", s(samples));
    put_delivery(&mut item, &event.delivery);
    item.put("expires_at", n(secs(event.at_ms) + EVENTS_KEPT_SECS));
    Ok(item)
}

fn event_from_item(item: &Item) -> Result<AlertEvent, Fault> {
    let seq = item.text("sk")?.strip_prefix(EVENT).and_then(|seq| seq.parse().ok());
    let window = match item.number_opt("window_start_ms") {
        Some(start_ms) => Some(CrossedWindow {
            start_ms,
            end_ms: item.number("window_end_ms")?,
            count: item.number("records")?,
        }),
        None => None,
    };
    let delivery = match (item.number_opt("sent_ms"), item.text_opt("failed")) {
        (Some(at_ms), _) => Delivery::Sent { at_ms },
        (None, Some(error)) => Delivery::Failed { error: error.to_owned() },
        (None, None) => Delivery::Due { due_ms: item.number("due_ms")?, attempts: item.number("attempts")? },
    };
    Ok(AlertEvent {
        seq: seq.ok_or_else(|| malformed("sk"))?,
        to: status_of(item, "to")?,
        at_ms: item.number("at_ms")?,
        window,
        samples: serde_json::from_str(item.text("samples")?).map_err(|_| malformed("samples"))?,
        delivery,
    })
}

fn active_from_item(item: &Item) -> Result<Active, Fault> {
    let mut parts = item.text("sk")?.strip_prefix("#alert#").unwrap_or_default().split('#');
    let mut part = || parts.next().ok_or_else(|| malformed("sk"));
    let key = AlertKey {
        app_id: part()?.parse().map_err(|_| malformed("sk"))?,
        registered_ms: part()?.parse().map_err(|_| malformed("sk"))?,
        name: part()?.parse().map_err(|_| malformed("sk"))?,
        created_ms: part()?.parse().map_err(|_| malformed("sk"))?,
    };
    Ok(Active { key, seq: item.number("seq")? })
}

/// Cuts blocks into lists that fit into one transaction each.
fn transactions(blocks: Vec<&BlockCount>) -> Vec<Vec<&BlockCount>> {
    let mut all: Vec<Vec<&BlockCount>> = Vec::new();
    let mut items = MAX_TRANSACTION_ITEMS;
    for block in blocks {
        let more = 1 + block.windows.len();
        if items + more > MAX_TRANSACTION_ITEMS {
            all.push(Vec::new());
            items = 0;
        }
        items += more;
        if let Some(last) = all.last_mut() {
            last.push(block);
        }
    }
    all
}

impl DynamoAlerts {
    /// Returns the blocks that are not marked, and the starts of their windows that need no more samples.
    async fn unmarked<'b>(
        &self,
        of: &AlertKey,
        blocks: &[&'b BlockCount],
    ) -> Result<(Vec<&'b BlockCount>, BTreeSet<i64>), Fault> {
        let windows = blocks.iter().flat_map(|block| &block.windows).map(|window| window.start_ms);
        let windows: BTreeSet<i64> = windows.collect();
        let marks = blocks.iter().map(|block| mark_key(of, &block.block_id));
        let keys = marks.chain(windows.into_iter().map(|start_ms| window_key(of, start_ms))).collect();
        let (mut marked, mut full) = (BTreeSet::new(), BTreeSet::new());
        for item in get_consistent(&self.table.client, &self.table.name, keys).await? {
            if let Some(block_id) = item.text("sk")?.strip_prefix(MARK) {
                marked.insert(block_id.to_owned());
                continue;
            }
            let window = window_from_item(&item)?;
            if window.samples.len() == MAX_SAMPLES {
                full.insert(window.start_ms);
            }
        }
        let unmarked = |block: &&BlockCount| !marked.contains(&block.block_id.to_string());
        Ok((blocks.iter().copied().filter(unmarked).collect(), full))
    }

    /// Marks blocks, adds their counts, and their samples to windows that are not in `full`; `false` if one of
    /// the blocks is marked.
    async fn add(
        &self,
        of: &AlertKey,
        blocks: &[&BlockCount],
        full: &BTreeSet<i64>,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        let mut actions = Vec::new();
        let mut windows: BTreeMap<i64, (u64, Vec<Sample>)> = BTreeMap::new();
        for block in blocks {
            let mut mark = mark_key(of, &block.block_id);
            mark.put("expires_at", n(secs(now_ms) + COUNTS_KEPT_SECS));
            actions.push(transact::put(
                PutAction::builder()
                    .table_name(&self.table.name)
                    .set_item(Some(mark))
                    .condition_expression("attribute_not_exists(pk)"),
            )?);
            for window in &block.windows {
                let (count, samples) = windows.entry(window.start_ms).or_default();
                *count += u64::from(window.count);
                samples.extend_from_slice(&window.samples);
            }
        }
        for (start_ms, (count, samples)) in windows {
            let expires_at = secs(now_ms.max(start_ms)) + COUNTS_KEPT_SECS;
            let update = Update::builder()
                .table_name(&self.table.name)
                .set_key(Some(window_key(of, start_ms)))
                .expression_attribute_values(":expires", n(expires_at))
                .expression_attribute_values(":records", n(count));
            let samples = earliest(samples);
            let samples = samples
                .iter()
                .map(serde_json::to_string)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| malformed("samples"))?;
            actions.push(transact::update(if samples.is_empty() || full.contains(&start_ms) {
                update.update_expression("SET expires_at = :expires ADD records :records")
            } else {
                update
                    .update_expression("SET expires_at = :expires ADD records :records, samples :samples")
                    .expression_attribute_values(":samples", AttributeValue::Ss(samples))
            })?);
        }
        Ok(transact(&self.table.client, &actions).await? == End::Done)
    }
}

impl AlertTable for DynamoAlerts {
    async fn count(&self, of: &AlertKey, blocks: &[BlockCount], now_ms: i64) -> Result<(), Fault> {
        let mut distinct: Vec<&BlockCount> = blocks.iter().collect();
        distinct.sort_by_key(|block| block.block_id);
        distinct.dedup_by_key(|block| block.block_id);
        for chunk in transactions(distinct) {
            let mut attempts = 0;
            loop {
                // A mark exists if the stream has delivered the block before.
                let (left, full) = self.unmarked(of, &chunk).await?;
                if left.is_empty() || self.add(of, &left, &full, now_ms).await? {
                    break;
                }
                attempts += 1;
                if attempts == ATTEMPTS {
                    return Err(Fault::new(FaultClass::Transient, "counting blocks", "marks keep changing"));
                }
            }
        }
        Ok(())
    }

    async fn windows(&self, of: &AlertKey, starts_ms: &[i64]) -> Result<Vec<AlertWindow>, Fault> {
        let keys = starts_ms.iter().map(|start_ms| window_key(of, *start_ms)).collect();
        get_consistent(&self.table.client, &self.table.name, keys)
            .await?
            .iter()
            .map(window_from_item)
            .collect()
    }

    async fn state(&self, of: &AlertKey) -> Result<AlertState, Fault> {
        let item = self.table.get(state_key(of)).await?;
        item.as_ref().map_or_else(|| Ok(AlertState::default()), state_from_item)
    }

    async fn change(&self, of: &AlertKey, change: &AlertChange) -> Result<bool, Fault> {
        let put = PutAction::builder()
            .table_name(&self.table.name)
            .set_item(Some(state_to_item(of, &change.state)));
        let mut actions = vec![transact::put(match change.was_version {
            0 => put.condition_expression("attribute_not_exists(pk)"),
            was => put.condition_expression("version = :was").expression_attribute_values(":was", n(was)),
        })?];
        if let Some(start_ms) = change.crosses {
            actions.push(transact::update(
                Update::builder()
                    .table_name(&self.table.name)
                    .set_key(Some(window_key(of, start_ms)))
                    .condition_expression("attribute_not_exists(crossed)")
                    .update_expression("SET crossed = :version")
                    .expression_attribute_values(":version", n(change.state.version)),
            )?);
        }
        if let Some(event) = &change.event {
            let item = event_to_item(of, event)?;
            actions
                .push(transact::put(PutAction::builder().table_name(&self.table.name).set_item(Some(item)))?);
            let mut active = active_key(of);
            active.put("seq", n(event.seq));
            actions.push(transact::put(
                PutAction::builder().table_name(&self.table.name).set_item(Some(active)),
            )?);
        }
        Ok(transact(&self.table.client, &actions).await? == End::Done)
    }

    async fn events(&self, of: &AlertKey, limit: u32) -> Result<Vec<AlertEvent>, Fault> {
        let (from, to) = (format!("{EVENT}{:010}", 0), format!("{EVENT}{:010}", u32::MAX));
        let query = self.table.range(&partition(of), from, to).scan_index_forward(false);
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let page = query.limit(limit).send().await.map_err(|error| fault("Query", error))?;
        page.items().iter().map(event_from_item).collect()
    }

    async fn set_delivery(
        &self,
        of: &AlertKey,
        seq: u32,
        was_due_ms: i64,
        delivery: &Delivery,
    ) -> Result<bool, Fault> {
        let update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(event_key(of, seq)))
            .condition_expression(
                "due_ms = :was AND attribute_not_exists(sent_ms) AND attribute_not_exists(failed)",
            )
            .expression_attribute_values(":was", n(was_due_ms));
        let update = match delivery {
            Delivery::Due { due_ms, attempts } => update
                .update_expression("SET due_ms = :due, attempts = :attempts")
                .expression_attribute_values(":due", n(due_ms))
                .expression_attribute_values(":attempts", n(attempts)),
            Delivery::Sent { at_ms } => {
                update.update_expression("SET sent_ms = :at").expression_attribute_values(":at", n(at_ms))
            }
            Delivery::Failed { error } => update
                .update_expression("SET failed = :error")
                .expression_attribute_values(":error", s(error)),
        };
        applied(update.send().await.map_err(|error| fault("UpdateItem", error)))
    }

    async fn active(&self) -> Result<Vec<Active>, Fault> {
        let items = self.table.partition(ACTIVE_PK).await?;
        items.iter().map(active_from_item).collect()
    }

    async fn settle(&self, active: &Active) -> Result<(), Fault> {
        let delete = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(active_key(&active.key)))
            .condition_expression("seq = :seq")
            .expression_attribute_values(":seq", n(active.seq));
        transact(&self.table.client, &[transact::delete(delete)?]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use logferry_core::ports::alerts::WindowCount;

    use super::*;

    fn key_of(name: &str) -> AlertKey {
        AlertKey {
            app_id: "shop".parse().unwrap(),
            registered_ms: 5,
            name: name.parse().unwrap(),
            created_ms: 9,
        }
    }

    #[test]
    fn rows_read_back_from_their_items() {
        let state = AlertState { status: AlertStatus::Firing, seq: 3, since_ms: 10, over_ms: 20, version: 7 };
        assert_eq!(state_from_item(&state_to_item(&key_of("a"), &state)).unwrap(), state);
        for delivery in [
            Delivery::Due { due_ms: 4, attempts: 2 },
            Delivery::Sent { at_ms: 5 },
            Delivery::Failed { error: "status 500".to_owned() },
        ] {
            for window in [None, Some(CrossedWindow { start_ms: -60_000, end_ms: 0, count: 12 })] {
                let event = AlertEvent {
                    seq: 7,
                    to: AlertStatus::Ok,
                    at_ms: 3,
                    window,
                    samples: Vec::new(),
                    delivery: delivery.clone(),
                };
                let item = event_to_item(&key_of("a"), &event).unwrap();
                assert_eq!(event_from_item(&item).unwrap(), event);
            }
        }
        let mut item = active_key(&key_of("too-many-errors"));
        item.put("seq", n(4));
        let active = Active { key: key_of("too-many-errors"), seq: 4 };
        assert_eq!(active_from_item(&item).unwrap(), active);
    }

    #[test]
    fn no_transaction_has_more_items_than_dynamodb_takes() {
        let block = |windows: usize| BlockCount {
            block_id: BlockId([0; 16]),
            windows: (0..windows as i64)
                .map(|start_ms| WindowCount { start_ms, count: 1, samples: Vec::new() })
                .collect(),
        };
        let blocks: Vec<BlockCount> = (0..90).map(|index| block(1 + index % 60)).collect();
        let all = transactions(blocks.iter().collect());
        assert_eq!(all.iter().map(Vec::len).sum::<usize>(), 90);
        for blocks in all {
            let items: usize = blocks.iter().map(|block| 1 + block.windows.len()).sum();
            assert!((1..=MAX_TRANSACTION_ITEMS).contains(&items), "{items}");
        }
    }
}
