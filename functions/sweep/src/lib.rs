//! `sweep`: finds overdue work on a schedule and restarts it.
//!
//! A run has independent parts: due rows of the ledger ([`due`], decided by [`policy`]), upload sessions
//! ([`uploads`]), removals and redrives ([`jobs`]), and objects without a ledger row ([`missed`]). They run
//! concurrently until the invocation's time is nearly over ([`run`]). The next run starts with what was
//! left.

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

/// How long before the invocation's deadline no part starts new work: a call takes up to three attempts of
/// ten seconds each.
pub const STOP_BEFORE_DEADLINE: Duration = Duration::from_secs(40);
/// How long before the deadline unfinished parts are cancelled.
pub const END_BEFORE_DEADLINE: Duration = Duration::from_secs(5);

/// When the parts of an invocation stop starting work, and when the invocation ends. Both follow from its
/// deadline (ms since the epoch).
#[must_use]
pub fn stops(deadline_ms: u64, now_ms: i64) -> (Instant, Instant) {
    let left_ms = deadline_ms.saturating_sub(now_ms.unsigned_abs());
    let (now, left) = (Instant::now(), Duration::from_millis(left_ms));
    (now + left.saturating_sub(STOP_BEFORE_DEADLINE), now + left)
}

/// Configuration of `sweep`, read from the environment.
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
    /// Reads the configuration.
    ///
    /// # Errors
    /// All missing and invalid variables, in one error.
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

/// A part of a run, with its name in the response.
pub type Part<'a> = (&'static str, BoxFuture<'a, Result<Value, Fault>>);

/// Makes a part of a run from a future; its result becomes part of the response.
pub fn part<'a, T: serde::Serialize>(
    name: &'static str,
    work: impl Future<Output = Result<T, Fault>> + Send + 'a,
) -> Part<'a> {
    (name, work.map(|done| done.map(|done| json!(done))).boxed())
}

/// Runs all parts concurrently. A part that fails or hangs does not stop the others.
///
/// # Errors
/// The fault of the first failed part, so that Lambda counts the run as failed and retries it once.
pub async fn run(parts: Vec<Part<'_>>, deadline: Instant) -> Result<Value, Fault> {
    let end = deadline.checked_sub(END_BEFORE_DEADLINE).unwrap_or(deadline);
    let parts = parts.into_iter().map(|(name, part)| async move {
        let overrun = || Fault::new(FaultClass::Timeout, name, "the part exceeded its time");
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
