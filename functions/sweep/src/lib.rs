//! `sweep`: on a schedule, finds what was forgotten and sets it going again.
//!
//! A run has parts that know nothing of each other: due rows of the ledger ([`due`], decided by
//! [`policy`]), upload sessions ([`uploads`]), removals and redrives ([`jobs`]), and objects of which the ledger
//! knows nothing ([`missed`]). They run side by side, each until the invocation's time is nearly over,
//! and what one does not get done it finds first the next time: [`run`].

pub mod due;
pub mod jobs;
pub mod missed;
pub mod policy;
pub mod uploads;

use std::time::Duration;

pub use due::DueRows;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
pub use jobs::Jobs;
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_service::config::{BadConfig, Reader};
pub use missed::Missed;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};
pub use uploads::Uploads;

/// So long before the invocation's deadline no part begins anything new: a call is tried three times,
/// ten seconds each.
pub const STOP_AHEAD: Duration = Duration::from_secs(40);
/// So long before the deadline a part that is still not through is left as it is.
pub const END_AHEAD: Duration = Duration::from_secs(5);

/// When the parts of an invocation begin nothing new, and when it is over, by its deadline (ms since the
/// epoch).
#[must_use]
pub fn stops(deadline_ms: u64, now_ms: i64) -> (Instant, Instant) {
    let left_ms = deadline_ms.saturating_sub(now_ms.unsigned_abs());
    let (now, left) = (Instant::now(), Duration::from_millis(left_ms));
    (now + left.saturating_sub(STOP_AHEAD), now + left)
}

/// What `sweep` reads from its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub table_apps: String,
    pub table_files: String,
    pub table_logs: String,
    pub table_stats: String,
    pub table_uploads: String,
    pub bucket: String,
    pub ingest_function: String,
    pub metrics_namespace: String,
    /// Time between two runs.
    pub interval: Duration,
}

impl Config {
    /// # Errors
    /// Everything that is missing or wrong.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let mut read = Reader::new(lookup);
        let config = Self {
            table_apps: read.required("TABLE_APPS"),
            table_files: read.required("TABLE_FILES"),
            table_logs: read.required("TABLE_LOGS"),
            table_stats: read.required("TABLE_STATS"),
            table_uploads: read.required("TABLE_UPLOADS"),
            bucket: read.required("BUCKET"),
            ingest_function: read.required("INGEST_FUNCTION"),
            metrics_namespace: read.required("METRICS_NAMESPACE"),
            interval: Duration::from_secs(60 * read.parsed::<u64>("SWEEP_SCHEDULE_MINUTES")),
        };
        read.finish(config)
    }
}

/// A part of a run, and its name in the answer.
pub type Part<'a> = (&'static str, BoxFuture<'a, Result<Value, Fault>>);

/// A part that answers with what it has done.
pub fn part<'a, T: serde::Serialize>(
    name: &'static str,
    work: impl Future<Output = Result<T, Fault>> + Send + 'a,
) -> Part<'a> {
    (name, work.map(|done| done.map(|done| json!(done))).boxed())
}

/// Runs all parts side by side. One that fails or does not end stops no other.
///
/// # Errors
/// The first part's that failed, so that Lambda counts the run as an error and tries once more.
pub async fn run(parts: Vec<Part<'_>>, deadline: Instant) -> Result<Value, Fault> {
    let end = deadline.checked_sub(END_AHEAD).unwrap_or(deadline);
    let parts = parts.into_iter().map(|(name, part)| async move {
        let overrun = || Fault::new(FaultClass::Timeout, name, "a part of the run took too long");
        (name, timeout_at(end, part).await.unwrap_or_else(|_| Err(overrun())))
    });
    let (mut answer, mut failed) = (Map::new(), None);
    for (name, ended) in join_all(parts).await {
        match ended {
            Ok(done) => {
                answer.insert(name.to_owned(), done);
            }
            Err(fault) => {
                tracing::error!(sweep.part = name, error.chain = %chain(&fault), "a part of the run failed");
                failed = failed.or(Some(fault));
            }
        }
    }
    failed.map_or(Ok(Value::Object(answer)), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Ran = std::sync::Mutex<Vec<&'static str>>;

    fn after<'a>(secs: u64, name: &'static str, ran: &'a Ran) -> Part<'a> {
        part(name, async move {
            tokio::time::sleep(Duration::from_secs(secs)).await;
            ran.lock().unwrap().push(name);
            Ok(secs)
        })
    }

    fn failing(name: &'static str) -> Part<'static> {
        part(name, async move { Err::<(), _>(Fault::new(FaultClass::Denied, name, "no")) })
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_fails_or_hangs_stops_no_other() {
        let ran = Ran::default();
        let hangs: Part<'_> = part("hangs", std::future::pending::<Result<(), _>>());
        let parts = vec![failing("fails"), hangs, after(200, "slow", &ran), after(1, "quick", &ran)];
        let ended = run(parts, Instant::now() + Duration::from_secs(270)).await;
        assert_eq!(*ran.lock().unwrap(), ["quick", "slow"]);
        assert_eq!(ended.map_err(|fault| fault.class), Err(FaultClass::Denied));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_parts_have_done_is_the_answer() {
        let ran = Ran::default();
        let parts = vec![after(1, "files", &ran), after(2, "missed", &ran)];
        let ended = run(parts, Instant::now() + Duration::from_secs(270)).await.unwrap();
        assert_eq!(ended, json!({"files": 1, "missed": 2}));
    }
}
