//! Usage of apps per day.

use logferry_core::model::fault::Fault;
use logferry_core::model::quota::{Exceeded, Quota, Used};
use logferry_core::ports::usage::{Usage, UsageDay};

use super::SimCloud;

impl Usage for SimCloud {
    async fn used(&self, of: &UsageDay) -> Result<Used, Fault> {
        self.call("GetItem", |state| Ok(state.usage.get(of).copied().unwrap_or_default())).await
    }

    async fn charge(&self, of: &UsageDay, more: Used, quota: &Quota) -> Result<Option<Exceeded>, Fault> {
        self.call("UpdateItem", |state| {
            let used = state.usage.entry(of.clone()).or_default();
            let exceeded = quota.exceeded(of.day, *used, more);
            if exceeded.is_none() {
                *used += more;
            }
            Ok(exceeded)
        })
        .await
    }
}
