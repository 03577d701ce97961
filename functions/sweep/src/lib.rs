//! `sweep`: on a schedule, finds what was forgotten in the ledger and sets it going again.
//!
//! A run reads a bounded number of due rows per shard of the index, oldest first, so that the next
//! run goes on where this one stopped. It decides by [`policy::verdict`] and acts by starting
//! `ingest`, whose claim decides who works, or by conditional writes. Two sweeps at once do no harm.
//! Beside the ledger it looks through the bucket ([`missed`]), ends upload sessions ([`uploads`])
//! and goes on with removals of records.

pub mod jobs;
pub mod missed;
pub mod policy;
pub mod uploads;

use logferry_domain::fault::{Fault, FaultClass, chain};
use logferry_domain::ledger::{FileRow, Reason, ReasonCode};
use logferry_domain::object::{ObjectRef, ObjectVersion};
use logferry_ports::{Backlog, Clock, ObjectStore, Starter};
use logferry_service::config::{BadConfig, Reader};
use logferry_service::metrics::{Emission, SWEEP_BACKLOG, SWEEP_RESTARTED};
use policy::{Verdict, verdict};

/// Due rows that one run takes from each shard.
pub const ROWS_PER_SHARD: u32 = 100;

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
        };
        read.finish(config)
    }
}

/// What one run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Rows that were due.
    pub due: u64,
    /// Files handed to `ingest`.
    pub started: u64,
    /// URLs that nobody used, and files that failed as often as they may.
    pub given_up: u64,
    /// Rows that could not be dealt with; they stay due.
    pub failed: u64,
}

/// The function with what it talks to.
#[derive(Debug)]
pub struct App<B, O, S, C> {
    pub backlog: B,
    pub objects: O,
    pub starter: S,
    pub clock: C,
    pub metrics_namespace: String,
}

impl<B: Backlog, O: ObjectStore, S: Starter, C: Clock> App<B, O, S, C> {
    /// One run.
    ///
    /// # Errors
    /// The index cannot be read. A row that fails does not stop the others.
    pub async fn run(&self) -> Result<Swept, Fault> {
        let mut swept = Swept::default();
        for shard in 0..self.backlog.shards() {
            for row in self.backlog.due(shard, self.clock.now_ms(), ROWS_PER_SHARD).await? {
                swept.due += 1;
                if let Err(fault) = self.deal_with(&row, &mut swept).await {
                    swept.failed += 1;
                    tracing::warn!(file.key = %row.key, error.chain = %chain(&fault), "a row stays due");
                }
            }
        }
        Emission::new(&self.metrics_namespace)
            .value(SWEEP_BACKLOG, swept.due)
            .value(SWEEP_RESTARTED, swept.started)
            .emit(self.clock.now_ms());
        tracing::info!(
            sweep.due = swept.due,
            sweep.started = swept.started,
            sweep.given_up = swept.given_up,
            sweep.failed = swept.failed,
            "swept"
        );
        Ok(swept)
    }

    async fn deal_with(&self, row: &FileRow, swept: &mut Swept) -> Result<(), Fault> {
        match (verdict(row, self.clock.now_ms()), &row.object) {
            (Verdict::Leave, _) => {}
            (Verdict::Start { look_again_ms }, Some(object)) => {
                self.starter.start(object).await?;
                swept.started += 1;
                if let Some(due_at_ms) = look_again_ms {
                    self.backlog.postpone(row, due_at_ms).await?;
                }
            }
            (Verdict::Start { .. }, None) => {}
            (Verdict::GiveUp, _) => {
                let message = format!("{} runs in a row got no further", row.attempt);
                let reason = Reason { code: ReasonCode::AttemptsExhausted, message };
                let ended = self.backlog.give_up(row, &reason, self.clock.now_ms()).await?;
                swept.given_up += u64::from(ended);
            }
            (Verdict::LookForObject { given_up, look_again_ms }, _) => match self.find_object(row).await? {
                Some(object) => {
                    self.starter.start(&object).await?;
                    swept.started += 1;
                    self.backlog.postpone(row, look_again_ms.max(self.clock.now_ms())).await?;
                }
                None if given_up => {
                    let reason = Reason {
                        code: ReasonCode::NeverUploaded,
                        message: "nothing was uploaded while the URL was valid".to_owned(),
                    };
                    let ended = self.backlog.give_up(row, &reason, self.clock.now_ms()).await?;
                    swept.given_up += u64::from(ended);
                }
                None => {
                    self.backlog.postpone(row, look_again_ms).await?;
                }
            },
        }
        Ok(())
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
