//! TransactWriteItems, retried while it only conflicts with other transactions.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::{ConditionCheckBuilder, DeleteBuilder, PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{
    CancellationReason, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use backon::{BackoffBuilder, ExponentialBuilder};
use logferry_core::logbook::counter_keys;
use logferry_core::model::app::AppId;
use logferry_core::model::expiry;
use logferry_core::model::expiry::Expiring;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::time::Day;

use crate::faults::fault;
use crate::item::{Get, Item, count_attributes, key, n};

/// Maximum attempts of a transaction that conflicts with another.
pub const CONFLICT_ATTEMPTS: usize = 12;

/// Pauses before the retries of a transaction that conflicts with another: about six seconds in total.
pub fn conflict_pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(10))
        .with_max_delay(Duration::from_millis(700))
        .with_max_times(CONFLICT_ATTEMPTS - 1)
        .with_jitter()
        .build()
}

/// Maximum attempts of a transaction while the expiry of a counter row differs from the expected one.
const EXPIRY_ATTEMPTS: u32 = 8;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    /// The condition of the action with this index failed (the first such); nothing was written.
    Condition(usize),
}

/// Failed conditions, in order: the index of the action, and the old item if the action requests it.
type Refused = Vec<(usize, Option<Item>)>;

pub(crate) async fn transact(client: &Client, actions: &[TransactWriteItem]) -> Result<End, Fault> {
    let refused = attempt(client, actions).await?;
    Ok(refused.first().map_or(End::Done, |(index, _)| End::Condition(*index)))
}

/// Runs actions and counts in one transaction; the counts come after the actions. A counter row expires
/// with the last of what it counts.
pub(crate) async fn transact_counting(
    client: &Client,
    actions: Vec<TransactWriteItem>,
    counts: &[Count<'_>],
) -> Result<End, Fault> {
    let mut expiries = vec![RowExpiry::Raised; counts.len()];
    for _ in 0..EXPIRY_ATTEMPTS {
        let mut all = actions.clone();
        for (count, expiry) in counts.iter().zip(&expiries) {
            all.push(count.action(*expiry)?);
        }
        let refused = attempt(client, &all).await?;
        let Some((first, _)) = refused.first() else { return Ok(End::Done) };
        if *first < actions.len() {
            return Ok(End::Condition(*first));
        }
        for (index, was) in refused {
            let at = index.saturating_sub(actions.len());
            let (Some(count), Some(expiry)) = (counts.get(at), expiries.get_mut(at)) else { continue };
            let number = |name| was.as_ref().and_then(|item| item.number_opt::<i64>(name));
            if count.first_ms.is_some_and(|first_ms| number("pruned_to").is_some_and(|to| to > first_ms)) {
                return Ok(End::Condition(index));
            }
            let lives_longer = number("expires_at").is_some_and(|at| at > count.expires_at_secs());
            *expiry = if lives_longer { RowExpiry::Kept } else { RowExpiry::Raised };
        }
    }
    Err(Fault::new(FaultClass::Transient, "TransactWriteItems", "the counter rows keep changing"))
}

/// Returns the failed conditions of a transaction; empty if it succeeded.
async fn attempt(client: &Client, actions: &[TransactWriteItem]) -> Result<Refused, Fault> {
    let mut pauses = conflict_pauses();
    loop {
        let sent = client.transact_write_items().set_transact_items(Some(actions.to_vec())).send().await;
        let error = match sent {
            Ok(_) => return Ok(Vec::new()),
            Err(error) => error,
        };
        let reasons = cancellation_reasons(&error);
        let code = |reason: &CancellationReason| reason.code().unwrap_or("None").to_owned();
        let refused: Refused = (0..)
            .zip(&reasons)
            .filter(|(_, reason)| code(reason) == "ConditionalCheckFailed")
            .map(|(index, reason)| (index, reason.item().cloned()))
            .collect();
        if !refused.is_empty() {
            return Ok(refused);
        }
        let passing = !reasons.is_empty()
            && reasons.iter().all(|reason| {
                matches!(
                    code(reason).as_str(),
                    "None" | "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"
                )
            });
        match pauses.next().filter(|_| passing) {
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

fn cancellation_reasons<R>(error: &SdkError<TransactWriteItemsError, R>) -> Vec<CancellationReason> {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons().to_vec()
        }
        _ => Vec::new(),
    }
}

fn unbuildable(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::new(FaultClass::Permanent, "TransactWriteItems", "invalid action").with_source(error)
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

/// How the expiry of a counter row changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowExpiry {
    /// It is not later than that of the counted records, and is set to that.
    Raised,
    /// It is later, and stays.
    Kept,
}

/// Counts to add to a counter row; negative ones subtract.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count<'a> {
    pub table: &'a str,
    pub app_id: &'a AppId,
    pub registered_ms: i64,
    pub counter: u8,
    pub day: Day,
    /// Not empty.
    pub counts: &'a Expiring,
    /// Fails if a prune has hidden records of this time or later (ms); `None` disables the check.
    pub first_ms: Option<i64>,
}

impl Count<'_> {
    fn expires_at_secs(&self) -> i64 {
        self.counts.last().map_or(0, expiry::expires_at_secs)
    }

    fn action(&self, expiry: RowExpiry) -> Result<TransactWriteItem, Fault> {
        let sort_key = counter_keys::sort_key(self.day, self.registered_ms, self.counter);
        let mut action = Update::builder()
            .table_name(self.table)
            .set_key(Some(key(self.app_id.as_str(), sort_key)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .expression_attribute_values(":expires", n(self.expires_at_secs()));
        let mut adds = Vec::new();
        for (expires_on, counts) in self.counts.iter() {
            for (name, number) in count_attributes(expires_on).map(|(name, of)| (name, of(&counts))) {
                if number != 0 {
                    adds.push(format!("#{name} :{name}"));
                    action = action
                        .expression_attribute_names(format!("#{name}"), &name)
                        .expression_attribute_values(format!(":{name}"), n(number));
                }
            }
        }
        let adds = adds.join(", ");
        let (set, mut condition) = match expiry {
            RowExpiry::Raised => (
                "SET expires_at = :expires ",
                "(attribute_not_exists(expires_at) OR expires_at <= :expires)".to_owned(),
            ),
            RowExpiry::Kept => ("", "expires_at > :expires".to_owned()),
        };
        if let Some(first_ms) = self.first_ms {
            condition.push_str(" AND (attribute_not_exists(pruned_to) OR pruned_to <= :first)");
            action = action.expression_attribute_values(":first", n(first_ms));
        }
        update(action.update_expression(format!("{set}ADD {adds}")).condition_expression(condition))
    }
}
