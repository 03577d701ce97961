//! Rows of the ledger that are due: files whose worker died or ran out of time, and grants whose URL has
//! expired.
//!
//! Each queue is read from its oldest row until it is empty or the time is over, with many rows in
//! parallel. Concurrent sweeps do no harm: the claim of `ingest` decides which worker gets a file, and all
//! other changes are conditional writes.

use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use logferry_core::ledger::backlog::{Backlog, DuePosition, Queue, Starter};
use logferry_core::ledger::row::FileRow;
use logferry_core::logfile::outcome::{Reason, ReasonCode};
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::model::object::{ObjectRef, ObjectVersion};
use logferry_core::ports::clock::Clock;
use logferry_core::ports::objects::ObjectStore;
use logferry_service::metrics::{
    Emission, FILES_FAILED, SWEEP_OLDEST_DUE_AGE, SWEEP_RESTARTED, SWEEP_URLS_UNUSED,
};
use tokio::time::{Instant, sleep_until};

use crate::Part;
use crate::policy::{UPLOAD_GRACE_MS, Verdict, overdue_since_ms, verdict};

/// Rows of each queue that are handled in parallel.
const ROWS_AT_ONCE: usize = 16;

/// Counts of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Due rows.
    pub due: u64,
    /// Files passed to `ingest`.
    pub started: u64,
    /// Files that were ended after the maximum number of failed runs.
    pub files_given_up: u64,
    /// URLs that expired unused.
    pub urls_unused: u64,
    /// Rows that could not be handled; they stay due.
    pub failed: u64,
    /// How long the oldest row had been overdue when the run started (ms).
    pub oldest_ms: i64,
}

impl Swept {
    fn add(self, other: Self) -> Self {
        Self {
            due: self.due + other.due,
            started: self.started + other.started,
            files_given_up: self.files_given_up + other.files_given_up,
            urls_unused: self.urls_unused + other.urls_unused,
            failed: self.failed + other.failed,
            oldest_ms: self.oldest_ms.max(other.oldest_ms),
        }
    }
}

/// The handling of due rows, with its ports.
#[derive(Debug)]
pub struct DueRows<B, O, S, C> {
    pub backlog: B,
    pub objects: O,
    pub starter: S,
    pub clock: C,
    /// The bucket that `ingest` reads.
    pub bucket: String,
    pub metrics_namespace: String,
    /// Time between two runs.
    pub interval: Duration,
}

impl<B: Backlog, O: ObjectStore, S: Starter, C: Clock> Part for DueRows<B, O, S, C> {
    type Done = Swept;

    /// # Errors
    /// If a shard of the index could not be read; the other shards were. A failing row does not stop the
    /// run.
    async fn run(&self, until: Instant) -> Result<Swept, Fault> {
        let now_ms = self.clock.now_ms();
        let (files, grants) = futures::future::join(
            self.work_off(Queue::Files, now_ms, until),
            self.work_off(Queue::Grants, now_ms, until),
        )
        .await;
        let swept = files.0.add(grants.0);
        self.emission(&swept).emit(self.clock.now_ms());
        tracing::info!(
            sweep.due = swept.due,
            sweep.started = swept.started,
            sweep.files_given_up = swept.files_given_up,
            sweep.urls_unused = swept.urls_unused,
            sweep.failed = swept.failed,
            sweep.oldest_ms = swept.oldest_ms,
            "swept"
        );
        files.1.or(grants.1).map_or(Ok(swept), Err)
    }
}

impl<B: Backlog, O: ObjectStore, S: Starter, C: Clock> DueRows<B, O, S, C> {
    /// Returns the metrics of a run.
    #[must_use]
    pub fn emission(&self, swept: &Swept) -> Emission {
        let interval_ms = i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX);
        let late_secs = swept.oldest_ms.saturating_sub(interval_ms).max(0).unsigned_abs() / 1000;
        let mut emission = Emission::new(&self.metrics_namespace)
            .value(SWEEP_OLDEST_DUE_AGE, late_secs)
            .value(SWEEP_RESTARTED, swept.started);
        for (metric, value) in [(FILES_FAILED, swept.files_given_up), (SWEEP_URLS_UNUSED, swept.urls_unused)]
        {
            if value > 0 {
                emission = emission.value(metric, value);
            }
        }
        emission
    }

    async fn work_off(&self, queue: Queue, now_ms: i64, until: Instant) -> (Swept, Option<Fault>) {
        let shards = (0..self.backlog.shards()).map(|shard| Box::pin(self.rows(queue, shard, now_ms)));
        let done = stream::select_all(shards)
            .take_until(sleep_until(until))
            .map(|row| async move {
                match row {
                    Ok(row) => (self.deal_with(&row, now_ms).await, None),
                    Err(fault) => (Swept::default(), Some(fault)),
                }
            })
            .buffer_unordered(ROWS_AT_ONCE);
        done.fold((Swept::default(), None), |(sum, failed), (swept, fault)| async move {
            (sum.add(swept), failed.or(fault))
        })
        .await
    }

    /// Returns all rows of a shard that were due at `now_ms`, page by page, oldest first.
    fn rows(
        &self,
        queue: Queue,
        shard: u8,
        now_ms: i64,
    ) -> impl Stream<Item = Result<FileRow, Fault>> + Send + '_ {
        let pages = stream::unfold(Some(None), move |at: Option<Option<DuePosition>>| async move {
            let after = at?;
            match self.backlog.due(queue, shard, now_ms, after.as_ref()).await {
                Ok(page) => {
                    let rows: Vec<_> = page.rows.into_iter().map(Ok).collect();
                    Some((rows, page.next.map(Some)))
                }
                Err(fault) => Some((vec![Err(fault)], None)),
            }
        });
        pages.flat_map(stream::iter)
    }

    async fn deal_with(&self, row: &FileRow, began_ms: i64) -> Swept {
        let decided = verdict(row, self.clock.now_ms());
        let mut swept = Swept { due: 1, ..Swept::default() };
        if decided != Verdict::Leave {
            swept.oldest_ms = (began_ms - overdue_since_ms(row)).max(0);
        }
        if let Err(fault) = self.act(row, decided, &mut swept).await {
            swept.failed = 1;
            tracing::warn!(file.key = %row.key, error.chain = %chain(&fault), "a row stays due");
        }
        swept
    }

    async fn act(&self, row: &FileRow, decided: Verdict, swept: &mut Swept) -> Result<(), Fault> {
        match (decided, &row.object) {
            (Verdict::Leave, _) | (Verdict::Start { .. }, None) => {}
            (Verdict::Start { look_again_ms }, Some(object)) => {
                self.starter.start(object).await?;
                swept.started = 1;
                if let Some(due_at_ms) = look_again_ms {
                    self.backlog.postpone(row, due_at_ms).await?;
                }
            }
            (Verdict::GiveUp, _) => {
                let message = format!("{} consecutive runs failed without progress", row.attempt);
                let ended = self.give_up(row, ReasonCode::AttemptsExhausted, message).await?;
                swept.files_given_up = u64::from(ended);
            }
            (Verdict::LookForObject { .. }, _) if row.bucket != self.bucket => {
                let message = format!("its URL is for {}, a bucket that is not read", row.bucket);
                let ended = self.give_up(row, ReasonCode::ObjectGone, message).await?;
                swept.urls_unused = u64::from(ended);
            }
            (Verdict::LookForObject { given_up, look_again_ms }, _) => match self.find_object(row).await? {
                Some(object) => {
                    self.starter.start(&object).await?;
                    swept.started = 1;
                    let pause_ends_ms = self.clock.now_ms() + UPLOAD_GRACE_MS;
                    self.backlog.postpone(row, look_again_ms.max(pause_ends_ms)).await?;
                }
                None if given_up => {
                    let message = "no object was uploaded before the URL expired".to_owned();
                    let ended = self.give_up(row, ReasonCode::NeverUploaded, message).await?;
                    swept.urls_unused = u64::from(ended);
                }
                None => {
                    self.backlog.postpone(row, look_again_ms).await?;
                }
            },
        }
        Ok(())
    }

    async fn give_up(&self, row: &FileRow, code: ReasonCode, message: String) -> Result<bool, Fault> {
        let reason = Reason { code, message };
        let ended = self.backlog.give_up(row, &reason, self.clock.now_ms()).await?;
        if ended {
            tracing::warn!(
                file.key = %row.key,
                file.app = row.app_id.as_ref().map(|app_id| app_id.as_str()),
                reason.code = reason.code.as_str(),
                reason.message = %reason.message,
                "file FAILED"
            );
        }
        Ok(ended)
    }

    async fn find_object(&self, row: &FileRow) -> Result<Option<ObjectRef>, Fault> {
        let meta = match self.objects.head(&row.bucket, &row.key, None).await {
            Ok(meta) => meta,
            Err(fault) if fault.class == FaultClass::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let version = meta.version_id.map_or(ObjectVersion::ETag(meta.etag), ObjectVersion::Id);
        Ok(Some(ObjectRef { bucket: row.bucket.clone(), key: row.key.clone(), version }))
    }
}
