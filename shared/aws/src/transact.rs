//! TransactWriteItems: repeated while it only loses against other transactions.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::{ConditionCheckBuilder, DeleteBuilder, PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use logferry_domain::app::AppId;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::ledger::DayCounts;
use logferry_domain::stats;
use logferry_domain::time::Day;

use crate::faults::fault;
use crate::item::{key, level_name, n};

/// How often a transaction that lost against another is tried, and the first and the longest pause:
/// about six seconds in all.
pub const CONFLICT_ATTEMPTS: u32 = 12;
const CONFLICT_PAUSE: Duration = Duration::from_millis(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The retries of a transaction that only loses against others.
#[derive(Debug)]
pub struct Conflicts {
    lost: u32,
    pause: Duration,
}

impl Default for Conflicts {
    fn default() -> Self {
        Self { lost: 0, pause: CONFLICT_PAUSE }
    }
}

impl Conflicts {
    /// After one more loss, how long to wait before the next try; `None` if it was the last.
    pub fn next_pause(&mut self) -> Option<Duration> {
        self.lost += 1;
        let pause = self.pause.mul_f64(0.5 + rand::random::<f64>());
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        (self.lost < CONFLICT_ATTEMPTS).then_some(pause)
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    /// The condition of the action of this index did not hold (the first of them); nothing was written.
    Condition(usize),
}

pub(crate) async fn transact(client: &Client, actions: &[TransactWriteItem]) -> Result<End, Fault> {
    let mut conflicts = Conflicts::default();
    loop {
        let sent = client.transact_write_items().set_transact_items(Some(actions.to_vec())).send().await;
        let error = match sent {
            Ok(_) => return Ok(End::Done),
            Err(error) => error,
        };
        let reasons = cancellation_codes(&error);
        if let Some(index) = reasons.iter().position(|code| code == "ConditionalCheckFailed") {
            return Ok(End::Condition(index));
        }
        let passing = !reasons.is_empty()
            && reasons.iter().all(|code| {
                matches!(
                    code.as_str(),
                    "None" | "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"
                )
            });
        match conflicts.next_pause().filter(|_| passing) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => {
                let mut fault = fault("TransactWriteItems", error);
                if passing {
                    fault.class = FaultClass::Transient;
                }
                return Err(fault);
            }
        }
    }
}

fn cancellation_codes<R>(error: &SdkError<TransactWriteItemsError, R>) -> Vec<String> {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled
            .cancellation_reasons()
            .iter()
            .map(|reason| reason.code().unwrap_or("None").to_owned())
            .collect(),
        _ => Vec::new(),
    }
}

fn unbuildable(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::new(FaultClass::Permanent, "TransactWriteItems", "an action is incomplete").with_source(error)
}

pub(crate) fn put(action: PutBuilder) -> Result<TransactWriteItem, Fault> {
    Ok(TransactWriteItem::builder().put(action.build().map_err(unbuildable)?).build())
}

pub(crate) fn update(action: UpdateBuilder) -> Result<TransactWriteItem, Fault> {
    Ok(TransactWriteItem::builder().update(action.build().map_err(unbuildable)?).build())
}

pub(crate) fn delete(action: DeleteBuilder) -> Result<TransactWriteItem, Fault> {
    Ok(TransactWriteItem::builder().delete(action.build().map_err(unbuildable)?).build())
}

pub(crate) fn check(action: ConditionCheckBuilder) -> Result<TransactWriteItem, Fault> {
    Ok(TransactWriteItem::builder().condition_check(action.build().map_err(unbuildable)?).build())
}

/// Adds counts to a counter row, of records none of which is older than `first_ms`: only where no
/// prune has hidden any of them.
pub(crate) fn count_in(action: UpdateBuilder, first_ms: i64) -> Result<TransactWriteItem, Fault> {
    update(
        action
            .condition_expression("attribute_not_exists(pruned_to) OR pruned_to <= :first")
            .expression_attribute_values(":first", n(first_ms)),
    )
}

/// Adds counts to a counter row; negative ones take away.
pub(crate) fn count(
    table: &str,
    app_id: &AppId,
    epoch_ms: i64,
    counter: u8,
    day: Day,
    counts: &DayCounts,
) -> UpdateBuilder {
    let mut action = Update::builder()
        .table_name(table)
        .set_key(Some(key(app_id.as_str(), stats::sort_key(day, epoch_ms, counter))))
        .update_expression(
            "ADD debug :debug, info :info, warn :warn, #error :error, records :records, bytes :bytes",
        )
        .expression_attribute_names("#error", "error")
        .expression_attribute_values(":records", n(counts.levels.total()))
        .expression_attribute_values(":bytes", n(counts.bytes));
    for (level, number) in counts.levels.iter() {
        action = action.expression_attribute_values(format!(":{}", level_name(level)), n(number));
    }
    action
}
