//! The usage of an app: the sums of the rows that quotas are checked against.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use logferry_core::model::quota::Used;
use logferry_core::model::time::Day;
use logferry_core::ports::usage::{Usage, UsageDay};
use logferry_service::http::{Answer, State, ok};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{OnApp, Read};
use crate::{Cloud, Shared};

/// Days that are read at once.
const READS_AT_ONCE: usize = 8;

/// Bytes, records and files of an app, counted by the day of arrival (UTC).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppUsage {
    today: Period,
    month: Period,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Period {
    /// Its first day.
    #[schema(format = Date)]
    from: String,
    /// Decompressed content of files, and bodies of writes.
    bytes: u64,
    records: u64,
    files: u64,
}

/// `GET /apps/{id}/usage`
pub(crate) async fn show_usage<C: Cloud>(State(api): Shared<C>, on: OnApp<Read>) -> Answer {
    let today = Day::of_ms(on.head.now_ms);
    let first = today.first_of_month();
    let days = (first.0..=today.0).map(Day);
    let reads = days.map(|day| {
        let of = UsageDay { app_id: on.app.app_id.clone(), registered_ms: on.app.registered_ms, day };
        let api = &api;
        async move { api.book.used(&of).await }
    });
    let used: Vec<Used> =
        stream::iter(reads.collect::<Vec<_>>()).buffered(READS_AT_ONCE).try_collect().await?;
    let period = |from: Day, used: &[Used]| Period {
        from: from.to_string(),
        bytes: used.iter().map(|day| day.bytes).sum(),
        records: used.iter().map(|day| day.records).sum(),
        files: used.iter().map(|day| day.files).sum(),
    };
    let last = used.len().saturating_sub(1);
    Ok(ok(&AppUsage { today: period(today, &used[last..]), month: period(first, &used) }))
}
