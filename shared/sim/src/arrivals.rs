//! Logs of arrivals.

use std::collections::BTreeMap;

use logferry_core::model::fault::Fault;
use logferry_core::ports::arrivals::{ArrivalLog, ArrivalLogId, ArrivalRow};

use super::SimCloud;

impl SimCloud {
    /// Returns the log of an app's registration.
    #[must_use]
    pub fn arrivals_now(&self, log: &ArrivalLogId) -> Vec<ArrivalRow> {
        self.state().arrivals.get(log).map(|rows| rows.values().cloned().collect()).unwrap_or_default()
    }

    /// Deletes one row.
    pub fn expire_arrival(&self, log: &ArrivalLogId, number: u64) {
        self.state().arrivals.entry(log.clone()).or_default().remove(&number);
    }

    /// Deletes the rows that were written before a time, as DynamoDB does when they expire.
    pub fn expire_arrivals(&self, before_ms: i64) {
        for rows in self.state().arrivals.values_mut() {
            rows.retain(|_, row| row.at_ms >= before_ms);
        }
    }
}

impl ArrivalLog for SimCloud {
    async fn from(&self, log: &ArrivalLogId, number: u64, limit: u32) -> Result<Vec<ArrivalRow>, Fault> {
        self.call("Query", |state| {
            let rows = state.arrivals.get(log).into_iter().flat_map(|rows| rows.range(number..));
            Ok(rows.take(limit as usize).map(|(_, row)| row.clone()).collect())
        })
        .await
    }

    async fn newest(
        &self,
        log: &ArrivalLogId,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ArrivalRow>, Fault> {
        self.call("Query", |state| {
            let rows = state.arrivals.get(log).into_iter();
            let rows = rows.flat_map(|rows| rows.range(..below.unwrap_or(u64::MAX)).rev());
            Ok(rows.take(limit as usize).map(|(_, row)| row.clone()).collect())
        })
        .await
    }

    async fn append(&self, log: &ArrivalLogId, row: &ArrivalRow) -> Result<bool, Fault> {
        self.call("PutItem", |state| {
            let rows: &mut BTreeMap<_, _> = state.arrivals.entry(log.clone()).or_default();
            let free = !rows.contains_key(&row.number);
            if free {
                rows.insert(row.number, row.clone());
            }
            Ok(free)
        })
        .await
    }
}
